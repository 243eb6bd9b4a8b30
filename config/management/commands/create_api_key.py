"""Make an API key of an operator."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.api_keys import create_api_key
from accounts.models import Operator
from accounts.roles import Role


class Command(BaseCommand):
    help = "Make an API key and print it alone; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--operator", required=True, help="short name of the operator")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--name", default="Command line", help="what the key is for")

    def handle(self, *args: Any, **options: Any) -> None:
        operator = Operator.objects.filter(slug=options["operator"].lower()).first()
        if operator is None:
            raise CommandError(f"There is no operator with the short name {options['operator']}.")
        _key, secret = create_api_key(operator, name=options["name"], role=options["role"], by=None)
        self.stdout.write(secret)
