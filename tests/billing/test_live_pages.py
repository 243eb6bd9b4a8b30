"""What live pages about sessions are told, and that nobody listens to what is not theirs."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Driver, Membership, Operator
from billing import live_pages
from billing.tasks import rate_session
from config.wiring import LIVE_TOPICS
from stations.hints import driver_group, hints, operator_group
from stations.live import Page
from stations.models import Station
from tests.factories import make_driver, make_operator, make_person
from tests.sessions import scene


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant)
    return scene.station(tenant)


def told(page: Page | None) -> dict[str, str]:
    assert page is not None
    assert page.slots is not None
    shown = {key: text.replace("\N{NO-BREAK SPACE}", " ") for key, text in page.slots().items()}
    return {key: text.partition(":")[0] if key.endswith("time") else text for key, text in shown.items()}


def test_the_topics_are_wired() -> None:
    assert LIVE_TOPICS["session"] is live_pages.session
    assert LIVE_TOPICS["sessions"] is live_pages.sessions
    assert LIVE_TOPICS["driver"] is live_pages.driver
    assert LIVE_TOPICS["driver-session"] is live_pages.driver_session


@pytest.mark.django_db
class TestSession:
    def test_slots_and_fragments(self, pole: Station, owner: Membership) -> None:
        session = scene.running(pole, kwh="43.2", soc_percent=64)
        page = live_pages.session(owner.user, str(session.uuid), {})
        key = f"session:{session.uuid}"
        assert told(page) == {
            f"{key}:energy.value": "43.2",
            f"{key}:energy.unit": "kWh",
            f"{key}:power.value": "11",
            f"{key}:power.unit": "kW",
            f"{key}:time": "20",
            f"{key}:soc": "64",
            f"{key}:cost": "€21.17",
        }
        assert page is not None
        assert page.groups == (operator_group(pole.operator_id),)
        assert page.watches == {key: "session", f"session-state:{session.uuid}": "state"}

    def test_in_each_person_s_language_and_without_money_for_a_technician(
        self, pole: Station, owner: Membership, technician: Membership
    ) -> None:
        session = scene.running(pole, kwh="43.2")
        owner.user.language = "de"
        owner.user.save()
        key = f"session:{session.uuid}"
        german = told(live_pages.session(owner.user, str(session.uuid), {}))
        assert (german[f"{key}:energy.value"], german[f"{key}:cost"]) == ("43,2", "21,17 €")
        assert f"{key}:cost" not in told(live_pages.session(technician.user, str(session.uuid), {}))

    def test_not_for_strangers(
        self, pole: Station, stranger: Membership, driver: Driver, technician: Membership
    ) -> None:
        session = scene.running(pole, driver)
        technician.all_sites, technician.site_ids = False, []
        technician.save()
        for user in (stranger.user, driver.user, technician.user, make_person()):
            assert live_pages.session(user, str(session.uuid), {}) is None  # type: ignore[arg-type]
        assert live_pages.session(stranger.user, "nonsense", {}) is None

    def test_a_suspended_operator(self, pole: Station, owner: Membership) -> None:
        session = scene.running(pole)
        pole.operator.suspended_at = scene.ENDED
        pole.operator.save()
        assert live_pages.session(owner.user, str(session.uuid), {}) is None
        assert live_pages.sessions(owner.user, "", {}) is None


@pytest.mark.django_db
class TestSessions:
    def test_the_running_rows_of_the_page(self, pole: Station, owner: Membership) -> None:
        session = scene.running(pole, kwh="10")
        scene.ended(pole)
        there = scene.running(scene.station(pole.operator), kwh="20")
        key = f"session:{session.uuid}"
        assert told(live_pages.sessions(owner.user, f"station={pole.identity}", {})) == {
            f"{key}:energy": "10.0 kWh",
            f"{key}:time": "20",
            f"{key}:cost": "€4.90",
        }
        assert len(told(live_pages.sessions(owner.user, "", {}))) == 6
        assert set(told(live_pages.sessions(owner.user, f"q={there.uuid}", {}))) == {
            f"session:{there.uuid}:{name}" for name in ("energy", "time", "cost")
        }

    def test_only_of_the_own_operator(self, pole: Station, stranger: Membership, driver: Driver) -> None:
        scene.running(pole)
        assert told(live_pages.sessions(stranger.user, "", {})) == {}
        assert live_pages.sessions(driver.user, "", {}) is None  # type: ignore[arg-type]


@pytest.mark.django_db
class TestDriver:
    def test_slots(self, pole: Station, driver: Driver) -> None:
        session = scene.running(pole, driver, kwh="43.2", soc_percent=64)
        page = live_pages.driver_session(driver.user, str(session.uuid), {})  # type: ignore[arg-type]
        assert told(page) == {
            "my:energy.value": "43.2",
            "my:energy.unit": "kWh",
            "my:power.value": "11",
            "my:power.unit": "kW",
            "my:time": "20",
            "my:soc": "64",
            "my:cost": "€21.17",
        }
        assert page is not None
        assert page.groups == (driver_group(driver.pk),)

    def test_not_another_s(self, pole: Station, driver: Driver, owner: Membership) -> None:
        other = make_driver(pole.operator, user=make_person())
        session, guest = scene.running(pole, other), scene.running(pole)
        for user in (driver.user, owner.user):
            assert live_pages.driver_session(user, str(session.uuid), {}) is None  # type: ignore[arg-type]
            assert live_pages.driver_session(user, str(guest.uuid), {}) is None  # type: ignore[arg-type]
        assert live_pages.driver_session(driver.user, "nonsense", {}) is None  # type: ignore[arg-type]

    def test_all_operators_where_somebody_drives(self, driver: Driver, owner: Membership) -> None:
        again = make_driver(make_operator(), user=driver.user)
        page = live_pages.driver(driver.user, "", {})  # type: ignore[arg-type]
        assert page is not None
        assert page.groups == (driver_group(driver.pk), driver_group(again.pk))
        assert page.watches == {"sessions": "state"}
        assert live_pages.driver(owner.user, "", {}) is None


@pytest.mark.django_db(transaction=True)
def test_a_price_is_told_to_operator_and_driver(pole: Station, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, Any]] = []
    monkeypatch.setattr(hints, "send", lambda group, message: heard.append((group, set(message["names"]))))
    session = scene.ended(pole, driver, settled=False)
    rate_session(session.pk)
    names = {f"session:{session.uuid}", f"session-state:{session.uuid}", "sessions"}
    assert (operator_group(pole.operator_id), names | {"kpis"}) in heard
    assert (driver_group(driver.pk), names) in heard
