"""The JSON schemas of every OCPP version, compiled once on first use, and what is done about violations.

The schema files come with the PyPI package ``ocpp``, which itself is never imported. A payload that
keeps to its schema costs one validation. One that does not is put right where real chargers are known
to stray (`stations.ocpp.quirks`), each kind of deviation under a name that can be counted; what is left
is a `Violation` with the fault the error stands for.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

import jsonschema_rs

from stations.ocpp import quirks
from stations.ocpp.frame import Fault, Violation, compact

Kind = Literal["request", "response"]

_SUFFIXES: Final[Mapping[str, tuple[str, str, str]]] = {
    # version -> folder, suffix of a request, suffix of a response
    "1.6": ("v16", "", "Response"),
    "2.0.1": ("v201", "Request", "Response"),
    "2.1": ("v21", "Request", "Response"),
}
_FAULTS: Final[Mapping[str, Fault]] = {
    "type": Fault.TYPE,
    "required": Fault.OCCURRENCE,
    "minItems": Fault.OCCURRENCE,
    "maxItems": Fault.OCCURRENCE,
    "additionalProperties": Fault.FORMAT,
    "additionalItems": Fault.FORMAT,
}  # all other keywords: a value that is not allowed
_MAX_ROUNDS: Final = 6
_MAX_NODES: Final = 20_000  # about 2,500 samples; finding every error of more would hold up other stations
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})", re.ASCII)


@functools.cache
def _folder(version: str) -> Path:
    spec = importlib.util.find_spec("ocpp")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The package ocpp, which holds the schemas, is not installed")
    return Path(spec.submodule_search_locations[0]) / _SUFFIXES[version][0] / "schemas"


@functools.cache
def actions(version: str) -> frozenset[str]:
    """Return every action a version knows, in both directions."""
    _, request, response = _SUFFIXES[version]
    names = {path.stem for path in _folder(version).glob("*.json")}
    found = {name.removesuffix(request) for name in names if not name.endswith(response)}
    return frozenset(found)


@functools.cache
def _schema(version: str, action: str, kind: Kind) -> dict[str, Any]:
    _, request, response = _SUFFIXES[version]
    path = _folder(version) / f"{action}{request if kind == 'request' else response}.json"
    if kind == "request" and not path.exists():
        path = _folder(version) / f"{action}.json"  # a message that is sent without a response
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
    return schema


@functools.cache
def _validator(version: str, action: str, kind: Kind) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(_schema(version, action, kind), validate_formats=False)


def requires(version: str, action: str, kind: Kind, member: str) -> bool:
    """Say whether a message must carry a member."""
    return member in _schema(version, action, kind).get("required", ())


def check(version: str, action: str, kind: Kind, payload: Any) -> None:
    """Hold a payload against its schema, to the letter.

    Raises:
        Violation: with the place and the rule of the first error.

    """
    try:
        _validator(version, action, kind).validate(payload)
    except jsonschema_rs.ValidationError as error:
        raise _violation(error) from None


def accept(version: str, action: str, payload: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Hold a request against its schema and put right what real chargers get wrong.

    Returns the payload itself and no names where it keeps to its schema; else a copy that can be read, and
    the names of the deviations met.

    Raises:
        Violation: something is wrong that cannot be understood.

    """
    validator = _validator(version, action, "request")
    if validator.is_valid(payload):
        return payload, ()
    if _larger_than(_MAX_NODES, payload):
        check(version, action, "request", payload)
    mended = _copied(payload)
    deviations: dict[str, None] = {}
    for _ in range(_MAX_ROUNDS):
        errors = list(validator.iter_errors(mended))
        first: Violation | None = None
        changed = False
        for error in reversed(errors):  # from the end, so that taking away an element moves no later path
            try:
                name, touched = _mend(action, mended, error)
            except Violation as violation:
                first = violation
            else:
                changed |= touched
                if name:
                    deviations[name] = None
        if first is not None:
            raise first
        if not changed:
            return mended, tuple(deviations)
    raise Violation(Fault.FORMAT, "Not understood")


def _larger_than(limit: int, root: Any) -> bool:
    nodes = 0
    level = [root]
    while level:
        nodes += len(level)
        if nodes > limit:
            return True
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return False


def _copied(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _copied(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_copied(value) for value in node]
    return node


def _violation(error: jsonschema_rs.ValidationError) -> Violation:
    """Name place and rule; never the value, which may be somebody's token."""
    keyword = error.kind.name
    place = "/".join(str(step) for step in error.instance_path) or "payload"
    detail = ""
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
        detail = f" {error.kind.property}"
    elif isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Type):
        detail = f" {' or '.join(error.kind.types)}"
    elif isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        detail = f" {', '.join(error.kind.unexpected[:5])}"
    elif isinstance(error.kind, jsonschema_rs.ValidationErrorKind.MaxLength):
        detail = f" {error.kind.limit}"
    return Violation(_FAULTS.get(keyword, Fault.PROPERTY), f"{place}: {keyword}{detail}")


def _mend(action: str, payload: dict[str, Any], error: jsonschema_rs.ValidationError) -> tuple[str, bool]:
    """Put one error right, or let it pass; return the deviation's name ("" for none) and whether it changed."""
    path = error.instance_path
    parent: Any = None
    value: Any = payload
    try:
        for step in path:
            parent, value = value, value[step]
    except (KeyError, IndexError, TypeError):
        return "", True  # gone with something mended before it
    member = next((step for step in reversed(path) if isinstance(step, str)), action)
    kind = error.kind
    keyword = kind.name

    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        for name in kind.unexpected:
            value.pop(name, None)
        return "extra_member", True
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required) and (member, kind.property) in quirks.ABSENT:
        return "missing_member", False
    if keyword == "minItems" and member in quirks.EMPTY_LISTS:
        return "empty_list", False
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Enum) and isinstance(value, str):
        spelled = next((o for o in kind.options if isinstance(o, str) and o.casefold() == value.casefold()), None)
        if spelled is not None:
            parent[path[-1]] = spelled
            return "letter_case", True
        if len(value) <= quirks.MAX_OPEN_WORD and (member in quirks.OPEN_WORDS or path[-2:] == ["idToken", "type"]):
            return "unknown_word", False
    if parent is not None and (value is None or value == "" or value == [] or value == {}):
        del parent[path[-1]]  # if it was due, the next round says so
        return "empty_member", True
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.MaxLength):
        if member not in quirks.EXACT_LENGTH and len(value) <= (255 if kind.limit < 255 else 10 * kind.limit):
            return "over_long", False
    elif isinstance(kind, jsonschema_rs.ValidationErrorKind.Type) and parent is not None:
        if "number" in kind.types and member == "value" and isinstance(value, str) and len(value) <= 255:
            return "text_for_number", False  # the reader of samples says what it is worth
        mended = _coerced(member, value, kind.types)
        if mended is not None:
            parent[path[-1]] = mended[1]
            return mended[0], True
    raise _violation(error)


def _coerced(member: str, value: Any, types: list[str]) -> tuple[str, Any] | None:
    """Return the deviation's name and the value in a type that is due, or None."""
    wanted = types[0]
    if isinstance(value, bool):
        return ("boolean_for_text", "true" if value else "false") if wanted == "string" else None
    if isinstance(value, int | Decimal):
        if wanted == "string":
            return "number_for_text", format(value, "f") if isinstance(value, Decimal) else str(value)
        if wanted == "integer" and isinstance(value, Decimal):
            if value == value.to_integral_value() or member in quirks.ROUNDED:
                return "decimal_for_integer", int(value.to_integral_value())
        elif wanted == "boolean" and value in (0, 1):
            return "number_for_boolean", bool(value)
    elif isinstance(value, str):
        text = value.strip()
        if wanted == "boolean" and text.casefold() in ("true", "false"):
            return "text_for_boolean", text.casefold() == "true"
        if wanted in ("integer", "number") and _NUMBER.fullmatch(text):
            number = Decimal(text)
            if wanted == "number":
                return "text_for_number", number
            if number == number.to_integral_value() or member in quirks.ROUNDED:
                return "text_for_number", int(number.to_integral_value())
    elif wanted == "array" and isinstance(value, dict):
        return "object_for_list", [value]  # lbbrhzn/ocpp#1144
    elif wanted == "string" and member in quirks.FREE_TEXT:
        return "object_for_text", compact(value)
    return None
