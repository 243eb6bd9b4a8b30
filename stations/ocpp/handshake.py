"""Who is at the door: identity, credential, subprotocol. A refusal is kept with the plain reason.

A valid credential is never refused for somebody else's guessing: it is checked before any limit.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import collections
import dataclasses
import datetime as dt
import hmac
import ipaddress
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.db import transaction

from accounts import keys
from accounts.models import Operator
from stations.models import RefusedConnection, Station
from stations.ocpp.batch import StationRef
from stations.ocpp.versions import choose
from stations.threads import in_thread

UNKNOWN_DELAY_S = 1.0
UNKNOWN_WAITING = 200
MAX_IDENTITY = 48
MAX_REFUSED_ROWS = 10_000
REMEMBERED_REFUSALS = 100
FAILURES_PER_IDENTITY = 5
FAILURES_PER_ADDRESS = 60
WINDOW_S = 60.0
REALM = [(b"www-authenticate", b'Basic realm="ocpp", charset="UTF-8"'), (b"content-length", b"0")]

_waiting = asyncio.Semaphore(UNKNOWN_WAITING)


@dataclasses.dataclass(frozen=True, slots=True)
class Admission:
    """A charger that may come in."""

    station: StationRef
    subprotocol: str | None
    version: str
    ping_seconds: int
    compression: bool
    product: tuple[str, str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A connection that is not accepted: the HTTP status of the upgrade and the reason that is kept."""

    status: int
    reason: str


class Guesses:
    """Counts failed credentials per identity and address in this process."""

    def __init__(self) -> None:
        self._failed: dict[str, collections.deque[float]] = collections.defaultdict(collections.deque)

    def failed(self, key: str, limit: int, now: float) -> bool:
        """Note a failure and tell whether ``key`` has had more than its share in the last minute."""
        times = self._failed[key]
        times.append(now)
        while times and times[0] < now - WINDOW_S:
            times.popleft()
        if len(self._failed) > 10_000:
            self._failed.clear()
        return len(times) > limit


guesses = Guesses()


async def admit(scope: Mapping[str, Any], *, enabled: list[str]) -> Admission | Refusal:
    """Decide about an upgrade request to ``/ocpp/…``."""
    slug, identity = _names(scope)
    address = client_address(scope)
    headers = {name.lower(): value for name, value in scope["headers"]}
    offered = list(scope.get("subprotocols") or [])
    if identity is None:
        return Refusal(404, "wrong_path")
    found = await in_thread(_look_up, identity)
    presented = _password(headers.get(b"authorization"), identity)
    if found is None:
        return await _refuse_unknown(slug, identity, address, presented, offered)
    station, operator_slug = found
    if slug is not None and slug != operator_slug:
        return await _refuse_unknown(slug, identity, address, presented, offered)
    problem = _credential_problem(station, presented, headers)
    if problem is not None:
        return await _refuse(station, identity, address, problem, offered)
    if not offered and station.default_subprotocol:
        chosen, subprotocol = station.default_subprotocol, None
    else:
        picked = choose(offered, enabled)
        if picked is None:
            reason = "no_subprotocol" if not offered else "unsupported_subprotocol"
            await in_thread(_keep, station, identity, address, reason, ", ".join(offered)[:300], "")
            return Refusal(400, reason)
        chosen = subprotocol = picked
    return Admission(
        station=StationRef(
            id=station.pk,
            operator_id=station.operator_id,
            site_id=station.site_id,
            identity=station.identity,
            epoch=-1,
            version=chosen.removeprefix("ocpp"),
            time_zone=station.site.time_zone,
            currency=station.operator.currency,
            max_power_w=station.max_power_w,
        ),
        subprotocol=subprotocol,
        version=chosen,
        ping_seconds=station.ping_seconds or settings.PING_SECONDS,
        compression=station.compression,
        product=(station.vendor, station.model, station.firmware),
    )


def _names(scope: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return (operator slug, identity) from ``/ocpp/<identity>`` or ``/ocpp/<slug>/<identity>``.

    Percent-encoding is decoded once, from the raw path, so that an encoded slash stays part of the identity;
    doubled and closing slashes are forgiven.
    """
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    parts = [part for part in raw.split(b"?")[0].split(b"/") if part]
    if not parts or parts[0] != b"ocpp" or not 2 <= len(parts) <= 3:
        return None, None
    try:
        texts = [unquote_to_bytes(part).decode() for part in parts[1:]]
    except UnicodeDecodeError:
        return None, None
    identity = texts[-1]
    if not 0 < len(identity) <= 300 or not identity.isprintable():
        return None, None
    return (texts[0] if len(texts) == 2 else None), identity


def client_address(scope: Mapping[str, Any]) -> str:
    """Return who connects: the forwarded address only where a trusted proxy tells it."""
    client = scope.get("client")
    peer = client[0] if client else "unix"
    if peer != "unix" and not any(_inside(peer, network) for network in settings.TRUSTED_PROXIES):
        return str(peer)
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            last: str = value.decode("latin-1").split(",")[-1].strip()
            return last[:64]
    return str(peer)


def _inside(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _look_up(identity: str) -> tuple[Station, str] | None:
    if len(identity) > MAX_IDENTITY:
        return None
    station = (
        Station.objects.select_related("site", "operator")
        .filter(identity=identity, retired_at=None, operator__suspended_at=None)
        .first()
    )
    return None if station is None else (station, station.operator.slug)


def _password(header: bytes | None, identity: str) -> bytes | None:
    """Return the password of a Basic header whose user is the identity; None where there is none.

    Any bytes may be a password; the header is split at the first colon behind the user.
    """
    if header is None or header[:6].lower() != b"basic ":
        return None
    try:
        pair = base64.b64decode(header[6:].strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = pair.partition(b":")
    return password if colon and user == identity.encode() else None


def _credential_problem(station: Station, presented: bytes | None, headers: Mapping[bytes, bytes]) -> str | None:
    if station.security_profile == 0:
        return None
    if station.security_profile == 3:
        return _certificate_problem(station, headers)
    if presented is None:
        return "no_credentials"
    purpose = credential_purpose(station.identity)
    # 1.6 stations hold the key as hex and send the bytes it stands for; some send the hex text itself.
    forms = (presented, presented.hex().encode(), presented.hex().upper().encode())
    if station.credential and any(keys.matches(form, station.credential, purpose=purpose) for form in forms):
        return None
    return "wrong_password"


def _certificate_problem(station: Station, headers: Mapping[bytes, bytes]) -> str | None:
    """Check what the proxy that ended TLS says of the client certificate; without its secret it says nothing."""
    secret = headers.get(b"x-gateway-secret", b"")
    if not settings.GATEWAY_SECRET or not hmac.compare_digest(secret, settings.GATEWAY_SECRET.encode()):
        return "no_certificate"
    name = headers.get(b"x-client-common-name", b"").decode("latin-1")
    if headers.get(b"x-client-verify") != b"SUCCESS":
        return "no_certificate"
    return None if name in {station.identity, station.serial_number} else "wrong_certificate"


def credential_purpose(identity: str) -> str:
    """Return what a charger's credential digest is bound to."""
    return f"station:{identity}"


async def _refuse(station: Station, identity: str, address: str, reason: str, offered: list[str]) -> Refusal:
    now = time.monotonic()
    too_many = guesses.failed(f"i:{identity}", FAILURES_PER_IDENTITY, now)
    too_many = guesses.failed(f"a:{address}", FAILURES_PER_ADDRESS, now) or too_many
    await in_thread(_keep, station, identity, address, reason, ", ".join(offered)[:300], "")
    return Refusal(429 if too_many else 401, reason)


async def _refuse_unknown(
    slug: str | None, identity: str, address: str, presented: bytes | None, offered: list[str]
) -> Refusal:
    if _waiting.locked():
        return Refusal(404, "unknown_identity")
    async with _waiting:
        credential = ""
        if presented:
            credential = keys.digest(presented, purpose=credential_purpose(identity))
        await asyncio.gather(
            asyncio.sleep(UNKNOWN_DELAY_S),
            in_thread(_keep_unknown, slug, identity, address, ", ".join(offered)[:300], credential),
        )
    return Refusal(404, "unknown_identity")


def _keep_unknown(slug: str | None, identity: str, address: str, offered: str, credential: str) -> None:
    operator = None
    if slug is not None:
        operator = Operator.objects.filter(slug=slug).first()
    else:
        only = list(Operator.objects.order_by("pk")[:2])
        operator = only[0] if len(only) == 1 else None
    _keep(None, identity, address, "unknown_identity", offered, credential, operator=operator)


def _keep(
    station: Station | None,
    identity: str,
    address: str,
    reason: str,
    offered: str,
    credential: str,
    *,
    operator: Operator | None = None,
) -> None:
    """Count a refusal per identity, address and reason; the oldest rows make room."""
    now = dt.datetime.now(dt.UTC)
    owner = station.operator_id if station is not None else operator.pk if operator is not None else None
    second = int(now.timestamp())
    with transaction.atomic():
        row, created = RefusedConnection.objects.select_for_update().get_or_create(
            identity=identity,
            address=address,
            reason=reason,
            defaults={
                "operator_id": owner,
                "station": station,
                "offered": offered,
                "credential": credential,
                "recent": [second],
                "first_at": now,
                "last_at": now,
            },
        )
        if not created:
            row.count += 1
            row.recent = [*row.recent, second][-REMEMBERED_REFUSALS:]
            row.last_at, row.offered, row.credential, row.operator_id = now, offered, credential, owner
            row.save(update_fields=["count", "recent", "last_at", "offered", "credential", "operator"])
        elif row.pk % 100 == 0:
            for stale in RefusedConnection.objects.order_by("-last_at")[MAX_REFUSED_ROWS : MAX_REFUSED_ROWS + 200]:
                stale.delete()
