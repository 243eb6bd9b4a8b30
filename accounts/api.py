"""What every address of the REST API stands on: its operator's rows alone, strict bodies, one effect per key."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import idempotency
from accounts.api_defaults import TooLarge
from accounts.models import ApiKey
from accounts.roles import Ability

WRITES = ("post", "put", "patch", "delete")


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses names it does not know: a mistyped field must not pass in silence."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated values. Raises ValidationError with one entry per field."""
        known = {name for name, field in self.fields.items() if not field.read_only}
        unknown = {name: [_("Unknown field.")] for name in data if name not in known} if isinstance(data, dict) else {}
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            raise ValidationError({**cast("dict[str, Any]", error.detail), **unknown}) from None
        if unknown:
            raise ValidationError(unknown)
        return value


class Endpoint(GenericAPIView[Any]):
    """One address of the API.

    A view names ``abilities`` per method and ``queryset``; it then sees only the rows its key may know of.
    Every write takes an Idempotency-Key (`accounts.idempotency`); the handler of a write calls one domain
    function and need not care.
    """

    abilities: ClassVar[Mapping[str, Ability]] = {}
    lookup_field = "uuid"
    lookup_url_kwarg = "id"

    @property
    def actor(self) -> ApiKey:
        """The key that acts."""
        return cast(ApiKey, self.request.auth)

    def get_queryset(self) -> Any:
        """Return the rows that exist for the acting key."""
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset().none()
        return cast(Any, super().get_queryset()).visible_to(self.actor)

    def valid(self, **options: Any) -> dict[str, Any]:
        """Return the validated body. Raises ValidationError (400) with one entry per field."""
        serializer = self.get_serializer(data=self.request.data, **options)
        serializer.is_valid(raise_exception=True)
        return cast("dict[str, Any]", serializer.validated_data)

    def page(self, rows: Any, shape: Callable[[list[Any]], list[Any]]) -> Response:
        """Return one page of ``rows`` (after the view's filters) as ``shape`` writes them."""
        found = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(shape(cast("list[Any]", found)))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check who calls and what for; then put the memory of first answers around a write."""
        super().initial(request, *args, **kwargs)
        method = str(request.method).lower()
        if method not in WRITES:
            return
        try:
            body = request._request.body
        except RequestDataTooBig:
            raise TooLarge from None
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return
        if not 1 <= len(key) <= idempotency.MAX_LENGTH or not key.isascii() or not key.isprintable():
            raise ValidationError({"Idempotency-Key": _("Between 1 and 64 printable characters.")})
        setattr(self, method, functools.partial(self._once, getattr(self, method), key, body))

    def _once(
        self, handler: Callable[..., Response], key: str, body: bytes, request: Request, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        def act() -> idempotency.Answer:
            response = handler(request, *args, **kwargs)
            text = "" if response.data is None else JSONRenderer().render(response.data).decode()
            return idempotency.Answer(response.status_code, text)

        identity = f"{request.method} {request.path}\n".encode() + body
        answer = idempotency.once(self.actor, key, request=identity, act=act)
        response = HttpResponse(answer.body, status=answer.status, content_type="application/json")
        if answer.repeated:
            response["Idempotent-Replayed"] = "true"
        return response
