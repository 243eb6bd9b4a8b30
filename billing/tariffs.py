"""Which price list holds where and when; its versions; its frozen form."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts import audit
from accounts.audit import By
from accounts.models import Driver, uuid7
from accounts.scoping import Actor
from billing import tariff_object
from billing.models import SessionBill, Tariff, TariffAssignment, VatCategory
from billing.price_list import applicable
from billing.snapshot import Snapshot, TariffError
from sessions.models import ChargingSession
from stations.models import Site, Station
from stations.ocpp.batch import fetch, insert

Dimension = TariffAssignment.Dimension
State, Held = SessionBill.State, SessionBill.Held


def publish(actor: Actor, body: Mapping[str, Any], *, by: By, at: dt.datetime) -> Tariff:
    """Publish an OCPI Tariff object (2.2.1 or 2.3.0) with our additions in its member ``voltyard``; return the version.

    A tariff with the ``id`` of an earlier one becomes its next version and ends it. Without ``applies_to`` it holds
    for the whole operator. ``actor`` is who may know of the places named there. Raises FieldError with the path of the
    member at fault; nothing is stored then.
    """
    ocpi = dict(body)
    own = dict(tariff_object.mapping(ocpi.pop("voltyard", None) or {}, "voltyard"))
    if ocpi.get("tax_included") == "YES" and not own.keys() & {"vat_category", "vat_categories"}:
        # A price that includes VAT needs a rate to take it out again; a literal one still comes first.
        own["vat_category"] = VatCategory.STANDARD.value
    snapshot = tariff_object.parse({**ocpi, "voltyard": own})
    unknown = vat_categories(snapshot) - set(VatCategory.values)
    if unknown:
        raise TariffError("voltyard.vat_category", f"must be one of {', '.join(VatCategory.values)}")
    assignments = _assignments(actor, own.get("applies_to"))
    valid_from = _moment(own, "valid_from") or snapshot.valid_from or at
    valid_to = _moment(own, "valid_to") or snapshot.valid_to
    if valid_to is not None and valid_to <= valid_from:
        raise TariffError("voltyard.valid_to" if "valid_to" in own else "end_date_time", "must be after the start")
    code = snapshot.id or str(uuid7())
    with transaction.atomic():
        earlier = Tariff.objects.select_for_update().filter(operator_id=actor.operator_id, code=code)
        version = 1 + max((tariff.version for tariff in earlier), default=0)
        _end(earlier, valid_from, at=at)
        tariff = Tariff.objects.create(
            operator_id=actor.operator_id,
            code=code,
            version=version,
            name=_name(ocpi, own) or code,
            currency=snapshot.currency,
            ocpi=ocpi,
            voltyard=own,
            snapshot=snapshot.to_json(),
            digest=snapshot.digest(),
            rank=sum({assignment.dimension for assignment in assignments}),
            valid_from=valid_from,
            valid_to=valid_to,
            created_by=str(by or "Voltyard")[:160],
        )
        for assignment in assignments:
            assignment.tariff = tariff
        TariffAssignment.objects.bulk_create(assignments)
        audit.record(by, "tariff.published", tariff, code=tariff.code, version=version, digest=tariff.digest)
    return tariff


def retire(tariff: Tariff, *, by: By, at: dt.datetime) -> None:
    """Take a tariff out of use; sessions that began with it keep it."""
    with transaction.atomic():
        if Tariff.objects.filter(pk=tariff.pk, retired_at=None).update(retired_at=at):
            audit.record(by, "tariff.retired", tariff, code=tariff.code, version=tariff.version)
    tariff.refresh_from_db()


def freeze(session: ChargingSession, *, at: dt.datetime) -> SessionBill:
    """Give a session its bill with the tariff of its start, in the caller's transaction.

    A second call changes nothing, unless no tariff was found before: then the bill stays held, or takes the one that
    is found now.
    """
    known = fetch("SELECT snapshot_digest FROM billing_sessionbill WHERE session_id = %s", [session.pk], "x")
    if known:
        bill = SessionBill.objects.get(pk=session.pk)
        if bill.snapshot is None:
            with_tariff(session, bill, at=at).save()
        return bill
    bill = with_tariff(session, None, at=at)
    insert(bill)
    return bill


def with_tariff(session: ChargingSession, bill: SessionBill | None, *, at: dt.datetime) -> SessionBill:
    """Return the session's bill, made where there is none, with the tariff of its start; nothing is saved."""
    tariff = applicable(session)
    if bill is None:
        bill = SessionBill(session=session, operator_id=session.operator_id, frozen_at=at)
    if tariff is None:
        bill.state, bill.held_reason = State.HELD, Held.NO_TARIFF
    else:
        bill.state, bill.held_reason = State.OPEN, Held.NONE
        bill.tariff, bill.currency, bill.frozen_at = tariff, tariff.currency, at
        bill.snapshot, bill.snapshot_digest = tariff.snapshot, tariff.digest
    return bill


def snapshot_of(row: Tariff | SessionBill) -> Snapshot:
    """Return the frozen tariff of a version or a bill in the form that pricing reads."""
    digest = row.digest if isinstance(row, Tariff) else row.snapshot_digest
    found = _read.get(digest)
    if found is None:
        found = Snapshot.from_json(row.snapshot or {})
        if found.digest() != digest:
            raise ValueError(f"the snapshot of {row} is not the one that was frozen")
        if len(_read) >= _READ_LIMIT:
            _read.clear()
        _read[digest] = found
    return found


def vat_categories(snapshot: Snapshot) -> set[str]:
    """Return the VAT categories whose rate a snapshot leaves to the day a session ends."""
    return {
        component.vat_category
        for element in snapshot.elements
        for component in element.components
        if component.vat is None and component.vat_category is not None
    }


_READ_LIMIT = 512
_read: dict[str, Snapshot] = {}


def _end(earlier: Iterable[Tariff], when: dt.datetime, *, at: dt.datetime) -> None:
    """End the earlier versions where the next one begins; those that would begin later are retired."""
    for tariff in earlier:
        if tariff.valid_from >= when:
            Tariff.objects.filter(pk=tariff.pk, retired_at=None).update(retired_at=at)
        elif tariff.valid_to is None or tariff.valid_to > when:
            Tariff.objects.filter(pk=tariff.pk).update(valid_to=when)


def _moment(own: Mapping[str, Any], name: str) -> dt.datetime | None:
    return None if own.get(name) is None else tariff_object.moment(own[name], f"voltyard.{name}")


def _name(ocpi: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    texts = ocpi.get("tariff_alt_text")
    first = texts[0] if isinstance(texts, list) and texts else {}
    told = own.get("name") or (first.get("text") if isinstance(first, Mapping) else "")
    return str(told or "")[:120]


def _assignments(actor: Actor, applies_to: Any) -> list[TariffAssignment]:
    """Turn ``applies_to`` into rows; what the actor may not know of is an error like what does not exist."""
    if applies_to is None:
        return []
    rows: list[TariffAssignment] = []
    for name, values in tariff_object.mapping(applies_to, "voltyard.applies_to").items():
        field = f"voltyard.applies_to.{name}"
        if name not in _WHERE:
            raise TariffError(field, f"is not one of {', '.join(_WHERE)}")
        if not isinstance(values, list):
            raise TariffError(field, "must be a list")
        for number, value in enumerate(values):
            if not isinstance(value, str) or not value.strip():
                raise TariffError(f"{field}[{number}]", "must be text")
            row = _WHERE[name](actor, value.strip())
            if row is None:
                raise TariffError(f"{field}[{number}]", "is not known here")
            rows.append(row)
    return rows


def _site(actor: Actor, value: str) -> TariffAssignment | None:
    site = Site.objects.visible_to(actor).filter(uuid=_uuid(value)).first()
    return TariffAssignment(dimension=Dimension.SITE, site=site) if site else None


def _station(actor: Actor, value: str) -> TariffAssignment | None:
    known = Station.objects.visible_to(actor)
    station = known.filter(Q(identity=value) | Q(uuid=_uuid(value))).first()
    return TariffAssignment(dimension=Dimension.STATION, station=station) if station else None


def _driver(actor: Actor, value: str) -> TariffAssignment | None:
    driver = Driver.objects.visible_to(actor).filter(uuid=_uuid(value)).first()
    return TariffAssignment(dimension=Dimension.DRIVER, driver=driver) if driver else None


def _connector_type(_actor: Actor, value: str) -> TariffAssignment | None:
    return TariffAssignment(dimension=Dimension.CONNECTOR_TYPE, text=value[:60])


def _group(_actor: Actor, value: str) -> TariffAssignment | None:
    return TariffAssignment(dimension=Dimension.GROUP, text=value[:60])


_WHERE: dict[str, Callable[[Actor, str], TariffAssignment | None]] = {
    "sites": _site,
    "stations": _station,
    "connector_types": _connector_type,
    "groups": _group,
    "drivers": _driver,
}


def _uuid(value: str) -> uuid.UUID:
    try:
        return uuid.UUID(value)
    except ValueError:
        return uuid.UUID(int=0)  # nobody has it
