"""What a no looks like, for a program and for a person."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from rest_framework import exceptions

from accounts.errors import Refused
from config.exceptions import RefusedMiddleware, api_error


class Limit(Refused):
    code = "limit"


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (Limit("No more."), 409, {"code": "limit", "message": "No more."}),
        (
            Limit("No more.", code="other", field="power"),
            409,
            {"code": "other", "message": "No more.", "fields": {"power": ["No more."]}},
        ),
        (Http404(), 404, {"code": "not_found", "message": "Not found."}),
        (PermissionDenied("Not you."), 403, {"code": "permission_denied", "message": "Not you."}),
        (
            exceptions.NotAuthenticated(),
            401,
            {"code": "not_authenticated", "message": "Authentication credentials were not provided."},
        ),
        (
            exceptions.MethodNotAllowed("PUT"),
            405,
            {"code": "method_not_allowed", "message": 'Method "PUT" not allowed.'},
        ),
        (
            exceptions.UnsupportedMediaType("text/xml"),
            415,
            {"code": "unsupported_media_type", "message": 'Unsupported media type "text/xml" in request.'},
        ),
        (exceptions.ParseError("Broken."), 400, {"code": "parse_error", "message": "Broken."}),
        (
            exceptions.ValidationError({"a": ["x", "y"]}),
            400,
            {"code": "invalid", "message": "The input is not valid.", "fields": {"a": ["x", "y"]}},
        ),
        (
            exceptions.ValidationError("alone"),
            400,
            {"code": "invalid", "message": "The input is not valid.", "fields": {"body": ["alone"]}},
        ),
        (
            exceptions.ValidationError({"a": {"b": [{}, {"c": ["x"]}]}, "d": {1: ["y"]}}),
            400,
            {"code": "invalid", "message": "The input is not valid.", "fields": {"a.b.1.c": ["x"], "d.1": ["y"]}},
        ),
        (
            DjangoValidationError({"value": ["x"]}),
            400,
            {"code": "invalid", "message": "The input is not valid.", "fields": {"value": ["x"]}},
        ),
        (
            DjangoValidationError("whole"),
            400,
            {"code": "invalid", "message": "The input is not valid.", "fields": {"body": ["whole"]}},
        ),
    ],
)
def test_every_anticipated_error_has_one_shape(error: Exception, status: int, body: dict) -> None:
    answer = api_error(error, {})
    assert answer is not None
    assert answer.status_code == status
    assert answer.data == {"error": body}


def test_a_throttled_call_says_when_to_come_back() -> None:
    answer = api_error(exceptions.Throttled(wait=12.2), {})
    assert answer is not None
    assert (answer.status_code, answer["Retry-After"], answer.data["error"]["code"]) == (429, "13", "throttled")


def test_a_defect_is_not_dressed_up() -> None:
    assert api_error(RuntimeError("boom"), {}) is None
    assert api_error(KeyError("x"), {}) is None


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid"),
        (403, "forbidden"),
        (404, "not_found"),
        (413, "refused"),
        (500, "internal_error"),
        (503, "internal_error"),
    ],
)
def test_error_pages_below_the_api_become_json(status: int, code: str) -> None:
    middleware = RefusedMiddleware(lambda request: HttpResponse("<h1>secret</h1>", status=status))
    answer = middleware(RequestFactory().get("/api/v1/x/"))
    assert answer.status_code == status
    assert f'"code":"{code}"' in answer.content.decode()
    assert "secret" not in answer.content.decode()
    untouched = middleware(RequestFactory().get("/console/"))
    assert untouched.content == b"<h1>secret</h1>"


def test_good_answers_and_json_errors_pass_untouched() -> None:
    for response in (
        HttpResponse("csv", content_type="text/csv"),
        HttpResponse('{"a":1}', status=409, content_type="application/json"),
    ):
        assert (
            RefusedMiddleware(lambda request, response=response: response)(RequestFactory().get("/api/v1/x/"))
            is response
        )


def test_what_a_plain_view_raises_below_the_api_is_answered_in_json() -> None:
    middleware = RefusedMiddleware(lambda request: HttpResponse())
    request = RequestFactory().post("/api/v1/x/")
    answer = middleware.process_exception(request, Limit("No more."))
    assert answer is not None
    assert (answer.status_code, answer.content) == (409, b'{"error":{"code":"limit","message":"No more."}}')
    unauthenticated = middleware.process_exception(request, exceptions.NotAuthenticated())
    assert unauthenticated is not None
    assert unauthenticated.status_code == 401
    assert middleware.process_exception(request, RuntimeError()) is None
    assert middleware.process_exception(RequestFactory().get("/console/"), RuntimeError()) is None


async def test_asynchronous_views_pass_without_a_thread() -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("<h1>x</h1>", status=404)

    answer = await RefusedMiddleware(view)(AsyncRequestFactory().get("/api/v1/x/"))
    assert answer.content == b'{"error":{"code":"not_found","message":"There is nothing here."}}'
