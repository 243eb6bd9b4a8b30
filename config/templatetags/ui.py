"""Template tags of the interface: icons, states, numbers with units, times, small charts.

All formats follow the active language and time zone (`stations.display`). Components that wrap other markup
are Cotton templates under ``templates/components``; what has no body is a tag here.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms, template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from lucide.templatetags.lucide import lucide

from config import svg
from stations import display, states

register = template.Library()
NOTHING = "–"


# --- icons and states ------------------------------------------------------------------------------


@functools.lru_cache(maxsize=512)
def _icon(name: str, size: int, css: str) -> SafeString:
    markup = lucide(name, size=size, **{"class": css, "stroke-width": "1.75", "aria-hidden": "true"})
    return mark_safe(" ".join(markup.split()))  # noqa: S308 (drawings of the icon package, no input)


@register.simple_tag
def icon(name: str, size: int = 16, css: str = "icon") -> SafeString:
    """Inline the Lucide icon ``name``, hidden from screen readers: the word beside it speaks."""
    return _icon(name, size, css)


def _look(value: Any) -> states.Look:
    """Return the look of a connector state, of a choice that brings its own, or of plain text."""
    if isinstance(value, states.Look):
        return value
    if hasattr(value, "tone"):
        return states.Look(value.label, value.tone, getattr(value, "icon", ""))
    return states.connector_look(str(value or ""))


@register.simple_tag
def badge(value: Any = "", label: Any = None, tone: str | None = None, icon: str | None = None) -> SafeString:
    """Show a state as icon and word on its colour.

    ``value`` is a connector state, a `states.Look`, or a choice with ``label``, ``tone`` and ``icon``; the
    other arguments replace parts of it. With a ``label`` and a ``tone`` alone it is a free badge.
    """
    look = states.Look(label or "", tone or "idle", icon or "") if label and not value else _look(value)
    shown_icon = look.icon if icon is None else icon
    return format_html(
        '<span class="badge" data-tone="{}">{}{}</span>',
        tone or look.tone,
        _icon(shown_icon, 14, "icon") if shown_icon else "",
        label or look.word,
    )


@register.simple_tag
def command_badge(status: str) -> SafeString:
    """Show the status of a command."""
    return badge(states.command_look(status))


@register.simple_tag
def glyph(state: str, name: str = "") -> SafeString:
    """Show a connector as a small square with its state's icon; ``name`` ("2, CCS2") goes into its text."""
    look = states.connector_look(state)
    text = f"{name}: {look.word}" if name else str(look.word)
    return format_html(
        '<span class="glyph" data-tone="{}" role="img" aria-label="{}" title="{}">{}</span>',
        look.tone,
        text,
        text,
        _icon(look.icon, 14, "icon"),
    )


@register.filter
def state_word(state: str) -> str:
    """Return the word of a connector state."""
    return str(states.connector_look(state).word)


@register.filter
def state_tone(state: str) -> str:
    """Return the tone of a connector state, for what stands around its badge."""
    return states.connector_look(state).tone


@register.filter
def marker_word(state: str) -> str:
    """Return the words of a marker on the fleet map."""
    return {
        "charging": _("charging now"),
        "available": _("nothing charging"),
        "faulted": _("with a fault"),
        "offline": _("offline"),
    }[state]


@register.filter
def message_tone(level: str) -> str:
    """Return the tone of a message of Django's message framework."""
    return {"success": "good", "warning": "waiting", "error": "bad"}.get(level.split(" ")[-1], "idle")


@register.filter
def initials(name: str) -> str:
    """Return up to two initials of a person or company."""
    words = [word for word in str(name).replace("@", " ").split() if word[0].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper()


# --- numbers ---------------------------------------------------------------------------------------


def _decimal(value: Any) -> Decimal | None:
    """Return a finite number, None for nothing."""
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


@register.filter
def number(value: Any, digits: int = 0) -> str:
    """Format a number with ``digits`` decimals."""
    amount = _decimal(value)
    return NOTHING if amount is None else display.number(amount, digits)


@register.filter
def kwh(wh: Any) -> str:
    """Format an energy given in Wh, with its unit."""
    amount = _decimal(wh)
    return NOTHING if amount is None else str(display.energy(amount))


@register.filter
def kwh_exact(wh: Any) -> str:
    """Format an energy given in Wh as kWh with three decimals, as on bills."""
    amount = _decimal(wh)
    return NOTHING if amount is None else str(display.energy_exact(amount))


@register.filter
def power(watts: Any) -> str:
    """Format a power given in W, with its unit."""
    amount = _decimal(watts)
    return NOTHING if amount is None else str(display.power(amount))


@register.filter
def percent(ratio: Any, digits: int = 1) -> str:
    """Format a ratio (1 = 100 %)."""
    amount = _decimal(ratio)
    return NOTHING if amount is None else display.percent(amount, digits)


@register.filter
def money(amount: Any, currency: str = "") -> str:
    """Format money: an object with ``amount`` and ``currency``, or major units and a currency code."""
    if hasattr(amount, "currency"):
        amount, currency = amount.amount, amount.currency
    value = _decimal(amount)
    return NOTHING if value is None else display.money(value, currency)


@register.filter
def unit_price(amount: Any, currency: str = "") -> str:
    """Format a price per unit with all its digits."""
    value = _decimal(amount)
    return NOTHING if value is None else display.unit_price(value, currency)


@register.simple_tag
def quantity(value: Any, kind: str, slot: str = "") -> SafeString:
    """Show a large number with a small unit; ``kind`` is energy (Wh) or power (W).

    With ``slot`` the number is replaced live by the slots ``<slot>.value`` and ``<slot>.unit``.
    """
    amount = _decimal(value)
    if amount is None:
        return format_html('<span class="quantity">{}</span>', NOTHING)
    shown = display.energy(amount) if kind == "energy" else display.power(amount)
    if not slot:
        return format_html('<span class="quantity">{} <small>{}</small></span>', shown.value, shown.unit)
    return format_html(
        '<span class="quantity"><span data-live="{0}.value">{1}</span> <small data-live="{0}.unit">{2}</small></span>',
        slot,
        shown.value,
        shown.unit,
    )


# --- times -----------------------------------------------------------------------------------------


def _seconds(value: Any) -> float | None:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    amount = _decimal(value)
    return None if amount is None else float(amount)


@register.filter
def duration(value: Any) -> str:
    """Format seconds or a timedelta as a running clock: 18:42, 1:03:07."""
    seconds = _seconds(value)
    return NOTHING if seconds is None else display.clock(seconds)


@register.filter
def span(value: Any) -> str:
    """Format seconds or a timedelta in words: 2 s, 52 min, 6 d 4 h."""
    seconds = _seconds(value)
    return NOTHING if seconds is None else display.span(seconds)


@register.filter
def ago(at: dt.datetime | None) -> SafeString | str:
    """Show how long a moment is past; the exact time with its zone appears on hover and focus."""
    return _time(at, display.ago(at, now=timezone.now())) if at else NOTHING


@register.filter
def since(at: dt.datetime | None) -> SafeString | str:
    """Show how long something has lasted since ``at``, without "ago"."""
    return _time(at, display.span((timezone.now() - at).total_seconds())) if at else NOTHING


@register.filter
def moment(at: dt.datetime | None) -> SafeString | str:
    """Show a moment as briefly as its distance allows: 09:43, or 21 Nov, 09:43."""
    return _time(at, display.moment(at, now=timezone.now())) if at else NOTHING


@register.filter
def timestamp(at: dt.datetime | None) -> SafeString | str:
    """Show the time of day to the second."""
    return _time(at, display.time_of_day(at, seconds=True)) if at else NOTHING


@register.filter
def day(value: dt.date | dt.datetime | None) -> str:
    """Show a date."""
    return display.day(value) if value else NOTHING


@register.filter
def month(value: dt.date | None) -> str:
    """Show month and year of a date."""
    return display.month(value) if value else NOTHING


def _time(at: dt.datetime, text: str) -> SafeString:
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), display.exact(at), text)


# --- small charts ----------------------------------------------------------------------------------


@register.simple_tag
def power_bar(value: Any, limit: Any, width: int = 64, slot: str = "") -> SafeString:
    """Show ``value`` as a part of ``limit``, both in the same unit; nothing where either is unknown.

    With ``slot`` its length is replaced live by that slot (see `display.bar`).
    """
    amount, full = _decimal(value), _decimal(limit)
    if amount is None or not full or full < 0:
        return SafeString("")
    return format_html(
        '<svg class="bar" width="{0}" height="6" viewBox="0 0 {0} 6" aria-hidden="true">'
        '<rect class="bar-room" width="{0}" height="6" rx="3"/>'
        '<rect class="bar-fill" width="{1}" height="6" rx="3"{2}/></svg>',
        width,
        display.bar(amount, full, width),
        format_html(' data-live-width="{}"', slot) if slot else "",
    )


@register.inclusion_tag("components/svg/mix_bar.html")
def mix_bar(parts: Iterable[tuple[str, int]], title: str = "") -> dict[str, Any]:
    """Show how many connectors are in which state: (state, count) pairs, drawn in the given order."""
    shown = [(states.connector_look(state), count) for state, count in parts if count > 0]
    words = ", ".join(f"{count} {look.word}" for look, count in shown)
    return {
        "label": f"{title}: {words}" if title else words,
        "parts": [
            {"tone": look.tone, "x": share.x, "width": share.width, "text": f"{look.word}: {count}"}
            for (look, count), share in zip(shown, svg.shares([c for _look, c in shown]), strict=False)
        ],
    }


@register.inclusion_tag("components/svg/sparkline.html")
def sparkline(values: Sequence[Any], label: str, width: int = 220, height: int = 22) -> dict[str, Any]:
    """Show the course of ``values``; ``label`` says it in words."""
    path = svg.sparkline([float(v) for v in values], width=width, height=height)
    return {"path": path, "label": label, "width": width, "height": height}


@register.inclusion_tag("components/svg/gauge.html")
def gauge(value: Any, target: Any = None, label: str = "") -> dict[str, Any]:
    """Show a percentage (0 to 100) as a half circle, with a tick at ``target`` percent."""
    full = _decimal(value) or Decimal(0)
    goal = _decimal(target)
    shape = svg.gauge(radius=132, centre=(160, 150), target=None if goal is None else float(goal) / 100)
    return {"shape": shape, "filled": max(Decimal(0), min(Decimal(100), full)), "label": label}


@register.inclusion_tag("components/svg/power_curve.html")
def power_curve(
    points: Sequence[tuple[dt.datetime, Any]],
    limit_w: Any = None,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    running: bool = False,
) -> dict[str, Any]:
    """Show power over time: (moment, W) pairs, a dashed line at ``limit_w``, a dot at the end while ``running``."""
    width, height = 400, 112
    limit = _decimal(limit_w)
    dots = [(at.timestamp(), float(watts)) for at, watts in points if watts is not None]
    shape = svg.curve(
        dots,
        width=width,
        height=height - 4,
        start=start.timestamp() if start else None,
        end=end.timestamp() if end else None,
        top=float(limit) * 1.04 if limit else None,
    )
    if shape is None:
        return {"shape": None}
    highest = max(watts for _at, watts in dots)
    return {
        "shape": shape,
        "width": width,
        "height": height,
        "base": height - 4,
        "limit_y": shape.scale_y(float(limit)) + 2 if limit else None,
        "limit": display.power(limit) if limit else "",
        "first": display.time_of_day(start or points[0][0]),
        "last": _("Now") if running else display.time_of_day(end or points[-1][0]),
        "now_x": round(shape.end_x / width * 100, 2),
        "last_anchor": "end" if shape.end_x > width * 0.9 else "middle",
        "running": running,
        "label": _("Power over time, highest %(power)s") % {"power": display.power(highest)},
    }


@register.inclusion_tag("components/svg/columns.html")
def columns(rows: Sequence[Mapping[str, Any]], currency: str, label: str) -> dict[str, Any]:
    """Show amounts as columns: rows with ``name`` (on the axis), ``amount`` (major units) and ``title``."""
    height, head, foot = 180, 10, 28
    values = [float(row["amount"]) for row in rows]
    marks = svg.ticks(max(values, default=0))
    shapes = svg.columns(values, height=height, top=marks[-1], head=head)
    every = max(1, -(-len(rows) // 12))
    return {
        "label": label,
        "axis_width": 76,
        "outer_height": head + height + foot,
        "columns": [
            {
                "shape": shape,
                "title": f"{row.get('title') or row['name']}: {display.money(row['amount'], currency)}",
                "name": row["name"] if i % every == 0 else "",
                "middle": round(shape.x + shape.width / 2, 2),
            }
            for i, (row, shape) in enumerate(zip(rows, shapes, strict=True))
        ],
        "marks": [
            {"y": round(head + height - mark / marks[-1] * height, 1), "text": display.money_short(mark, currency)}
            for mark in marks
        ],
    }


# --- form fields -----------------------------------------------------------------------------------


@register.simple_tag
def field_widget(field: Any) -> SafeString:
    """Render a form field's widget, tied to its help text and its errors for screen readers."""
    described = [
        f"{field.id_for_label}-{part}" for part, there in (("help", field.help_text), ("error", field.errors)) if there
    ]
    attrs: dict[str, str] = {}
    if described:
        attrs["aria-describedby"] = " ".join(described)
    if field.errors:
        attrs["aria-invalid"] = "true"
    return SafeString(field.as_widget(attrs=attrs))


@register.filter
def widget_kind(field: Any) -> str:
    """Return "checkbox", "choices" or "input": how a field is laid out."""
    widget = field.field.widget
    if isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple):
        return "choices"
    return "checkbox" if isinstance(widget, forms.CheckboxInput) else "input"


@register.filter
def any_chosen(filters: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether one of a filter bar's filters is in use."""
    return any(entry.get("value") for entry in filters or ())


@register.filter
def json_text(value: Any) -> str:
    """Return a value, or the JSON in a text, indented for reading; text that is no JSON stays as it is."""
    data = value
    if isinstance(value, str):
        try:
            data = json.loads(value)
        except ValueError:
            return value
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)
