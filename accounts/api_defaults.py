"""What settings name as the defaults of the REST API: key, ability, strict JSON, pages.

Kept apart from `accounts.api`, since REST framework reads these while its views are being imported.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    MethodNotAllowed,
    ParseError,
    ValidationError,
)
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from accounts.api_keys import find_api_key
from accounts.keys import seal, unseal
from accounts.models import ApiKey
from accounts.roles import may

if TYPE_CHECKING:
    from rest_framework.views import APIView

MAX_DEPTH = 32
MAX_DIGITS = 40


class TooLarge(APIException):
    """A body beyond the limit of the installation (DATA_UPLOAD_MAX_MEMORY_SIZE)."""

    status_code = 413
    default_code = "too_large"
    default_detail = gettext_lazy("The body is too large.")


class BearerKey(BaseAuthentication):
    """``Authorization: Bearer <key>``; the key acts (``request.user`` and ``request.auth`` are its ApiKey)."""

    def authenticate(self, request: Request) -> tuple[ApiKey, ApiKey] | None:
        """Return the acting key; None where the request carries none."""
        key = bearer(get_authorization_header(request).decode("latin-1"))
        return (key, key) if key else None

    def authenticate_header(self, request: Request) -> str:
        """Return what a 401 asks for (RFC 6750 §3)."""
        return 'Bearer realm="api"'


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the schema about the key."""

    target_class = BearerKey
    name = "API key"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the OpenAPI security scheme."""
        return {"type": "http", "scheme": "bearer"}


def bearer(header: str) -> ApiKey | None:
    """Return the key of an Authorization header, None for an empty one. Raises AuthenticationFailed (401)."""
    if not header:
        return None
    scheme, _blank, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise AuthenticationFailed(_("Send the key as: Authorization: Bearer <key>"))
    key = find_api_key(secret.strip(), at=timezone.now())
    if key is None:
        raise AuthenticationFailed(_("This API key is unknown or was revoked."))
    if key.operator.is_suspended:
        raise AuthenticationFailed(_("This operator is suspended."), code="operator_suspended")
    return key


class HasAbility(BasePermission):
    """Lets in whoever has what the view names for the method in ``abilities``; nothing is open by default."""

    message = gettext_lazy("The role of this API key does not allow this.")

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the key may; raises MethodNotAllowed (405) where the address has no such method."""
        if request.auth is None:
            return False
        method = str(request.method)
        if method not in view.allowed_methods or method == "OPTIONS":
            raise MethodNotAllowed(method)
        ability = getattr(view, "abilities", {}).get("GET" if method == "HEAD" else method)
        return ability is not None and may(request.auth, ability)


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 means it: one object, no repeated names, no NaN; numbers with a fraction as Decimal."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the object. Raises ParseError (400), TooLarge (413)."""
        limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise TooLarge
        return strict_json(raw)


def strict_json(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in ``raw``. Raises ParseError with the reason."""
    try:
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_object,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except UnicodeDecodeError:
        raise ParseError(_("The body is not UTF-8.")) from None
    except RecursionError:
        raise ParseError(_("The body is nested too deeply.")) from None
    except json.JSONDecodeError as error:
        raise ParseError(_("The body is not JSON: %(reason)s") % {"reason": error}) from None
    if not isinstance(value, dict):
        raise ParseError(_("The body must be a JSON object."))
    _check(value, MAX_DEPTH)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _value in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ParseError(_("The name “%(name)s” occurs twice.") % {"name": repeated[:60]})
    return value


def _decimal(text: str) -> decimal.Decimal:
    number = decimal.Decimal(text)
    if len(text) > MAX_DIGITS or abs(number.adjusted()) > MAX_DIGITS:
        raise ParseError(_("A number is too long."))
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ParseError(_("A number is too long."))
    return int(text)


def _constant(text: str) -> NoReturn:
    raise ParseError(_("%(text)s is not JSON.") % {"text": text})


def _check(value: Any, depth: int) -> None:
    """Refuse what no table can hold: NUL, half surrogates, bottomless nesting."""
    if depth == 0:
        raise ParseError(_("The body is nested too deeply."))
    if isinstance(value, dict):
        for name, member in value.items():
            _check(name, depth - 1)
            _check(member, depth - 1)
    elif isinstance(value, list):
        for member in value:
            _check(member, depth - 1)
    elif isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ParseError(_("A text holds a character that is not allowed."))


class CursorPages(CursorPagination):
    """Pages by position: `results`, `next`, `previous`; ``limit`` 1 to 200.

    The position is sealed for its address: it holds internal keys, and a made-up one never reaches a query.
    """

    page_size_query_param = "limit"
    max_page_size = 200
    ordering = "-id"

    def encode_cursor(self, cursor: Any) -> str:
        """Return the address of the page at ``cursor``."""
        place = json.dumps([cursor.offset, cursor.reverse, cursor.position])
        return replace_query_param(str(self.base_url), self.cursor_query_param, seal(place, purpose=self._purpose))

    def decode_cursor(self, request: Request) -> Any:
        """Return the position. Raises ValidationError where we never gave that cursor."""
        encoded = request.query_params.get(self.cursor_query_param)
        if encoded is None:
            return None
        try:
            return Cursor(*json.loads(unseal(encoded, purpose=self._purpose)))
        except (KeyError, ValueError, InvalidTag):
            raise ValidationError({"cursor": [_("This cursor is not valid.")]}) from None

    @property
    def _purpose(self) -> str:
        return f"cursor:{urlsplit(str(self.base_url)).path}"

    def get_paginated_response(self, data: Any) -> Response:
        """Return one page."""
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})
