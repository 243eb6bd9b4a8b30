"""``check_books``: every invariant of the database as JSON; exit 1 where one is broken."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from billing import books


class Command(BaseCommand):
    help = "Checks ledger, bills, documents, sessions and tenants; prints JSON and exits 1 where something is broken."

    def handle(self, *args: Any, **options: Any) -> None:
        result = books.check(timezone.now())
        self.stdout.write(json.dumps(result, indent=2, ensure_ascii=False))
        if not result["ok"]:
            sys.exit(1)
