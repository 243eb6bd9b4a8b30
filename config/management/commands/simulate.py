"""``manage.py simulate``: a fleet of simulated stations against any CSMS."""

from __future__ import annotations

import argparse
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError, CommandParser

from stations.simulator import cli


class Command(BaseCommand):
    help = "Runs simulated charging stations against any CSMS and prints a summary as JSON."
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # --version is the OCPP version here, as operators know it, not Django's.
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            summary = cli.run(argparse.Namespace(**options))
        except (OSError, ValueError, TypeError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(orjson.dumps(summary).decode())
