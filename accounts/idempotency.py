"""An API write that carries an Idempotency-Key happens once; every repeat gets the first answer.

The answer is stored in the transaction of the effect: neither exists without the other. A repeat that
arrives while the first is at work waits for it. An answer without effect (an error) is not kept, so the
same key may be used again once the request is mended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.errors import Refused
from accounts.keys import digest, matches, seal, unseal
from accounts.models import ApiKey, IdempotentCall

MAX_LENGTH = 64
_REQUEST = "idempotent request"
_ANSWER = "idempotent answer"


class Mismatch(Refused):
    """The key was used before for something else."""

    code = "idempotency_mismatch"


class Answer(NamedTuple):
    """What the caller of the API gets: HTTP status, JSON text, and whether it was given before."""

    status: int
    body: str
    repeated: bool = False


def once(api_key: ApiKey, key: str, *, request: bytes, act: Callable[[], Answer]) -> Answer:
    """Return what ``act`` answers, or what it answered when this ``key`` was first used.

    ``request`` is what makes two calls the same: method, path and body. ``act`` runs inside the transaction;
    an answer of 400 or more rolls it back. Raises Mismatch.
    """
    with transaction.atomic():
        call, is_first = IdempotentCall.objects.get_or_create(
            api_key=api_key,
            key=key,
            defaults={"request_digest": digest(request, purpose=_REQUEST), "status": 0, "body": ""},
        )
        if not is_first:
            if not matches(request, call.request_digest, purpose=_REQUEST):
                raise Mismatch(_("This Idempotency-Key was used before with another request."))
            return Answer(call.status, unseal(call.body, purpose=_ANSWER), repeated=True)
        answer = act()
        if answer.status >= 400:
            transaction.set_rollback(True)
        else:
            call.status, call.body = answer.status, seal(answer.body, purpose=_ANSWER)
            call.save(update_fields=["status", "body"])
        return answer
