"""Sites and stations: made, adopted, let in, changed, retired. Each function is one transaction."""

from __future__ import annotations

import datetime as dt
import difflib
import re
import secrets
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, NotRequired, TypedDict, Unpack

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts import audit
from accounts.errors import Refused
from accounts.keys import digest
from accounts.models import ApiKey, Membership, Operator
from accounts.time_zones import validate_time_zone
from stations import commands
from stations.hints import operator_group, stale_after_commit
from stations.models import Connector, Evse, RefusedConnection, Site, Station
from stations.ocpp.handshake import credential_purpose
from stations.ocpp.versions import ADAPTERS
from stations.registry import MAX_CONNECTORS, MAX_EVSES

IDENTITY = re.compile(r"[A-Za-z0-9*\-_=+|@.](?:[A-Za-z0-9*\-_=+|@./ ]{0,46}[A-Za-z0-9*\-_=+|@.])?")
RESERVED_ENDINGS = {"commands", "messages", ".", ".."}  # they would be another address of the API, or none
PASSWORD_LENGTHS = range(16, 65)
GENERATED_DIGITS = 40  # an AuthorizationKey of 20 bytes in hex (1.6), a BasicAuthPassword of 40 characters (2.x)
WITH_PASSWORD = {1, 2}  # security profiles
PROFILES = range(4)


class IdentityTaken(Refused):
    """Some station of the installation has this identity; whose it is stays untold."""

    code = "identity_taken"


class SiteInUse(Refused):
    """A site with stations cannot be retired."""

    code = "site_in_use"


class StationRetired(Refused):
    """A retired station stays as it was."""

    code = "station_retired"


class NotAdoptable(Refused):
    """What knocked cannot become a station as it is."""

    code = "not_adoptable"


class Enrolled(NamedTuple):
    """A station and the password it must present: readable now and never again; empty where none was made."""

    station: Station
    password: str


class SiteFacts(TypedDict, total=False):
    """What is known of a site. Power in W, coordinates in degrees."""

    name: str
    time_zone: str
    country: str
    address: str
    city: str
    latitude: Decimal | None
    longitude: Decimal | None
    power_limit_w: int | None


class LinkFacts(TypedDict, total=False):
    """How a station is spoken to, and its rated power in W."""

    default_subprotocol: str
    ping_seconds: int | None
    compression: bool
    max_power_w: int | None


class StationFacts(LinkFacts, total=False):
    """What may be changed of a station."""

    name: str
    site: Site
    security_profile: int


class ConnectorFacts(TypedDict):
    """A connector as it is described before the charger does so itself; alone it is EVSE and connector at once."""

    evse: NotRequired[int]
    connector: NotRequired[int]
    type: NotRequired[str]
    max_power_w: NotRequired[int | None]


# --- sites -------------------------------------------------------------------------------------------


def create_site(operator: Operator, *, by: audit.By, **facts: Unpack[SiteFacts]) -> Site:
    """Return a new site; country and zone are the operator's where none is given. Raises ValidationError."""
    site = Site(operator=operator, **{"country": operator.country, "time_zone": operator.time_zone} | facts)
    with transaction.atomic():
        _check_site(site)
        site.save()
        audit.record(by, "site.created", site, **_told(facts))
        _tell(operator.pk)
    return site


def edit_site(site: Site, *, by: audit.By, **facts: Unpack[SiteFacts]) -> Site:
    """Change what ``facts`` names. Sessions that have begun keep the zone they began in. Raises ValidationError."""
    with transaction.atomic():
        row = Site.objects.select_for_update().get(pk=site.pk)
        before = _change(row, facts)
        _check_site(row)
        if before:
            row.save(update_fields=list(before))
            audit.record(by, "site.changed", row, before=_told(before), after=_told({n: facts[n] for n in before}))  # type: ignore[literal-required]
            _tell(row.operator_id)
    return row


def retire_site(site: Site, *, by: audit.By, at: dt.datetime) -> Site:
    """Take an empty site out of use; its history stays. Raises SiteInUse."""
    with transaction.atomic():
        row = Site.objects.select_for_update().get(pk=site.pk)
        if row.stations.filter(retired_at=None).exists():
            raise SiteInUse(_("Stations belong to this site. Move or retire them first."))
        if row.retired_at is None:
            row.retired_at = at
            row.save(update_fields=["retired_at"])
            audit.record(by, "site.retired", row)
            _tell(row.operator_id)
    return row


# --- stations ----------------------------------------------------------------------------------------


def create_station(
    site: Site,
    identity: str,
    *,
    by: audit.By,
    name: str = "",
    security_profile: int | None = None,
    password: str = "",
    connectors: Sequence[ConnectorFacts] = (),
    **facts: Unpack[LinkFacts],
) -> Enrolled:
    """Return a new station that is let in at its first dial, and its password.

    A password is generated where the profile needs one and none is given. Raises ValidationError by field,
    IdentityTaken.
    """
    check_identity(identity)
    profile = default_profile() if security_profile is None else security_profile
    station = Station(
        operator_id=site.operator_id,
        site=site,
        identity=identity,
        name=name or identity,
        security_profile=profile,
        **facts,
    )
    if profile in WITH_PASSWORD:
        password = password or new_password()
    if password:
        station.credential = _credential(identity, password)
    _check_station(station)
    with transaction.atomic():
        _save_new(station)
        _describe(station, connectors)
        audit.record(by, "station.created", station, identity=identity, site=str(site.uuid), security_profile=profile)
        _tell(site.operator_id)
    return Enrolled(station, password)


def adopt(
    refused: RefusedConnection,
    site: Site,
    *,
    by: audit.By,
    name: str = "",
    security_profile: int | None = None,
) -> Enrolled:
    """Make a station of an unknown charger that knocked; it waits for approval.

    The password it presented stays valid, so that its next dial succeeds; where it presented none, one is
    generated that must be entered there. A retired station of this operator comes back. Raises NotAdoptable,
    IdentityTaken.
    """
    if refused.reason != "unknown_identity" or refused.operator_id != site.operator_id:
        raise NotAdoptable(_("This is no unknown charger of yours."))
    try:
        check_identity(refused.identity)
    except ValidationError as error:
        raise NotAdoptable(" ".join(error.messages)) from None
    profile = default_profile() if security_profile is None else security_profile
    credential, password = refused.credential, ""
    if not credential and profile in WITH_PASSWORD:
        password = new_password()
        credential = _credential(refused.identity, password)
    with transaction.atomic():
        former = Station.objects.filter(operator_id=site.operator_id, identity=refused.identity)
        station = former.exclude(retired_at=None).select_for_update().first()
        station = station or Station(operator_id=site.operator_id, identity=refused.identity, name=refused.identity)
        station.site, station.name = site, name or station.name
        station.retired_at, station.registration = None, Station.Registration.PENDING
        station.security_profile, station.credential = profile, credential
        _check_station(station)
        _save_new(station)
        RefusedConnection.objects.filter(
            identity=refused.identity, reason="unknown_identity", operator_id=site.operator_id
        ).delete()
        audit.record(by, "station.adopted", station, identity=station.identity, address=refused.address)
        _tell(site.operator_id)
    return Enrolled(station, password)


def change_station(
    station: Station,
    *,
    by: Membership | ApiKey,
    now: dt.datetime,
    password: str | None = None,
    registration: str | None = None,
    **facts: Unpack[StationFacts],
) -> Enrolled:
    """Change what is named; an empty ``password`` has one generated.

    Another ``registration`` has the charger asked to boot again, for only a boot tells it. Raises
    ValidationError by field, StationRetired.
    """
    with transaction.atomic():
        row = _locked(station)
        before = _change(row, facts)
        if "site" in before and row.site.operator_id != row.operator_id:
            raise ValidationError({"site": _("No such site.")})
        shown = ""
        needs_one = "security_profile" in before and row.security_profile in WITH_PASSWORD and not row.credential
        if password is not None or needs_one:
            shown = password or new_password()
            row.credential = _credential(row.identity, shown)
        _check_station(row)
        row.save()
        if before:
            after = _told({name: facts[name] for name in before})  # type: ignore[literal-required]
            audit.record(by, "station.changed", row, before=_told(before), after=after)
        if shown:
            audit.record(by, "station.password_set", row)
        if registration is not None and registration != row.registration:
            _register(row, registration, by=by, now=now)
        _tell(row.operator_id, row.identity)
    return Enrolled(row, shown)


def approve(station: Station, *, by: Membership | ApiKey, now: dt.datetime) -> Station:
    """Let a station in that waits; it is asked to boot again. Doing so twice changes nothing."""
    return change_station(station, by=by, now=now, registration=Station.Registration.ACCEPTED).station


def reject(station: Station, *, by: Membership | ApiKey, now: dt.datetime) -> Station:
    """Keep a station out; it is asked to boot again, so that it hears so."""
    return change_station(station, by=by, now=now, registration=Station.Registration.REJECTED).station


def set_password(station: Station, password: str = "", *, by: Membership | ApiKey, now: dt.datetime) -> str:
    """Replace a station's password from its next dial on and return it; generated where none is given."""
    return change_station(station, by=by, now=now, password=password).password


def retire_station(station: Station, *, by: audit.By, at: dt.datetime) -> Station:
    """Take a station out of use: its socket is closed, its commands end, its history stays. Raises StationRetired."""
    with transaction.atomic():
        row = _locked(station)
        gateway, row.gateway = row.gateway, ""
        if gateway:
            row.disconnected_at = at
        row.retired_at = at
        row.epoch = F("epoch") + 1  # whatever its socket still says is ignored
        row.save(update_fields=["gateway", "disconnected_at", "retired_at", "epoch"])
        row.refresh_from_db(fields=["epoch"])
        commands.call_off(row.pk, at=at)
        audit.record(by, "station.retired", row)
        if gateway:
            # Looking for commands, the gateway finds that this socket is fenced, and closes it.
            transaction.on_commit(lambda: commands.wake(gateway, row.pk))
        _tell(row.operator_id, row.identity)
    return row


# --- rules -------------------------------------------------------------------------------------------


def check_identity(identity: str) -> None:
    """Raise ValidationError where a charger could not dial with this identity (OCPP-J 1.6 §3.1.1, 2.x part 4 §3.1)."""
    wrong = IDENTITY.fullmatch(identity) is None or "//" in identity
    if wrong or RESERVED_ENDINGS & set(identity.split("/")):
        raise ValidationError(
            {"identity": _("1 to 48 letters, digits and * - _ = + | @ . with blanks and slashes only inside.")}
        )


def nearest(identity: str, known: Iterable[str]) -> str:
    """Return the known identity that was probably meant, empty where none is close."""
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(identity.casefold(), by_folded, n=1, cutoff=0.75)
    return by_folded[found[0]] if found else ""


def default_profile() -> int:
    """Return the security profile of new stations: passwords travel by TLS where this installation has it."""
    return 2 if settings.SECURE_SITE else 1


def new_password() -> str:
    """Return a password that every version can hold: 40 hexadecimal digits."""
    return secrets.token_hex(GENERATED_DIGITS // 2)


def _credential(identity: str, password: str) -> str:
    if len(password) not in PASSWORD_LENGTHS or not password.isascii() or not password.isprintable():
        raise ValidationError({"password": _("16 to 64 characters of plain ASCII.")})
    return digest(password.encode(), purpose=credential_purpose(identity))


def _check_site(site: Site) -> None:
    try:
        validate_time_zone(site.time_zone)
    except ValidationError as error:
        raise ValidationError({"time_zone": error.messages}) from None
    if (site.latitude is None) != (site.longitude is None):
        raise ValidationError({"longitude": _("A place has latitude and longitude, or neither.")})
    if site.latitude is not None and not -90 <= site.latitude <= 90:
        raise ValidationError({"latitude": _("Between -90 and 90 degrees.")})
    if site.longitude is not None and not -180 <= site.longitude <= 180:
        raise ValidationError({"longitude": _("Between -180 and 180 degrees.")})
    site.full_clean(exclude=["operator"])


def _check_station(station: Station) -> None:
    if station.security_profile not in PROFILES:
        raise ValidationError({"security_profile": _("0, 1, 2 or 3.")})
    if station.default_subprotocol and station.default_subprotocol not in ADAPTERS:
        raise ValidationError({"default_subprotocol": _("Not a version that is spoken here.")})
    if station.ping_seconds is not None and not 10 <= station.ping_seconds <= 3600:
        raise ValidationError({"ping_seconds": _("Between 10 and 3600 seconds.")})
    station.clean_fields(exclude=["operator", "site", "credential"])


def _save_new(station: Station) -> None:
    taken = _("This identity is taken.")
    if Station.objects.filter(identity__iexact=station.identity).exclude(pk=station.pk).exists():
        raise IdentityTaken(taken, field="identity")
    try:
        with transaction.atomic():
            station.save()
    except IntegrityError:
        raise IdentityTaken(taken, field="identity") from None


def _describe(station: Station, connectors: Sequence[ConnectorFacts]) -> None:
    """Store the connectors a station will have; it corrects them itself when it connects."""
    places: dict[int, Evse] = {}
    seen: set[tuple[int, int]] = set()
    for facts in connectors:
        number = facts.get("evse") or facts.get("connector") or 0
        plug = facts.get("connector") or number
        flat = plug == number  # 1.6 connectorId n is EVSE n with a connector of the same number
        if not 0 < number <= MAX_EVSES or not (0 < plug <= MAX_CONNECTORS or flat) or (number, plug) in seen:
            raise ValidationError({"connectors": _("Each connector has an EVSE of 1 to 64 and stands there once.")})
        seen.add((number, plug))
        if number not in places:
            places[number] = Evse.objects.create(station=station, number=number, max_power_w=facts.get("max_power_w"))
        Connector.objects.create(evse=places[number], number=plug, type=facts.get("type", "")[:24])


def _register(station: Station, registration: str, *, by: Membership | ApiKey, now: dt.datetime) -> None:
    before = station.registration
    station.registration = Station.Registration(registration)
    station.save(update_fields=["registration"])
    audit.record(by, f"station.{registration}", station, before=before, after=registration)
    commands.ask(station, "trigger", {"message": "BootNotification"}, by=by, now=now, queue=True)


def _locked(station: Station) -> Station:
    row: Station = Station.objects.select_for_update(of=("self",)).select_related("site").get(pk=station.pk)
    if row.retired_at is not None:
        raise StationRetired(_("This station is retired."))
    return row


def _change(row: Site | Station, facts: Any) -> dict[str, Any]:
    """Set what differs and return what it was before."""
    before = {name: getattr(row, name) for name, value in facts.items() if getattr(row, name) != value}
    for name in before:
        setattr(row, name, facts[name])
    return before


def _told(facts: Any) -> dict[str, Any]:
    """Return facts as an audit row may keep them: JSON, and sites by their public id."""

    def told(value: Any) -> Any:
        if isinstance(value, Site):
            return str(value.uuid)
        return str(value) if isinstance(value, Decimal) else value

    return {name: told(value) for name, value in facts.items()}


def _tell(operator_id: int, identity: str = "") -> None:
    names = ["stations", "kpis", "feed", *([f"station:{identity}", f"state:{identity}"] if identity else [])]
    stale_after_commit(operator_group(operator_id), *names)
