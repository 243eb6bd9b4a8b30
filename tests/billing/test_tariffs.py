"""Which price list holds: versions, validity, the most specific wins."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry, Driver, IdToken, Membership
from billing import tariffs
from billing.models import Tariff, VatRate
from billing.snapshot import FieldError
from billing.taxes import seed_vat_rates, vat_rate
from stations.models import Station
from tests.billing import world
from tests.billing.test_settlement import owner_of

JANUARY = world.at("2026-01-01 00:00")


class Shop:
    """An operator with one station that publishes tariffs and asks which one holds."""

    def __init__(self) -> None:
        self.pole: Station = world.station(world.site(world.operator()))
        self.owner: Membership = owner_of(self.pole.operator)

    def publish(
        self, code: str, where: dict[str, Any] | None = None, *, at: dt.datetime = JANUARY, **more: Any
    ) -> Tariff:
        own = more.pop("voltyard", {})
        if where is not None:
            own = {**own, "applies_to": where}
        body = world.price_list(id=code, **more)
        return tariffs.publish(self.owner, {**body, "voltyard": own} if own else body, by=self.owner, at=at)

    def holds(
        self,
        start: str = "2026-11-10 17:00",
        *,
        person: Driver | None = None,
        token: IdToken | None = None,
        pole: Station | None = None,
    ) -> str | None:
        session = world.session(pole or self.pole, ended=False, start=start, person=person, token=token)
        tariff = tariffs.applicable(session)
        return tariff and f"{tariff.code}/{tariff.version}"


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.mark.django_db
class TestPublish:
    def test_keeps_the_object_as_given_and_its_digits(self, shop: Shop) -> None:
        tariff = shop.publish("day", tariff_alt_text=[{"language": "en", "text": "City day"}])
        tariff = Tariff.objects.get(pk=tariff.pk)
        assert tariff.ocpi["elements"][0]["price_components"][0]["price"] == Decimal("0.49")
        assert (tariff.code, tariff.version, tariff.name, tariff.currency) == ("day", 1, "City day", "EUR")
        assert tariff.valid_from == JANUARY
        assert tariff.digest == tariffs.snapshot_of(tariff).digest()
        assert AuditEntry.objects.filter(action="tariff.published", target_id=str(tariff.uuid)).count() == 1

    def test_ocpi_2_2_1_without_tax_included(self, shop: Shop) -> None:
        tariff = shop.publish("old", tax_included=None, vat="19")
        component = tariffs.snapshot_of(tariff).elements[0].components[0]
        assert (component.vat, component.vat_category) == (Decimal(19), None)

    def test_prices_with_vat_get_the_countrys_rate(self, shop: Shop) -> None:
        assert tariffs.vat_categories(tariffs.snapshot_of(shop.publish("day"))) == {"standard"}

    def test_without_an_id_it_gets_one(self, shop: Shop) -> None:
        body = world.price_list()
        del body["id"]
        tariff = tariffs.publish(shop.owner, body, by=shop.owner, at=JANUARY)
        assert len(tariff.code) == 36

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"currency": "XXX"}, "currency"),
            ({"elements": []}, "elements"),
            (
                {"elements": [{"price_components": [{"type": "ENERGY"}]}]},
                "elements[0].price_components[0].price",
            ),
            ({"voltyard": {"vat_category": "luxury"}}, "voltyard.vat_category"),
            ({"voltyard": {"applies_to": {"planets": ["x"]}}}, "voltyard.applies_to.planets"),
            ({"voltyard": {"applies_to": {"sites": "x"}}}, "voltyard.applies_to.sites"),
            ({"voltyard": {"applies_to": {"sites": ["x"]}}}, "voltyard.applies_to.sites[0]"),
            ({"voltyard": {"applies_to": {"stations": ["nobody"]}}}, "voltyard.applies_to.stations[0]"),
            ({"voltyard": {"applies_to": {"groups": [""]}}}, "voltyard.applies_to.groups[0]"),
            ({"voltyard": {"valid_from": "tomorrow"}}, "voltyard.valid_from"),
            ({"voltyard": {"valid_to": "2025-12-31T00:00:00Z"}}, "voltyard.valid_to"),
            ({"end_date_time": "2025-12-31T00:00:00Z"}, "end_date_time"),
        ],
    )
    def test_names_the_member_at_fault_and_stores_nothing(self, shop: Shop, body: dict[str, Any], field: str) -> None:
        with pytest.raises(FieldError) as caught:
            tariffs.publish(shop.owner, {**world.price_list(), **body}, by=shop.owner, at=JANUARY)
        assert caught.value.field == field
        assert not Tariff.objects.exists()

    def test_places_of_another_operator_are_not_known(self, shop: Shop) -> None:
        foreign = world.station(world.site(world.operator()))
        for where in ({"sites": [str(foreign.site.uuid)]}, {"stations": [foreign.identity]}):
            with pytest.raises(FieldError):
                shop.publish("x", where)


@pytest.mark.django_db
class TestVersions:
    def test_the_next_version_ends_the_one_before(self, shop: Shop) -> None:
        first = shop.publish("day")
        second = shop.publish("day", at=world.at("2026-11-01 00:00"))
        first.refresh_from_db()
        assert (second.version, first.valid_to) == (2, second.valid_from)
        assert shop.holds("2026-10-31 23:59") == "day/1"
        assert shop.holds("2026-11-01 00:00") == "day/2"

    def test_a_version_announced_for_later_leaves_today_alone(self, shop: Shop) -> None:
        shop.publish("day")
        shop.publish("day", voltyard={"valid_from": "2026-12-01T00:00:00Z"})
        assert shop.holds("2026-11-30 23:59") == "day/1"
        assert shop.holds("2026-12-01 00:00") == "day/2"

    def test_a_version_that_never_began_is_retired(self, shop: Shop) -> None:
        shop.publish("day")
        shop.publish("day", voltyard={"valid_from": "2026-12-01T00:00:00Z"}, at=world.at("2026-11-01 00:00"))
        shop.publish("day", voltyard={"valid_from": "2026-11-15T00:00:00Z"}, at=world.at("2026-11-02 00:00"))
        assert shop.holds("2026-11-14 23:59") == "day/1"
        assert shop.holds("2026-12-24 12:00") == "day/3"

    def test_a_retired_tariff_holds_for_earlier_starts_only(self, shop: Shop) -> None:
        tariff = shop.publish("day")
        tariffs.retire(tariff, by=shop.owner, at=world.at("2026-11-01 00:00"))
        assert shop.holds("2026-10-31 23:00") == "day/1"
        assert shop.holds("2026-11-01 00:00") is None

    def test_operators_have_their_own_codes(self, shop: Shop) -> None:
        shop.publish("day")
        other = Shop()
        assert other.publish("day").version == 1
        assert other.holds() == "day/1"


@pytest.mark.django_db
class TestMostSpecificWins:
    def test_driver_group_station_connector_type_site_operator(self, shop: Shop) -> None:
        ada = world.driver(shop.pole.operator, group="staff")
        ladder: list[tuple[str, dict[str, Any] | None]] = [
            ("operator", None),
            ("site", {"sites": [str(shop.pole.site.uuid)]}),
            ("plug", {"connector_types": ["IEC_62196_T2"]}),
            ("station", {"stations": [shop.pole.identity]}),
            ("group", {"groups": ["staff"]}),
            ("driver", {"drivers": [str(ada.uuid)]}),
        ]
        for code, where in ladder:
            shop.publish(code, where, at=world.at("2026-06-01 00:00") if code == "operator" else JANUARY)
            assert shop.holds(person=ada) == f"{code}/1"
        assert shop.holds() == "station/1"
        elsewhere = world.station(world.site(shop.pole.operator))
        assert shop.holds(pole=elsewhere) == "plug/1"

    def test_of_two_alike_the_later_start_wins(self, shop: Shop) -> None:
        shop.publish("winter", at=world.at("2026-11-01 00:00"))
        shop.publish("summer", at=world.at("2026-05-01 00:00"))
        assert shop.holds("2026-11-10 12:00") == "winter/1"
        assert shop.holds("2026-10-10 12:00") == "summer/1"

    def test_every_dimension_must_match_and_one_of_each_is_enough(self, shop: Shop) -> None:
        other = world.station(world.site(shop.pole.operator))
        staff = world.driver(shop.pole.operator, group="staff")
        shop.publish("all")
        shop.publish("staff here", {"groups": ["staff", "board"], "sites": [str(shop.pole.site.uuid)]})
        assert shop.holds(person=staff) == "staff here/1"
        assert shop.holds(person=staff, pole=other) == "all/1"
        assert shop.holds(person=world.driver(shop.pole.operator)) == "all/1"

    def test_the_group_of_the_token_counts_too(self, shop: Shop) -> None:
        shop.publish("fleet", {"groups": ["fleet"]})
        ada = world.driver(shop.pole.operator)
        assert shop.holds(person=ada, token=world.token(ada)) is None
        assert shop.holds(person=ada, token=world.token(ada, group="fleet")) == "fleet/1"

    def test_nothing_valid_is_nothing(self, shop: Shop) -> None:
        shop.publish("later", at=world.at("2026-12-01 00:00"))
        assert shop.holds("2026-11-30 23:59") is None

    def test_once_known_it_takes_one_query_until_something_is_published(self, shop: Shop) -> None:
        for number in range(20):
            shop.publish(f"t{number}", {"sites": [str(shop.pole.site.uuid)]})
        session = world.session(shop.pole, ended=False)
        assert shop.holds() == "t19/1"
        with CaptureQueriesContext(connection) as queries:
            assert tariffs.applicable(session) is not None
        assert len(queries) == 1
        shop.publish("newest", {"sites": [str(shop.pole.site.uuid)]})
        assert shop.holds() == "newest/1"


@pytest.mark.django_db
class TestVatRates:
    @pytest.mark.parametrize(
        ("country", "day", "rate"),
        [
            ("DE", "2026-11-10", "19"),
            ("AT", "2026-11-10", "20"),
            ("NL", "2026-11-10", "21"),
            ("BE", "2026-11-10", "21"),
            ("FR", "2026-11-10", "20"),
            ("ES", "2026-11-10", "21"),
            ("LU", "2023-12-31", "16"),
            ("LU", "2024-01-01", "17"),
            ("CH", "2023-12-31", "7.7"),
            ("CH", "2026-11-10", "8.1"),
            ("GB", "2026-11-10", "20"),
        ],
    )
    def test_the_rate_of_the_day(self, country: str, day: str, rate: str) -> None:
        assert vat_rate(country, on=dt.date.fromisoformat(day)) == Decimal(rate)

    def test_unknown_is_none_not_zero(self) -> None:
        assert vat_rate("ZZ", on=dt.date(2026, 11, 10)) is None
        assert vat_rate("DE", on=dt.date(1990, 1, 1)) is None

    def test_seeding_again_leaves_the_staffs_rates_alone(self) -> None:
        VatRate.objects.filter(country="DE").update(rate=Decimal(25))
        VatRate.objects.filter(country="AT").delete()
        seed_vat_rates()
        assert vat_rate("DE", on=dt.date(2026, 11, 10)) == 25
        assert vat_rate("AT", on=dt.date(2026, 11, 10)) is None
