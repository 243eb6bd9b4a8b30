"""Golden frames, mutated in structure and in bytes, thrown at a running server over real sockets.

Whatever a charger sends: a call that can be parsed is answered under its id, the socket lives on, what is
refused leaves no row, and the charger beside it does not notice.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import copy
import dataclasses
import datetime as dt
import itertools
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from config.bench.installation import Installation, Process
from config.bench.world import identities
from stations.simulator.wire import dial, percentiles

FRAMES = Path(__file__).parent.parent / "frames"
FOLDERS = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}
CHUNK = 40
PER_SOCKET = 400  # below the burst that is not slowed down
LOADERS = 4
PATIENCE_S = 60.0
MIB = 1 << 20

TABLES = (
    "charging_chargingsession",
    "charging_meterreading",
    "charging_unassignedreading",
    "charging_sessionevidence",
    "charging_authorizationattempt",
    "stations_evse",
    "stations_connector",
    "stations_statuschange",
    "stations_setting",
)


@dataclasses.dataclass
class Shot:
    """What is sent as one message, and what must come of it."""

    version: str
    data: str | bytes
    binary: bool = False
    fragments: int = 1
    closes: frozenset[int] = frozenset()
    """The codes it may be closed with; nothing else may close a socket."""

    @property
    def call_id(self) -> str | None:
        """The id under which it must be answered."""
        return None if self.binary or self.closes else parseable(self.data)

    def __str__(self) -> str:
        return f"{self.version} {self.data[:300]!r}"


@dataclasses.dataclass
class Report:
    """What a bombardment showed. Times in milliseconds."""

    frames: int = 0
    results: int = 0
    errors: int = 0
    closed: int = 0
    p99_before: float = 0.0
    p99_during: float = 0.0
    violations: list[str] = dataclasses.field(default_factory=list)
    refused: list[Shot] = dataclasses.field(default_factory=list, repr=False)


def parseable(data: str | bytes) -> str | None:
    """Return the id of a call: a JSON array of four, 2, an id of 1 to 255 characters, an action, an object."""
    try:
        raw = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if type(raw) is not list or len(raw) != 4:
        return None
    kind, message_id, action, payload = raw
    if type(kind) is not int or kind != 2 or type(action) is not str or type(payload) is not dict:
        return None
    if type(message_id) is not str or not 1 <= len(message_id) <= 255 or re.search("[\ud800-\udfff]", message_id):
        return None
    return message_id


def _no_constant(text: str) -> None:
    raise ValueError(text)


# --- bombarding --------------------------------------------------------------------------------------


async def bombard(installation: Installation, server: Process, *, seed: int, frames: int, names: str = "") -> Report:
    """Send ``frames`` mutated frames beside a healthy charger, then once more what was refused, and count rows.

    The installation has stations of `config.bench.world` for each loader, twice, and one more.
    """
    stations = identities(2 * LOADERS + 1)
    healthy, stations = stations[0], stations[1:]
    mutator = Mutator(random.Random(seed))
    report = Report()
    beats = Heart(server, *healthy)
    report.p99_before = await beats.p99_while(asyncio.sleep(2))
    shares = [mutator.shots(frames // LOADERS) for _ in range(LOADERS)]
    loads = [_Load(server, station, report) for station in stations[:LOADERS]]
    report.p99_during = await beats.p99_while(_all(loads, shares))
    refused, report.refused = report.refused, []
    before = await asyncio.to_thread(_counts, installation)
    again = Report()
    loads = [_Load(server, station, again) for station in stations[LOADERS:]]
    await _all(loads, [iter(refused[number::LOADERS]) for number in range(LOADERS)])
    after = await asyncio.to_thread(_counts, installation)
    report.violations += [f"again: {one}" for one in again.violations]
    report.violations += [
        f"{table} grew by {after[table] - before[table]} rows from frames that were refused"
        for table in TABLES
        if after[table] != before[table]
    ]
    log = server.said()
    report.violations += [f"in the log: {line}" for line in re.findall(r".*(?: ERROR |Traceback).*", log)[:20]]
    return report


async def _all(loads: Sequence[_Load], shares: Sequence[Iterator[Shot]]) -> None:
    await asyncio.gather(*(load.send(share) for load, share in zip(loads, shares, strict=True)))


def _counts(installation: Installation) -> dict[str, int]:
    return {table: installation.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


class Heart:
    """A healthy charger that beats and remembers how long it waited."""

    def __init__(self, server: Process, identity: str, password: str) -> None:
        self._server, self._identity, self._password = server, identity, password

    async def p99_while(self, work: Any) -> float:
        """Return the 99th percentile in milliseconds of its heartbeats while ``work`` goes on."""
        socket = await dial(self._server.ocpp, self._identity, self._password, "1.6")
        doing = asyncio.ensure_future(work)
        waited = []
        try:
            for number in itertools.count():
                begun = time.perf_counter()
                await socket.send(f'[2,"beat-{number}","Heartbeat",{{}}]')
                async with asyncio.timeout(PATIENCE_S):
                    while not str(await socket.recv()).startswith(f'[3,"beat-{number}"'):
                        pass
                waited.append(time.perf_counter() - begun)
                if doing.done():
                    break
                await asyncio.sleep(0.1)
        finally:
            socket.transport.abort()
            await doing
        return percentiles(waited)["p99"] or 0.0


class _Load:
    """One station's socket; dialled anew for every version, every few hundred frames, and when it was closed."""

    def __init__(self, server: Process, station: tuple[str, str], report: Report) -> None:
        self._server = server
        self._station = station
        self._report = report
        self._fences = itertools.count()
        self._socket: ClientConnection | None = None
        self._version = ""
        self._left = 0

    async def send(self, shots: Iterator[Shot]) -> None:
        """Send all shots in chunks of one version; a frame that closes its socket goes alone."""
        for _version, run in itertools.groupby(shots, key=lambda shot: shot.version):
            chunk: list[Shot] = []
            for shot in run:
                if chunk and (shot.closes or len(chunk) == CHUNK):
                    await self._chunk(chunk)
                    chunk = []
                chunk.append(shot)
                if shot.closes:
                    await self._chunk(chunk)
                    chunk = []
            if chunk:
                await self._chunk(chunk)
        if self._socket is not None:
            self._socket.transport.abort()

    async def _chunk(self, chunk: list[Shot]) -> None:
        socket = await self._dialled(chunk[0].version)
        fence = f"fence-{next(self._fences)}"
        listening = asyncio.create_task(self._listen(socket, fence))
        try:
            for shot in chunk:
                await _throw(socket, shot)
            if not chunk[-1].closes:
                await socket.send(f'[2,"{fence}","Heartbeat",{{}}]')
        except ConnectionClosed:
            pass  # told by the listener
        try:
            async with asyncio.timeout(PATIENCE_S):
                answers, code = await listening
        except TimeoutError:
            self._complain(f"no answer to a heartbeat in {PATIENCE_S:.0f} s after {chunk[-1]}")
            answers, code = [], 1006
        self._report.frames += len(chunk)
        self._judge(chunk, answers, code)
        if code:
            self._socket = None
            self._report.closed += 1

    async def _dialled(self, version: str) -> ClientConnection:
        if self._socket is None or self._version != version or self._left < CHUNK:
            if self._socket is not None:
                self._socket.transport.abort()
            identity, password = self._station
            self._socket = await dial(self._server.ocpp, identity, password, version)
            self._version, self._left = version, PER_SOCKET
        self._left -= CHUNK
        return self._socket

    async def _listen(self, socket: ClientConnection, fence: str) -> tuple[list[list[Any]], int]:
        """Return the answers up to that of the fence, and the code of the close where it came to that."""
        answers: list[list[Any]] = []
        try:
            while True:
                frame = json.loads(await socket.recv())
                if frame[0] == 2:
                    await socket.send(json.dumps([4, frame[1], "NotSupported", "", {}]))
                elif frame[1] == fence:
                    return answers, 0
                else:
                    answers.append(frame)
        except ConnectionClosed as closed:
            return answers, closed.rcvd.code if closed.rcvd else 1006

    def _judge(self, chunk: list[Shot], answers: list[list[Any]], code: int) -> None:
        wanted = collections.Counter(shot.call_id for shot in chunk if shot.call_id is not None)
        given = collections.Counter(frame[1] for frame in answers)
        if code and code not in chunk[-1].closes:
            self._complain(f"closed with {code} by one of: {' '.join(map(str, chunk))}")
            return
        if not code and chunk[-1].closes:
            self._complain(f"not closed by {chunk[-1]}")
        for shot in chunk:
            if shot.call_id is not None and given[shot.call_id] < wanted[shot.call_id]:
                self._complain(f"not answered: {shot}")
        kinds = {frame[1]: frame[0] for frame in answers}
        for frame in answers:
            if frame[0] == 3:
                self._report.results += 1
            elif frame[0] == 4:
                self._report.errors += 1
                if frame[2] == "InternalError":
                    guilty = [str(shot) for shot in chunk if shot.call_id == frame[1]]
                    self._complain(f"InternalError for {guilty}")
        self._report.refused += [shot for shot in chunk if not shot.closes and kinds.get(shot.call_id) != 3]

    def _complain(self, text: str) -> None:
        self._report.violations.append(text[:2000])


async def _throw(socket: ClientConnection, shot: Shot) -> None:
    data = shot.data
    if shot.fragments > 1:
        size = len(data) // shot.fragments + 1
        parts = [data[at : at + size] for at in range(0, len(data), size)] or [data]
        await socket.send(parts, text=not shot.binary)
    else:
        await socket.send(data, text=not shot.binary)


# --- mutating ----------------------------------------------------------------------------------------


class _Raw(str):
    """A text that stands in the JSON as it is."""

    __slots__ = ()


DATES = (
    "0000-01-01T00:00:00Z",
    "222222017-01-01T00:00:00Z",
    "-1",
    "2016-12-31T23:59:60Z",
    "2026-01-01T00:00:00+99:99",
    "2026-01-01T00:00:00",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-13-41T25:61:61Z",
)
TEXTS = (
    "",
    " ",
    "x" * 21,
    "x" * 37,
    "x" * 256,
    "x" * 5000,
    "\x00",
    "a\x07\x1b[31m\r\n",
    "\ud800",
    "\u202etxet\u200b",
    "𝔸Å",
    "<script>alert(1)</script>",
    "'; DROP TABLE stations_station; --",
    "{{7*7}}",
    "__class__",
    "=1+1",
    "null",
)
NUMBERS = (0, -1, 1, 65, 9999, 2**31 - 1, 2**31, 2**63, -(2**63), 1.5, -0.0001, 1e22)
TOKENS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "1e-400",
    "-0",
    "01",
    "1.",
    "0x10",
    "9" * 30,
    "9" * 5000,
    "1." + "3" * 100,
    '"\\ud83d"',
    '"\\u0000"',
    "tru",
    "",
)
NAMES = ("__class__", "constructor", "self", "kwargs", "customData", "id", "timestamp", "vendorId", "")
ACTIONS = (
    "Unknown",
    "heartbeat",
    "",
    "x" * 500,
    "Reset",
    "GetConfiguration",
    "__class__",
    "TransactionEvent",
    "\u0000",
)


class Mutator:
    """Makes shots out of golden frames; the same seed makes the same shots."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._golden = {version: _golden(folder) for version, folder in FOLDERS.items()}
        self._ids = itertools.count(1)

    def shots(self, number: int) -> Iterator[Shot]:
        """Yield shots, in runs of one version."""
        while number > 0:
            version = self._rng.choice(list(FOLDERS))
            run = min(number, 4 * CHUNK)
            for _ in range(run):
                yield self._shot(version)
            number -= run

    def _shot(self, version: str) -> Shot:
        rng = self._rng
        frame = copy.deepcopy(rng.choice(self._golden[version]))
        if len(frame) > 1:
            frame[1] = f"m{next(self._ids):x}"
        if rng.random() < 0.5:
            _as_if_known(frame, rng)
        dice = rng.random()
        if dice < 0.1:
            data: str | bytes = _text(frame)
        elif dice < 0.65:
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                self._bend(frame, version)
            data = _text(frame)
        elif dice < 0.72:
            data = self._misshapen(frame)
        elif dice < 0.995:
            data = self._bytes(_text(frame))
        else:
            data = self._huge(frame)
        shot = Shot(version, data, fragments=rng.choice((1, 1, 1, 1, 1, 2, 7)))
        if rng.random() < 0.02:
            shot.binary = True
            return dataclasses.replace(shot, data=data.encode() if isinstance(data, str) else data)
        size = len(data.encode()) if isinstance(data, str) else len(data)
        if size > MIB:
            shot.closes = frozenset({1009})
        elif isinstance(data, bytes):
            try:
                data.decode()
            except UnicodeDecodeError:
                shot.closes = frozenset({1007})
        return shot

    # structure

    def _bend(self, frame: list[Any], version: str) -> None:
        """Change one place of the frame."""
        rng = self._rng
        holder, key = rng.choice(list(_places(frame)))
        if holder is frame and rng.random() < 0.5:  # the head has few places and would be hit too often
            holder, key = rng.choice(list(_places(frame)))
        value = holder[key]
        match rng.randrange(10):
            case 0:
                del holder[key]
            case 1 | 2:
                holder[key] = self._value()
            case 3:
                holder[key] = _Raw(rng.choice(TOKENS))
            case 4:
                holder[key] = rng.choice(([value], [value, value], {"value": value}, [[value]], [value] * 100))
            case 5:
                other = rng.choice(self._golden[rng.choice((version, *FOLDERS))])
                donor, at = rng.choice(list(_places(copy.deepcopy(other))))
                holder[key] = donor[at]
            case 6 if isinstance(holder, dict):
                holder[rng.choice(NAMES)] = self._value()
            case 6 | 7 if isinstance(holder, dict):
                twice = f"{json.dumps(key)}:{_text(value)},{json.dumps(key)}:{_text(self._value())}"
                del holder[key]
                holder[_Raw(twice)] = None
            case 8 if isinstance(value, str):
                holder[key] = rng.choice((value.upper(), value * 20, value + "\x00", value[:-1], f" {value}", [value]))
            case 8 if isinstance(value, int | float):
                holder[key] = rng.choice((str(value), -value, value * 10**9, value + 0.1, bool(value)))
            case 9 if len(frame) == 4:
                frame[2] = rng.choice((*ACTIONS, *(golden[2] for golden in self._golden[version] if len(golden) == 4)))
            case _:
                holder[key] = rng.choice(DATES)

    def _value(self) -> Any:
        rng = self._rng
        return rng.choice((None, True, False, [], {}, rng.choice(TEXTS), rng.choice(NUMBERS), rng.choice(DATES)))

    def _misshapen(self, frame: list[Any]) -> str:
        rng = self._rng
        bad_id = rng.choice(
            (7, None, [], "", "i" * 36, "i" * 37, "i" * 255, "i" * 256, "i" * 4000, "\u0007id", "ïd\u200b", "-1")
        )
        shapes: tuple[Any, ...] = (
            None,
            7,
            "text",
            {},
            [],
            frame[:2],
            frame[:3],
            [*frame, {}],
            [*frame, {}, 1],
            [rng.choice((0, -1, 1, 7, "2", 2.0, True, None, 3, 4, 5, 6)), *frame[1:]],
            [frame[0], bad_id, *frame[2:]],
            [frame[0], bad_id, *frame[2:]],
            [*frame[:2], rng.choice((7, None, [], {}, *ACTIONS)), *frame[3:]],
            [*frame[:3], rng.choice((None, [], "text", 7, _Raw('{"a":1,"a":2}'), _Raw('{"a":NaN}')))],
            [3, frame[1], {"status": "Accepted"}],
            [4, frame[1], "GenericError", "", {"text": "x" * 2000}],
        )
        text = _text(rng.choice(shapes))
        return rng.choice((text, text, text, f"\ufeff{text}", f" \n{text}\t", f"{text}{text}", ""))

    def _huge(self, frame: list[Any]) -> str:
        rng = self._rng
        head = f'[2,"{frame[1]}","{frame[2] if len(frame) == 4 and isinstance(frame[2], str) else "Heartbeat"}",'
        depth = rng.choice((33, 40, 1000, 100_000))
        text = "x" * rng.choice((100_000, MIB - 200, MIB + 1))
        payloads = (
            '{"x":' + "[" * depth + "]" * depth + "}",
            '{"x":' * depth + "1" + "}" * depth,
            '{"x":"' + text + '"}',
            '{"meterValue":[' + ",".join(["1"] * 200_000) + "]}",
        )
        return f"{head}{rng.choice(payloads)}]"

    # bytes

    def _bytes(self, text: str) -> str | bytes:
        rng = self._rng
        data = bytearray(text.encode("utf-8", "replace"))
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(data) + 1)
            span = rng.choice((1, 1, 2, 8, 40))
            match rng.randrange(6):
                case 0:
                    data[at:at] = bytes([rng.randrange(32, 127)]) * span
                case 1:
                    del data[at : at + span]
                case 2:
                    data[at:at] = data[at : at + span]
                case 3:
                    data[at : at + 1] = bytes([rng.choice(b'"{}[],:\\0-.eE \x00\x7f')])
                case 4 if rng.random() < 0.1:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case _:
                    del data[at:]
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode()
        return bytes(data)


def _golden(folder: str) -> list[list[Any]]:
    files = sorted((FRAMES / folder).glob("*.json"))
    frames = [json.loads(file.read_text()).get("frame") for file in files]
    return [frame for frame in frames if isinstance(frame, list)]


def _as_if_known(frame: list[Any], rng: random.Random) -> None:
    """Let a golden frame speak of a transaction that may exist, and of today."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    for holder, key in list(_places(frame)):
        value = holder[key]
        if key == "transactionId" and isinstance(value, int):
            holder[key] = rng.randint(1, 500)
        elif isinstance(value, str) and value.startswith("2025-03-14T"):
            holder[key] = value.replace("2025-03-14", today)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a tree as (container, key)."""
    keys = range(len(node)) if isinstance(node, list) else list(node)
    for key in keys:
        if isinstance(key, _Raw):
            continue
        yield node, key
        if isinstance(node[key], list | dict):
            yield from _places(node[key])


def _text(node: Any) -> str:
    """Write JSON; lone surrogates as escapes, raw texts as they are."""
    if isinstance(node, _Raw):
        return str(node)
    if isinstance(node, list | tuple):
        return f"[{','.join(map(_text, node))}]"
    if isinstance(node, dict):
        members = (
            str(key) if isinstance(key, _Raw) else f"{json.dumps(key)}:{_text(value)}" for key, value in node.items()
        )
        return f"{{{','.join(members)}}}"
    return json.dumps(node, ensure_ascii=isinstance(node, str) and not node.isprintable())
