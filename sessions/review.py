"""Sessions whose bill waits for a person, and the two ways to decide about one."""

from __future__ import annotations

import datetime as dt
import functools
import operator

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from accounts import audit
from accounts.audit import By
from accounts.errors import Refused
from accounts.scoping import Actor, Scoped
from sessions.ending import merged
from sessions.facts import SessionFacts
from sessions.hints import tell_after_commit
from sessions.models import HOLDS, ChargingSession, ReviewReason

# A JSON list of plain words: each stands in its text with quotes around it.
IS_DOUBTFUL = functools.reduce(operator.or_, (Q(review__icontains=f'"{reason}"') for reason in sorted(HOLDS)))
IS_HELD = Q(status=ChargingSession.Status.ENDED, released_at=None) & ~Q(review=[]) & IS_DOUBTFUL


class NotHeld(Refused):
    """Nothing about the session waits for a decision."""

    code = "not_held"


def held_sessions(actor: Actor) -> Scoped[ChargingSession]:
    """Return the ended sessions that wait for a decision, as far as ``actor`` may know of them."""
    return ChargingSession.objects.visible_to(actor).filter(IS_HELD)


def release(session: ChargingSession, *, by: By, at: dt.datetime) -> ChargingSession:
    """Let a held session be billed as it was reckoned. Raises `NotHeld`; nothing is changed then."""
    with transaction.atomic():
        held = _locked(session)
        _decide(held, by=by, at=at)
        audit.record(by, "session.released", held, review=held.review, energy_wh=str(held.energy_wh))
    return held


def make_free(session: ChargingSession, *, by: By, at: dt.datetime) -> ChargingSession:
    """Let a held session cost nothing; what was measured stays on it. Raises `NotHeld`; nothing is changed then.

    Pricing reads the facts alone, so those become empty; the audit row keeps the ones before.
    """
    with transaction.atomic():
        held = _locked(session)
        before = held.facts
        nothing = SessionFacts(held.started_at, held.started_at, held.energy_wh * 0, held.time_zone, ())
        held.facts, held.facts_digest = nothing.to_json(), nothing.digest()
        held.review = merged(held.review, [ReviewReason.WAIVED])
        _decide(held, by=by, at=at)
        audit.record(by, "session.made_free", held, review=held.review, energy_wh=str(held.energy_wh), before=before)
    return held


def _locked(session: ChargingSession) -> ChargingSession:
    held = ChargingSession.objects.select_for_update().get(pk=session.pk)
    if held.is_open or not held.is_held:
        raise NotHeld(_("This session does not wait for a decision."))
    return held


def _decide(held: ChargingSession, *, by: By, at: dt.datetime) -> None:
    held.released_at, held.released_by = at, str(by or "Voltyard")[:160]
    held.save(update_fields=["released_at", "released_by", "review", "facts", "facts_digest"])
    tell_after_commit(held)
