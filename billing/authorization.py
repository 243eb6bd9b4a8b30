"""May this token charge here, now."""

from __future__ import annotations

import dataclasses
import datetime as dt

from accounts.models import IdToken
from accounts.tokens import find_token
from sessions import lifecycle
from sessions.models import AuthorizationAttempt
from stations.messages import Token, TokenInfo, TokenStatus, TokenType
from stations.models import Station
from stations.ocpp.batch import Batch, StationRef, fetch

WRONG_PINS = 5
WRONG_PIN_WINDOW = dt.timedelta(minutes=10)
PIN_LENGTHS = range(4, 9)

_RUNNING = (
    "SELECT s.station_id, s.start_key, e.number FROM charging_chargingsession s"
    " LEFT JOIN stations_evse e ON e.id = s.evse_id WHERE s.token_id = %s AND s.status = 'active'"
)

ACCEPTED = TokenInfo(TokenStatus.ACCEPTED)


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What a presented token may do. ``reason`` is a code for the log; empty where accepted."""

    info: TokenInfo
    token: IdToken | None = None
    is_pin: bool = False
    reason: str = ""


def decide(
    station: StationRef,
    presented: Token,
    *,
    at: dt.datetime,
    tx: Batch,
    start_key: str | None = None,
    evse: int | None = None,
) -> Decision:
    """Decide about a token at a station.

    With ``start_key`` the question is a new session: then a token that already charges elsewhere is refused
    (ConcurrentTx), the session of this very start and one on the same EVSE, which it replaces, excepted.
    """
    if presented.type is TokenType.NONE:
        return Decision(ACCEPTED)
    token = find_token(station.operator_id, presented.value)
    is_pin = presented.type is TokenType.PIN or (token is not None and token.type == IdToken.Type.PIN)
    if not is_pin and token is None:
        # 1.6 has no type for a PIN: an unknown short number may be a mistyped one.
        is_pin = presented.value.isdigit() and len(presented.value) in PIN_LENGTHS
    if is_pin and _is_locked(station, at, tx):
        return _no(TokenStatus.BLOCKED, "pin_locked", None, is_pin=True)
    if token is None:
        return _no(TokenStatus.INVALID, "unknown", None, is_pin=is_pin)
    if token.status == IdToken.Status.BLOCKED:
        return _no(TokenStatus.BLOCKED, "blocked", token, is_pin=is_pin)
    if not token.is_usable(at):
        return _no(TokenStatus.EXPIRED, "expired", token, is_pin=is_pin)
    if token.driver_retired_at is not None:
        return _no(TokenStatus.INVALID, "driver_retired", token, is_pin=is_pin)
    if token.stations and not _is_at(station, token):
        return _no(TokenStatus.NOT_AT_THIS_LOCATION, "other_station", token, is_pin=is_pin)
    if token.operator_suspended_at is not None:
        return _no(TokenStatus.INVALID, "operator_suspended", token, is_pin=is_pin)
    if start_key is not None and not token.concurrent and _charges_elsewhere(station, token, start_key, evse):
        return _no(TokenStatus.CONCURRENT_TX, "concurrent", token, is_pin=is_pin)
    return Decision(
        TokenInfo(TokenStatus.ACCEPTED, group=token.group or None, expires_at=token.expires_at), token, is_pin=is_pin
    )


def _no(status: TokenStatus, reason: str, token: IdToken | None, *, is_pin: bool) -> Decision:
    group = token.group or None if token is not None else None
    return Decision(TokenInfo(status, group=group), token, is_pin=is_pin, reason=reason)


def _is_locked(station: StationRef, at: dt.datetime, tx: Batch) -> bool:
    attempts = tx.pending(lifecycle.ATTEMPTS)  # of this batch, not written yet
    wrong = AuthorizationAttempt.objects.filter(
        station_id=station.id, is_pin=True, at__gt=at - WRONG_PIN_WINDOW, reason="unknown"
    )
    here = sum(row[1] == station.id and row[4] and row[6] == "unknown" for row in attempts)
    return bool(wrong.count() + here >= WRONG_PINS)


def _is_at(station: StationRef, token: IdToken) -> bool:
    uuid = Station.objects.values_list("uuid", flat=True).get(pk=station.id)
    return str(uuid) in token.stations


def _charges_elsewhere(station: StationRef, token: IdToken, start_key: str, evse: int | None) -> bool:
    for station_id, key, number in fetch(_RUNNING, [token.pk], "xxx"):
        if station_id != station.id or (key != start_key and (evse is None or number != evse)):
            return True
    return False
