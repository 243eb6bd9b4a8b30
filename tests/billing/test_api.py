"""Money over the REST API: tariffs as OCPI objects, prices tried out, documents and reports."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from accounts.models import Driver, Operator
from accounts.roles import Role
from billing import documents, invoicing, reports
from billing.models import BillingAccount, Document, Tariff
from billing.payers import ensure_account
from stations.models import Station
from tests.billing import world
from tests.people import Program
from tests.sessions import scene

TARIFFS = "/api/v1/tariffs/"
OCPI = {
    "country_code": "DE",
    "party_id": "NLI",
    "id": "quay-1",
    "currency": "EUR",
    "tax_included": "YES",
    "tariff_alt_text": [{"language": "en", "text": "Quay"}],
    "elements": [
        {"price_components": [{"type": "ENERGY", "price": 0.5932, "vat": 19.0, "step_size": 1}]},
        {"price_components": [{"type": "FLAT", "price": 1.5, "vat": 19.0, "step_size": 1}]},
    ],
    "last_updated": "2026-01-01T00:00:00Z",
}
SESSION = {
    "start_date_time": "2026-11-10T17:00:00Z",
    "end_date_time": "2026-11-10T18:00:00Z",
    "charging_periods": [
        {
            "start_date_time": "2026-11-10T17:00:00Z",
            "dimensions": [{"type": "ENERGY", "volume": 31.204}, {"type": "TIME", "volume": 1.0}],
        }
    ],
}


@pytest.fixture
def pole(tenant: Operator) -> Station:
    scene.publish(tenant)
    return scene.station(tenant)


@pytest.mark.django_db
class TestTariffs:
    def test_publish_read_and_retire(self, tenant: Operator, program: Program) -> None:
        client = program()
        site = world.site(tenant)
        body = OCPI | {"voltyard": {"applies_to": {"sites": [str(site.uuid)]}, "idle_grace_seconds": 600}}
        made = client.post(TARIFFS, body)
        assert made.status_code == 201
        shape = made.json()
        row = Tariff.objects.get()
        assert shape == {
            "id": str(row.uuid),
            "code": "quay-1",
            "version": 1,
            "name": "Quay",
            "currency": "EUR",
            "valid_from": shape["valid_from"],
            "valid_to": None,
            "retired_at": None,
            "created_at": shape["created_at"],
            "created_by": row.created_by,
            "tariff": OCPI | {"voltyard": {**body["voltyard"], "vat_category": "standard"}},
            "warnings": [],
        }
        assert client.get(f"{TARIFFS}{row.uuid}/").json() == shape
        assert client.get(TARIFFS).json()["results"] == [shape]
        assert client.delete(f"{TARIFFS}{row.uuid}/").status_code == 204
        assert client.get(TARIFFS).json()["results"] == []
        assert client.get(TARIFFS, {"retired": "true"}).json()["results"][0]["id"] == shape["id"]
        assert client.get(f"{TARIFFS}{row.uuid}/").json()["retired_at"] is not None

    def test_the_same_id_is_the_next_version(self, tenant: Operator, program: Program) -> None:
        client = program()
        first = client.post(TARIFFS, OCPI).json()
        second = client.post(TARIFFS, OCPI).json()
        assert (second["version"], second["code"]) == (2, "quay-1")
        assert client.get(f"{TARIFFS}{first['id']}/").json()["valid_to"] == second["valid_from"]
        assert [row["version"] for row in client.get(TARIFFS, {"code": "quay-1"}).json()["results"]] == [2, 1]

    def test_once_per_idempotency_key(self, tenant: Operator, program: Program) -> None:
        client = program()
        first = client.post(TARIFFS, OCPI, headers={"Idempotency-Key": "k1"})
        again = client.post(TARIFFS, OCPI, headers={"Idempotency-Key": "k1"})
        assert (again.status_code, again.content) == (201, first.content)
        assert Tariff.objects.count() == 1
        other = client.post(TARIFFS, OCPI | {"id": "other"}, headers={"Idempotency-Key": "k1"})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")

    def test_what_looks_wrong_is_told(self, tenant: Operator, program: Program) -> None:
        elements = [OCPI["elements"][0], OCPI["elements"][0]]  # type: ignore[index]
        warnings = program().post(TARIFFS, OCPI | {"elements": elements}).json()["warnings"]
        assert [(one["code"], one["field"]) for one in warnings] == [
            ("never_applies", "elements[1].price_components[0]")
        ]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"currency": "XYZ"}, "currency"),
            ({"elements": []}, "elements"),
            (
                {"elements": [{"price_components": [{"type": "ENERGY", "price": "dear"}]}]},
                "elements[0].price_components[0].price",
            ),
            (
                {"voltyard": {"applies_to": {"sites": ["01a20000-0000-7000-8000-000000000000"]}}},
                "voltyard.applies_to.sites[0]",
            ),
            ({"voltyard": {"valid_from": "soon"}}, "voltyard.valid_from"),
        ],
    )
    def test_one_entry_per_wrong_member(
        self, tenant: Operator, program: Program, change: dict[str, Any], field: str
    ) -> None:
        answer = program().post(TARIFFS, OCPI | change)
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, [field])
        assert not Tariff.objects.exists()

    def test_places_of_another_operator_are_not_known(
        self, tenant: Operator, other_tenant: Operator, program: Program
    ) -> None:
        place = world.site(other_tenant)
        body = OCPI | {"voltyard": {"applies_to": {"sites": [str(place.uuid)]}}}
        assert program().post(TARIFFS, body).status_code == 400

    @pytest.mark.parametrize(
        ("role", "reads", "writes"),
        [
            (Role.OWNER, True, True),
            (Role.ADMIN, True, True),
            (Role.OPERATOR, True, True),
            (Role.FINANCE, True, True),
            (Role.VIEWER, True, False),
            (Role.TECHNICIAN, False, False),
        ],
    )
    def test_who(self, pole: Station, program: Program, role: Role, reads: bool, writes: bool) -> None:
        client, known = program(role), Tariff.objects.get()
        assert client.get(TARIFFS).status_code == (200 if reads else 403)
        assert client.get(f"{TARIFFS}{known.uuid}/").status_code == (200 if reads else 403)
        assert client.post(f"{TARIFFS}preview/", {}).status_code == (400 if reads else 403)
        assert client.post(TARIFFS, OCPI).status_code == (201 if writes else 403)
        assert client.delete(f"{TARIFFS}{known.uuid}/").status_code == (204 if writes else 403)

    def test_a_stranger(self, pole: Station, other_tenant: Operator, program: Program) -> None:
        client, known = program(Role.OWNER, other_tenant), Tariff.objects.get()
        assert client.get(TARIFFS).json()["results"] == []
        assert client.get(f"{TARIFFS}{known.uuid}/").status_code == 404
        assert client.delete(f"{TARIFFS}{known.uuid}/").status_code == 404


@pytest.mark.django_db
class TestPreview:
    def test_answers_as_the_command(self, tenant: Operator, program: Program, tmp_path: Any) -> None:
        for name, body in (("tariff", OCPI), ("session", SESSION)):
            (tmp_path / name).write_text(json.dumps(body))
        printed = io.StringIO()
        call_command(
            "rate",
            tariff=str(tmp_path / "tariff"),
            session=str(tmp_path / "session"),
            time_zone="Europe/Berlin",
            stdout=printed,
        )
        answer = program().post(
            f"{TARIFFS}preview/", {"tariff": OCPI, "session": SESSION, "time_zone": "Europe/Berlin"}
        )
        assert answer.status_code == 200
        assert answer.json() == json.loads(printed.getvalue())
        assert answer.json()["total_cost_rounded"]["incl_vat"] == "20.01"  # 31.204 × 0.5932 + 1.50
        assert not Tariff.objects.exists()

    @pytest.mark.parametrize(
        ("change", "fields"),
        [
            ({"time_zone": "Mars/Base"}, ["time_zone"]),
            ({"time_zone": 7}, ["time_zone"]),
            ({"session": {}}, ["start_date_time"]),
            ({"tariff": {"currency": "EUR"}}, ["elements"]),
            ({"more": 1}, ["more"]),
        ],
    )
    def test_wrong_bodies(self, tenant: Operator, program: Program, change: dict[str, Any], fields: list[str]) -> None:
        body = {"tariff": OCPI, "session": SESSION, "time_zone": "Europe/Berlin"} | change
        answer = program().post(f"{TARIFFS}preview/", body)
        assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, fields)

    def test_nothing_given(self, tenant: Operator, program: Program) -> None:
        fields = program().post(f"{TARIFFS}preview/", {}).json()["error"]["fields"]
        assert set(fields) == {"tariff", "session", "time_zone"}


@pytest.mark.django_db
class TestInvoices:
    URL = "/api/v1/invoices/"

    def invoice(self, pole: Station, driver: Driver) -> Document:
        account = ensure_account(driver)
        BillingAccount.objects.filter(pk=account.pk).update(mode="monthly")
        for day in (10, 12):
            scene.ended(pole, driver, start=f"2026-11-{day} 17:00", end=f"2026-11-{day} 18:00")
        [invoice] = invoicing.issue(account, dt.date(2026, 11, 1), by=None, at=world.at("2026-12-01 03:10"))
        return invoice

    def test_list_detail_and_pdf(self, pole: Station, driver: Driver, program: Program) -> None:
        invoice = self.invoice(pole, driver)
        client = program()
        [shape] = client.get(self.URL, {"kind": "invoice"}).json()["results"]
        assert shape == {
            "id": str(invoice.uuid),
            "kind": "invoice",
            "number": invoice.number,
            "state": "issued",
            "issued_at": "2026-12-01T03:10:00Z",
            "due_at": "2026-12-15T03:10:00Z",
            "period": "2026-11-01",
            "buyer": "Dana Driver",
            "currency": "EUR",
            "excl_vat": "25.70",
            "vat": "4.88",
            "incl_vat": "30.58",
            "corrects": None,
            "sha256": invoice.sha256,
        }
        detail = client.get(f"{self.URL}{invoice.uuid}/").json()
        assert {name: detail[name] for name in shape} == shape
        assert [(e["excl_vat"], e["vat"], e["incl_vat"]) for e in detail["sessions"]] == [
            ("12.85", "2.44", "15.29")
        ] * 2
        assert {e["session"] for e in detail["sessions"]} == {
            str(u) for u in invoice.sessions.values_list("uuid", flat=True)
        }
        pdf = client.get(f"{self.URL}{invoice.uuid}/pdf/", headers={"Accept": "application/pdf"})
        assert (pdf.status_code, pdf["Content-Type"]) == (200, "application/pdf")
        invoice.refresh_from_db()
        assert pdf.content == documents.pdf_of(invoice)

    def test_filters(self, pole: Station, driver: Driver, program: Program) -> None:
        invoice = self.invoice(pole, driver)
        client = program()

        def found(**wanted: str) -> set[str]:
            return {row["kind"] for row in client.get(self.URL, wanted).json()["results"]}

        assert found() == {"invoice", "charging_record"}
        assert found(number=invoice.number.lower()) == found(period="2026-11-01") == {"invoice"}
        session = str(invoice.sessions.first().uuid)  # type: ignore[union-attr]
        assert len(client.get(self.URL, {"session": session}).json()["results"]) == 2
        assert found(**{"from": "2026-12-01T00:00:00Z"}) == {"invoice"}
        assert found(to="2026-11-01T00:00:00Z") == set()
        assert client.get(self.URL, {"kind": "letter"}).status_code == 400

    def test_who(self, pole: Station, driver: Driver, other_tenant: Operator, program: Program) -> None:
        invoice = self.invoice(pole, driver)
        viewer, technician, stranger = program(Role.VIEWER), program(Role.TECHNICIAN), program(Role.OWNER, other_tenant)
        assert viewer.get(f"{self.URL}{invoice.uuid}/").json()["buyer"] is None
        assert viewer.get(f"{self.URL}{invoice.uuid}/pdf/").status_code == 403
        for path in ("", f"{invoice.uuid}/", f"{invoice.uuid}/pdf/"):
            assert technician.get(self.URL + path).status_code == 403
        assert stranger.get(self.URL).json()["results"] == []
        for path in (f"{invoice.uuid}/", f"{invoice.uuid}/pdf/"):
            assert stranger.get(self.URL + path).status_code == 404


@pytest.mark.django_db
class TestReports:
    URL = "/api/v1/reports/"

    def test_list_detail_and_files(self, pole: Station, other_tenant: Operator, program: Program) -> None:
        scene.ended(pole, start="2026-10-10 17:00", end="2026-10-10 18:00", idle=600)
        run = reports.energy_report(pole.site, dt.date(2026, 10, 1), now=scene.ENDED)
        client = program(Role.VIEWER)
        [shape] = client.get(self.URL, {"site": str(pole.site.uuid), "period": "2026-10-01"}).json()["results"]
        assert shape == {
            "id": str(run.uuid),
            "kind": "energy",
            "site": str(pole.site.uuid),
            "period": "2026-10-01",
            "state": "ready",
            "facts": {"sessions": 1, "energy_wh": "31204", "idle_seconds": 600, "in_review": 0},
            "digest": run.digest,
            "made_at": "2026-11-10T18:05:00Z",
        }
        assert client.get(f"{self.URL}{run.uuid}/").json() == shape
        table = client.get(f"{self.URL}{run.uuid}/csv/", headers={"Accept": "text/csv"})
        assert table.content.decode() == run.csv
        assert client.get(f"{self.URL}{run.uuid}/pdf/", headers={"Accept": "application/pdf"}).content.startswith(
            b"%PDF"
        )
        stranger = program(Role.OWNER, other_tenant)
        assert stranger.get(self.URL).json()["results"] == []
        for path in ("", "csv/", "pdf/"):
            assert stranger.get(f"{self.URL}{run.uuid}/{path}").status_code == 404
            assert program(Role.TECHNICIAN).get(f"{self.URL}{run.uuid}/{path}").status_code == 403
