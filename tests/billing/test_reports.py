"""Reports: revenue that equals the books, energy to the Wh, tables that no spreadsheet runs."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from pypdf import PdfReader

from billing import reports, settlement
from billing.models import LedgerLeg, ReportRun
from sessions.models import ChargingSession
from stations.models import Station
from tests.billing import world
from tests.billing.test_settlement import publish

BERLIN = "Europe/Berlin"
NOVEMBER = dt.date(2026, 11, 1)
FIRST_OF_DECEMBER = world.at("2026-12-01 04:10")


@pytest.fixture
def pole() -> Station:
    pole = world.station(world.site(world.operator(name="Nordlicht")))
    publish(pole, world.price_list())
    return pole


def charge(pole: Station, start: str, end: str, wh: str = "1000") -> ChargingSession:
    session = world.session(pole, wh=wh, start=start, end=end)
    settlement.settle(session.pk, now=FIRST_OF_DECEMBER)
    return session


def day(number: int) -> dt.date:
    return dt.date(2026, 11, number)


@pytest.mark.django_db
class TestRevenue:
    def test_by_day_of_the_end_in_the_zone_and_by_site(self, pole: Station) -> None:
        charge(pole, "2026-11-10 21:00", "2026-11-10 22:59")  # 23:59 in Berlin
        charge(pole, "2026-11-10 21:00", "2026-11-10 23:00")  # 00:00 of the 11th
        charge(pole, "2026-11-11 10:00", "2026-11-11 11:00", wh="31204")
        alpha = world.station(world.site(pole.operator, name="Alpha"))
        charge(alpha, "2026-11-11 10:00", "2026-11-11 11:00")
        rows = list(reports.revenue(pole.operator_id, day(1), day(30), BERLIN))
        assert [(row.day.day, row.site, row.sessions, row.energy_wh, row.incl_vat) for row in rows] == [
            (10, "Harbour", 1, 1000, 49),
            (11, "Alpha", 1, 1000, 49),
            (11, "Harbour", 2, 32204, 49 + 1529),
        ]
        in_utc = list(reports.revenue(pole.operator_id, day(10), day(11), "UTC"))
        assert [(row.day.day, row.sessions) for row in in_utc] == [(10, 2)]

    def test_the_end_is_exclusive_and_sites_and_operators_are_apart(self, pole: Station) -> None:
        charge(pole, "2026-11-10 10:00", "2026-11-10 11:00")
        other = world.station(world.site(world.operator()))
        publish(other, world.price_list())
        charge(other, "2026-11-10 10:00", "2026-11-10 11:00")
        assert list(reports.revenue(pole.operator_id, day(9), day(10), BERLIN)) == []
        assert len(list(reports.revenue(pole.operator_id, day(10), day(11), BERLIN))) == 1
        assert list(reports.revenue(pole.operator_id, day(10), day(11), BERLIN, [other.site_id])) == []
        assert len(list(reports.revenue(pole.operator_id, day(10), day(11), BERLIN, [pole.site_id]))) == 1

    def test_what_is_held_or_running_is_not_in_it(self, pole: Station) -> None:
        held = world.session(pole, review=["jump"])
        settlement.settle(held.pk, now=FIRST_OF_DECEMBER)
        world.session(pole, ended=False)
        assert list(reports.revenue(pole.operator_id, day(1), day(30), BERLIN)) == []

    def test_the_sum_of_the_report_is_the_sum_of_the_books(self, pole: Station) -> None:
        for number in range(1, 29):
            charge(pole, f"2026-11-{number:02} 10:00", f"2026-11-{number:02} 11:00", wh=str(7919 * number))
        rows = list(reports.revenue(pole.operator_id, dt.date(2026, 1, 1), dt.date(2027, 1, 1), BERLIN))
        kinds = LedgerLeg.objects.order_by().values_list("account__kind").annotate(Sum("amount"))
        booked = dict(kinds)
        assert sum(row.excl_vat for row in rows) == booked["revenue_energy"]
        assert sum(row.vat for row in rows) == booked["vat_payable"]
        assert sum(row.incl_vat for row in rows) == -booked["guest_receivable"]
        assert sum(row.energy_wh for row in rows) == 7919 * sum(range(1, 29))

    def test_a_month_is_one_query(self, pole: Station) -> None:
        for number in range(1, 11):
            charge(pole, f"2026-11-{number:02} 10:00", f"2026-11-{number:02} 11:00")
        with CaptureQueriesContext(connection) as queries:
            assert len(list(reports.revenue(pole.operator_id, day(1), dt.date(2026, 12, 1), BERLIN))) == 10
        assert len(queries) == 1


@pytest.mark.django_db
class TestCsv:
    def test_rows_with_a_byte_order_mark(self, pole: Station) -> None:
        charge(pole, "2026-11-10 10:00", "2026-11-10 11:00", wh="31204")
        lines = list(reports.revenue_csv(pole.operator_id, day(1), day(30), BERLIN))
        assert "".join(lines) == (
            "\ufeffDay,Time zone,Site,Sessions,Energy (kWh),Currency,Net,VAT,Gross\r\n"
            "2026-11-10,Europe/Berlin,Harbour,1,31.204,EUR,12.85,2.44,15.29\r\n"
        )

    def test_semicolons_with_decimal_commas(self, pole: Station) -> None:
        charge(pole, "2026-11-10 10:00", "2026-11-10 11:00", wh="31204")
        lines = reports.revenue_csv(pole.operator_id, day(1), day(30), BERLIN, delimiter=";", bom=False)
        assert list(lines)[1] == "2026-11-10;Europe/Berlin;Harbour;1;31,204;EUR;12,85;2,44;15,29\r\n"

    @pytest.mark.parametrize("name", ["=1+1", "+49 40 1", "-x", "@home", "\t=1", "\r=1"])
    def test_a_text_is_never_a_formula(self, name: str) -> None:
        (line,) = reports.csv_lines([[name, Decimal("-1.50"), "-2"]], bom=False)
        assert next(csv.reader(io.StringIO(line, newline=""))) == [f"'{name}", "-1.50", "-2"]


@pytest.mark.django_db
class TestEnergyReport:
    def test_counts_each_day_in_the_sites_zone(self, pole: Station) -> None:
        world.session(pole, wh="31204", start="2026-10-31 22:00", end="2026-10-31 23:00", idle=600)  # 00:00 of the 1st
        world.session(pole, wh="1001", start="2026-11-30 21:00", end="2026-11-30 22:59")
        world.session(pole, wh="7", start="2026-11-30 21:00", end="2026-11-30 22:30", review=["jump"], idle=90)
        world.session(pole, wh="5000", start="2026-11-30 22:00", end="2026-11-30 23:00")  # December there
        world.session(pole, ended=False)
        days = reports.energy_by_day(pole.site, NOVEMBER)
        assert len(days) == 30
        assert days[0] == reports.EnergyDay(day(1), 1, Decimal(31204), 600, 0)
        assert days[29] == reports.EnergyDay(day(30), 2, Decimal(1008), 90, 1)
        assert sum(one.sessions for one in days) == 3

    def test_is_made_once(self, pole: Station) -> None:
        world.session(pole, wh="31204")
        first = reports.energy_report(pole.site, NOVEMBER, now=FIRST_OF_DECEMBER)
        world.session(pole, wh="1")
        again = reports.energy_report(pole.site, NOVEMBER, now=world.at("2026-12-02 04:10"))
        assert ReportRun.objects.get() == again
        assert (again.digest, again.made_at, again.state) == (first.digest, FIRST_OF_DECEMBER, "ready")
        assert again.facts == {"sessions": 1, "energy_wh": "31204", "idle_seconds": 0, "in_review": 0}

    def test_table_and_paper_say_the_same(self, pole: Station) -> None:
        world.session(pole, wh="31204", start="2026-11-10 17:00", end="2026-11-10 18:30", idle=1800)
        run = reports.energy_report(pole.site, NOVEMBER, now=FIRST_OF_DECEMBER)
        table = list(csv.reader(io.StringIO(run.csv.removeprefix("\ufeff"))))
        assert table[0] == ["Day", "Time zone", "Site", "Sessions", "Energy (kWh)", "Idle (min)", "In review"]
        assert table[10] == ["2026-11-10", BERLIN, "Harbour", "1", "31.204", "30.0", "0"]
        assert len(table) == 31
        with run.pdf.open("rb") as file:
            text = " ".join(" ".join(page.extract_text() for page in PdfReader(file).pages).split())
        for part in ("Energy report", "Harbour", "November 2026", BERLIN, "31.204 kWh", "30 min", "1 Dec 2026"):
            assert part in text, part

    def test_due_are_sites_where_cars_charged_last_month(self, pole: Station) -> None:
        world.site(pole.operator, name="Empty")
        assert reports.sites_to_report(FIRST_OF_DECEMBER) == []
        world.session(pole)
        assert reports.sites_to_report(FIRST_OF_DECEMBER) == [(pole.site_id, NOVEMBER)]
        reports.energy_report(pole.site, NOVEMBER, now=FIRST_OF_DECEMBER)
        assert reports.sites_to_report(FIRST_OF_DECEMBER) == []
