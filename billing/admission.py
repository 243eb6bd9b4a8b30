"""A token, a start or an end as one transaction: decide, move the session on, freeze what it will cost."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TypeVar

from billing import settlement, tariffs
from billing.authorization import Decision, decide
from sessions import lifecycle
from stations.messages import (
    AuthorizeAsked,
    AuthorizeReply,
    SessionEnded,
    SessionReply,
    SessionStarted,
    Token,
    TokenInfo,
    TokenPresented,
    TokenStatus,
)
from stations.ocpp.batch import Batch, StationRef

M = TypeVar("M", SessionStarted, SessionEnded)


def authorize(station: StationRef, message: AuthorizeAsked, *, at: dt.datetime, tx: Batch) -> AuthorizeReply:
    """Answer what a token may do (1.6 §4.1, C01), and log that it was shown."""
    decision = decide(station, message.token, at=at, tx=tx)
    _log(station, message.token, decision, at, tx)
    return AuthorizeReply(decision.info)


def start(station: StationRef, message: SessionStarted, *, at: dt.datetime, tx: Batch) -> SessionReply:
    """Open a session. A repeated start gets the first answer again.

    A 1.6 station must get a transaction id whatever the card is worth, and stops by itself where it is
    refused (1.6 §4.8).
    """
    if message.token is None:
        key = lifecycle.start_key(message)
        started = lifecycle.start(station, message, key=key, token=None, info=None, at=at, tx=tx)
        info = None
    else:
        key = lifecycle.start_key(message)
        decision = decide(station, message.token, at=at, tx=tx, start_key=key, evse=message.evse)
        started = lifecycle.start(
            station, _veiled(message, decision), key=key, token=decision.token, info=decision.info, at=at, tx=tx
        )
        if started.created:
            _log(station, message.token, decision, at, tx)
            info = decision.info
        else:
            info = _first_answer(started.session.token_status, decision)
    session = started.session
    if started.created:
        tariffs.freeze(session, at=at)
    number = int(session.transaction_ref) if message.transaction_ref is None else None
    return SessionReply(token=info, transaction_id=number)


def present(station: StationRef, message: TokenPresented, *, at: dt.datetime, tx: Batch) -> SessionReply:
    """Take the readings of an event that shows a token, and answer what the token may do (E05, E06)."""
    lifecycle.record(station, message.read, at=at, tx=tx)
    decision = decide(station, message.token, at=at, tx=tx)
    _log(station, message.token, decision, at, tx)
    if decision.token is not None and message.read.transaction_ref is not None:
        lifecycle.present(station, message.read.transaction_ref, decision.token, decision.info, message.token)
    return SessionReply(token=decision.info)


def end(station: StationRef, message: SessionEnded, *, at: dt.datetime, tx: Batch) -> SessionReply:
    """End a session; a 2.x station is told the total cost where nothing holds the bill (I02)."""
    decision = None if message.token is None else decide(station, message.token, at=at, tx=tx)
    session = lifecycle.end(
        station,
        _veiled(message, decision) if decision is not None else message,
        token=decision.token if decision is not None else None,
        at=at,
        tx=tx,
    )
    cost = settlement.preview_total(session) if message.seq_no is not None else None
    return SessionReply(token=decision.info if decision is not None else None, total_cost=cost)


def _first_answer(status: str, decision: Decision) -> TokenInfo:
    return dataclasses.replace(decision.info, status=TokenStatus(status)) if status else decision.info


def _veiled(message: M, decision: Decision) -> M:
    """Return the message without the digits of a PIN: what is stored of it must not give the PIN away."""
    if message.token is None or not decision.is_pin:
        return message
    return dataclasses.replace(message, token=Token("PIN", message.token.type))


def _log(station: StationRef, shown: Token, decision: Decision, at: dt.datetime, tx: Batch) -> None:
    lifecycle.attempt(
        station,
        token=decision.token,
        shown=shown.value,
        is_pin=decision.is_pin,
        status=decision.info.status,
        reason=decision.reason,
        at=at,
        tx=tx,
    )
