"""One batch of ingest: what handlers may use while they run, and how its bulk rows reach the database.

Handlers run one after the other in the writer thread, inside one transaction. What they would write once
per message they hand to the batch instead, which writes each table once: COPY on PostgreSQL, executemany
on SQLite. Nothing here has an effect outside the database before the commit, so a batch may run again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Hashable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from django.db import DatabaseError, connection, models

Row = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class BulkTable:
    """Where rows of one kind go. With ``unique`` a row that is there already is left as it is."""

    table: str
    columns: tuple[str, ...]
    unique: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """Columns of existing rows that are set at most once per batch, by primary key; the last value wins.

    ``types`` are PostgreSQL's names of the column types, ``guard`` a further condition on the row.
    """

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    guard: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class StationRef:
    """A connected station as handlers see it: fixed for the life of its socket."""

    id: int
    operator_id: int
    site_id: int
    identity: str
    epoch: int
    version: str
    time_zone: str
    currency: str
    max_power_w: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Hint:
    """Told to other parts after the commit: ``group`` of the channel layer and what has become stale."""

    group: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class FollowUp:
    """A task to be published after the commit; a sweep finds what a lost one left."""

    task: str
    args: tuple[Any, ...]


_MISSING = object()


class FlushError(Exception):
    """Bulk rows could not be written: a matter of the whole batch, whichever handler met it."""


class StationMemory:
    """What the writer remembers of connected stations between batches (open sessions above all).

    Changed only after a commit; forgotten when a station's epoch changes or its socket leaves.
    """

    def __init__(self) -> None:
        self.known: dict[int, dict[Hashable, Any]] = {}
        self.epochs: dict[int, int] = {}

    def forget(self, station_id: int) -> None:
        """Drop everything about a station."""
        self.known.pop(station_id, None)
        self.epochs.pop(station_id, None)

    def clear(self) -> None:
        """Drop everything: the database may have moved without us."""
        self.known.clear()
        self.epochs.clear()


class Batch:
    """The ``tx`` of handlers: bulk rows, summaries, memory, and what is told after the commit."""

    def __init__(self, memory: StationMemory) -> None:
        self._memory = memory
        self._staged: dict[tuple[int, Hashable], Any] = {}
        self._undo: list[tuple[tuple[int, Hashable], Any]] = []
        self._rows: dict[BulkTable, list[Row]] = {}
        self._summaries: dict[Summary, list[tuple[int, Row]]] = {}
        self.hints: dict[Hint, None] = {}
        self.follow_ups: dict[FollowUp, None] = {}
        self.wakes: dict[int, None] = {}
        self.epochs: dict[int, int] = {}
        self._flushed = 0
        self.session_ref = ""  # set by a handler: which session the frame at hand belongs to

    # --- for handlers ------------------------------------------------------------------------------

    def append(self, table: BulkTable, row: Row) -> None:
        """Write ``row`` (values in the order of the table's columns) with the batch."""
        try:
            self._rows[table].append(row)
        except KeyError:
            self._rows[table] = [row]

    def set(self, summary: Summary, pk: int, values: Row) -> None:
        """Set the summary's columns of the row ``pk`` with the batch."""
        try:
            self._summaries[summary].append((pk, values))
        except KeyError:
            self._summaries[summary] = [(pk, values)]

    def pending(self, table: BulkTable) -> Sequence[Row]:
        """Return the rows of a table that are handed in and not written yet."""
        return self._rows.get(table, ())

    def recall(self, station_id: int, key: Hashable) -> Any:
        """Return what was remembered of a station, or None."""
        value = self._staged.get((station_id, key), _MISSING)
        if value is not _MISSING:
            return value
        known = self._memory.known.get(station_id)
        return None if known is None else known.get(key)

    def remember(self, station_id: int, key: Hashable, value: Any) -> None:
        """Remember something of a station once the batch is committed."""
        slot = (station_id, key)
        self._undo.append((slot, self._staged.get(slot, _MISSING)))
        self._staged[slot] = value

    def hint(self, group: str, name: str) -> None:
        """Tell ``group`` after the commit that ``name`` is stale."""
        self.hints[Hint(group, name)] = None

    def follow_up(self, task: str, *args: Any) -> None:
        """Publish a task after the commit."""
        self.follow_ups[FollowUp(task, args)] = None

    def wake(self, station_id: int) -> None:
        """Look for commands of a station after the commit."""
        self.wakes[station_id] = None

    # --- for the writer ----------------------------------------------------------------------------

    def mark(self) -> Any:
        """Return a point to come back to when a handler fails."""
        return (
            self._flushed,
            {table: len(rows) for table, rows in self._rows.items()},
            {summary: len(rows) for summary, rows in self._summaries.items()},
            len(self._undo),
            len(self.hints),
            len(self.follow_ups),
            len(self.wakes),
        )

    def back_to(self, mark: Any) -> None:
        """Take back everything handed in since ``mark``."""
        flushed, rows, summaries, undo, *told = mark
        if flushed != self._flushed:
            # Since then all was written; what is here now came from the handler that failed.
            rows, summaries = {}, {}
        for table, kept in self._rows.items():
            del kept[rows.get(table, 0) :]
        for summary, pairs in self._summaries.items():
            del pairs[summaries.get(summary, 0) :]
        while len(self._undo) > undo:
            slot, before = self._undo.pop()
            if before is _MISSING:
                del self._staged[slot]
            else:
                self._staged[slot] = before
        announced: tuple[dict[Any, None], ...] = (self.hints, self.follow_ups, self.wakes)
        for one, length in zip(announced, told, strict=True):
            while len(one) > length:
                one.popitem()

    def flush(self) -> None:
        """Write bulk rows and summaries: before the commit, and before a handler that reads them back."""
        self._flushed += 1
        try:
            self._flush()
        except DatabaseError as error:
            raise FlushError(str(error)) from error

    def _flush(self) -> None:
        postgres = connection.vendor == "postgresql"
        held, self._rows = self._rows, {}
        for table, rows in held.items():
            if rows:
                (_copy if postgres else _execute_many)(table, rows)
        set_, self._summaries = self._summaries, {}
        for summary, pairs in set_.items():
            if pairs:
                # A station's messages come in order, so the last pair of a key is the newest.
                newest = sorted(dict(pairs).items())
                (_update_from_values if postgres else _update_many)(summary, newest)

    def committed(self) -> None:
        """Take over what handlers remembered."""
        for (station_id, key), value in self._staged.items():
            self._memory.known.setdefault(station_id, {})[key] = value


def insert(instance: models.Model) -> None:
    """Insert a model instance and set its key: one prepared statement, without the ORM's compiler.

    Fields are prepared by the model as ever; what is saved is the compiling of SQL that never changes, which
    is most of what an insert costs.
    """
    sql, fields = _inserting(type(instance))
    values = [field.get_db_prep_save(field.pre_save(instance, True), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        instance.pk = cursor.fetchone()[0]
    instance._state.adding = False
    instance._state.db = connection.alias


def update(instance: models.Model) -> None:
    """Write every field of a stored instance, without the ORM's compiler."""
    sql, fields = _updating(type(instance))
    values = [field.get_db_prep_save(field.pre_save(instance, False), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, instance.pk])


def fetch(sql: str, params: Sequence[Any], kinds: str) -> list[tuple[Any, ...]]:
    """Return rows of a written-out SELECT. ``kinds`` has a letter per column: t time, n number, x as it comes.

    On SQLite times come without their zone and decimals as doubles; they become what Django would make of them.
    """
    sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute(sql, [_for_sqlite(value) for value in params] if sqlite else params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    if not sqlite:
        return rows
    makers = [_FROM_SQLITE[kind] for kind in kinds]
    return [tuple(make(value) for make, value in zip(makers, row, strict=True)) for row in rows]


def _time(naive: dt.datetime | None) -> dt.datetime | None:
    return None if naive is None else naive.replace(tzinfo=dt.UTC)


def _number(value: float | None) -> Decimal | None:
    # Fifteen digits survive SQLite's doubles; repr gives the shortest text that is the same double.
    return None if value is None else Decimal(repr(value))


_FROM_SQLITE: dict[str, Callable[[Any], Any]] = {"t": _time, "n": _number, "x": lambda value: value}


@functools.lru_cache(maxsize=64)
def _inserting(model: type[models.Model]) -> tuple[str, list[models.Field[Any, Any]]]:
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    columns = ", ".join(str(field.column) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    key = _key(model)
    return f"INSERT INTO {model._meta.db_table} ({columns}) VALUES ({marks}) RETURNING {key}", fields  # noqa: S608


def _key(model: type[models.Model]) -> str:
    key = model._meta.pk
    assert key is not None
    assert key.column is not None
    return key.column


@functools.lru_cache(maxsize=64)
def _updating(model: type[models.Model]) -> tuple[str, list[models.Field[Any, Any]]]:
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    sets = ", ".join(f"{field.column} = %s" for field in fields)
    return f"UPDATE {model._meta.db_table} SET {sets} WHERE {_key(model)} = %s", fields  # noqa: S608


def _execute_many(table: BulkTable, rows: Sequence[Row]) -> None:
    marks = ", ".join(["%s"] * len(table.columns))
    tail = " ON CONFLICT DO NOTHING" if table.unique else ""
    sql = f"INSERT INTO {table.table} ({', '.join(table.columns)}) VALUES ({marks}){tail}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(sql, [tuple(map(_for_sqlite, row)) for row in rows])


def _for_sqlite(value: Any) -> Any:
    kind = type(value)
    if kind is dt.datetime:
        # Naive UTC, spelt as Django spells it: SQLite compares times as text.
        return str(value.replace(tzinfo=None) if value.tzinfo is dt.UTC else _naive(value))
    return value if kind in _SQLITE_KINDS else str(value)


_SQLITE_KINDS = {str, int, float, bool, type(None)}


def _naive(value: dt.datetime) -> dt.datetime:
    return value.astimezone(dt.UTC).replace(tzinfo=None)


def _copy(table: BulkTable, rows: Sequence[Row]) -> None:
    columns = ", ".join(table.columns)
    with connection.cursor() as cursor:
        target = table.table
        if table.unique:
            # COPY fails whole on one duplicate, so it fills a table of this transaction first.
            target = f"incoming_{table.table}"
            cursor.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {target} ON COMMIT DELETE ROWS AS "  # noqa: S608
                f"SELECT {columns} FROM {table.table} WITH NO DATA"
            )
            cursor.execute(f"TRUNCATE {target}")
        with cursor.cursor.copy(f"COPY {target} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        if table.unique:
            cursor.execute(
                f"INSERT INTO {table.table} ({columns}) SELECT {columns} FROM {target} ON CONFLICT DO NOTHING"  # noqa: S608
            )


def _update_many(summary: Summary, pairs: Iterable[tuple[int, Row]]) -> None:
    sets = ", ".join(f"{column} = %s" for column in summary.columns)
    guard = f" AND {summary.guard}" if summary.guard else ""
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {summary.table} SET {sets} WHERE id = %s{guard}",  # noqa: S608
            [(*map(_for_sqlite, values), pk) for pk, values in pairs],
        )


def _update_from_values(summary: Summary, pairs: Sequence[tuple[int, Row]]) -> None:
    sets = ", ".join(f"{column} = new.{column}" for column in summary.columns)
    arrays = ", ".join(["%s::bigint[]", *(f"%s::{kind}[]" for kind in summary.types)])
    guard = f" AND {summary.guard}" if summary.guard else ""
    columns = [[pk for pk, _ in pairs]]
    columns.extend([values[i] for _, values in pairs] for i in range(len(summary.columns)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {summary.table} SET {sets} "  # noqa: S608
            f"FROM unnest({arrays}) AS new(id, {', '.join(summary.columns)}) WHERE {summary.table}.id = new.id{guard}",
            columns,
        )
