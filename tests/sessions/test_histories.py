"""Whatever a real charger does to the order and number of its messages: one session, one bill, the same sum."""

from __future__ import annotations

import datetime as dt
import os
import random
from decimal import Decimal

import pytest

from billing import settlement, tariffs
from billing.models import Document, LedgerTxn, SessionBill
from sessions.models import ChargingSession, MeterReading
from tests import charger as say
from tests.billing import world
from tests.charger import Charger, Frame, Ingest

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
PER_FILE = int(os.environ.get("HISTORIES", "300"))
VERSIONS = ["1.6", "2.0.1", "2.1"]
ENERGY_WH = 21_437
TOTAL_MINOR = 1050 + 100  # 21.437 kWh × 0.49 = 10.50413, and 1.00 for the session


def _station(version: str) -> tuple[Charger, str]:
    operator = world.operator()
    place = world.site(operator)
    pole = world.station(place)
    person = world.driver(operator)
    card = world.token(person)
    body = world.price_list("0.49")
    body["elements"].append({"price_components": [{"type": "FLAT", "price": Decimal("1.00"), "step_size": 1}]})
    tariffs.publish(_Everyone(operator.pk), body, by=None, at=NOW - dt.timedelta(days=30))
    return Charger(pole, version, at=NOW), card.value


class _Everyone:
    role = "owner"
    site_scope = None

    def __init__(self, operator_id: int) -> None:
        self.operator_id = operator_id


def _history(rng: random.Random, version: str, ref: str, readings: int) -> tuple[list[Frame], Frame]:
    """Return readings and the end of one session; times a minute apart."""
    frames = []
    for n in range(1, readings + 1):
        wh = 1000 + ENERGY_WH * n // (readings + 1)
        frames.append(say.meter(version, ref=ref, wh=wh, at=NOW + dt.timedelta(minutes=n), seq=n))
    end = NOW + dt.timedelta(minutes=readings + 1)
    return frames, say.stop(version, ref=ref, meter=1000 + ENERGY_WH, at=end, seq=readings + 1)


def _deliver(rng: random.Random, box: Charger, frames: list[Frame]) -> None:
    """Hand frames over in batches of any size: some in one transaction, some alone."""
    at = NOW + dt.timedelta(hours=1)
    while frames:
        size = rng.choice([1, 1, 2, 5, 20])
        box.burst(frames[:size], at=at)
        del frames[:size]
        at += dt.timedelta(milliseconds=20)
        if rng.random() < 0.05:  # the line drops: a new socket, an empty memory
            version, station, ingest = box.version, box.station, box.ingest
            box.__init__(station, version, ingest=ingest, at=at)  # type: ignore[misc]


def _repeated(rng: random.Random, frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames for _ in range(rng.choice([1, 1, 1, 2, 3, 5]))]


def _one_history(seed: int, version: str) -> None:
    rng = random.Random(seed)
    box, card = _station(version)
    started = say.start(version, ref=f"tx-{seed}", token=card, meter=1000, at=NOW)
    readings = rng.randint(0, 8)
    if version == "1.6":
        # The id comes with the answer to the start, so nothing of the transaction can be said before it.
        answers = [box.say(*started, at=NOW + dt.timedelta(hours=1)) for _ in range(rng.choice([1, 1, 2, 5]))]
        assert len({answer["transactionId"] for answer in answers}) == 1
        ref = str(answers[0]["transactionId"])
        values, end = _history(rng, version, ref, readings)
        said = [*values, end]
        tail = rng.sample(values, k=rng.randint(0, len(values)))  # read out of the queue after the end
        for one in tail:
            said.remove(one)
        rng.shuffle(tail)
        frames = _repeated(rng, [*said, *tail])
        for _ in range(rng.randint(0, 3)):
            frames.insert(rng.randint(0, len(frames)), started)
    else:
        values, end = _history(rng, version, f"tx-{seed}", readings)
        frames = _repeated(rng, [started, *values, end])
        if rng.random() < 0.6:
            rng.shuffle(frames)  # queued ones are replayed behind newer ones
    _deliver(rng, box, frames)

    session = ChargingSession.objects.get(station=box.station)
    assert not session.is_open, (seed, version)
    assert session.energy_wh == ENERGY_WH, (seed, version, session.review)
    assert session.started_at == NOW
    assert session.stopped_at == NOW + dt.timedelta(minutes=readings + 1)
    assert not session.is_held, (seed, version, session.review)
    assert MeterReading.objects.filter(session=session).count() == readings + (0 if version == "1.6" else 2)

    for _ in range(rng.choice([1, 2, 3])):
        try:
            settlement.settle(session.pk, now=NOW + dt.timedelta(hours=2))
        except settlement.AlreadySettled:
            continue
    bill = SessionBill.objects.get(session=session)
    assert bill.incl_vat_minor == TOTAL_MINOR, (seed, version)
    assert Document.objects.filter(operator=box.station.operator).count() == 1
    assert LedgerTxn.objects.filter(idempotency_key=f"session:{session.uuid}").count() == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_generated_histories_give_one_session_and_one_bill(version: str, db: None) -> None:
    share = PER_FILE // len(VERSIONS)
    first = int(os.environ.get("SEED", "1")) * 1_000_000
    for seed in range(first, first + share):
        _one_history(seed, version)


def test_the_same_session_costs_the_same_in_every_version(db: None) -> None:
    bills = []
    for version in VERSIONS:
        box, card = _station(version)
        frames, end = [], say.stop
        answer = box.say(*say.start(version, ref="tx", token=card, meter=1000, at=NOW), at=NOW)
        ref = str(answer.get("transactionId", "tx"))
        for n in range(1, 6):
            at = NOW + dt.timedelta(minutes=7 * n)
            frames.append(say.meter(version, ref=ref, wh=1000 + 3_000 * n, at=at, seq=n))
        box.burst(frames, at=NOW + dt.timedelta(minutes=36))
        at = NOW + dt.timedelta(minutes=42)
        box.say(*end(version, ref=ref, meter=1000 + 18_001, at=at, seq=6), at=at)
        session = ChargingSession.objects.get(station=box.station)
        settlement.settle(session.pk, now=at)
        bill = SessionBill.objects.get(session=session)
        bills.append((session.energy_wh, session.facts, bill.excl_vat_minor, bill.vat_minor, bill.incl_vat_minor))
    assert bills[0] == bills[1] == bills[2]
    assert bills[0][0] == Decimal("18001")
    assert bills[0][4] == 882 + 100


def test_follow_ups_ask_for_the_price_once_the_session_is_complete(db: None) -> None:
    box, card = _station("2.0.1")
    ingest: Ingest = box.ingest
    box.say(*say.stop("2.0.1", ref="tx", meter=4000, at=NOW, seq=2), at=NOW)
    assert not [one for one in ingest.follow_ups if one[0] == "billing.tasks.rate_session"]
    box.say(*say.meter("2.0.1", ref="tx", wh=2500, at=NOW - dt.timedelta(minutes=1), seq=1), at=NOW)
    box.say(*say.start("2.0.1", ref="tx", token=card, meter=1000, at=NOW - dt.timedelta(minutes=2)), at=NOW)
    session = ChargingSession.objects.get(station=box.station)
    assert session.review == []
    assert [one for one in ingest.follow_ups if one[0] == "billing.tasks.rate_session"][-1][1] == (session.pk,)


def test_an_estimated_end_waits_for_the_true_one(db: None) -> None:
    """A session that a newer one replaced is billed late, so that its own end can still come."""
    box, card = _station("1.6")
    first = box.say(*say.start("1.6", ref="", token=card, meter=1000, at=NOW), at=NOW)["transactionId"]
    at = NOW + dt.timedelta(minutes=5)
    box.say(*say.meter("1.6", ref=str(first), wh=3000, at=at), at=at)
    at = NOW + dt.timedelta(minutes=10)
    box.say(*say.start("1.6", ref="", token=card, meter=6000, at=at), at=at)
    session = ChargingSession.objects.get(transaction_ref=str(first))
    assert session.review == ["superseded", "estimated_end"]
    assert (session.energy_wh, session.stopped_at) == (2000, NOW + dt.timedelta(minutes=5))
    assert session.pk not in settlement.due(at + dt.timedelta(minutes=5), 10)
    assert session.pk in settlement.due(at + dt.timedelta(minutes=20), 10)

    late = NOW + dt.timedelta(minutes=11)
    box.say(*say.stop("1.6", ref=str(first), meter=6000, at=NOW + dt.timedelta(minutes=9)), at=late)
    session.refresh_from_db()
    assert session.review == ["superseded"]
    assert (session.energy_wh, session.stopped_at) == (5000, NOW + dt.timedelta(minutes=9))
    assert settlement.settle(session.pk, now=late).incl_vat_minor == 245 + 100

    box.say(*say.stop("1.6", ref=str(first), meter=6100, at=NOW + dt.timedelta(minutes=9)), at=late)
    session.refresh_from_db()
    assert session.review == ["superseded", "second_stop"]
    assert session.energy_wh == 5000
