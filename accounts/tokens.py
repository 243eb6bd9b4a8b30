"""What drivers show to charge: cards, app tokens, PINs. Made, found, blocked, retired.

Values are compared without case inside one operator (OCPP 1.6 §4.1 CiString20Type, 2.0.1 C01) and nothing
is trimmed. A PIN exists in clear only in the answer to its creation.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
import uuid
from collections.abc import Iterable
from typing import Any, TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import audit
from accounts.errors import Refused
from accounts.keys import digest, digests
from accounts.models import Driver, IdToken, Operator

PIN_DIGITS = 6
PIN_MAX_DIGITS = 12
_APP_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # read aloud and typed: no I, O, 0, 1

printable = RegexValidator(r"\A[\x20-\x7e]{1,255}\Z", gettext_lazy("1 to 255 characters of plain ASCII."))
pin_digits = RegexValidator(rf"\A[0-9]{{{PIN_DIGITS},{PIN_MAX_DIGITS}}}\Z", gettext_lazy("A PIN has 6 to 12 digits."))


class TokenTaken(Refused):
    """This operator already has a token of that value."""

    code = "token_taken"


class TokenRetired(Refused):
    """A retired token stays as it was."""

    code = "token_retired"


@dataclasses.dataclass(frozen=True, slots=True)
class Issued:
    """A new token and what its driver presents: the only moment at which a PIN can be read."""

    token: IdToken
    presented: str


class TokenFacts(TypedDict, total=False):
    """What may be chosen for a token and changed later. ``stations`` holds station uuids as text."""

    driver: Driver | None
    label: str
    group: str
    status: str
    expires_at: dt.datetime | None
    stations: list[str]
    concurrent: bool


def normalise(value: str) -> str:
    """Return ``value`` as it is compared: without case, otherwise untouched."""
    return value.lower()


def create_token(
    operator: Operator, *, type: str, value: str = "", by: audit.By, **facts: Unpack[TokenFacts]
) -> Issued:
    """Return a new token; app tokens and PINs are generated where no ``value`` is given.

    Raises ValidationError (by field) for a wrong value or a driver of another operator, TokenTaken.
    """
    _check_facts(operator, facts)
    with transaction.atomic():
        # Values and PINs live in one namespace that no single index can guard: one creation at a time.
        Operator.objects.select_for_update(no_key=True).get(pk=operator.pk)
        if not value and type == IdToken.Type.PIN:
            value = new_pin(operator)
        elif not value and type == IdToken.Type.APP:
            value = new_app_token()
        _check_value(type, value)
        if find_token(operator.pk, value) is not None:
            raise TokenTaken(_("This token exists already."), field="value")
        stored = value if type != IdToken.Type.PIN else _pin_digest(operator.pk, value)
        token = IdToken.objects.create(operator=operator, type=type, value=stored, **facts)
        audit.record(by, "token.created", token, type=type, **_told(facts))
    return Issued(token, value)


def change_token(token: IdToken, *, by: audit.By, **facts: Unpack[TokenFacts]) -> IdToken:
    """Change what ``facts`` names; the value and type of a token never change.

    ``updated_at`` rises with every change, so that lists kept at stations know they are old.
    Raises ValidationError, TokenRetired.
    """
    _check_facts(token.operator, facts)
    with transaction.atomic():
        row = (
            IdToken.objects.select_for_update(of=("self",), no_key=True)
            .select_related("operator", "driver")
            .get(pk=token.pk)
        )
        if row.retired_at is not None:
            raise TokenRetired(_("This token is retired."))
        before = {name: getattr(row, name) for name in facts}
        changed = {name: value for name, value in facts.items() if value != before[name]}
        if changed:
            for name, value in changed.items():
                setattr(row, name, value)
            row.save(update_fields=[*changed, "updated_at"])
            audit.record(
                by, "token.changed", row, before=_told({name: before[name] for name in changed}), after=_told(changed)
            )
    return row


def block(token: IdToken, *, by: audit.By) -> IdToken:
    """Refuse this token from now on."""
    return change_token(token, by=by, status=IdToken.Status.BLOCKED)


def unblock(token: IdToken, *, by: audit.By) -> IdToken:
    """Let this token charge again."""
    return change_token(token, by=by, status=IdToken.Status.ACTIVE)


def retire(token: IdToken, *, by: audit.By, at: dt.datetime) -> IdToken:
    """Take a token out of use for good; its value may be handed out anew. Raises TokenRetired."""
    with transaction.atomic():
        row = IdToken.objects.select_for_update(no_key=True).get(pk=token.pk)
        if row.retired_at is not None:
            raise TokenRetired(_("This token is retired already."))
        row.retired_at = at
        row.save(update_fields=["retired_at", "updated_at"])
        audit.record(by, "token.retired", row)
    return row


def find_token(operator_id: int, presented: str) -> IdToken | None:
    """Return the operator's token that a station presents; None where it is unknown.

    One statement, written out because every tap of a card goes through it: the ORM would take longer to
    compile it than the database to answer. What it joins is in ``driver_retired_at`` and
    ``operator_suspended_at``. A PIN is found by its keyed digest, never by the text that is stored.
    """
    if not presented.isascii() or "\0" in presented:  # K (Kelvin sign) and its like fold into ASCII
        return None
    value = normalise(presented)
    sealed = [normalise(text) for text in digests(value.encode(), purpose=_pin_purpose(operator_id))]
    marks = ", ".join(["%s"] * (1 + len(sealed)))
    rows = IdToken.objects.raw(
        "SELECT t.*, d.retired_at AS driver_retired_at, o.suspended_at AS operator_suspended_at"  # noqa: S608
        " FROM accounts_idtoken t JOIN accounts_operator o ON o.id = t.operator_id"
        " LEFT JOIN accounts_driver d ON d.id = t.driver_id"
        f" WHERE t.operator_id = %s AND LOWER(t.value) IN ({marks}) AND t.retired_at IS NULL",
        [operator_id, value, *sealed],
    )
    for token in rows:
        if (token.type == IdToken.Type.PIN) == (normalise(token.value) in sealed):
            return token
    return None


def may_stop(presented: IdToken, started_by: IdToken | None, *, at: dt.datetime) -> bool:
    """Tell whether ``presented`` may end what ``started_by`` began: itself, or a usable one of its group.

    OCPP 1.6 §4.10 (parentIdTag), 2.0.1 C09 (groupIdToken); a blocked card of the group may not.
    """
    if started_by is None:
        return False
    if presented.pk == started_by.pk:
        return True
    return (
        presented.operator_id == started_by.operator_id
        and presented.group != ""
        and normalise(presented.group) == normalise(started_by.group)
        and presented.is_usable(at)
    )


def new_pin(operator: Operator) -> str:
    """Return random digits that no token of the operator has: six, more where six are crowded."""
    for attempt in range(200):
        digits = min(PIN_DIGITS + attempt // 10, PIN_MAX_DIGITS)
        pin = "".join(secrets.choice("0123456789") for _digit in range(digits))
        if find_token(operator.pk, pin) is None:
            return pin
    raise TokenTaken(_("No free PIN was found."))


def new_app_token() -> str:
    """Return a random app token of 20 characters, the most that OCPP 1.6 carries (CiString20Type)."""
    return "APP-" + "".join(secrets.choice(_APP_ALPHABET) for _character in range(16))


def _pin_purpose(operator_id: int) -> str:
    return f"pin:{operator_id}"


def _pin_digest(operator_id: int, pin: str) -> str:
    return digest(normalise(pin).encode(), purpose=_pin_purpose(operator_id))


def _check_value(type: str, value: str) -> None:
    if type not in IdToken.Type.values:
        raise ValidationError({"type": _("Unknown type.")})
    try:
        (pin_digits if type == IdToken.Type.PIN else printable)(value)
    except ValidationError as error:
        raise ValidationError({"value": error.messages}) from None


def _check_facts(operator: Operator, facts: TokenFacts) -> None:
    driver = facts.get("driver")
    if driver is not None and driver.operator_id != operator.pk:
        raise ValidationError({"driver": _("No such driver.")})
    if facts.get("status", IdToken.Status.ACTIVE) not in IdToken.Status.values:
        raise ValidationError({"status": _("Unknown status.")})
    stations = facts.get("stations", [])
    known = operator.stations.filter(uuid__in=stations).count() if stations else 0
    if known != len(set(stations)):
        raise ValidationError({"stations": _("Unknown station.")})


def _told(facts: TokenFacts | dict[str, Any]) -> dict[str, Any]:
    """Return the facts as an audit row may keep them: JSON, and drivers by id instead of by name."""

    def told(value: Any) -> Any:
        if isinstance(value, Driver):
            return str(value.uuid)
        return value.isoformat() if isinstance(value, dt.datetime) else value

    return {name: told(value) for name, value in facts.items()}


def station_names(operator: Operator, tokens: Iterable[IdToken]) -> dict[str, str]:
    """Return uuid → identity of the stations these tokens are limited to (one query, none where unlimited)."""
    wanted = {station for token in tokens for station in token.stations}
    if not wanted:
        return {}
    rows = operator.stations.filter(uuid__in=wanted).values_list("uuid", "identity")
    return {str(public_id): identity for public_id, identity in rows}


def station_uuids(operator: Operator, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the uuids, as text, of the operator's stations named by identity or uuid, and the names of none."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return [], []
    uuids = [name for name in wanted if _is_uuid(name)]
    rows = operator.stations.filter(Q(identity__in=wanted) | Q(uuid__in=uuids)).values_list("uuid", "identity")
    found = {name: str(public_id) for public_id, identity in rows for name in (identity, str(public_id))}
    known = [found[name] for name in wanted if name in found]
    return list(dict.fromkeys(known)), [name for name in wanted if name not in found]


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
