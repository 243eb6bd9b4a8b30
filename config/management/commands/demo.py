"""Fill an empty database with the demonstration."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import Operator
from config import demo


class Command(BaseCommand):
    help = "Seed the demonstration: operator, sites, chargers, drivers, three months of history."

    def handle(self, *args: Any, **options: Any) -> None:
        if demo.is_seeded():
            return
        if Operator.objects.exists():
            raise CommandError("This database has operators of its own; the demonstration needs an empty one.")
        self.stdout.write("Seeding the demonstration: 48 chargers, three months of history …")
        demo.seed(settings.DATA_DIR, now=dt.datetime.now(dt.UTC))
