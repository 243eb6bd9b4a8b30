"""Tariffs and sessions in one line each, for the tests of pricing."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.snapshot import Component, Dimension, Element, Restrictions, Snapshot, Tax
from sessions.facts import Activity, Segment, SessionFacts

CHARGING, PARKING, HELD, UNTOLD = Activity.CHARGING, Activity.PARKING, Activity.HELD, Activity.UNTOLD

# How many cases a property is tried with.
RUNS = 10_000 if os.environ.get("RUNS_FULL") == "1" else 200


def vectors(name: str) -> Path:
    """Return a folder of published examples; they are read where they lie, and copied nowhere."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("VECTORS_DIR") or root.parent / "shared" / "vectors") / name
    if not folder.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{folder} is absent; set VECTORS_DIR")
    return folder


def component(kind: Dimension, price: str, step: int = 0, vat: str | None = None, **more: Any) -> Component:
    return Component(kind, Decimal(price), step, None if vat is None else Decimal(vat), **more)


def energy(price: str, step: int = 0, vat: str | None = None) -> Component:
    return component(Dimension.ENERGY, price, step, vat)


def time(price: str, step: int = 0, vat: str | None = None) -> Component:
    return component(Dimension.TIME, price, step, vat)


def parking(price: str, step: int = 0, vat: str | None = None) -> Component:
    return component(Dimension.PARKING_TIME, price, step, vat)


def flat(price: str, vat: str | None = None) -> Component:
    return component(Dimension.FLAT, price, 0, vat)


def when(*components: Component, **restrictions: Any) -> Element:
    """An element; clock restrictions as minutes, numbers as text."""
    for name, value in restrictions.items():
        if name.endswith(("kwh", "power", "current")):
            restrictions[name] = Decimal(value)
    return Element(components, Restrictions(**restrictions))


def tariff(*elements: Element | Component, tax: Tax = Tax.EXCLUDED, currency: str = "EUR", **more: Any) -> Snapshot:
    """A snapshot; loose components form one element without restrictions, after the others."""
    loose = tuple(e for e in elements if isinstance(e, Component))
    given = tuple(e for e in elements if isinstance(e, Element))
    return Snapshot("T", currency, tax, given + ((Element(loose),) if loose else ()), **more)


def at(text: str) -> dt.datetime:
    """A time; without a zone it is UTC."""
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def plugged(start: str, *stretches: tuple[Any, ...], zone: str = "UTC", **more: Any) -> SessionFacts:
    """A session of stretches in a row: (activity, minutes, kWh = 0, kW, A)."""
    here = first = at(start).astimezone(dt.UTC)
    segments = []
    for activity, minutes, kwh, power, current in ((*s, *(None,) * (5 - len(s))) for s in stretches):
        there = here + dt.timedelta(seconds=float(minutes) * 60)
        segments.append(
            Segment(
                here,
                there,
                Decimal(kwh or 0) * 1000,
                activity,
                None if power is None else Decimal(power) * 1000,
                None if current is None else Decimal(current),
            )
        )
        here = there
    total = sum((s.energy_wh for s in segments), Decimal(0))
    return SessionFacts(first, here, total, zone, tuple(segments), **more)
