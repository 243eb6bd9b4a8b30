"""The REST API about money: sessions with their cost, tariffs, documents, reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import django_filters
from django.core.files.storage import default_storage
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import Endpoint
from accounts.roles import Ability, may
from billing import documents, preview, tariff_object, tariffs
from billing.costs import costs_of, told
from billing.downloads import download
from billing.models import Document, ReportRun, Tariff
from billing.money import from_minor
from billing.snapshot import FieldError
from sessions import api as sessions_api
from sessions.api import Costs
from sessions.models import ChargingSession
from stations.api import Retirable

# --- sessions ----------------------------------------------------------------------------------------


class SessionCosts(sessions_api.SessionRows):
    """Sessions with what they cost."""

    def costs(self, rows: list[ChargingSession]) -> Costs:
        """Return the final prices; none for a role without money."""
        if not may(self.actor, Ability.SEE_MONEY):
            return {}
        ended = [row for row in rows if not row.is_open]
        return {key: told(cost) for key, cost in costs_of(ended, now=timezone.now()).items() if cost.is_final}


class Sessions(SessionCosts, sessions_api.Sessions):
    """All sessions."""

    queryset = ChargingSession.objects.select_related("station", "evse", "connector", "site")


class OneSession(SessionCosts, sessions_api.OneSession):
    """One session."""

    queryset = ChargingSession.objects.select_related("station", "evse", "connector", "site")


# --- tariffs -----------------------------------------------------------------------------------------


class ProblemOut(serializers.Serializer[Any]):
    """Something that can be priced, but not as its author will have meant it."""

    code = serializers.CharField()
    field = serializers.CharField()
    text = serializers.CharField()


class TariffOut(serializers.Serializer[Tariff]):
    """A version of a tariff. ``tariff`` is the OCPI object as it was given, our additions in ``voltyard``."""

    id = serializers.UUIDField()
    code = serializers.CharField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    currency = serializers.CharField()
    valid_from = serializers.DateTimeField()
    valid_to = serializers.DateTimeField(allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    tariff = serializers.JSONField()
    warnings = ProblemOut(many=True)


class TariffFilter(Retirable):
    """Filters of the tariffs; those that are retired are left out unless asked for."""

    code = django_filters.CharFilter()
    name = django_filters.CharFilter(lookup_expr="icontains")
    currency = django_filters.CharFilter(lookup_expr="iexact")


_TARIFF = {"application/json": {"type": "object", "description": "OCPI Tariff object, 2.2.1 or 2.3.0"}}
_PREVIEW = {
    "application/json": {
        "type": "object",
        "required": ["tariff", "session", "time_zone"],
        "properties": {
            "tariff": {"type": "object", "description": "OCPI Tariff object"},
            "session": {"type": "object", "description": "shaped as an OCPI CDR"},
            "time_zone": {"type": "string", "description": "IANA zone of the place of charging"},
        },
    }
}


class Tariffs(Endpoint):
    """All versions of all tariffs."""

    abilities = {"GET": Ability.SEE_MONEY, "POST": Ability.EDIT_TARIFFS}
    queryset = Tariff.objects.all()
    filterset_class = TariffFilter
    serializer_class = TariffOut

    @extend_schema(responses=TariffOut(many=True))
    def get(self, request: Request) -> Response:
        """List tariffs, the newest version first."""
        return self.page(self.get_queryset(), _tariffs)

    @extend_schema(request=_TARIFF, responses={201: TariffOut})
    def post(self, request: Request) -> Response:
        """Publish an OCPI Tariff object; with the ``id`` of an earlier one it becomes its next version."""
        try:
            made = tariffs.publish(self.actor, dict(request.data), by=self.actor, at=timezone.now())
        except FieldError as error:
            raise ValidationError({error.field: [error.text]}) from None
        return Response(_tariffs([made])[0], status=201)


class OneTariff(Endpoint):
    """One version of a tariff."""

    abilities = {"GET": Ability.SEE_MONEY, "DELETE": Ability.EDIT_TARIFFS}
    queryset = Tariff.objects.all()
    serializer_class = TariffOut

    @extend_schema(responses=TariffOut)
    def get(self, request: Request, id: str) -> Response:
        """Return a version."""
        return Response(_tariffs([self.get_object()])[0])

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: str) -> Response:
        """Retire a version: sessions that began with it keep it."""
        tariffs.retire(self.get_object(), by=self.actor, at=timezone.now())
        return Response(status=204)


class Preview(Endpoint):
    """What a session would cost."""

    abilities = {"POST": Ability.SEE_MONEY}
    queryset = Tariff.objects.all()
    serializer_class = TariffOut

    @extend_schema(request=_PREVIEW, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        """Price an OCPI-shaped session with an OCPI tariff; nothing is stored."""
        body = dict(request.data)
        wrong = {name: ["Unknown field."] for name in body.keys() - {"tariff", "session", "time_zone"}}
        wrong |= {name: ["This field is required."] for name in ("tariff", "session", "time_zone") if name not in body}
        if "time_zone" in body and not isinstance(body["time_zone"], str):
            wrong["time_zone"] = ["An IANA time zone is required."]
        if wrong:
            raise ValidationError(wrong)
        try:
            return Response(preview.price(body["tariff"], body["session"], body["time_zone"]))
        except FieldError as error:
            raise ValidationError({error.field: [error.text]}) from None


def _tariffs(rows: Iterable[Tariff]) -> list[dict[str, Any]]:
    copied = ("code", "version", "name", "currency", "valid_from", "valid_to", "retired_at", "created_at", "created_by")
    shapes = [
        {name: getattr(row, name) for name in copied}
        | {
            "id": row.uuid,
            "tariff": {**_numbers(row.ocpi), "voltyard": _numbers(row.voltyard)},
            "warnings": tariff_object.problems(tariffs.snapshot_of(row)),
        }
        for row in rows
    ]
    return [dict(shape) for shape in TariffOut(shapes, many=True).data]  # type: ignore[arg-type]


def _numbers(value: Any) -> Any:
    """Return JSON with its prices as numbers, as OCPI has them, where a reader gets the same digits back."""
    if isinstance(value, Decimal):
        number = float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if isinstance(value, Mapping):
        return {name: _numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    return value


# --- documents ---------------------------------------------------------------------------------------


class InvoiceOut(serializers.Serializer[Document]):
    """A receipt, invoice, charging record or credit note as it was issued."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=Document.Kind.choices)
    number = serializers.CharField()
    state = serializers.ChoiceField(choices=Document.State.choices)
    issued_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField(allow_null=True)
    period = serializers.DateField(allow_null=True)
    buyer = serializers.CharField(allow_null=True)
    currency = serializers.CharField()
    excl_vat = serializers.CharField()
    vat = serializers.CharField()
    incl_vat = serializers.CharField()
    corrects = serializers.UUIDField(allow_null=True)
    sha256 = serializers.CharField()


class InvoiceEntryOut(serializers.Serializer[Any]):
    """A session on a document, with its share of the document's amounts."""

    session = serializers.UUIDField()
    excl_vat = serializers.CharField()
    vat = serializers.CharField()
    incl_vat = serializers.CharField()


class InvoiceDetailOut(InvoiceOut):
    """A document with its sessions."""

    sessions = InvoiceEntryOut(many=True)


class InvoiceFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the documents; ``from`` and ``to`` are about their issue."""

    kind = django_filters.ChoiceFilter(choices=Document.Kind.choices)
    state = django_filters.ChoiceFilter(choices=Document.State.choices)
    number = django_filters.CharFilter(lookup_expr="iexact")
    session = django_filters.UUIDFilter("sessions__uuid")
    period = django_filters.DateFilter()


InvoiceFilter.base_filters["from"] = django_filters.IsoDateTimeFilter("issued_at", lookup_expr="gte")
InvoiceFilter.base_filters["to"] = django_filters.IsoDateTimeFilter("issued_at", lookup_expr="lt")


class Invoices(Endpoint):
    """All documents."""

    abilities = {"GET": Ability.SEE_MONEY}
    queryset = Document.objects.select_related("account", "corrects")
    filterset_class = InvoiceFilter
    serializer_class = InvoiceOut

    @extend_schema(responses=InvoiceOut(many=True))
    def get(self, request: Request) -> Response:
        """List documents, the newest first."""
        sees_people = may(self.actor, Ability.SEE_PEOPLE)
        return self.page(self.get_queryset(), lambda rows: [_invoice(row, sees_people=sees_people) for row in rows])


class OneInvoice(Endpoint):
    """One document."""

    abilities = {"GET": Ability.SEE_MONEY}
    queryset = Document.objects.select_related("account", "corrects")
    serializer_class = InvoiceDetailOut

    @extend_schema(responses=InvoiceDetailOut)
    def get(self, request: Request, id: str) -> Response:
        """Return a document with its sessions."""
        found = self.get_object()
        entries = found.entries.select_related("session").order_by("pk")
        shape = _invoice(found, sees_people=may(self.actor, Ability.SEE_PEOPLE))
        sessions = [{"session": entry.session.uuid, **_sides(entry, found.currency)} for entry in entries]
        return Response(shape | {"sessions": InvoiceEntryOut(sessions, many=True).data})


class AnyKind(BaseContentNegotiation):
    """A file is what it is, whatever the request would have liked."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first renderer: it writes errors only."""
        return renderers[0], renderers[0].media_type


class InvoicePdf(Endpoint):
    """The paper of one document."""

    abilities = {"GET": Ability.SEE_PEOPLE}
    queryset = Document.objects.all()
    serializer_class = InvoiceOut
    content_negotiation_class = AnyKind

    @extend_schema(responses={(200, "application/pdf"): OpenApiResponse(OpenApiTypes.BINARY)})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Return the PDF (ISO 19005-3)."""
        found = self.get_object()
        return download(documents.pdf_of(found), f"{found.number}.pdf", "application/pdf")


def _invoice(row: Document, *, sees_people: bool) -> dict[str, Any]:
    copied = ("kind", "number", "state", "issued_at", "due_at", "period", "currency", "sha256")
    shape = {name: getattr(row, name) for name in copied} | {
        "id": row.uuid,
        "buyer": row.account.name if row.account and sees_people else None,
        "corrects": row.corrects.uuid if row.corrects else None,
        **_sides(row, row.currency),
    }
    return dict(InvoiceOut(shape).data)  # type: ignore[arg-type]


def _sides(row: Any, currency: str) -> dict[str, str]:
    return {
        side: f"{from_minor(getattr(row, f'{side}_minor'), currency):f}" for side in ("excl_vat", "vat", "incl_vat")
    }


# --- reports -----------------------------------------------------------------------------------------


class ReportOut(serializers.Serializer[ReportRun]):
    """A report as it was made; ``digest`` is the SHA-256 of its table."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=ReportRun.Kind.choices)
    site = serializers.UUIDField()
    period = serializers.DateField()
    state = serializers.ChoiceField(choices=ReportRun.State.choices)
    facts = serializers.JSONField()
    digest = serializers.CharField()
    made_at = serializers.DateTimeField(allow_null=True)


class ReportFilter(django_filters.FilterSet):  # type: ignore[misc]
    """Filters of the reports; ``period`` is the first day of the month."""

    site = django_filters.UUIDFilter("site__uuid")
    period = django_filters.DateFilter()
    kind = django_filters.ChoiceFilter(choices=ReportRun.Kind.choices)


class ReportRows(Endpoint):
    """Addresses about reports."""

    abilities = {"GET": Ability.SEE_MONEY}
    queryset = ReportRun.objects.select_related("site")
    serializer_class: Any = ReportOut


class Reports(ReportRows):
    """All reports."""

    filterset_class = ReportFilter

    @extend_schema(responses=ReportOut(many=True))
    def get(self, request: Request) -> Response:
        """List reports, the newest first."""
        return self.page(self.get_queryset(), lambda rows: [_report(row) for row in rows])


class OneReport(ReportRows):
    """One report."""

    @extend_schema(responses=ReportOut)
    def get(self, request: Request, id: str) -> Response:
        """Return a report."""
        return Response(_report(self.get_object()))


class ReportFile(ReportRows):
    """The files of a report, which exist once it is ready."""

    queryset = ReportRun.objects.select_related("site").filter(state=ReportRun.State.READY)
    content_negotiation_class = AnyKind


class ReportCsv(ReportFile):
    """The table of a report."""

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Return the CSV (RFC 4180)."""
        found = self.get_object()
        return download(found.csv.encode(), f"{found.kind}-{found.period:%Y-%m}.csv", "text/csv; charset=utf-8")


class ReportPdf(ReportFile):
    """The paper of a report."""

    @extend_schema(responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    def get(self, request: Request, id: str) -> HttpResponse:
        """Return the PDF (ISO 19005-3)."""
        found = self.get_object()
        with default_storage.open(str(found.pdf)) as file:
            return download(file.read(), f"{found.kind}-{found.period:%Y-%m}.pdf", "application/pdf")


def _report(row: ReportRun) -> dict[str, Any]:
    copied = ("kind", "period", "state", "facts", "digest", "made_at")
    shape = {name: getattr(row, name) for name in copied} | {"id": row.uuid, "site": row.site.uuid}
    return dict(ReportOut(shape).data)  # type: ignore[arg-type]
