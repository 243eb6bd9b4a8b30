"""The gallery: every page and fragment renders from the context its header promises; shut in production."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from config.views_kit import FRAGMENTS, PAGES


@pytest.fixture
def visitor(settings: Settings) -> Client:
    settings.DEBUG = True
    return Client()


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("name", PAGES)
def test_page_renders(visitor: Client, name: str, language: str) -> None:
    answer = visitor.get(reverse("kit:page", args=[name]), headers={"accept-language": language})
    text = answer.content.decode()
    assert answer.status_code == 200
    assert f'<html lang="{language}"' in text
    assert "<c-" not in text
    assert "{%" not in text
    assert text.count("<main") == 1
    assert text.count("<h1") == 1


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragment_is_no_whole_page(visitor: Client, name: str) -> None:
    answer = visitor.get(reverse("kit:fragment", args=[name]))
    assert answer.status_code == 200
    assert b"<html" not in answer.content
    assert answer.content.strip()


def test_index_leads_to_every_page(visitor: Client) -> None:
    text = visitor.get(reverse("kit:index")).content.decode()
    assert all(reverse("kit:page", args=[name]) in text for name in PAGES)


@pytest.mark.parametrize(
    "address",
    [("kit:index",), ("kit:series",), ("kit:page", "stations"), ("kit:fragment", "cost")],
)
def test_without_debug_there_is_no_gallery(client: Client, address: tuple[str, ...]) -> None:
    assert client.get(reverse(address[0], args=address[1:])).status_code == 404


def test_unknown_page_is_not_found(visitor: Client) -> None:
    assert visitor.get(reverse("kit:page", args=["nothing"])).status_code == 404


def test_live_page_says_its_topic_and_others_open_no_socket(visitor: Client) -> None:
    live = visitor.get(reverse("kit:page", args=["stations"])).content.decode()
    still = visitor.get(reverse("kit:page", args=["finance-overview"])).content.decode()
    assert 'data-live-topic="kit"' in live
    assert "js/live.js" in live
    assert "data-live-topic" not in still
    assert "js/live.js" not in still


def test_the_chosen_theme_is_there_before_any_script_runs(visitor: Client) -> None:
    visitor.cookies["theme"] = "dark"
    assert b'data-theme="dark"' in visitor.get(reverse("kit:page", args=["stations"])).content
    visitor.cookies["theme"] = '"><script>'
    assert b"data-theme" not in visitor.get(reverse("kit:page", args=["stations"])).content.split(b"<head>")[0]
