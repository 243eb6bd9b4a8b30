"""Every list page asks the database as often for a hundred rows as for ten, and never more often than its budget.

`query_budget.json` holds the budget of each address; a new list must be entered there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Operator
from tests.everything import Everything
from tests.factories import make_operator
from tests.test_tenancy import API_LISTS, LISTS, open_browser, program, text_of

BUDGET: dict[str, int] = json.loads((Path(__file__).parent / "query_budget.json").read_text())
MOST = 15
# Lists that show no rows, and downloads that are read from the database piece by piece.
WITHOUT_ROWS = {
    "api:me",
    "api:tariff_preview",
    "console:messages_download",
    "console:refused_adopt",
    "console:stations_bulk",
}
ROUTES = [route for route in LISTS + API_LISTS if route.name not in WITHOUT_ROWS]


@pytest.mark.django_db
def test_ten_rows_or_a_hundred(tenant: Operator, subtests: pytest.Subtests) -> None:
    now = timezone.now()
    few = Everything.of(tenant, "FEW", many=10, now=now)
    many = Everything.of(make_operator("many"), "MANY", many=100, now=now)
    for route in ROUTES:
        with subtests.test(route.name):
            asked = [_queries(route, own) for own in (few, many)]
            for queries in asked:
                assert len(queries) <= BUDGET[route.name], "\n".join(queries)
            assert len(asked[0]) == len(asked[1]), "\n".join(asked[1])


def _queries(route: Any, own: Everything) -> list[str]:
    person = own.driver.user if route.portal == "driver" else own.owner.user
    client: Any = program(own.operator) if route.portal == "api/v1" else open_browser(person)
    url = route.url(own)
    client.get(url)  # what is found once in the life of a process does not count
    cache.clear()
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(url)
        text_of(answer)
    assert answer.status_code in {200, 302, 400, 405}, answer.status_code
    return [query["sql"][:300] for query in queries]


def test_every_list_has_a_budget() -> None:
    names = {route.name for route in ROUTES}
    assert set(BUDGET) == names, "tests/query_budget.json names every list"
    assert max(BUDGET.values()) <= MOST
