"""Prices an OCPI-shaped session with an OCPI tariff, without a database."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.preview import price
from billing.snapshot import FieldError


class Command(BaseCommand):
    help = "Price an OCPI-shaped session with an OCPI 2.2.1 or 2.3.0 tariff and print the result as JSON."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tariff", required=True, metavar="FILE", help="an OCPI Tariff object")
        parser.add_argument("--session", required=True, metavar="FILE", help="a session shaped as an OCPI CDR")
        parser.add_argument("--time-zone", required=True, metavar="ZONE", help="IANA zone of the place of charging")

    def handle(self, *, tariff: str, session: str, time_zone: str, **options: Any) -> None:
        try:
            answer = price(_read(tariff, "tariff"), _read(session, "session"), time_zone)
        except FieldError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False))


def _read(name: str, what: str) -> Any:
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{what}: {name} cannot be read: {error}") from error
    try:
        # Prices are decimal fractions: a float would already have lost what they say.
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise CommandError(f"{what}: {name} is not JSON: {error}") from error


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has the same member twice")
    return found
