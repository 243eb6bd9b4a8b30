"""Pages of long lists by position: what a page costs does not grow with its place."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any, Generic, TypeVar

from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)
PAGE = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows, newest first, and the public ids from which the pages beside them are asked for; empty for none."""

    rows: list[M]
    newer: str = ""
    older: str = ""


def page_of(rows: QuerySet[M], by: str, *, before: str = "", after: str = "", size: int = PAGE) -> Page[M]:
    """Return the rows just older than the one with public id ``before``, or just newer than ``after``; else the newest.

    ``by`` is the time they are ordered by. An id that is not among ``rows`` starts at the newest.
    """
    ordered = rows.order_by(f"-{by}", "-pk")
    edge = rows.filter(uuid=public_id(before or after)).values_list(by, "pk").first() if before or after else None
    if edge is None:
        part = list(ordered[: size + 1])
        return _page(part[:size], newer=False, older=len(part) > size)
    if before:
        part = list(ordered.filter(Q(**{f"{by}__lt": edge[0]}) | Q(**{by: edge[0], "pk__lt": edge[1]}))[: size + 1])
        return _page(part[:size], newer=True, older=len(part) > size)
    above = rows.order_by(by, "pk").filter(Q(**{f"{by}__gt": edge[0]}) | Q(**{by: edge[0], "pk__gt": edge[1]}))
    part = list(above[: size + 1])
    return _page(part[:size][::-1], newer=len(part) > size, older=True)


def public_id(text: str) -> uuid.UUID:
    """Return a public id; for what is none, one that nobody has."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.UUID(int=0)


def _page(part: list[Any], *, newer: bool, older: bool) -> Page[Any]:
    return Page(
        part,
        newer=str(part[0].uuid) if part and newer else "",
        older=str(part[-1].uuid) if part and older else "",
    )
