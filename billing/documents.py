"""Documents as PDF (ISO 19005-3, PDF/A-3b), made from their frozen text alone, kept once, sent by mail."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typst
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from accounts import mail
from billing import wording
from billing.models import Document
from billing.money import from_minor
from stations import display

TEMPLATES = Path(settings.BASE_DIR) / "templates" / "documents"
# Older ones are made when somebody asks for them.
RENDER_WITHIN = dt.timedelta(days=3)
# Younger ones are left to the task that their issue has started.
PATIENCE = dt.timedelta(minutes=1)
log = logging.getLogger("voltyard.documents")


def render(document: Document) -> bytes:
    """Return a document as PDF. The same document gives the same bytes."""
    body = json.loads(document.body)
    zone = ZoneInfo(body["sessions"][0]["time_zone"] if len(body["sessions"]) == 1 else body["time_zone"])
    with translation.override(body["language"]), timezone.override(zone):
        data = _paper(body)
    return compile_pdf("document.typ", data, at=document.issued_at)


def compile_pdf(template: str, data: Mapping[str, Any], *, at: dt.datetime) -> bytes:
    """Set a template of ``templates/documents`` with its data as PDF/A-3b.

    The fonts that come with the compiler make the same bytes everywhere. A name in letters they lack is tried with
    the machine's own fonts; what no font has cannot be archived as PDF/A and becomes a plain PDF.
    """
    arguments: dict[str, Any] = {
        "root": str(TEMPLATES),
        "sys_inputs": {"data": json.dumps(data, ensure_ascii=False)},
        "timestamp": int(at.timestamp()),
    }
    path = str(TEMPLATES / template)
    for own_fonts_only in (True, False):
        try:
            return bytes(typst.compile(path, pdf_standards=["a-3b"], ignore_system_fonts=own_fonts_only, **arguments))
        except typst.TypstError as error:
            log.warning("%s cannot be archived as it is: %s", template, error.message)
    return bytes(typst.compile(path, **arguments))


def pdf_of(document: Document) -> bytes:
    """Return the stored PDF; the first time it is made and stored. Raises ValueError where the file was changed."""
    if not document.pdf:
        store(document)
    with document.pdf.open("rb") as file:
        content: bytes = file.read()
    if hashlib.sha256(content).hexdigest() != document.pdf_sha256:
        raise ValueError(f"the file of {document.number} was changed")
    return content


def store(document: Document) -> None:
    """Make the PDF of a document and keep it; where somebody else was first, theirs stays."""
    content = render(document)
    name = f"documents/{document.operator_id}/{document.year}/{document.number}-{document.uuid}.pdf"
    kept = default_storage.save(name, ContentFile(content))
    digest = hashlib.sha256(content).hexdigest()
    if not Document.objects.filter(pk=document.pk, pdf="").update(pdf=kept, pdf_sha256=digest):
        default_storage.delete(kept)
    document.refresh_from_db(fields=["pdf", "pdf_sha256"])


def unrendered(now: dt.datetime, limit: int) -> list[int]:
    """Return keys of recent documents without a PDF, oldest first."""
    recent = Document.objects.filter(pdf="", issued_at__gt=now - RENDER_WITHIN, issued_at__lt=now - PATIENCE)
    return list(recent.order_by("issued_at").values_list("pk", flat=True)[:limit])


def send(document: Document, *, at: dt.datetime) -> bool:
    """Mail a receipt or invoice to its payer once; return whether a letter left now."""
    account = document.account
    if document.kind == Document.Kind.CHARGING_RECORD or account is None:
        return False
    if not account.email or not account.send_documents:
        return False
    if not Document.objects.filter(pk=document.pk, mailed_at=None).update(mailed_at=at):
        return False
    body = json.loads(document.body)
    with translation.override(document.language):
        letter = mail.write(
            "document",
            account.email,
            subject=f"{_title(document.kind)} {document.number} · {body['brand']}",
            title=_title(document.kind),
            number=document.number,
            brand=body["brand"],
            seller=body["seller"]["name"],
            total=_money(body["totals"]["incl_vat"], document.currency),
            due=_day(body["due_date"]) if body["due_date"] else "",
        )
    letter.attach(f"{document.number}.pdf", pdf_of(document), "application/pdf")
    if mail.post(letter):
        return True
    Document.objects.filter(pk=document.pk).update(mailed_at=None)
    return False


def _title(kind: str) -> str:
    titles = {
        Document.Kind.RECEIPT: _("Receipt"),
        Document.Kind.INVOICE: _("Invoice"),
        Document.Kind.CHARGING_RECORD: _("Charging record, not an invoice"),
        Document.Kind.CREDIT_NOTE: _("Credit note"),
    }
    return titles[Document.Kind(kind)]


def _paper(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template prints: texts and numbers in the reader's language."""
    currency, seller = body["currency"], body["seller"]
    single = body["sessions"][0] if body["kind"] != Document.Kind.INVOICE else None
    facts = [(_("Number"), body["number"]), (_("Date"), _day(body["issue_date"]))]
    if body["period"]:
        facts.append((_("Month"), display.month(dt.date.fromisoformat(body["period"]))))
    if body["due_date"]:
        facts.append((_("Please pay by"), _day(body["due_date"])))
    columns, rows = _lines(body, single) if single else _sessions(body)
    return {
        "lang": body["language"],
        "title": _title(body["kind"]),
        "number": body["number"],
        "brand": body["brand"],
        "issuer": seller["name"],
        "buyer": _buyer(body["buyer"]),
        "facts": facts,
        "session": _session(single) if single else None,
        "columns": columns,
        "rows": rows,
        "vat": {
            "titles": [_("VAT"), _("Net"), _("VAT amount"), _("Gross")],
            "rows": [
                [
                    _("none") if tax["rate"] is None else f"{tax['rate']} % {tax['country']}",
                    *(_money(tax[side], currency) for side in ("excl_vat", "vat", "incl_vat")),
                ]
                for tax in body["vat"]
            ],
        },
        "total": {"label": _("Total"), "value": _money(body["totals"]["incl_vat"], currency)},
        "notes": _notes(body, single),
        "footer": [
            seller["name"],
            *_address(seller),
            *_vat_id(seller),
        ],
        "page": _("Page %(page)s of %(pages)s") % {"page": "%p", "pages": "%n"},
    }


def _buyer(buyer: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if buyer is None:
        return None
    lines = [*_address(buyer), *_vat_id(buyer)]
    return {"label": _("For"), "name": buyer["name"], "lines": lines or [buyer["email"]]}


def _address(party: Mapping[str, Any]) -> list[str]:
    country = display.locale().territories.get(party["country"], party["country"])
    lines = (party["street"], f"{party['postal_code']} {party['city']}".strip(), country)
    return [line for line in lines if line]


def _vat_id(party: Mapping[str, Any]) -> list[str]:
    return [_("VAT no. %(number)s") % {"number": party["vat_id"]}] if party["vat_id"] else []


def _session(told: Mapping[str, Any]) -> dict[str, Any]:
    site, station, tariff = told["site"], told["station"], told["tariff"]
    start, end = _at(told["started_at"]), _at(told["stopped_at"])
    plug = f"{told['evse']} {told['connector_type']}".strip() if told["evse"] else ""
    place = [
        (_("Site"), ", ".join(filter(None, (site["name"], site["address"], site["city"])))),
        (_("Station"), f"{station['name']} ({station['identity']})"),
        (_("Connector"), plug),
        (_("Start"), display.exact(start)),
        (_("End"), display.exact(end)),
        (_("Duration"), wording.duration(int((end - start).total_seconds()))),
        (_("Token"), told["token"]),
    ]
    meter = [
        (_("Meter at start"), _kwh(told["meter_start_wh"])),
        (_("Meter at end"), _kwh(told["meter_stop_wh"])),
        (_("Energy"), _kwh(told["energy_wh"])),
        (_("Meter number"), told["meter_serial"]),
        (_("Tariff"), f"{tariff['name']} ({tariff['version']})" if tariff else ""),
    ]
    return {"place": [pair for pair in place if pair[1]], "meter": [pair for pair in meter if pair[1]]}


def _column(title: str, align: str, share: int) -> dict[str, Any]:
    return {"title": title, "align": align, "share": share}


def _amount_title(body: Mapping[str, Any]) -> str:
    return _("Amount incl. VAT") if body["prices_include_vat"] else _("Amount excl. VAT")


def _lines(body: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    currency = body["currency"]
    side = "gross_minor" if body["prices_include_vat"] else "net_minor"
    columns = [
        _column(_("What"), "left", 1),
        _column(_("Quantity"), "right", 0),
        _column(_("Price"), "right", 0),
        _column(_amount_title(body), "right", 0),
    ]
    rows = [
        [
            {
                "main": wording.line_name(line),
                "sub": ", ".join(filter(None, (wording.line_span(line), wording.line_reason(line)))),
            },
            wording.line_quantity(line),
            wording.line_price(line, currency),
            display.money(from_minor(line[side], currency), currency),
        ]
        for line in told["lines"]
    ]
    return columns, rows


def _sessions(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    currency = body["currency"]
    side = "incl_vat" if body["prices_include_vat"] else "excl_vat"
    columns = [
        _column(_("Charged"), "left", 0),
        _column(_("Where"), "left", 1),
        _column(_("Token"), "left", 0),
        _column(_("Energy"), "right", 0),
        _column(_amount_title(body), "right", 0),
    ]
    rows = [
        [
            {
                "main": display.day(_at(told["stopped_at"])),
                "sub": "–".join(display.time_of_day(_at(told[edge])) for edge in ("started_at", "stopped_at")),
            },
            {
                "main": f"{told['site']['name']}, {told['station']['name']}",
                "sub": _("Charging record %(number)s") % {"number": told["record"]} if told["record"] else "",
            },
            told["token"],
            _kwh(told["energy_wh"]),
            _money(told[side], currency),
        ]
        for told in body["sessions"]
    ]
    return columns, rows


def _at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _day(text: str) -> str:
    return display.day(dt.date.fromisoformat(text))


def _money(amount: str, currency: str) -> str:
    return display.money(Decimal(amount), currency)


def _kwh(wh: str | None) -> str:
    return "" if wh is None else str(display.energy_exact(Decimal(wh)))


def _notes(body: Mapping[str, Any], single: Mapping[str, Any] | None) -> list[str]:
    notes: list[str] = []
    if single:
        notes += filter(None, (wording.warning_text(warning["code"]) for warning in single["warnings"]))
        notes.append(_("Session %(id)s") % {"id": single["id"]})
    else:
        energy = sum((Decimal(told["energy_wh"]) for told in body["sessions"]), Decimal(0))
        notes.append(
            _("%(count)s sessions, %(energy)s") % {"count": len(body["sessions"]), "energy": _kwh(str(energy))}
        )
    if body["kind"] == Document.Kind.CHARGING_RECORD:
        notes.append(_("This session will be on the monthly invoice."))
    return notes
