import json
import stat
from pathlib import Path

import pytest

from stations.simulator.misbehaviour import Misbehaviour
from stations.simulator.plan import StationPlan, Token, draw_plans, read_plans, write_plans


def test_a_plan_survives_its_file(tmp_path: Path):
    plans = [
        *draw_plans(3, password="secret", tokens=(Token("A"), Token("1234", "pin")), kind="dc", evses=2),
        StationPlan("ODD", version="2.1", misbehaviour=Misbehaviour(clock_1970=True, meter="stuck"), phases=1),
    ]
    path = tmp_path / "plan.json"
    write_plans(path, plans)
    assert read_plans(path) == plans
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_plan_written_by_hand_needs_only_an_identity(tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps([{"identity": "A"}, {"identity": "B", "tokens": ["T1", {"value": "9", "type": "pin"}]}]))
    first, second = read_plans(path)
    assert first == StationPlan("A")
    assert second.tokens == (Token("T1"), Token("9", "pin"))


@pytest.mark.parametrize(
    "fields",
    [
        {"identity": "A", "version": "1.5"},
        {"identity": "A", "activity": "frantic"},
        {"identity": "A", "kind": "steam"},
        {"identity": "A", "evses": 0},
        {"identity": "A", "phases": 2},
        {"identity": "A", "colour": "red"},
        {"identity": "A", "misbehaviour": {"sings": True}},
        {},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(fields):
    with pytest.raises((TypeError, ValueError)):
        StationPlan.from_json(fields)


def test_a_plan_file_holds_a_list(tmp_path: Path):
    path = tmp_path / "plan.json"
    path.write_text('{"identity": "A"}')
    with pytest.raises(ValueError, match="list"):
        read_plans(path)


def test_a_fleet_follows_its_seed():
    assert draw_plans(6, seed="a") == draw_plans(6, seed="a")
    assert [p.register_wh for p in draw_plans(6, seed="a")] != [p.register_wh for p in draw_plans(6, seed="b")]
    assert [p.version for p in draw_plans(4)] == ["1.6", "2.0.1", "2.1", "1.6"]
    assert [p.identity for p in draw_plans(2, identity_prefix="X-")] == ["X-0001", "X-0002"]
    assert {p.version for p in draw_plans(3, version="2.1")} == {"2.1"}


def test_each_purpose_has_its_own_stream_of_chance():
    plan = StationPlan("A", seed="1")
    assert plan.rng("x").random() == plan.rng("x").random()
    others = [plan.rng("y"), plan.rng("x", 1), StationPlan("B", seed="1").rng("x"), StationPlan("A", seed="2").rng("x")]
    assert plan.rng("x").random() not in [rng.random() for rng in others]
