"""An operator with rows of every kind, as many of each as asked; every text of theirs holds a mark.

Tests that walk over all pages start here: a new kind of row gets its line in `Everything.of`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.db import models

from accounts import audit
from accounts.api_keys import create_api_key
from accounts.models import ApiKey, AuditEntry, Driver, IdToken, Invitation, Membership, Operator
from accounts.roles import Role
from billing import reports, settlement, tariffs
from billing.models import Document, ReportRun, Tariff
from billing.payers import ensure_account
from billing.sellers import ensure_legal_entity
from sessions.facts import Activity, Segment, SessionFacts
from sessions.models import ChargingSession, MeterReading
from stations.models import Alert, Command, Frame, RefusedConnection, Setting, Site, Station, StationEvent
from tests.factories import make_driver, make_member, make_person, make_site, make_station

HOUR = dt.timedelta(hours=1)


@dataclasses.dataclass
class Everything:
    """Rows of one operator, newest last. ``owner`` acts; ``driver`` is a person who logs in."""

    operator: Operator
    mark: str
    now: dt.datetime
    owner: Membership
    driver: Driver
    sites: list[Site] = dataclasses.field(default_factory=list)
    stations: list[Station] = dataclasses.field(default_factory=list)
    members: list[Membership] = dataclasses.field(default_factory=list)
    invitations: list[Invitation] = dataclasses.field(default_factory=list)
    drivers: list[Driver] = dataclasses.field(default_factory=list)
    tokens: list[IdToken] = dataclasses.field(default_factory=list)
    api_keys: list[ApiKey] = dataclasses.field(default_factory=list)
    commands: list[Command] = dataclasses.field(default_factory=list)
    sessions: list[ChargingSession] = dataclasses.field(default_factory=list)
    alerts: list[Alert] = dataclasses.field(default_factory=list)
    tariffs: list[Tariff] = dataclasses.field(default_factory=list)
    reports: list[ReportRun] = dataclasses.field(default_factory=list)
    refused: list[RefusedConnection] = dataclasses.field(default_factory=list)
    audit: list[AuditEntry] = dataclasses.field(default_factory=list)
    documents: list[Document] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, operator: Operator, mark: str, *, many: int = 1, now: dt.datetime | None = None) -> Everything:
        """Make ``many`` of each kind. ``mark`` is up to eight letters or digits."""
        now = now or dt.datetime.now(dt.UTC)
        owner = make_member(operator, Role.OWNER, make_person(f"{mark}-owner@example.com", name=f"{mark} Owner"))
        person = make_person(f"{mark}-driver@example.com", name=f"{mark} Driver")
        driver = make_driver(operator, user=person, name=f"{mark} Driver", email=person.email)
        ensure_legal_entity(operator)
        ensure_account(driver)
        one = cls(operator, mark, now, owner, driver)
        one._price()
        for number in range(many):
            one._people(number)
            one._places(number)
            one._talk(number)
            one._charge(number)
            one._office(number)
        ended = [session for session in one.sessions if not session.is_open]
        settlement.settle_many({session.pk: now for session in ended})
        one.documents = list(Document.objects.filter(operator=operator).order_by("pk"))
        one.audit = list(AuditEntry.objects.filter(operator=operator).order_by("pk"))
        return one

    def _price(self) -> None:
        for number in range(2):
            body = {
                "country_code": "DE",
                "party_id": "XYZ",
                "id": f"{self.mark}-{number}",
                "currency": self.operator.currency,
                "tax_included": "YES",
                "tariff_alt_text": [{"language": "en", "text": f"{self.mark} tariff {number}"}],
                "elements": [{"price_components": [{"type": "ENERGY", "price": Decimal("0.49"), "step_size": 1}]}],
                "last_updated": "2026-01-01T00:00:00Z",
            }
            published = tariffs.publish(self.owner, body, by=self.owner, at=self.now - 1000 * HOUR)
            self.tariffs.append(published)

    def _people(self, number: int) -> None:
        mark, operator = self.mark, self.operator
        colleague = make_person(f"{mark}-m{number}@example.com", name=f"{mark} Colleague {number}")
        self.members.append(make_member(operator, Role.VIEWER, colleague))
        self.invitations.append(
            Invitation.objects.create(
                operator=operator,
                email=f"{mark}-i{number}@example.com",
                role=Role.VIEWER,
                digest=f"{mark}-{number}",
                expires_at=self.now + 100 * HOUR,
            )
        )
        person = make_driver(operator, name=f"{mark} Driver {number}", email=f"{mark}-d{number}@example.com")
        self.drivers.append(person)
        for holder in (self.driver, person):
            value = f"{mark}{len(self.tokens):06}"
            token = IdToken.objects.create(operator=operator, driver=holder, value=value, label=f"{mark} card")
            self.tokens.append(token)

    def _places(self, number: int) -> None:
        self.sites.append(make_site(self.operator, f"{self.mark} site {number}", city=f"{self.mark}burg"))
        station = make_station(
            self.sites[0], f"{self.mark}-{number:04}", connectors=2, name=f"{self.mark} pole {number}"
        )
        self.stations.append(station)

    def _talk(self, number: int) -> None:
        mark, station, at = self.mark, self.stations[number], self.now - number * HOUR
        self.commands.append(
            Command.objects.create(
                station=station,
                command="reset",
                arguments={"kind": "soft"},
                status=Command.Status.ACCEPTED,
                requested_by=f"{mark} Owner",
                requested_at=at,
                finished_at=at,
            )
        )
        Setting.objects.create(station=station, key=f"{mark}Key", value=mark, reported_at=at)
        Frame.objects.create(
            station=station, at=at, direction=0, message_id=f"{mark}{number}", action="DataTransfer", text=f'["{mark}"]'
        )
        StationEvent.objects.create(operator=self.operator, station=station, kind="note", facts={"text": mark}, at=at)
        self.refused.append(
            RefusedConnection.objects.create(
                operator=self.operator,
                identity=f"{mark}-NEW-{number}",
                address="192.0.2.1",
                reason="unknown_identity",
                first_at=at,
                last_at=at,
            )
        )
        self.alerts.append(
            Alert.objects.create(
                operator=self.operator,
                site=station.site,
                station=station,
                kind="station_offline",
                severity=Alert.Severity.CRITICAL,
                dedupe_key=f"{mark}:{number}",
                facts={"connectors": 2, "since": at.isoformat()},
                raised_at=at,
                last_at=at,
            )
        )

    def _charge(self, number: int) -> None:
        station, token = self.stations[number], self.tokens[2 * number]
        evses = list(station.evses.prefetch_related("connectors"))
        for place, (evse, is_open) in enumerate(zip(evses, (False, True), strict=True)):
            begun = self.now - (number + 2) * HOUR
            ended = begun + HOUR
            facts = SessionFacts(
                begun,
                ended,
                Decimal(9000),
                station.site.time_zone,
                (Segment(begun, ended, Decimal(9000), Activity.CHARGING),),
            )
            end: dict[str, Any] = {"status": "active", "power_w": Decimal(7000)}
            if not is_open:
                end = {
                    "status": "ended",
                    "stopped_at": ended,
                    "stop_received_at": ended,
                    "meter_stop_wh": Decimal(10_000),
                    "facts": facts.to_json(),
                    "facts_digest": facts.digest(),
                }
            session = ChargingSession.objects.create(
                operator=self.operator,
                site=station.site,
                station=station,
                evse=evse,
                connector=evse.connectors.get(),
                driver=token.driver,
                token=token,
                token_shown=token.value,
                time_zone=station.site.time_zone,
                currency=self.operator.currency,
                transaction_ref=f"{self.mark}-{number}-{place}",
                start_key=f"{self.mark}-{number}-{place}",
                protocol="1.6",
                token_status="Accepted",
                started_at=begun,
                start_received_at=begun,
                meter_start_wh=Decimal(1000),
                meter_last_wh=Decimal(10_000),
                energy_wh=Decimal(9000),
                last_reading_at=ended,
                **end,
            )
            tariffs.freeze(session, at=begun)
            MeterReading.objects.create(
                session=session, at=begun, digest="d", received_at=begun, energy_wh=Decimal(1000), power_w=Decimal(7000)
            )
            self.sessions.append(session)

    def _office(self, number: int) -> None:
        key, _secret = create_api_key(self.operator, name=f"{self.mark} key {number}", role=Role.VIEWER, by=self.owner)
        self.api_keys.append(key)
        if number == 0:
            report = reports.energy_report(self.sites[0], dt.date(2026, 10, 1), now=self.now)
        else:  # its paper takes time and is the same
            report = ReportRun.objects.create(
                operator=self.operator,
                site=self.sites[number],
                period=dt.date(2026, 10, 1),
                state="ready",
                made_at=self.now,
            )
        self.reports.append(report)
        audit.record(self.owner, "station.changed", self.stations[number], note=self.mark)


def rows_of(owner: Membership, all_models: Callable[[], list[type[models.Model]]]) -> dict[str, list[dict[str, Any]]]:
    """Return all that an operator owns, table by table."""
    return {
        model.__name__: list(model._default_manager.visible_to(owner).order_by("pk").values())  # type: ignore[attr-defined]
        for model in all_models()
        if hasattr(model._default_manager, "visible_to")
    }
