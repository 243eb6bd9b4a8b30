"""Template tags, and the rules that every template and stylesheet keeps."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from decimal import Decimal
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.template import engines
from django.utils import timezone, translation

from config.stylesheets import ENTRIES, BundledStorage
from stations.messages import ConnectorState
from stations.states import CONNECTOR_LOOKS

ROOT = Path(settings.BASE_DIR)
STYLES = sorted((ROOT / "static/css").rglob("*.css"))
TEMPLATES = sorted(path for path in (ROOT / "templates").rglob("*.html") if "emails" not in path.parts)
NBSP = "\u00a0"


def shown(source: str, **context: Any) -> str:
    """Render a piece of template in English."""
    with translation.override("en"), timezone.override(ZoneInfo("Europe/Berlin")):
        return unescape(engines["django"].from_string(source).render(context)).strip()


# --- states ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(ConnectorState))
def test_every_connector_state_has_word_tone_and_icon(state: ConnectorState) -> None:
    look = CONNECTOR_LOOKS[state]
    html = shown("{% badge state %}", state=state)
    assert f'data-tone="{look.tone}"' in html
    assert str(look.word) in html
    assert "<svg" in html
    assert f"--{look.tone}: light-dark(" in (ROOT / "static/css/tokens.css").read_text()


def test_states_differ_by_word_and_no_two_tones_share_a_shape() -> None:
    words = [str(look.word) for look in CONNECTOR_LOOKS.values()]
    assert len(set(words)) == len(words)
    tone_of_icon: dict[str, str] = {}
    for look in CONNECTOR_LOOKS.values():
        assert tone_of_icon.setdefault(look.icon, look.tone) == look.tone


def test_unknown_state_is_said_to_be_unknown() -> None:
    assert "Unknown" in shown("{% badge state %}", state="Melted")


def test_badge_takes_the_look_of_a_choice() -> None:
    choice = SimpleNamespace(label="Paid", tone="good", icon="check")
    html = shown("{% badge choice %}", choice=choice)
    assert 'data-tone="good"' in html
    assert "Paid" in html


def test_badge_escapes_its_words() -> None:
    html = engines["django"].from_string('{% badge label=words tone="bad" %}').render({"words": "<b>x</b>"})
    assert "<b>" not in html


def test_glyph_speaks_for_screen_readers() -> None:
    html = shown('{% glyph "Faulted" "2, CCS2" %}')
    assert 'role="img" aria-label="2, CCS2: Faulted"' in html


def test_icon_is_hidden_from_screen_readers_and_carries_no_style() -> None:
    html = shown('{% icon "zap" 20 %}')
    assert 'aria-hidden="true"' in html
    assert 'width="20"' in html
    assert "style" not in html


# --- numbers and times -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        ("{{ v|kwh }}", 43_200, f"43.2{NBSP}kWh"),
        ("{{ v|kwh }}", Decimal("6840000"), f"6.84{NBSP}MWh"),
        ("{{ v|kwh_exact }}", Decimal("18310"), f"18.310{NBSP}kWh"),
        ("{{ v|power }}", 22_100, f"22.1{NBSP}kW"),
        ("{{ v|power }}", 142_400, f"142{NBSP}kW"),
        ("{{ v|percent }}", Decimal("0.987"), "98.7%"),
        ("{{ v|percent:0 }}", Decimal("0.21"), "21%"),
        ('{{ v|money:"EUR" }}', Decimal("2914.6"), "€2,914.60"),
        ('{{ v|money:"JPY" }}', Decimal(1200), "¥1,200"),
        ('{{ v|unit_price:"EUR" }}', Decimal("0.5932"), "€0.5932"),
        ("{{ v|duration }}", 1122, "18:42"),
        ("{{ v|span }}", dt.timedelta(hours=3, minutes=5), f"3{NBSP}h 5{NBSP}min"),
        ("{{ v|kwh }}", None, "–"),
        ("{{ v|power }}", "", "–"),
        ('{{ v|money:"EUR" }}', None, "–"),
        ("{{ v|ago }}", None, "–"),
    ],
)
def test_numbers_read_with_their_unit(source: str, value: Any, text: str) -> None:
    assert shown(source, v=value) == text


def test_money_takes_an_object_with_its_currency() -> None:
    assert shown("{{ v|money }}", v=SimpleNamespace(amount=Decimal("1.5"), currency="EUR")) == "€1.50"


def test_times_tell_the_exact_moment_too() -> None:
    at = timezone.now() - dt.timedelta(minutes=52)
    html = shown("{{ at|ago }}", at=at)
    assert html.startswith(f'<time datetime="{at.isoformat()}" title="')
    assert f">52{NBSP}min ago</time>" in html


def test_quantity_parts_number_and_unit_and_names_its_slots() -> None:
    html = shown('{% quantity 142000 "power" "evse:1" %}')
    assert '<span data-live="evse:1.value">142</span> <small data-live="evse:1.unit">kW</small>' in html


def test_svg_numbers_do_not_follow_the_language() -> None:
    with translation.override("de"):
        html = (
            engines["django"]
            .from_string('{% mix_bar parts "x" %}{% power_bar 1 3 %}')
            .render({"parts": [("Available", 1), ("Faulted", 2)]})
        )
    assert 'width="33.1%"' in html
    assert 'width="21.3"' in html


def test_mix_bar_says_in_words_what_it_draws() -> None:
    html = shown('{% mix_bar parts "Connectors" %}', parts=[("Charging", 3), ("Faulted", 0), ("Available", 2)])
    assert 'aria-label="Connectors: 3 Charging, 2 Available"' in html
    assert html.count("<rect") == 2


def test_form_field_ties_help_and_error_to_the_input() -> None:
    class NameForm(forms.Form):
        name = forms.CharField(help_text="As drivers see it.")

    html = shown("{% field_widget form.name %}", form=NameForm({"name": ""}))
    assert 'aria-describedby="id_name-help id_name-error"' in html
    assert 'aria-invalid="true"' in html


# --- templates and styles keep the house rules -----------------------------------------------------


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_template_needs_no_exception_from_the_content_security_policy(path: Path) -> None:
    source = re.sub(r"\{% comment %\}.*?\{% endcomment %\}", "", path.read_text(), flags=re.S)
    assert not re.search(r"<[^>]*\sstyle=", source)
    assert "<style" not in source
    assert not re.search(r"\s(hx-on|on[a-z]+)[:=]", source)
    assert "js:" not in source
    inline = re.findall(r"<script(?![^>]*\ssrc=)(?![^>]*application/json)[^>]*>", source)
    assert inline == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_template_uses_only_icons_that_exist(path: Path) -> None:
    for name in re.findall(r'\{% icon "([a-z0-9-]+)"', path.read_text()):
        shown(f'{{% icon "{name}" %}}')


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_colours_live_in_the_tokens_alone(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    if path.name != "tokens.css":
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(|\boklch\(", text)
        assert "light-dark(" not in text


def parts_of(entry: str) -> list[Path]:
    folder = ROOT / "static/css"
    return [folder / name for name in re.findall(r'@import "([^"]+)"', (folder / entry).read_text())]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_linked_stylesheet_stays_within_40_kilobytes(entry: str) -> None:
    assert sum(path.stat().st_size for path in parts_of(Path(entry).name)) <= 40 * 1024


def test_every_stylesheet_is_linked() -> None:
    linked = {path for entry in ENTRIES for path in parts_of(Path(entry).name)}
    assert linked == {path for path in STYLES if str(path.relative_to(ROOT / "static")) not in ENTRIES}


def test_collected_stylesheets_hold_their_parts(tmp_path: Path) -> None:
    storage = BundledStorage(location=str(tmp_path), base_url="/static/")
    source = FileSystemStorage(location=str(ROOT / "static"))
    names = [str(path.relative_to(ROOT / "static")) for path in (ROOT / "static").rglob("*") if path.is_file()]
    for name in names:
        storage.save(name, source.open(name))
    done = list(storage.post_process({name: (source, name) for name in names}))
    assert [outcome for _name, _hashed, outcome in done if isinstance(outcome, Exception)] == []
    text = (tmp_path / storage.stored_name("css/voltyard.css")).read_text()
    assert "@import" not in text
    assert text.count("@layer components {") == len(list((ROOT / "static/css/components").iterdir()))
    font = re.search(r'url\("\.\./(vendor/inter-latin-5[^"]+)"\)', text)
    assert font is not None
    assert (tmp_path / font[1]).exists()


def tokens() -> dict[str, tuple[str, str]]:
    text = (ROOT / "static/css/tokens.css").read_text()
    return {
        name: (light, dark)
        for name, light, dark in re.findall(r"--([a-z0-9-]+): light-dark\((#\w{6}), (#\w{6})\)", text)
    }


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TONES = ("charging", "waiting", "paused", "good", "reserved", "bad", "idle")
READ_TOGETHER = [
    *((tone, f"{tone}-fill") for tone in TONES),
    *((tone, "surface") for tone in (*TONES, "absent")),
    *((ink, ground) for ink in ("ink", "ink-2", "ink-3") for ground in ("surface", "bg", "sunken", "brand-soft")),
    ("brand", "surface"),
    ("brand", "bg"),
    ("brand", "brand-soft"),
    ("on-brand", "brand"),
    ("on-danger", "danger"),
    ("ink-2", "land"),
]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), READ_TOGETHER)
def test_text_stands_out_from_its_ground(ink: str, ground: str, theme: int) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    found = tokens()
    assert contrast(found[ink][theme], found[ground][theme]) >= 4.5


# --- what came from others -------------------------------------------------------------------------


def test_vendored_files_are_the_ones_in_the_manifest() -> None:
    rows = json.loads((ROOT / "static/vendor/manifest.json").read_text())
    for row in rows:
        assert hashlib.sha256((ROOT / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        assert row["version"]
        assert row["licence"]
    listed = {row["file"] for row in rows}
    kept = {"manifest.json", "LICENCES.txt"}
    present = {str(path.relative_to(ROOT)) for path in (ROOT / "static/vendor").iterdir() if path.name not in kept}
    assert present <= listed
