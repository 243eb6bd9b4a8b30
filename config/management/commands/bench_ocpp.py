"""Benchmarks of the ingest as a table: ours beside a naive service, in the same run on the same machine."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

WIDTHS = (46, 9, 12, 12, 8)


class Command(BaseCommand):
    help = (
        "Measures the ingest over real sockets and prints a table. The databases are its own: SQLite, or with"
        " DATABASE_URL a PostgreSQL database beside the one named there. Chargers run on this machine too."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the figures mean nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        from config.bench import figures
        from config.bench.installation import many_sockets

        url = os.environ.get("DATABASE_URL", "")
        begun = time.monotonic()
        self.stdout.write(f"{'PostgreSQL' if url else 'SQLite'}, {os.cpu_count()} cores; jobs run elsewhere")
        if os.getloadavg()[0] > 1:
            self.stdout.write("This machine has other work to do: CPU figures hold, times do not.")
        self._line("", "reach", "ours", "naive", "better")
        with many_sockets():
            for row in figures.measure(url, figures.QUICK if options["quick"] else figures.FULL, self._tell):
                ratio = f"{row.ratio:,.1f}×" if row.ratio else ""
                self._line(row.what, row.reach, _figure(row.ours, row.unit), _figure(row.naive, row.unit), ratio)
        self.stdout.write(f"{time.monotonic() - begun:.0f} s in all")

    def _line(self, *cells: str) -> None:
        first, *rest = cells
        self.stdout.write(first.ljust(WIDTHS[0]) + "".join(map(str.rjust, rest, WIDTHS[1:])))

    def _tell(self, text: str) -> None:
        self.stderr.write(text)


def _figure(value: float, unit: str) -> str:
    digits = 2 if 0 < value < 10 else 0
    return f"{value:,.{digits}f} {unit}".strip()
