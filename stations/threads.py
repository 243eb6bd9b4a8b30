"""Database functions called from the event loop: a few threads of their own, never the one all share."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import close_old_connections

T = TypeVar("T")

_pool = concurrent.futures.ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run ``function`` in a thread and give its database connection back afterwards."""
    return await asyncio.get_running_loop().run_in_executor(_pool, _closing, function, args)


def _closing(function: Callable[..., T], args: tuple[Any, ...]) -> T:
    close_old_connections()
    try:
        return function(*args)
    finally:
        close_old_connections()
