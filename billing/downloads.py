"""Files for people: tables as they are made, papers as they are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import get_language

from stations import display

CHUNK = 32_768
DELIMITERS = (",", ";")


def delimiter_of(request: HttpRequest) -> str:
    """Return the delimiter that was asked for; else the one spreadsheets of the reader's language expect."""
    asked = request.GET.get("delimiter", "")
    if asked in DELIMITERS:
        return asked
    return ";" if display.locale().number_symbols["latn"]["decimal"] == "," else ","


def csv_download(request: HttpRequest, lines: Iterable[str], name: str) -> StreamingHttpResponse:
    """Answer a table line by line: the first bytes leave before the last row is read."""
    chunks = _chunks(lines)
    body = _step_by_step(chunks) if isinstance(request, ASGIRequest) else chunks
    return StreamingHttpResponse(body, content_type="text/csv; charset=utf-8", headers=_named(name))


def download(content: bytes, name: str, kind: str) -> HttpResponse:
    """Answer a file that is kept."""
    return HttpResponse(content, content_type=kind, headers=_named(name))


def _named(name: str) -> dict[str, str]:
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in name)
    return {"Content-Disposition": f'attachment; filename="{safe}"', "Content-Language": get_language() or "en"}


def _chunks(lines: Iterable[str]) -> Iterator[bytes]:
    waiting: list[str] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= CHUNK:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    if waiting:
        yield "".join(waiting).encode()


async def _step_by_step(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    # A plain iterator would be read to its end before the first byte leaves.
    take = sync_to_async(lambda: next(chunks, None), thread_sensitive=True)
    while (chunk := await take()) is not None:
        yield chunk
