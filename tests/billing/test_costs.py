"""What people see of prices: a running session costs what it would be billed with if it ended now."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import Operator
from billing import price_list, price_words, tariff_object
from billing.costs import cost_of, costs_of, rate_words, shown
from billing.price_list import Plug
from billing.snapshot import Snapshot
from sessions.models import ChargingSession
from stations.models import Station, StatusChange
from tests.billing import world
from tests.charger import Charger, meter, start, stop
from tests.factories import make_driver, make_token
from tests.sessions import scene

NIGHT_AND_IDLE: dict[str, Any] = {
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": Decimal("0.29"), "step_size": 1}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {
            "price_components": [
                {"type": "ENERGY", "price": Decimal("0.59"), "step_size": 1},
                {"type": "FLAT", "price": Decimal("1.00")},
                {"type": "TIME", "price": Decimal("1.20"), "step_size": 1},
                {"type": "PARKING_TIME", "price": Decimal("6.00"), "step_size": 1},
            ]
        },
    ],
    "voltyard": {"idle_grace_seconds": 600, "idle_cap": Decimal("5.00")},
}


@pytest.fixture
def pole(tenant: Operator) -> Station:
    return scene.station(tenant, online=False)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_the_cost_does_not_jump_at_the_end(pole: Station, version: str) -> None:
    """Over a night tariff, a pause by the car and idle time, from the first minute to the bill."""
    scene.publish(pole.operator, world.price_list(**NIGHT_AND_IDLE))
    token = make_token(pole.operator, driver=make_driver(pole.operator))
    at = world.at("2026-11-10 20:00")  # 21:00 in Berlin
    charger = Charger(pole, version, at=at)
    charger.say(*start(version, ref="t1", token=token.value, meter=1000, at=at), at=at)
    session = ChargingSession.objects.get()
    ref, register, before = session.transaction_ref, 1000, Decimal(0)
    for minute in range(5, 121, 5):
        now = at + minute * scene.MINUTE
        full = minute > 80
        register += 0 if full else 700
        if full and minute == 85 and version == "1.6":
            StatusChange.objects.create(
                connector=session.connector, status="SuspendedEV", at=now - 5 * scene.MINUTE, received_at=now
            )
        state = "SuspendedEV" if full else "Charging"
        charger.say(*meter(version, ref=ref, wh=register, at=now, seq=minute // 5, state=state), at=now)
        session.refresh_from_db()
        so_far = cost_of(session, now=now)
        assert so_far.payable is not None
        assert so_far.payable >= before
        assert not so_far.is_final
        before = so_far.payable
    end = at + 120 * scene.MINUTE
    charger.say(*stop(version, ref=ref, meter=register, at=end, seq=25), at=end)
    bill = scene.settlement.settle(session.pk, now=end)
    assert bill.is_rated
    final = cost_of(ChargingSession.objects.get(), now=end)
    assert final.is_final
    assert final.payable == before
    types = {line["type"] for line in (final.rating or {})["lines"]}
    assert types == {"ENERGY", "FLAT", "TIME", "PARKING_TIME"}


@pytest.mark.django_db
class TestStates:
    def test_an_ended_session_before_its_bill(self, pole: Station) -> None:
        scene.publish(pole.operator)
        session = scene.ended(pole, settled=False)
        cost = cost_of(session, now=scene.ENDED)
        assert (cost.is_final, cost.payable) == (False, Decimal("15.29"))
        told = shown(cost, running=False)
        assert told is not None
        assert told["note"] == "Preliminary: the bill is being made."

    def test_a_held_one_says_why_and_what_it_would_cost(self, pole: Station) -> None:
        scene.publish(pole.operator)
        cost = cost_of(scene.ended(pole, review=["jump"]), now=scene.ENDED)
        assert (cost.held, cost.payable) == ("The meter jumped", Decimal("15.29"))

    @pytest.mark.parametrize("running", [True, False])
    def test_no_tariff(self, pole: Station, running: bool) -> None:
        session = scene.running(pole) if running else scene.ended(pole)
        cost = cost_of(session, now=scene.ENDED)
        assert cost.rating is None
        assert cost.held == "No tariff was valid here when the session began"
        assert shown(cost, running=running) is None

    def test_no_vat_rate(self, tenant: Operator) -> None:
        scene.publish(tenant)
        place = world.station(world.site(tenant, country="XX"))
        assert cost_of(scene.running(place), now=timezone.now()).rating is None

    def test_prices_without_vat_add_it_under_the_lines(self, pole: Station) -> None:
        scene.publish(pole.operator, world.price_list("0.4118", tax_included="NO", vat="19"))
        told = shown(cost_of(scene.ended(pole), now=scene.ENDED), running=False)
        assert told is not None
        assert (told["vat_included"], told["net"], told["vat"], told["total"]) == (
            False,
            Decimal("12.85"),
            Decimal("2.44"),
            Decimal("15.29"),
        )
        assert [line["amount"] for line in told["lines"]] == [Decimal("12.85")]
        assert told["vat_lines"] == [{"rate": "19%", "net": Decimal("12.85"), "vat": Decimal("2.44")}]

    def test_a_fixed_number_of_queries(self, pole: Station) -> None:
        scene.publish(pole.operator, world.price_list(**NIGHT_AND_IDLE))
        counts = []
        for _ in range(2):
            for _number in range(5):
                scene.running(pole, minutes=3)
                scene.ended(pole)
            rows = list(ChargingSession.objects.select_related("site"))
            with CaptureQueriesContext(connection) as queries:
                assert len(costs_of(rows, now=scene.ENDED)) == len(rows)
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 4


class TestWords:
    def words(self, **more: Any) -> Snapshot:
        return tariff_object.parse(world.price_list(**more))

    def test_the_usual_price_list(self) -> None:
        snapshot = self.words(**NIGHT_AND_IDLE, vat=None)
        lines = price_words.price_lines(snapshot, {})
        assert [(line.what, line.price, line.when) for line in lines] == [
            ("Energy", "€0.29 per kWh", "between 22:00 and 06:00"),
            ("Energy", "€0.59 per kWh", ""),
            ("Charging time", "€0.02 per minute", ""),
            ("Idle time after charging", "€0.10 per minute", "after 10 free minutes, at most €5.00"),
            ("Session fee", "€1.00 per session", ""),
        ]
        assert price_words.summary(snapshot, {}) == (
            "€0.29 to €0.59 per kWh, €0.02 per minute, €1.00 per session, VAT included"
        )
        rule = price_words.idle_rule(snapshot, {}).replace("\N{NO-BREAK SPACE}", " ")
        assert rule == "Parking after charging: free for 10 min, then €0.10 per minute. At most €5.00."

    def test_with_vat_wherever_its_rate_is_known(self) -> None:
        net = self.words(per_kwh="0.49", tax_included="NO", vat="21")
        assert price_words.summary(net, {}) == "€0.5929 per kWh, VAT included"
        category = self.words(per_kwh="0.50", tax_included="NO", voltyard={"vat_category": "standard"})
        assert price_words.summary(category, {"standard": Decimal("19")}) == "€0.595 per kWh, VAT included"
        assert price_words.summary(category, {}) == "€0.50 per kWh, no VAT"
        assert price_words.summary(self.words(per_kwh="0.50", tax_included="N/A"), {}) == "€0.50 per kWh"

    def test_free_of_charge(self) -> None:
        assert price_words.summary(self.words(per_kwh="0"), {}) == "Free of charge"
        assert [line.price for line in price_words.price_lines(self.words(per_kwh="0"), {})] == ["free"]

    def test_time_by_the_minute_only_where_that_is_even(self) -> None:
        hour = {"elements": [{"price_components": [{"type": "TIME", "price": Decimal("1.00")}]}]}
        assert price_words.price_lines(self.words(**hour), {})[0].price == "€1.00 per hour"

    def test_limits_and_the_free_start(self) -> None:
        snapshot = self.words(min_price={"after_taxes": Decimal("2.5")}, max_price={"before_taxes": Decimal(40)})
        words = [line.replace("\N{NO-BREAK SPACE}", " ") for line in price_words.conditions(snapshot)]
        assert words == [
            "At least €2.50",
            "At most €40.00 without VAT",
            "Free where no energy flows in the first 2 min",
        ]

    def test_in_german(self) -> None:
        with translation.override("de"):
            summary = price_words.summary(self.words(), {})
        assert "0,49\N{NO-BREAK SPACE}€" in summary

    @pytest.mark.parametrize(
        ("percent", "words"), [("19", "19%"), ("8.1", "8.1%"), ("25.50", "25.5%"), ("0", "0%"), (None, "none")]
    )
    def test_vat_rates_with_the_digits_they_have(self, percent: str | None, words: str) -> None:
        assert rate_words(percent) == words

    def test_30_kwh_in_40_minutes(self) -> None:
        at = world.at("2026-11-10 11:00")
        assert price_words.example_total(self.words(vat="19"), {}, at=at, zone="Europe/Berlin") == "€14.70"
        missing = self.words(voltyard={"vat_category": "standard"})
        assert price_words.example(missing, {}, at=at, zone="Europe/Berlin") is None


@pytest.mark.django_db
class TestAtPlugs:
    @settings(deadline=None, max_examples=30)
    @given(st.data())
    def test_the_same_as_for_a_session_that_begins_there(self, django_db_blocker: Any, data: st.DataObject) -> None:
        # One database for all examples: tariffs pile up, and the choice must agree after each.
        with django_db_blocker.unblock():
            operator = Operator.objects.filter(slug="plugs").first() or world.operator(slug="plugs")
            poles = list(Station.objects.filter(operator=operator)) or [
                world.station(place) for place in (world.site(operator), world.site(operator)) for _ in range(2)
            ]
            people = list(operator.drivers.all()) or [world.driver(operator, group=group) for group in ("", "fleet")]
            pole, person = data.draw(st.sampled_from(poles)), data.draw(st.sampled_from(people))
            applies = data.draw(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "sites": st.just([str(pole.site.uuid)]),
                        "stations": st.just([pole.identity]),
                        "connector_types": st.sampled_from([["IEC_62196_T2"], ["CHADEMO"]]),
                        "groups": st.just(["fleet"]),
                        "drivers": st.just([str(person.uuid)]),
                    },
                )
            )
            code = data.draw(st.sampled_from(["a", "b", "c"]))
            scene.publish(operator, world.price_list(id=code, voltyard={"applies_to": applies}))
            at = world.at("2026-11-10 11:00")
            for station in poles:
                for driver in people:
                    connector = station.evses.get().connectors.get()
                    session = ChargingSession(
                        operator=operator,
                        site_id=station.site_id,
                        station=station,
                        connector=connector,
                        driver=driver,
                        started_at=at,
                    )
                    plug = Plug(station.site_id, station.pk, connector.type)
                    found = price_list.at_plugs(operator.pk, [plug], driver_id=driver.pk, groups=[driver.group], at=at)
                    assert found[plug] == price_list.applicable(session)


def test_an_hour_is_not_a_minute() -> None:
    """The parking rule's clock: since when the car has only been parking."""
    begin = world.at("2026-11-10 17:00")
    facts = world.facts(begin, begin + dt.timedelta(hours=1), "1000", idle=900)
    assert price_words.idle_since(facts) == begin + dt.timedelta(minutes=45)
    assert price_words.idle_since(world.facts(begin, begin + dt.timedelta(hours=1), "1000")) is None
    assert price_words.idle_since(None) is None
