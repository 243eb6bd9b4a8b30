"""Make an operator (tenant) with its owner."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from accounts.operators import create_operator
from billing.sellers import ensure_legal_entity


class Command(BaseCommand):
    help = "Make an operator with its owner; where the short name exists, change nothing. Prints JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--slug", required=True, help="short name, part of the address its stations dial")
        parser.add_argument("--email", required=True, help="log-in of the owner")
        parser.add_argument("--password", required=True)
        parser.add_argument("--currency", default="EUR")
        parser.add_argument("--time-zone", default="Europe/Berlin")
        parser.add_argument("--country", default="DE")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                operator, created = create_operator(
                    name=options["name"],
                    slug=options["slug"],
                    email=options["email"],
                    password=options["password"],
                    currency=options["currency"],
                    zone=options["time_zone"],
                    country=options["country"],
                    by=None,
                    at=timezone.now(),
                )
                if created:
                    ensure_legal_entity(operator)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        self.stdout.write(
            json.dumps(
                {
                    "created": created,
                    "id": str(operator.uuid),
                    "name": operator.name,
                    "slug": operator.slug,
                    "currency": operator.currency,
                    "time_zone": operator.time_zone,
                    "country": operator.country,
                }
            )
        )
