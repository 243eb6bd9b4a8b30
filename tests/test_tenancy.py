"""Nobody sees or changes what is another operator's: tried on every address there is, taken from the URL map.

A new address is tried without being told of. Where it names a kind of object for the first time, `NOUNS` wants an
example of it; where it opens without log-in, `PUBLIC` wants its name; a new live topic wants its line in `TOPICS`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.test import APIClient

from accounts.models import Membership, Operator, User
from accounts.roles import Role
from billing.payers import ensure_account
from config.wiring import LIVE_TOPICS
from stations.live import Page
from tests.everything import Everything, rows_of
from tests.factories import make_api_key, make_driver, make_member, make_person

OURS, THEIRS = "QZ7X", "KW4V"

# --- what a new address, object or topic must bring ----------------------------------------------------------

# The word before an object's id in an address → an object of that kind.
NOUNS: dict[str, Callable[[Everything], Any]] = {
    "members": lambda own: own.members[0],
    "invitations": lambda own: own.invitations[0],
    "tokens": lambda own: own.tokens[0],
    "drivers": lambda own: own.drivers[0],
    "api-keys": lambda own: own.api_keys[0],
    "stations": lambda own: own.stations[0],
    "commands": lambda own: own.commands[0],
    "sites": lambda own: own.sites[0],
    "sessions": lambda own: own.sessions[0],
    "alerts": lambda own: own.alerts[0],
    "audit": lambda own: own.audit[0],
    "tariffs": lambda own: own.tariffs[0],
    "documents": lambda own: own.documents[0],
    "reports": lambda own: own.reports[0],
    "invoices": lambda own: own.documents[0],
    "papers": lambda own: own.documents[0],
    "history": lambda own: own.sessions[0],
    "operators": lambda own: own.operator,
}
# Addresses that show something before anybody has logged in.
PUBLIC = {"home", "invitation", "set_language", "schema", "docs", "demo_log_in"}
# The portals: first word of an address, the rest is allauth's, Django's or open to all.
PORTALS = ("console", "finance", "driver", "staff", "api/v1")
OFFICES = ("console", "finance")
# What a form must say before its object is looked at.
NEEDS = {"console:station_registration": {"registration": "accepted"}}
# What a viewer may write: words of the view's name.
VIEWER_MAY = {"api:tariff_preview"}
TOPICS: dict[str, Callable[[Everything], str]] = {
    "alerts": lambda own: "",
    "messages": lambda own: "",
    "stations": lambda own: "",
    "station": lambda own: own.stations[0].identity,
    "driver": lambda own: "",
    "driver-session": lambda own: str(own.sessions[0].uuid),
    "session": lambda own: str(own.sessions[0].uuid),
    "sessions": lambda own: "",
}
# About whatever one's own operator, or oneself, has.
TOPICS_ABOUT_ONESELF = {"alerts", "driver", "messages", "sessions", "stations"}


@dataclasses.dataclass(frozen=True)
class Route:
    """One address. ``params`` maps each parameter to the word before it and its converter."""

    name: str
    template: str
    params: tuple[tuple[str, str, str], ...]

    @property
    def portal(self) -> str:
        return next((portal for portal in PORTALS if self.template.startswith(f"{portal}/")), "")

    def url(self, own: Everything) -> str:
        """Return the address of ``own``'s example."""
        kwargs = {}
        for param, noun, converter in self.params:
            assert noun in NOUNS, (
                f"{self.template} names an object by the word “{noun}” that this test has no example of. "
                f"Add the word to NOUNS in tests/test_tenancy.py, and a row of that kind to tests/everything.py."
            )
            example = NOUNS[noun](own)
            kwargs[param] = example.uuid if converter == "uuid" else example.identity
        return reverse(self.name, kwargs=kwargs)


def _walk(patterns: list[Any], before: str = "", space: str = "") -> Iterator[Route]:
    for pattern in patterns:
        template = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(
                pattern.url_patterns, template, f"{space}{pattern.namespace}:" if pattern.namespace else space
            )
        elif isinstance(pattern, URLPattern):
            found = re.finditer(r"([^/]+)/<(?:(\w+):)?(\w+)>", template)
            params = tuple((match[3], match[1], match[2] or "str") for match in found)
            yield Route(f"{space}{pattern.name}", template, params)


ALL = [route for route in _walk(get_resolver().url_patterns) if not route.template.startswith(("admin/", "_kit/"))]
GUARDED = [route for route in ALL if route.portal]
OBJECTS = [route for route in GUARDED if route.params]
PAGES = [route for route in OBJECTS if route.portal not in {"api/v1", "staff"}]
PROGRAMS = [route for route in OBJECTS if route.portal == "api/v1"]
LISTS = [route for route in GUARDED if not route.params and route.portal not in {"api/v1", "staff"}]
API_LISTS = [route for route in GUARDED if not route.params and route.portal == "api/v1"]


@pytest.fixture
def ours(tenant: Operator) -> Everything:
    return Everything.of(tenant, OURS)


@pytest.fixture
def stranger(other_tenant: Operator) -> Membership:
    """Somebody with every right at another operator, where they also drive."""
    member = make_member(other_tenant, Role.OWNER, make_person("stranger@example.com"))
    ensure_account(make_driver(other_tenant, user=member.user, name="Stranger"))
    return member


class Untouched:
    """Proves that no row of an operator was added, changed or taken away since the last look."""

    def __init__(self, own: Everything) -> None:
        self._owner = own.owner
        self._before = rows_of(own.owner, apps.get_models)
        assert sum(map(len, self._before.values())) > 30

    def look(self, *, but: str = "") -> None:
        after = rows_of(self._owner, apps.get_models)
        for table, rows in self._before.items():
            assert table == but or after[table] == rows, f"{table} was changed"


def open_browser(user: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    return client


def text_of(answer: HttpResponseBase) -> str:
    body = b"".join(answer) if answer.streaming else getattr(answer, "content", b"")  # type: ignore[attr-defined]
    return body.decode(errors="replace")


def tries(client: Client, url: str, body: dict[str, Any] | None = None) -> Iterator[tuple[str, HttpResponseBase]]:
    """Ask for an address in every way a browser can, as a page and as a part of one."""
    for headers in ({}, {"HX-Request": "true"}):
        yield "GET", client.get(url, headers=headers)
        yield "POST", client.post(url, body or {}, headers=headers)
    yield "DELETE", client.delete(url)


# --- the map is known ----------------------------------------------------------------------------------------


def test_the_map_was_read() -> None:
    assert {"console:station", "console:token_block", "api:station_commands", "driver:token_block"} <= {
        route.name for route in OBJECTS
    }
    assert len(OBJECTS) > 40


def test_every_parameter_is_an_object_that_has_an_example() -> None:
    missing = {(noun, route.template) for route in OBJECTS for _param, noun, _kind in route.params if noun not in NOUNS}
    assert not missing, (
        f"Add these words to NOUNS in tests/test_tenancy.py, with a row of that kind in tests/everything.py: {missing}"
    )
    unread = [route.template for route in OBJECTS if route.template.count("<") != len(route.params)]
    assert not unread, f"an object's id stands behind the word for its kind: {unread}"


def test_every_word_is_used() -> None:
    used = {noun for route in OBJECTS for _param, noun, _kind in route.params}
    assert set(NOUNS) <= used, f"no address uses {set(NOUNS) - used}: take them out of NOUNS"


@pytest.mark.django_db
def test_each_example_is_there_for_its_own_people(ours: Everything, subtests: pytest.Subtests) -> None:
    """Otherwise the tests below would prove nothing."""
    for route in OBJECTS:
        if route.portal == "staff":
            continue
        url = route.url(ours)
        person = ours.driver.user if route.portal == "driver" else ours.owner.user
        client: Any = program(ours.operator) if route.portal == "api/v1" else open_browser(person)
        with subtests.test(url), transaction.atomic():
            answer = client.get(url)
            if answer.status_code == 405:
                answer = client.post(url, NEEDS.get(route.name, {}))
            assert answer.status_code not in {404, 405, 500}, answer.status_code
            transaction.set_rollback(True)


# --- strangers -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_page_does_not_exist_for_a_stranger(
    ours: Everything, stranger: Membership, subtests: pytest.Subtests
) -> None:
    client, untouched = open_browser(stranger.user), Untouched(ours)
    for route in PAGES:
        url = route.url(ours)
        with subtests.test(url):
            seen = set()
            for method, answer in tries(client, url):
                seen.add(answer.status_code)
                assert answer.status_code in {404, 405}, (method, answer.status_code)
                assert OURS not in text_of(answer).replace(url, "")
            assert 404 in seen
            untouched.look()


@pytest.mark.django_db
def test_a_page_does_not_exist_for_another_driver_of_the_same_operator(
    ours: Everything, subtests: pytest.Subtests
) -> None:
    other = make_driver(ours.operator, user=make_person(), name="Somebody else")
    ensure_account(other)
    client, untouched = open_browser(other.user), Untouched(ours)
    for route in PAGES:
        if route.portal == "driver":
            with subtests.test(route.name):
                assert {answer.status_code for _method, answer in tries(client, route.url(ours))} <= {404, 405}
                untouched.look()


@pytest.mark.django_db
def test_pages_of_the_staff_do_not_exist_for_others(
    ours: Everything, stranger: Membership, subtests: pytest.Subtests
) -> None:
    untouched = Untouched(ours)
    for user in (stranger.user, ours.owner.user, ours.driver.user):
        client = open_browser(user)
        for route in GUARDED:
            if route.portal == "staff":
                with subtests.test(route.name):
                    assert {answer.status_code for _method, answer in tries(client, route.url(ours))} <= {404, 405}
                    untouched.look()


@pytest.mark.django_db
def test_the_api_does_not_show_it_to_a_strangers_key(
    ours: Everything, stranger: Membership, subtests: pytest.Subtests
) -> None:
    client, untouched = program(stranger.operator), Untouched(ours)
    for route in PROGRAMS:
        url = route.url(ours)
        with subtests.test(url):
            answers = [getattr(client, method)(url, {}, format="json") for method in ("post", "put", "patch", "delete")]
            answers.append(client.get(url))
            for answer in answers:
                assert answer.status_code in {404, 405}, (answer.request["REQUEST_METHOD"], answer.content)
                assert OURS not in answer.content.decode()
            assert 404 in {answer.status_code for answer in answers}
            untouched.look()


def program(operator: Operator, role: Role = Role.OWNER) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_api_key(operator, role)[1]}")
    return client


def pointers(own: Everything) -> dict[str, list[str]]:
    """Return every name a form or filter may use for an object, with the ids of our examples."""
    names: dict[str, list[str]] = {}
    for noun, example in NOUNS.items():
        found = example(own)
        singular = noun.removesuffix("s").replace("api-key", "key")
        for name in (noun, singular, f"{singular}_id"):
            names[name] = [str(found.uuid)]
    everybody = [str(example(own).uuid) for example in NOUNS.values()]
    names |= {"id": everybody, "ids": everybody, "selected": everybody, "open": [str(own.stations[0].uuid)]}
    return names


@pytest.mark.django_db(transaction=True)
def test_lists_hold_nothing_of_others(ours: Everything, stranger: Membership, subtests: pytest.Subtests) -> None:
    """As they are, and when they are asked about our objects; whatever is posted to them changes nothing of ours."""
    Everything.of(stranger.operator, THEIRS)
    client, asked, untouched = open_browser(stranger.user), pointers(ours), Untouched(ours)
    seen = ""
    for route in LISTS:
        url = route.url(ours)
        with subtests.test(url):
            answers = [client.get(url), client.get(f"{url}?{urlencode(asked, doseq=True)}"), client.post(url, asked)]
            answers.append(client.get(url, headers={"HX-Request": "true"}))
            for answer in answers:
                assert answer.status_code < 500, answer.status_code
                text = text_of(answer)
                assert OURS not in text
                seen += text
            untouched.look()
    assert THEIRS in seen  # the pages do show rows: those of their own operator


@pytest.mark.django_db
def test_api_lists_hold_nothing_of_others(ours: Everything, stranger: Membership, subtests: pytest.Subtests) -> None:
    client, untouched = program(stranger.operator), Untouched(ours)
    for route in API_LISTS:
        url = route.url(ours)
        with subtests.test(url):
            for asked in ("", f"?{urlencode({name: ids[0] for name, ids in pointers(ours).items()})}"):
                answer = client.get(url + asked)
                assert answer.status_code < 500
                assert OURS not in answer.content.decode()
            untouched.look()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("api:stations", lambda own: {"identity": "NEW-1", "site": str(own.sites[0].uuid)}),
        ("api:tokens", lambda own: {"value": "04AA", "type": "rfid", "driver": str(own.drivers[0].uuid)}),
        ("api:tokens", lambda own: {"value": "04AA", "type": "rfid", "stations": [own.stations[0].identity]}),
    ],
)
def test_a_body_cannot_point_at_others(
    name: str, body: Callable[[Everything], dict[str, Any]], ours: Everything, stranger: Membership
) -> None:
    client, untouched = program(stranger.operator), Untouched(ours)
    before = rows_of(stranger, apps.get_models)
    answer = client.post(reverse(name), body(ours), format="json")
    assert answer.status_code in {400, 404}, answer.content
    assert OURS not in json.dumps(answer.json()).replace(ours.stations[0].identity, "")
    after = rows_of(stranger, apps.get_models)
    assert {table: len(rows) for table, rows in after.items()} == {table: len(rows) for table, rows in before.items()}
    untouched.look()


# --- live pages ----------------------------------------------------------------------------------------------


def test_every_live_topic_has_an_example() -> None:
    assert set(TOPICS) == set(LIVE_TOPICS), "TOPICS in tests/test_tenancy.py names every topic of config/wiring.py"


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(LIVE_TOPICS))
def test_a_live_topic_tells_a_stranger_nothing(name: str, ours: Everything, stranger: Membership) -> None:
    topic, key = LIVE_TOPICS[name], TOPICS[name](ours)
    theirs = topic(stranger.user, key, {})
    mine = [page for person in (ours.owner.user, ours.driver.user) if (page := topic(person, key, {})) is not None]
    assert mine
    if name not in TOPICS_ABOUT_ONESELF:
        assert theirs is None
        return
    assert theirs is not None
    assert not groups(theirs) & {group for page in mine for group in groups(page)}
    assert OURS not in json.dumps(dict(theirs.slots()) if theirs.slots else {})
    # Remembering another operator in the browser does not help.
    forged = topic(stranger.user, key, {"operator": str(ours.operator.uuid)})
    assert forged is not None
    assert groups(forged) == groups(theirs)


def groups(page: Page) -> set[str]:
    return {page.group, *page.more_groups}


# --- nobody --------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_without_log_in_there_is_nothing(ours: Everything, subtests: pytest.Subtests) -> None:
    """Where a page is meant for everybody its name stands in PUBLIC."""
    client, untouched = open_browser(None), Untouched(ours)
    for route in ALL:
        if route.template.startswith("account/") or route.name in PUBLIC:
            continue
        url = route.url(ours)
        with subtests.test(url):
            for method, answer in tries(client, url):
                assert OURS not in text_of(answer).replace(url, "")
                if route.portal == "api/v1":
                    assert answer.status_code == 401, method
                elif answer.status_code not in {404, 405}:
                    assert answer.status_code == 302, (method, answer.status_code)
                    assert answer["Location"].startswith("/account/login/?next="), method
            untouched.look()


@pytest.mark.django_db
def test_a_suspended_operator_has_no_pages(ours: Everything, subtests: pytest.Subtests) -> None:
    ours.operator.suspended_at = ours.now
    ours.operator.save()
    client = open_browser(ours.owner.user)
    for route in PAGES + LISTS:
        if route.portal in OFFICES:
            with subtests.test(route.name):
                answer = client.get(route.url(ours))
                assert answer.status_code in {403, 405}
                assert OURS not in text_of(answer).replace(ours.owner.user.name, "").replace(ours.owner.user.email, "")


# --- colleagues ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_viewer_changes_nothing(ours: Everything, subtests: pytest.Subtests) -> None:
    """What writes is 403; a page that only shows may be asked by any method."""
    viewer = ours.members[0]
    assert viewer.role == Role.VIEWER
    client, untouched = open_browser(viewer.user), Untouched(ours)
    for route in PAGES + LISTS:
        if route.portal not in OFFICES or route.name in VIEWER_MAY:
            continue
        url = route.url(ours)
        with subtests.test(url):
            reading = client.get(url).status_code
            allowed = {403, 405} | ({reading} if reading != 405 else set())
            for headers in ({}, {"HX-Request": "true"}):
                answer = client.post(url, pointers(ours), headers=headers)
                assert answer.status_code in allowed, answer.status_code
            untouched.look()


@pytest.mark.django_db
def test_a_viewers_key_writes_nothing(ours: Everything, subtests: pytest.Subtests) -> None:
    client, untouched = program(ours.operator, Role.VIEWER), Untouched(ours)
    for route in PROGRAMS + API_LISTS:
        if route.name not in VIEWER_MAY:
            with subtests.test(route.name):
                for method in ("post", "put", "patch", "delete"):
                    answer = getattr(client, method)(route.url(ours), {}, format="json")
                    assert answer.status_code in {403, 405}, (method, answer.content)
                untouched.look(but="ApiKey")  # it remembers when it was used


@pytest.mark.django_db
def test_a_colleague_of_another_site_does_not_see_it(ours: Everything, subtests: pytest.Subtests) -> None:
    """What belongs to a site is not there for a technician of none; what belongs to none they may not see (403)."""
    elsewhere = make_member(ours.operator, Role.TECHNICIAN, all_sites=False, site_ids=[])
    client, untouched = open_browser(elsewhere.user), Untouched(ours)
    for route in PAGES:
        if route.portal in OFFICES:
            with subtests.test(route.name):
                for method, answer in tries(client, route.url(ours)):
                    assert answer.status_code in {403, 404, 405}, (method, answer.status_code)
                untouched.look()
