"""The driver's stop button and the fragments of a running session: one's own, and nobody else's."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts.models import Driver, Membership, Operator
from stations.models import Command, Station
from tests.factories import make_driver, make_person
from tests.people import Browser
from tests.sessions import scene
from tests.sessions.test_views_console import text_of

PARTS = ("", "figures/", "power/", "cost/", "stopping/")


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant)
    return scene.station(tenant)


def url(session: scene.ChargingSession, part: str = "") -> str:
    return f"/driver/sessions/{session.uuid}/{part}"


@pytest.mark.django_db
class TestStop:
    def test_one_tap_asks_the_charger_in_the_driver_s_name(
        self, pole: Station, driver: Driver, browser: Browser
    ) -> None:
        session = scene.running(pole, driver)
        answer = browser(driver).post(url(session, "stop/"))
        assert (answer.status_code, answer["Location"]) == (302, url(session))
        command = Command.objects.get()
        assert (command.command, command.station, command.user) == ("stop", pole, driver.user)
        assert command.payload == {"transactionId": int(session.transaction_ref)}
        assert command.status == Command.Status.QUEUED

    def test_a_second_tap_asks_nothing_new(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.running(pole, driver)
        page = browser(driver)
        for _ in range(3):
            page.post(url(session, "stop/"))
        assert Command.objects.count() == 1
        body = page.get(url(session)).content.decode()
        assert "Asked to stop. Waiting for the charger." in body
        assert 'hx-trigger="every 2s"' in body

    def test_after_a_no_one_may_ask_again(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.running(pole, driver)
        page = browser(driver)
        page.post(url(session, "stop/"))
        Command.objects.update(status=Command.Status.REJECTED)
        part = page.get(url(session, "stopping/")).content.decode()
        assert "The charger did not stop." in part
        assert "every 2s" not in part
        assert "disabled" not in part
        page.post(url(session, "stop/"))
        assert Command.objects.count() == 2

    def test_an_offline_charger(self, tenant: Operator, driver: Driver, browser: Browser) -> None:
        session = scene.running(scene.station(tenant, online=False), driver)
        page = browser(driver)
        body = text_of(page.get(url(session)))
        assert "The charger has no connection right now." in body
        assert "Stop charging" not in body
        page.post(url(session, "stop/"))
        assert Command.objects.get().status == Command.Status.REFUSED
        assert "The charger is not connected right now." in text_of(page.get(url(session)))

    def test_an_ended_session_is_not_stopped(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.ended(pole, driver)
        answer = browser(driver).post(url(session, "stop/"))
        assert answer.status_code == 409
        assert "ended already" in text_of(answer)
        assert not Command.objects.exists()

    def test_only_by_post(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.running(pole, driver)
        assert browser(driver).get(url(session, "stop/")).status_code == 405
        assert not Command.objects.exists()


@pytest.mark.django_db
class TestOnlyOnesOwn:
    @pytest.mark.parametrize("part", PARTS)
    def test_another_driver_s_session_does_not_exist(
        self, pole: Station, driver: Driver, browser: Browser, part: str
    ) -> None:
        other = make_driver(pole.operator, user=make_person())
        session, mine = scene.running(pole, other), scene.running(scene.station(pole.operator), driver)
        page = browser(driver)
        assert page.get(url(session, part)).status_code == 404
        assert page.get(url(mine, part)).status_code == 200
        assert page.post(url(session, "stop/")).status_code == 404
        assert not Command.objects.exists()

    @pytest.mark.parametrize("part", PARTS)
    def test_not_even_the_operator_s_staff(
        self, pole: Station, driver: Driver, owner: Membership, browser: Browser, part: str
    ) -> None:
        session = scene.running(pole, driver)
        assert browser(owner).get(url(session, part)).status_code == 404

    def test_a_guest_s_session_belongs_to_nobody(self, pole: Station, driver: Driver, browser: Browser) -> None:
        assert browser(driver).get(url(scene.running(pole))).status_code == 404


@pytest.mark.django_db
class TestFigures:
    def test_the_arc_only_where_the_car_tells_its_charge_level(
        self, pole: Station, driver: Driver, browser: Browser
    ) -> None:
        session = scene.running(pole, driver)
        page = browser(driver)
        without = page.get(url(session, "figures/"))
        assert 'class="gauge"' not in without.content.decode()
        assert "Your car does not report its charge level." in text_of(without)
        now = timezone.now()
        for minutes, level in ((10, "60"), (5, "62"), (0, "64")):
            scene.reading(session, now - minutes * scene.MINUTE, None, soc_percent=level)
        type(session).objects.filter(pk=session.pk).update(soc_percent=64)
        told = page.get(url(session, "figures/"))
        assert 'class="gauge"' in told.content.decode()
        assert "64 %" in text_of(told)
        assert "80% at about" in text_of(told)

    def test_state_energy_power(self, pole: Station, driver: Driver, browser: Browser) -> None:
        session = scene.running(pole, driver, kwh="12.5", charging_state="SuspendedEVSE")
        words = text_of(browser(driver).get(url(session, "figures/")))
        assert "Paused by limit" in words
        assert "12.5 kWh" in words
        assert "11 kW" in words
        assert "The charger holds back for now" in text_of(browser(driver).get(url(session, "power/")))
