"""What holds at every address of the API: who is let in, what a body may be, how a no looks."""

from __future__ import annotations

import pytest
from django.urls import get_resolver
from rest_framework.test import APIClient

from accounts.api import Endpoint
from accounts.models import ApiKey, Driver, IdToken, Membership, Operator
from accounts.roles import Role
from tests.factories import NOW, make_api_key, make_driver, make_token

pytestmark = pytest.mark.django_db
TOKENS = "/api/v1/tokens/"


def error_of(answer) -> dict:
    assert answer["Content-Type"].startswith("application/json")
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert set(error) <= {"code", "message", "fields"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic dXNlcjpwdw==", "Token abc", "Bearer a b", "Bearer \xff"],
)
def test_without_a_good_key_nobody_comes_in(db: None, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = APIClient().get(TOKENS, headers=headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="api"'
    assert error_of(answer)["code"] in {"not_authenticated", "authentication_failed"}


def test_a_key_in_the_address_is_not_read(tenant: Operator) -> None:
    _key, secret = make_api_key(tenant)
    assert APIClient().get(f"{TOKENS}?key={secret}&access_token={secret}").status_code == 401


def test_a_log_in_of_a_browser_is_no_key(owner: Membership, browser) -> None:
    assert browser(owner).get(TOKENS).status_code == 401


def test_a_suspended_operator_and_a_revoked_key_are_refused(tenant: Operator, program) -> None:
    client = program()
    tenant.suspended_at = NOW
    tenant.save()
    answer = client.get(TOKENS)
    assert (answer.status_code, error_of(answer)["code"]) == (401, "operator_suspended")
    tenant.suspended_at = None
    tenant.save()
    assert client.get(TOKENS).status_code == 200
    ApiKey.objects.update(revoked_at=NOW)
    assert client.get(TOKENS).status_code == 401


def test_a_role_without_the_ability_is_forbidden(program) -> None:
    answer = program(Role.VIEWER).post(TOKENS, {"value": "04A2", "type": "rfid"})
    assert (answer.status_code, error_of(answer)["code"]) == (403, "permission_denied")
    assert not IdToken.objects.exists()


@pytest.mark.parametrize("method", ["put", "delete", "options", "patch"])
def test_an_address_without_that_method(program, method: str) -> None:
    answer = getattr(program(), method)(TOKENS)
    assert (answer.status_code, error_of(answer)["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    ["/api/v1/nothing/", "/api/v1/", "/api/v1/tokens/x/", "/api/v1/tokens/0193b1f0-0000-7000-8000-000000000000/"],
)
def test_an_unknown_address_answers_in_json(program, path: str) -> None:
    answer = program().get(path)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")


def test_answers_are_compact(program, tenant: Operator) -> None:
    make_token(tenant, "04A2", label="Vän")
    content = program().get(TOKENS).content.decode()
    assert content.startswith('{"results":[{"id":"')
    assert ', "' not in content
    assert '": ' not in content
    assert "Vän" in content


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b"null", "object"),
        (b'{"name":"a","name":"b"}', "twice"),
        (b'{"name":{"a":1,"a":2}}', "twice"),
        (b'{"name":NaN}', "NaN"),
        (b'{"name":-Infinity}', "Infinity"),
        (b'{"name":1' + b"0" * 60 + b"}", "too long"),
        (b'{"name":1e999999999}', "too long"),
        (b'{"name":0.' + b"1" * 60 + b"}", "too long"),
        (b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
        (b'{"name":' + b"[" * 40 + b"]" * 40 + b"}", "deep"),
        (b'{"name":"\\ud800"}', "not allowed"),
        (b'{"name":"a\\u0000b"}', "not allowed"),
        (b'{"na\\u0000me":1}', "not allowed"),
        (b'{"name":"\xff"}', "UTF-8"),
        (b'\xef\xbb\xbf{"name":"a"}', "not JSON"),
    ],
)
def test_a_body_that_is_no_strict_json_is_refused(program, body: bytes, words: str) -> None:
    client = program()
    client.raise_request_exception = False
    answer = client.generic("POST", "/api/v1/drivers/", body, content_type="application/json")
    if body == b"":
        assert answer.status_code == 400
    else:
        assert (answer.status_code, error_of(answer)["code"]) == (400, "parse_error")
        assert words in error_of(answer)["message"]
    assert not Driver.objects.exists()


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/xml"]
)
def test_only_json_is_read(program, content_type: str) -> None:
    answer = program().generic("POST", "/api/v1/drivers/", b'{"name":"a"}', content_type=content_type)
    assert (answer.status_code, error_of(answer)["code"]) == (415, "unsupported_media_type")


def test_a_body_over_the_limit_is_too_large(program, settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = b'{"name":"' + b"a" * 1000 + b'"}'
    answer = program().generic("POST", "/api/v1/drivers/", body, content_type="application/json")
    assert (answer.status_code, error_of(answer)["code"]) == (413, "too_large")


def test_every_wrong_field_has_its_entry_and_nothing_is_stored(program) -> None:
    answer = program().post(
        TOKENS, {"value": "04A2", "type": "card", "status": "lost", "owner": 1, "operator": 2, "expires_at": "soon"}
    )
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == "invalid"
    assert set(error["fields"]) == {"type", "status", "owner", "operator", "expires_at"}
    assert all(isinstance(texts, list) and texts for texts in error["fields"].values())
    assert not IdToken.objects.exists()


@pytest.mark.parametrize(
    "field", ["id", "uuid", "operator", "operator_id", "created_at", "retired_at", "is_staff", "pk"]
)
def test_fields_beyond_the_contract_are_refused(program, tenant: Operator, field: str) -> None:
    driver = make_driver(tenant)
    client = program()
    for answer in (
        client.post("/api/v1/drivers/", {"name": "a", field: "1"}),
        client.patch(f"/api/v1/drivers/{driver.uuid}/", {field: "1"}),
    ):
        assert answer.status_code == 400
        assert list(answer.json()["error"]["fields"]) == [field]
    assert Driver.objects.values().get() == Driver.objects.filter(pk=driver.pk).values().get()


def test_a_conflict_tells_code_text_and_field(program, tenant: Operator) -> None:
    make_token(tenant, "04A2")
    answer = program().post(TOKENS, {"value": "04a2", "type": "rfid"})
    assert answer.status_code == 409
    assert error_of(answer) == {
        "code": "token_taken",
        "message": "This token exists already.",
        "fields": {"value": ["This token exists already."]},
    }


def test_pages_lead_through_all_rows_once(program, tenant: Operator) -> None:
    made = {str(make_driver(tenant).uuid) for _ in range(7)}
    client = program()
    url, seen, previous = "/api/v1/drivers/?limit=3", [], None
    while url:
        page = client.get(url).json()
        assert list(page) == ["results", "next", "previous"]
        seen += [row["id"] for row in page["results"]]
        url, previous = page["next"], page["previous"]
    assert len(seen) == 7
    assert set(seen) == made
    assert [row["id"] for row in client.get(previous).json()["results"]] == seen[3:6]


@pytest.mark.parametrize("query", ["limit=0", "limit=1000000000", "limit=x", "limit=-1"])
def test_no_page_is_larger_than_two_hundred(
    program, tenant: Operator, query: str, django_assert_max_num_queries
) -> None:
    Driver.objects.bulk_create(Driver(operator=tenant, name=str(n)) for n in range(201))
    client = program()
    with django_assert_max_num_queries(5):
        assert len(client.get(f"/api/v1/drivers/?{query}").json()["results"]) <= 200


@pytest.mark.parametrize("cursor", ["", "x", "cD0x", "%00", "cD0yMDI2LTEx", "t1$AAAA", "t1$" + "A" * 64])
def test_a_cursor_we_never_gave_is_refused(program, tenant: Operator, cursor: str) -> None:
    make_driver(tenant)
    answer = program().get(f"/api/v1/drivers/?cursor={cursor}")
    assert answer.status_code == 400
    assert list(error_of(answer)["fields"]) == ["cursor"]


def test_a_cursor_leads_through_its_own_list_only(program, tenant: Operator) -> None:
    for _ in range(3):
        make_token(tenant, driver=make_driver(tenant))
    client = program()
    following = client.get("/api/v1/drivers/?limit=1").json()["next"]
    assert client.get(following).status_code == 200
    assert client.get(following.replace("/drivers/", "/tokens/")).status_code == 400


def test_a_defect_tells_nothing(program, monkeypatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(Endpoint, "get_queryset", broken)
    client = program()
    client.raise_request_exception = False
    answer = client.get(TOKENS)
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal_error"
    assert "hunter2" not in answer.content.decode()


def test_every_address_names_an_ability_for_each_of_its_methods() -> None:
    found = 0
    for name, view in api_views():
        methods = {method.upper() for method in ("get", "post", "put", "patch", "delete") if hasattr(view, method)}
        assert methods <= set(view.abilities), f"{name} leaves a method without an ability"
        found += 1
    assert found >= 7


def api_views():
    """Return (name, view class) of every Endpoint below /api/."""

    def walk(patterns):
        for pattern in patterns:
            if hasattr(pattern, "url_patterns"):
                yield from walk(pattern.url_patterns)
            else:
                view = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
                if view is not None and issubclass(view, Endpoint):
                    yield pattern.name, view

    return list(walk(get_resolver().url_patterns))
