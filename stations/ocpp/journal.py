"""Frames as the journal may keep them: without secrets, id tokens under a pseudonym (pure).

A token is personal data and a credential at once, so the journal shows a keyed pseudonym and the last
four characters; a PIN, a password or a key is not shown at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Pseudonym = Callable[[str], str]

HIDDEN: Final = "***"
_SHOWN: Final = 4
_FEW: Final = 8  # of fewer characters none is shown: four would be half of it
_FEW_DIGITS: Final = 12  # digits alone may be a PIN, which 1.6 cannot tell from a card

# Nothing to hide, and most of the traffic.
_HARMLESS: Final = frozenset({"Heartbeat", "MeterValues", "StatusNotification"})
_BULK: Final = frozenset({"meterValue", "transactionData"})

# Members in all versions, casefolded.
_TOKENS: Final = frozenset({"idtag", "parentidtag", "additionalidtoken", "customeridentifier"})
_SECRETS: Final = frozenset({"apnpassword", "authorizationkey", "basicauthpassword", "keycode", "password", "simpin"})
# Settings whose value is a secret, where name and value are members of their own.
_SECRET_SETTINGS: Final = ("authorizationkey", "password", "secret", "privatekey", "sharedkey")
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s\"]+(?=@)")
_TEXT_MEMBER: Final = re.compile(
    r'"(?P<name>idTag|parentIdTag|idToken|additionalIdToken|customerIdentifier|value|attributeValue|key|'
    r'password|apnPassword|authorizationKey|basicAuthPassword|keyCode|simPin)"'
    r'(?P<colon>\s*:\s*)(?:"(?:[^"\\]|\\.)*+"?|-?[\d.]+)',
    re.IGNORECASE,
)


def masked(action: str, payload: Any, *, pseudonym: Pseudonym | None) -> Any:
    """Return a request's or result's payload for the journal; the same object where there is nothing to hide.

    ``pseudonym`` is a keyed one-way function of a token; with None tokens stay and only secrets are hidden.
    """
    if action in _HARMLESS:
        return payload
    if action == "NotifyCustomerInformation":  # all that a station knows of a person, in free text
        return {**payload, "data": HIDDEN} if "data" in payload else payload
    if action == "DataTransfer" and isinstance(payload.get("data"), str):
        return {**payload, "data": masked_text(payload["data"])}
    return _masked(payload, pseudonym)


def masked_text(text: str) -> str:
    """Return a text that is no frame for the journal: nothing can be told apart in it, so more is hidden."""
    return _USERINFO.sub(HIDDEN, _TEXT_MEMBER.sub(lambda m: f'"{m["name"]}"{m["colon"]}"{HIDDEN}"', text))


def token(value: str, pseudonym: Pseudonym | None) -> str:
    """Return the written form of an id token: its pseudonym and, where it is long enough, its end."""
    if not value or pseudonym is None:
        return value
    few = _FEW_DIGITS if value.isdigit() else _FEW
    return f"{pseudonym(value)}…{value[-_SHOWN:] if len(value) >= few else ''}"


def _masked(node: Any, pseudonym: Pseudonym | None) -> Any:
    if isinstance(node, str):
        return _USERINFO.sub(HIDDEN, node) if "://" in node else node
    if isinstance(node, list):
        items = [_masked(item, pseudonym) for item in node]
        return items if any(new is not old for new, old in zip(items, node, strict=True)) else node
    if not isinstance(node, dict):
        return node
    secret = _names_a_secret(node)
    members = {name: _member(name, value, node, secret, pseudonym) for name, value in node.items()}
    return members if any(members[name] is not node[name] for name in node) else node


def _member(name: str, value: Any, node: Mapping[str, Any], secret: bool, pseudonym: Pseudonym | None) -> Any:
    if name in _BULK:
        return value
    lowered = name.casefold()
    if secret and lowered in ("value", "attributevalue"):
        return HIDDEN
    if secret and lowered == "variableattribute" and isinstance(value, list):
        return [{**item, "value": HIDDEN} if isinstance(item, dict) and "value" in item else item for item in value]
    if not isinstance(value, dict | list):
        if lowered == "idtoken" and isinstance(value, str):
            return HIDDEN if node.get("type") == "KeyCode" else token(value, pseudonym)
        if lowered in _TOKENS and isinstance(value, str):
            return token(value, pseudonym)
        if lowered in _SECRETS or (lowered == "key" and "server" in node):  # the key of a VPN, not of a setting
            return HIDDEN
    return _masked(value, pseudonym)


def _names_a_secret(node: Mapping[str, Any]) -> bool:
    """Say whether the object names a setting that is secret."""
    variable = node.get("variable")
    name = variable.get("name") if isinstance(variable, dict) else node.get("key")
    return isinstance(name, str) and any(word in name.casefold() for word in _SECRET_SETTINGS)
