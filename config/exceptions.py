"""What a no looks like: JSON for programs, a page or a fragment for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response

from accounts.errors import Refused

API = "/api/v1/"
CODES = {400: "invalid", 401: "not_authenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
Outcome = tuple[int, dict[str, Any], dict[str, str]]


def api_error(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """REST framework's exception handler: status and ``{"error":{"code","message","fields"?}}``.

    None for a defect: it keeps its traceback and becomes a 500 without any detail (`RefusedMiddleware`).
    """
    outcome = outcome_of(error)
    if outcome is None:
        return None
    status, body, headers = outcome
    return Response(body, status=status, headers=headers)


def outcome_of(error: Exception) -> Outcome | None:
    """Return status, body and headers for an anticipated error, None for a defect."""
    if isinstance(error, Refused):
        fields = {error.field: [error.text]} if error.field else None
        return 409, error_body(error.code, error.text, fields), {}
    if isinstance(error, DjangoValidationError):
        return 400, error_body("invalid", _("The input is not valid."), _django_fields(error)), {}
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(*error.args)
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(cast(Any, error).auth_header)
    if getattr(error, "wait", None):
        headers["Retry-After"] = str(int(cast(Any, error).wait))
    if isinstance(error, exceptions.ValidationError):
        body = error_body("invalid", _("The input is not valid."), _fields(error.detail))
    else:
        body = error_body(str(cast(Any, error.get_codes())), str(error.detail))
    return error.status_code, body, headers


def error_body(code: str, message: str, fields: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Return the one shape of every error of the API."""
    error: dict[str, Any] = {"code": code, "message": message}
    if fields:
        error["fields"] = fields
    return {"error": error}


def _fields(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Flatten REST framework's nested errors: one entry per field, ``stations.0`` for what lies deeper."""
    if isinstance(detail, dict):
        flat: dict[str, list[str]] = {}
        for name, inner in detail.items():
            flat.update(_fields(inner, f"{path}.{name}" if path else str(name)))
        return flat
    if isinstance(detail, list) and any(isinstance(inner, dict | list) for inner in detail):
        flat = {}
        for index, inner in enumerate(detail):
            if inner:
                flat.update(_fields(inner, f"{path}.{index}" if path else str(index)))
        return flat
    texts = [str(text) for text in detail] if isinstance(detail, list) else [str(detail)]
    return {path or "body": texts}


def _django_fields(error: DjangoValidationError) -> dict[str, list[str]]:
    if hasattr(error, "error_dict"):
        return {("body" if name == NON_FIELD_ERRORS else name): texts for name, texts in error.message_dict.items()}
    return {"body": list(error.messages)}


class RefusedMiddleware:
    """Turns what a view refused into an answer, and gives every error below /api/v1/ the API's shape."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer ``request``."""
        if self.is_async:
            return self._answer_later(request)
        return self._shaped(request, cast(HttpResponseBase, self.get_response(request)))

    async def _answer_later(self, request: HttpRequest) -> HttpResponseBase:
        return self._shaped(request, await cast("Awaitable[HttpResponseBase]", self.get_response(request)))

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer what a view raised, where it was anticipated."""
        if request.path.startswith(API):
            outcome = outcome_of(error)
            return None if outcome is None else _json(*outcome)
        if isinstance(error, Refused):
            return _page(request, error)
        return None

    @staticmethod
    def _shaped(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Replace an error page by JSON where a program asked: unknown address, broken request, defect."""
        status = response.status_code
        if status < 400 or not request.path.startswith(API):
            return response
        if response.get("Content-Type", "").startswith("application/json"):
            return response
        texts = {404: _("There is nothing here."), 400: _("The request is not valid.")}
        message = texts.get(status, _("This request failed. Nothing was changed.") if status >= 500 else _("Refused."))
        code = CODES.get(status, "internal_error" if status >= 500 else "refused")
        return _json(status, error_body(code, message), {})


def _json(status: int, body: dict[str, Any], headers: dict[str, str]) -> JsonResponse:
    return JsonResponse(body, status=status, headers=headers, json_dumps_params={"separators": (",", ":")})


def _page(request: HttpRequest, no: Refused) -> HttpResponse:
    """Return the no in words: plain text, which the page's script shows, or a page where a form was sent."""
    if request.headers.get("HX-Request"):
        return HttpResponse(no.text, status=409, content_type="text/plain; charset=utf-8")
    return render(request, "refused.html", {"no": no}, status=409)
