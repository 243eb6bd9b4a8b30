"""Each thing that can go wrong with a session, told by real frames, ends in exactly one alert; what is normal in none."""

from __future__ import annotations

import datetime as dt
import os
import random
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import tokens
from accounts.models import IdToken, Operator
from sessions import anomalies
from sessions.models import ChargingSession, MeterReading, ReviewReason
from stations import alerts
from stations.alert_kinds import CARD_BURST, METER_BACKWARDS, METER_STUCK, OVER_POWER, TOKEN_TWICE
from stations.messages import Left
from stations.models import Alert, Gateway, Site
from stations.ocpp.inbox import _Item
from tests import charger as say
from tests.billing import world
from tests.charger import Charger, Ingest, iso
from tests.watch import action, impact, look, open_alerts, reason

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
SECOND = dt.timedelta(seconds=1)
VERSIONS = ["1.6", "2.0.1", "2.1"]


@pytest.fixture(autouse=True)
def gateway(db: None) -> Gateway:
    return Gateway.objects.create(id="test", lease_at=NOW, started_at=NOW - dt.timedelta(days=1))


@pytest.fixture
def operator() -> Operator:
    return world.operator()


@pytest.fixture
def site(operator: Operator) -> Site:
    return world.site(operator)


@pytest.fixture
def card(operator: Operator) -> IdToken:
    return world.token(world.driver(operator))


class Session:
    """One transaction of a charger, in the words of its version. Energy in Wh, power in W."""

    def __init__(
        self, box: Charger, token: str, *, meter: int = 1000, at: dt.datetime = NOW, told_at: dt.datetime | None = None
    ) -> None:
        self.box, self.version, self.seq = box, box.version, 0
        self.ref = f"tx-{box.station.pk}-{at.timestamp():.0f}"
        self.status(state="Charging", at=told_at or at)
        answer = box.say(*say.start(self.version, ref=self.ref, token=token, meter=meter, at=at), at=told_at or at)
        if self.version == "1.6":
            self.ref = str(answer["transactionId"])
            self.answer = answer["idTagInfo"]["status"]
        else:
            self.answer = answer["idTokenInfo"]["status"]

    @property
    def row(self) -> ChargingSession:
        return ChargingSession.objects.get(station=self.box.station, transaction_ref=self.ref)

    def status(self, *, state: str, at: dt.datetime) -> None:
        """A 1.6 station tells its state by the connector's status."""
        if self.version == "1.6":
            payload = {"connectorId": 1, "errorCode": "NoError", "status": state, "timestamp": iso(at)}
            self.box.say("StatusNotification", payload, at=at)

    def meter(self, wh: float, *, at: dt.datetime, power: float | None = None, state: str = "Charging") -> None:
        self.seq += 1
        action, payload = say.meter(self.version, ref=self.ref, wh=wh, at=at, seq=self.seq, state=state)  # type: ignore[arg-type]
        if power is not None:
            sample: dict[str, Any] = {"measurand": "Power.Active.Import", "value": power}
            sample |= {"unit": "W", "value": str(power)} if self.version == "1.6" else {"unitOfMeasure": {"unit": "W"}}
            payload["meterValue"][0]["sampledValue"].append(sample)
        self.box.say(action, payload, at=at)

    def stop(self, wh: int, *, at: dt.datetime) -> None:
        self.status(state="Finishing", at=at)
        self.box.say(*say.stop(self.version, ref=self.ref, meter=wh, at=at, seq=self.seq + 1), at=at)
        self.status(state="Available", at=at)


def box_at(place: Site, version: str = "1.6", *, ingest: Ingest | None = None, **fields: Any) -> Charger:
    return Charger(world.station(place, **{"max_power_w": 11_000} | fields), version, ingest=ingest, at=NOW)


# --- a meter that stands still -----------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("power", [None, 7400])
def test_a_meter_that_stands_still_is_alerted_until_it_moves(
    site: Site, card: IdToken, version: str, power: int | None
) -> None:
    box = box_at(site, version)
    session = Session(box, card.value)
    session.meter(1500, at=NOW + 5 * MINUTE, power=power)
    for minute in range(6, 15):
        session.meter(1500, at=NOW + minute * MINUTE, power=power)
        look(NOW + minute * MINUTE, box.ingest)
    assert open_alerts() == []
    session.meter(1500, at=NOW + 15 * MINUTE, power=power)
    look(NOW + 15 * MINUTE, box.ingest, times=3)
    (alert,) = open_alerts()
    assert (alert.kind, alert.station, alert.evse, alert.count) == (METER_STUCK, box.station, 1, 1)
    if power is None:
        assert reason(alert) == (
            "The station says that it charges, but its meter stands at 1.500 kWh since Nov 20, 09:05."
        )
        assert impact(alert) == ""
    else:
        assert reason(alert) == "7.4 kW flow, but the meter stands at 1.500 kWh since Nov 20, 09:05."
        assert impact(alert) == "7.4 kWh an hour are not measured."
    assert action(alert) == "reset"
    session.meter(1600, at=NOW + 20 * MINUTE, power=power)
    look(NOW + 20 * MINUTE, box.ingest)
    alert.refresh_from_db()
    assert alert.resolution == "over"


def test_a_stuck_meter_is_forgotten_when_its_session_ends(site: Site, card: IdToken) -> None:
    session = Session(box_at(site), card.value)
    for minute in range(16):
        session.meter(1500, at=NOW + minute * MINUTE, power=7400)
    look(NOW + 16 * MINUTE, session.box.ingest)
    assert len(open_alerts()) == 1
    session.stop(1500, at=NOW + 17 * MINUTE)
    look(NOW + 17 * MINUTE, session.box.ingest)
    assert open_alerts() == []


def test_how_long_a_meter_may_stand_is_a_setting(site: Site, card: IdToken, settings: Any) -> None:
    settings.ALERT_SECONDS = {**settings.ALERT_SECONDS, "stuck": 2}
    session = Session(box_at(site, "2.0.1"), card.value)
    for second in range(1, 4):
        session.meter(1010, at=NOW + second * SECOND)
    look(NOW + 3 * SECOND)
    assert [alert.kind for alert in open_alerts()] == [METER_STUCK]


@pytest.mark.parametrize(
    ("power", "state"), [(0, "Charging"), (900, "Charging"), (None, "SuspendedEV"), (0, "SuspendedEVSE")]
)
def test_a_car_that_draws_nothing_has_a_meter_that_stands(
    site: Site, card: IdToken, power: int | None, state: str
) -> None:
    session = Session(box_at(site, "2.0.1"), card.value)
    for minute in range(30):
        session.meter(1500, at=NOW + minute * MINUTE, power=power, state=state)
    look(NOW + 30 * MINUTE)
    assert open_alerts() == []


def test_a_meter_that_is_told_every_quarter_of_an_hour_does_not_stand(site: Site, card: IdToken) -> None:
    session = Session(box_at(site), card.value)
    session.meter(3500, at=NOW + 15 * MINUTE, power=10_000)
    look(NOW + 29 * MINUTE)
    assert open_alerts() == []


def test_a_station_that_is_away_has_no_stuck_meter(site: Site, card: IdToken) -> None:
    box = box_at(site)
    session = Session(box, card.value)
    for minute in range(9):
        session.meter(1500, at=NOW + minute * MINUTE, power=7400)
    box.ingest.commit([_Item(box.ref, Left(1006), NOW + 9 * MINUTE, None, None, None)])
    look(NOW + 13 * MINUTE)
    assert open_alerts() == []


# --- a meter that runs backwards ---------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_meter_that_runs_backwards_is_alerted_at_once_and_holds_the_bill(
    site: Site, card: IdToken, version: str
) -> None:
    session = Session(box_at(site, version), card.value)
    session.meter(1600, at=NOW + 5 * MINUTE, power=7200)
    session.meter(1200, at=NOW + 10 * MINUTE, power=7200)
    look(NOW + 10 * MINUTE, session.box.ingest, times=2)
    (alert,) = open_alerts()
    assert (alert.kind, alert.station, alert.evse, alert.count) == (METER_BACKWARDS, session.box.station, 1, 1)
    assert reason(alert) == "The meter fell from 1.600 kWh to 1.200 kWh."
    assert impact(alert) == "The bill waits until somebody has looked at the session."
    assert action(alert) == "open_session"
    assert ReviewReason.METER_BACKWARDS in session.row.review
    assert session.row.is_held
    for minute in range(11, 30):  # below its highest register the energy does not grow: that is no stuck meter
        session.meter(1200 + minute, at=NOW + minute * MINUTE, power=7200)
    session.stop(1700, at=NOW + 30 * MINUTE)
    look(NOW + 30 * MINUTE, session.box.ingest, times=2)
    assert [one.pk for one in open_alerts()] == [alert.pk]
    assert session.row.is_held


def test_an_alert_about_a_meter_ends_when_the_session_is_released(site: Site, card: IdToken) -> None:
    session = Session(box_at(site), card.value)
    session.meter(1600, at=NOW + 5 * MINUTE)
    session.meter(1200, at=NOW + 10 * MINUTE)
    session.stop(1700, at=NOW + 15 * MINUTE)
    look(NOW + 15 * MINUTE, session.box.ingest)
    ChargingSession.objects.filter(pk=session.row.pk).update(released_at=NOW + 20 * MINUTE, released_by="Ada")
    look(NOW + 20 * MINUTE)
    assert [alert.resolution for alert in Alert.objects.all()] == ["over"]


def test_a_fall_that_only_the_end_shows_is_alerted_then(site: Site, card: IdToken) -> None:
    session = Session(box_at(site), card.value, meter=5000)
    session.stop(4000, at=NOW + 15 * MINUTE)
    look(NOW + 15 * MINUTE, session.box.ingest, times=2)
    (alert,) = open_alerts()
    assert reason(alert) == "The meter fell from 5.000 kWh to 4.000 kWh."


def test_a_start_register_that_was_rounded_up_is_no_fall(site: Site, card: IdToken) -> None:
    session = Session(box_at(site), card.value, meter=1000)
    session.meter(999.6, at=NOW + SECOND)
    look(NOW + SECOND, session.box.ingest)
    session.meter(1600.2, at=NOW + 10 * MINUTE)
    session.stop(1600, at=NOW + 11 * MINUTE)
    look(NOW + 11 * MINUTE, session.box.ingest)
    assert open_alerts() == []
    assert session.row.review == []


def test_a_meter_that_counts_from_zero_in_each_session_does_not_run_backwards(site: Site, card: IdToken) -> None:
    """1.6 chargers whose start register is a lifetime total and whose samples are not."""
    session = Session(box_at(site), card.value, meter=1_234_567)
    for minute in range(1, 20):
        session.meter(minute * 100, at=NOW + minute * MINUTE, power=6000)
        look(NOW + minute * MINUTE, session.box.ingest)
    assert open_alerts() == []


# --- more than the rating allows ---------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_more_energy_than_the_rating_allows_is_one_alert(site: Site, card: IdToken, version: str) -> None:
    session = Session(box_at(site, version), card.value)
    session.meter(1500, at=NOW + 5 * MINUTE)
    session.meter(51_500, at=NOW + 6 * MINUTE)
    look(NOW + 6 * MINUTE, session.box.ingest, times=3)
    session.meter(51_600, at=NOW + 7 * MINUTE)
    look(NOW + 7 * MINUTE, session.box.ingest)
    (alert,) = open_alerts()
    assert (alert.kind, alert.severity, alert.count) == (OVER_POWER, "critical", 1)
    assert reason(alert) == "50.5 kWh in 6 min: at 11 kW no more than 1.3 kWh can have flowed."
    assert impact(alert) == "49.2 kWh are in doubt."
    assert action(alert) == "open_session"


def test_more_power_than_the_rating_is_one_alert(site: Site, card: IdToken) -> None:
    session = Session(box_at(site), card.value)
    session.meter(1100, at=NOW + MINUTE, power=12_100)
    look(NOW + MINUTE)
    assert open_alerts() == []
    session.meter(1200, at=NOW + 2 * MINUTE, power=45_000)
    look(NOW + 2 * MINUTE, times=2)
    (alert,) = open_alerts()
    assert reason(alert) == "It reports 45 kW; 11 kW is what it is rated for."


def test_the_rating_of_the_outlet_counts_before_that_of_the_station(site: Site, card: IdToken) -> None:
    box = box_at(site, max_power_w=150_000)
    box.station.evses.update(max_power_w=22_000)
    session = Session(box, card.value)
    session.meter(1200, at=NOW + MINUTE, power=50_000)
    look(NOW + MINUTE)
    (alert,) = open_alerts()
    assert alert.facts["rated_w"] == 22_000


@pytest.mark.parametrize("rated", [None, 0])
def test_without_a_rating_everything_is_possible(site: Site, card: IdToken, rated: int | None) -> None:
    session = Session(box_at(site, max_power_w=rated), card.value)
    session.meter(900_000, at=NOW + MINUTE, power=500_000)
    look(NOW + MINUTE)
    assert open_alerts() == []


def test_energy_that_only_the_end_tells_is_alerted_then(site: Site, card: IdToken) -> None:
    session = Session(box_at(site), card.value, meter=0)
    session.stop(90_000, at=NOW + 10 * MINUTE)
    look(NOW + 10 * MINUTE, session.box.ingest, times=2)
    (alert,) = open_alerts()
    assert alert.kind == OVER_POWER
    assert reason(alert) == "90.0 kWh in 10 min: at 11 kW no more than 2.1 kWh can have flowed."


def test_a_clock_that_is_ahead_makes_nothing_impossible(site: Site, card: IdToken) -> None:
    ahead = 4 * MINUTE
    session = Session(box_at(site), card.value, at=NOW + ahead, told_at=NOW)
    for second in range(10, 300, 10):
        session.meter(1000 + second * 3, at=NOW + second * SECOND)
        look(NOW + second * SECOND)
    assert open_alerts() == []


# --- one token at two places -------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_token_at_two_places_is_one_alert_and_can_be_blocked(
    site: Site, operator: Operator, card: IdToken, version: str
) -> None:
    ingest = Ingest()
    first = Session(box_at(site, version, ingest=ingest, name="Pole A"), card.value)
    place = world.site(operator, name="Airport")
    second = Session(box_at(place, version, ingest=ingest, name="Pole B"), card.value, at=NOW + MINUTE)
    assert (first.answer, second.answer) == ("Accepted", "ConcurrentTx")
    look(NOW + MINUTE + SECOND, ingest, times=3)
    (alert,) = open_alerts()
    assert (alert.kind, alert.severity, alert.station, alert.count) == (
        TOKEN_TWICE,
        "critical",
        second.box.station,
        1,
    )
    assert reason(alert) == (
        f"Token …{card.value[-4:]} was shown at Pole B, Airport while it charges at Pole A, Harbour, and was refused."
    )
    assert action(alert) == "block_token"


def test_the_refusal_alone_is_enough(site: Site, card: IdToken) -> None:
    """The second station stops at once, as it must (1.6 §4.8): the sweep never sees both at the same time."""
    ingest = Ingest()
    Session(box_at(site, ingest=ingest), card.value)
    second = Session(box_at(site, ingest=ingest), card.value, at=NOW + MINUTE)
    second.stop(1000, at=NOW + MINUTE + SECOND)
    look(NOW + MINUTE + 2 * SECOND, ingest, times=2)
    assert [alert.kind for alert in open_alerts()] == [TOKEN_TWICE]


def test_the_sweep_finds_what_a_lost_task_left(site: Site, card: IdToken) -> None:
    Session(box_at(site), card.value)
    Session(box_at(site), card.value, at=NOW + MINUTE)
    look(NOW + MINUTE)
    assert [alert.kind for alert in open_alerts()] == [TOKEN_TWICE]


def test_sessions_that_overlap_without_a_refusal_are_told_as_such(site: Site, card: IdToken) -> None:
    """The token was allowed several sessions when they began."""
    tokens.change_token(card, concurrent=True, by=None)
    for n in range(2):
        Session(box_at(site, name=f"Pole {n}"), card.value, at=NOW + n * MINUTE)
    look(NOW + 2 * MINUTE)
    assert open_alerts() == []
    tokens.change_token(card, concurrent=False, by=None)
    look(NOW + 2 * MINUTE)
    (alert,) = open_alerts()
    assert reason(alert) == (
        f"Token …{card.value[-4:]} charges at Pole 0, Harbour and at Pole 1, Harbour at the same time."
    )


def test_two_connectors_of_one_station_are_one_place(site: Site, card: IdToken) -> None:
    box = box_at(site)
    Session(box, card.value)
    second = {"connectorId": 2, "idTag": card.value, "meterStart": 0, "timestamp": iso(NOW + MINUTE)}
    assert box.say("StartTransaction", second, at=NOW + MINUTE)["idTagInfo"]["status"] == "ConcurrentTx"
    look(NOW + MINUTE, box.ingest)
    assert open_alerts() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_told_later_than_it_happened_is_no_second_place(site: Site, card: IdToken, version: str) -> None:
    """A station that was offline tells its start and end while the driver charges elsewhere already."""
    ingest = Ingest()
    Session(box_at(site, version, ingest=ingest), card.value)
    late = Session(
        box_at(site, version, ingest=ingest), card.value, at=NOW - dt.timedelta(hours=2), told_at=NOW + MINUTE
    )
    look(NOW + MINUTE, ingest)
    late.box.say(
        *say.stop(version, ref=late.ref, meter=4000, at=NOW - dt.timedelta(hours=1), seq=1), at=NOW + MINUTE + SECOND
    )
    look(NOW + MINUTE + 2 * SECOND, ingest)
    look(NOW + 10 * MINUTE, ingest)
    assert open_alerts() == []


def test_an_alert_that_was_closed_stays_closed_while_it_is_the_same_case(
    site: Site, card: IdToken, tenant: Operator, owner: Any
) -> None:
    ingest = Ingest()
    for n in range(2):
        Session(box_at(site, ingest=ingest), card.value, at=NOW + n * MINUTE)
    look(NOW + MINUTE, ingest)
    (alert,) = open_alerts()
    alerts.close(alert, by=owner, at=NOW + 2 * MINUTE)
    look(NOW + 3 * MINUTE, ingest)
    assert open_alerts() == []
    Session(box_at(site, ingest=ingest), card.value, at=NOW + 4 * MINUTE)
    look(NOW + 4 * MINUTE, ingest)
    assert len(open_alerts()) == 1


# --- refused cards -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_many_refused_cards_at_a_station_are_one_alert(site: Site, version: str) -> None:
    box, other = box_at(site, version), box_at(site, version)
    for n in range(8):
        at = NOW + n * 10 * SECOND
        card: Any = f"DEADBEEF{n % 3}"
        payload = {"idTag": card} if version == "1.6" else {"idToken": {"idToken": card, "type": "ISO14443"}}
        (other if n == 7 else box).say("Authorize", payload, at=at)
        if n == 3:
            look(at, box.ingest)
            assert open_alerts() == []
        if n >= 4:
            look(at, box.ingest, other.ingest, times=2)
    (alert,) = open_alerts()
    assert (alert.kind, alert.station, alert.count) == (CARD_BURST, box.station, 3)
    assert reason(alert) == "7 refusals within 1 min here, of 3 different cards."
    assert action(alert) == "open_log"


def test_refusals_far_apart_are_no_burst(site: Site) -> None:
    box = box_at(site)
    for n in range(20):
        at = NOW + n * dt.timedelta(minutes=3)
        box.say("Authorize", {"idTag": f"DEADBEEF{n}"}, at=at)
        look(at, box.ingest)
    assert open_alerts() == []


# --- what is normal ----------------------------------------------------------------------------------


class Driver:
    """Charges here and there in an hour: plugs in, charges, pauses, fills up, leaves."""

    def __init__(self, rng: random.Random, box: Charger, token: str) -> None:
        self.rng, self.box, self.token = rng, box, token
        self.register = rng.randrange(0, 9_000_000)
        self.sample_s = rng.choice([30, 60, 300, 900])
        self.tells_power = rng.random() < 0.6
        self.fraction = rng.choice([0, 0, 3])
        self.skew = dt.timedelta(seconds=rng.choice([0, 0, 3, -20, 90, -100]))
        self.next_at = NOW + rng.randrange(0, 900) * SECOND
        self.session: Session | None = None

    def live(self, now: dt.datetime) -> None:
        if now < self.next_at:
            return
        if self.session is None:
            self.session = Session(self.box, self.token, meter=round(self.register), at=now + self.skew, told_at=now)
            self.energy, self.until = float(self.register), now + self.rng.randrange(300, 2400) * SECOND
            self.full_at = now + self.rng.randrange(200, 2000) * SECOND
            self.power = self.rng.uniform(1300, 11_500)
            self.told_at = now
        else:
            seconds = (now - self.told_at).total_seconds()
            full = now >= self.full_at
            power = 0.0 if full else self.power * self.rng.uniform(0.9, 1.0)
            self.energy += self.power * seconds / 3600 if not full else 0
            self.told_at = now
            at = now + self.skew
            if now >= self.until:
                self.session.stop(round(self.energy), at=now)
                self.register, self.session = round(self.energy), None
                self.next_at = now + self.rng.randrange(60, 900) * SECOND
                return
            shown = round(self.energy, self.fraction) if self.fraction else int(self.energy)
            state = "SuspendedEV" if full else "Charging"
            self.session.status(state=state, at=now)
            self.session.meter(shown, at=at, power=round(power) if self.tells_power else None, state=state)
        self.next_at = now + self.sample_s * SECOND


def test_an_hour_of_a_normal_fleet_raises_nothing(operator: Operator) -> None:
    rng = random.Random(int(os.environ.get("SEED", "1")))
    ingest = Ingest()
    sites = [world.site(operator) for _ in range(3)]
    boxes = [box_at(rng.choice(sites), rng.choice(VERSIONS), ingest=ingest) for _ in range(18)]
    drivers = [Driver(rng, box, world.token(world.driver(operator)).value) for box in boxes]
    away: dict[int, dt.datetime] = {}
    for step in range(360):
        now = NOW + step * 10 * SECOND
        for index, driver in enumerate(drivers):
            box = driver.box
            if index in away:
                if now < away[index]:
                    continue
                del away[index]
                driver.box.__init__(box.station, box.version, ingest=ingest, at=now)  # type: ignore[misc]
            driver.live(now)
            if rng.random() < 0.001:  # the line drops, for less than the patience
                ingest.commit([_Item(box.ref, Left(1006), now, None, None, None)])
                away[index] = now + rng.randrange(10, 280) * SECOND
            if rng.random() < 0.0005:  # a card from elsewhere
                stranger: dict[str, Any] = {"idTag": "04FFEE"}
                if box.version != "1.6":
                    stranger = {"idToken": {"idToken": "04FFEE", "type": "ISO14443"}}
                if index not in away:
                    box.say("Authorize", stranger, at=now)
        look(now, ingest)
        assert open_alerts() == [], (step, open_alerts()[0].facts)
    assert Alert.objects.count() == 0
    assert ChargingSession.objects.count() > 20
    assert ChargingSession.objects.filter(status="active").exists()


# --- cost --------------------------------------------------------------------------------------------


def test_the_number_of_questions_does_not_depend_on_the_number_of_sessions(operator: Operator) -> None:
    """Ten running sessions and two hundred; a tenth of the meters stands still, a tenth tells the impossible."""
    counts = []
    for size in (10, 190):
        place = world.site(operator)
        for n in range(size):
            pole = world.station(place, max_power_w=11_000, gateway="test", connected_at=NOW)
            row = world.session(
                pole,
                ended=False,
                person=None,
                charging_state="Charging",
                energy_changed_at=NOW if n % 10 == 0 else NOW + 10 * MINUTE,
                power_w=Decimal(90_000) if n % 10 == 1 else Decimal(9_000),
                meter_last_wh=Decimal(120_000),
            )
            MeterReading.objects.create(
                session=row, at=NOW + MINUTE, digest="1", received_at=NOW + MINUTE, energy_wh=Decimal(120_000)
            )
        now = NOW + 10 * MINUTE
        Gateway.objects.update(lease_at=now)
        anomalies.detect(now)
        with CaptureQueriesContext(connection) as captured:
            anomalies.detect(now + SECOND)
        counts.append(len(captured))
    assert len(open_alerts()) == 40
    assert counts[0] == counts[1] <= 9
