"""How long the log of the talk is kept: meter values for a week, everything else for a month.

Bills do not rest on it; what they need is kept beside the session. On SQLite the log is also kept under a
size, the oldest rows giving way; its ids rise with time, so a boundary is found by halving. On PostgreSQL
every day (UTC) has a partition of its own, which is thinned after a week and dropped after a month.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Sequence

from django.db import OperationalError, connection, transaction
from django.db.models import Max, Min, Q, Sum
from django.db.models.functions import Length

from stations.models import Frame

log = logging.getLogger("voltyard.retention")

METER_VALUES = "MeterValues"
KEEP_METER_VALUES = dt.timedelta(days=7)
KEEP_FRAMES = dt.timedelta(days=30)
DAY = dt.timedelta(days=1)
DAYS_AHEAD = 7

SLICE = 100  # rows per transaction on SQLite: nobody waits long for the one writer
MAX_BYTES = 2 * 2**30
ROW_BYTES = 160  # what a row takes beside its two texts, its index entry included

TABLE = "stations_frame"
DAY_NAME = f"{TABLE}_d"
THINNED = "_thin"
DEFAULT = f"{TABLE}_default"
POSTGRES_SLICE = 10_000


def drop_old_frames(now: dt.datetime) -> int:
    """Drop what is past its time or, on SQLite, beyond the room; return how many rows were deleted singly."""
    if connection.vendor != "postgresql":
        return _drop_by_age(now) + _drop_by_size()
    for job in _partition_jobs(now):
        try:
            for step in job:
                _run(step)
        except OperationalError as error:
            log.warning("partitions of the log: %s", error)
    return _empty_default(now)


# --- SQLite ------------------------------------------------------------------------------------------


def _drop_by_age(now: dt.datetime) -> int:
    month, week = _first_since(now - KEEP_FRAMES), _first_since(now - KEEP_METER_VALUES)
    return _delete(Q(id__lt=month)) + _delete(Q(id__lt=week, action=METER_VALUES))


def _first_since(at: dt.datetime) -> int:
    """Return the id below which every row is older than ``at``."""
    edges = Frame.objects.aggregate(low=Min("id"), high=Max("id"))
    if edges["low"] is None:
        return 0
    low, high = edges["low"], edges["high"] + 1
    while low < high:
        middle = (low + high) // 2
        row = Frame.objects.filter(id__gte=middle).order_by("id").values_list("id", "at").first()
        if row is not None and row[1] < at:
            low = row[0] + 1
        else:
            high = middle
    return int(low)


def _delete(condition: Q) -> int:
    deleted = last = 0
    while True:
        rows = Frame.objects.filter(condition, id__gt=last).order_by("id")
        ids = list(rows.values_list("id", flat=True)[:SLICE])
        if not ids:
            return deleted
        with transaction.atomic():
            deleted += Frame.objects.filter(id__in=ids).delete()[0]
        last = ids[-1]


def _drop_by_size() -> int:
    excess = _used_bytes() - MAX_BYTES
    if excess <= 0:
        return 0  # the whole database is smaller
    sizes = Frame.objects.annotate(size=Length("text") + Length("answer") + ROW_BYTES)
    excess = (sizes.aggregate(total=Sum("size"))["total"] or 0) - MAX_BYTES
    deleted = 0
    while excess > 0:
        oldest = list(sizes.order_by("id").values_list("id", "size")[:SLICE])
        with transaction.atomic():
            deleted += Frame.objects.filter(id__in=[row[0] for row in oldest]).delete()[0]
        excess -= sum(row[1] for row in oldest)
    return deleted


def _used_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count(), "
            "pragma_freelist_count(), pragma_page_size()"
        )
        return int(cursor.fetchone()[0])


# --- PostgreSQL --------------------------------------------------------------------------------------


def _run(statements: Sequence[str]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        # Changing the table stops its writers; where it cannot be had at once, the next hour will do.
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        for statement in statements:
            cursor.execute(statement)


def _partition_jobs(now: dt.datetime) -> Iterator[Sequence[Sequence[str]]]:
    """Yield what is to be done, each as the statements of one or more transactions.

    Days to come get their partition, days past their time lose it, days after a week are thinned.
    """
    here = _partitions()
    today = dt.datetime.combine(now.date(), dt.time(), dt.UTC)
    for ahead in range(DAYS_AHEAD + 1):
        day = today + ahead * DAY
        if day not in here and not _in_default(day):
            yield [[f"CREATE TABLE {_name(day)} PARTITION OF {TABLE} FOR VALUES {_range(day)}"]]
    for day, name in here.items():
        if day + DAY <= now - KEEP_FRAMES:
            yield [[f"DROP TABLE {name}"]]
        elif day + DAY <= now - KEEP_METER_VALUES and not name.endswith(THINNED):
            thin = f"{_name(day)}{THINNED}"
            # Nothing is written to a day that is over, so it is copied before anybody is stopped.
            copied = [
                f"DROP TABLE IF EXISTS {thin}",
                f"CREATE TABLE {thin} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING INDEXES, "
                f"CHECK (at >= '{day.isoformat()}' AND at < '{(day + DAY).isoformat()}'))",
                f"INSERT INTO {thin} SELECT * FROM {name} WHERE action <> '{METER_VALUES}'",  # noqa: S608
            ]
            exchanged = [
                f"ALTER TABLE {TABLE} DETACH PARTITION {name}",
                f"ALTER TABLE {TABLE} ATTACH PARTITION {thin} FOR VALUES {_range(day)}",
                f"DROP TABLE {name}",
            ]
            yield [copied, exchanged]


def _partitions() -> dict[dt.datetime, str]:
    """Return the day partitions there are, by the day (midnight UTC) they begin."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = %s::regclass AND relname LIKE %s",
            [TABLE, f"{DAY_NAME}2%"],
        )
        names = [name for (name,) in cursor.fetchall()]
    stamps = [name.removeprefix(DAY_NAME).removesuffix(THINNED) for name in names]
    days = [dt.datetime.strptime(stamp, "%Y%m%d").replace(tzinfo=dt.UTC) for stamp in stamps]
    return dict(zip(days, names, strict=True))


def _name(day: dt.datetime) -> str:
    return f"{DAY_NAME}{day:%Y%m%d}"


def _range(day: dt.datetime) -> str:
    return f"FROM ('{day.isoformat()}') TO ('{(day + DAY).isoformat()}')"


def _in_default(day: dt.datetime) -> bool:
    """Tell whether rows of a day lie in the default partition: then it cannot have its own any more."""
    found = f"SELECT EXISTS (SELECT 1 FROM {DEFAULT} WHERE at >= %s AND at < %s)"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(found, [day, day + DAY])
        return bool(cursor.fetchone()[0])


def _empty_default(now: dt.datetime) -> int:
    """Delete from the default partition, which holds the days before the first run; return how many rows."""
    old = "at < %s OR at < %s AND action = %s"
    some = f"SELECT id, at FROM {DEFAULT} WHERE {old} ORDER BY id LIMIT {POSTGRES_SLICE}"  # noqa: S608
    delete = f"DELETE FROM {DEFAULT} WHERE (id, at) IN ({some})"  # noqa: S608
    deleted = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(delete, [now - KEEP_FRAMES, now - KEEP_METER_VALUES, METER_VALUES])
            dropped: int = cursor.rowcount
        deleted += dropped
        if dropped < POSTGRES_SLICE:
            return deleted
