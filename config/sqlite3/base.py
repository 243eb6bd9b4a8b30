"""SQLite with one fair queue of writers.

SQLite allows one writer at a time and makes the others poll, so that under a steady ingest load a page's
write starves ("database is locked"). Here every write transaction of the process first takes its place
in a first-come queue and frees it at COMMIT or ROLLBACK; the busy timeout is left as a second net for
other processes (management commands).
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.backends.sqlite3 import base, operations


class FairLock:
    """A lock granted in the order it was asked for (``threading.Lock`` promises none)."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: collections.deque[threading.Lock] = collections.deque()
        self._held = False

    def acquire(self) -> None:
        """Wait for one's turn."""
        with self._mutex:
            if not self._held and not self._waiting:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def release(self) -> None:
        """Hand the lock to whoever waits longest."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


_locks: dict[str, FairLock] = collections.defaultdict(FairLock)


class DatabaseOperations(operations.DatabaseOperations):
    """Flushing empties append-only tables too, as TRUNCATE does elsewhere: row triggers do not see it."""

    def execute_sql_flush(self, sql_list: Iterable[str]) -> None:
        """Take the triggers down around the statements; nobody sees the database without them."""
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            drops = [f"DROP TRIGGER {self.quote_name(name)}" for name, _ in triggers]
            for statement in [*drops, *sql_list, *(sql for _, sql in triggers)]:
                cursor.execute(statement)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's SQLite backend with the queue around BEGIN IMMEDIATE … COMMIT/ROLLBACK."""

    ops_class = DatabaseOperations
    _has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._free_turn()
            raise

    def _commit(self) -> Any:
        try:
            return super()._commit()  # type: ignore[misc]
        finally:
            self._free_turn_if_idle()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]
        finally:
            self._free_turn_if_idle()

    def _close(self) -> Any:
        try:
            return super()._close()  # type: ignore[misc]
        finally:
            self._free_turn()

    def _take_turn(self) -> None:
        if not self._has_turn:
            _locks[str(self.settings_dict["NAME"])].acquire()
            self._has_turn = True

    def _free_turn_if_idle(self) -> None:
        # A COMMIT that failed leaves the transaction open; its ROLLBACK comes through here too.
        if self.connection is None or not self.connection.in_transaction:
            self._free_turn()

    def _free_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _locks[str(self.settings_dict["NAME"])].release()
