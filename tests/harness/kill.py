"""A server that is killed in the middle of the work, again and again, and chargers that go on where they were.

What a charger saw acknowledged must have its row after the restart; what it repeats because the answer never
came must not be there twice; and in the end every session is billed once and the books are clean.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import random
import time
from collections.abc import AsyncIterator, Generator, Iterable

from websockets.exceptions import InvalidHandshake

from config.bench.installation import Installation, Process
from config.bench.world import identities
from stations.simulator.wire import CallFailed, CallRefused, CallTimedOut, Link, LinkClosed, Payload, Reply, dial
from tests import charger as say
from tests.charger import Frame

VERSIONS = ("1.6", "2.0.1", "2.1")
METERS = 6
MOST_ANSWERS = 150
RUNS_AT_MOST_S = 20.0
SETTLED_WITHIN_S = 60.0

UNBILLED = (
    "SELECT s.id, b.state, b.held_reason FROM charging_chargingsession s"
    " LEFT JOIN billing_sessionbill b ON b.session_id = s.id WHERE b.state IS NULL OR b.state <> 'rated'"
)
# What the sweep does two minutes later: the task that a kill took with it is found by its row.
SWEEP = """
import datetime, django
django.setup()
from billing import settlement
later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)
for pk in settlement.due(later, 10_000):
    try:
        settlement.settle(pk, now=later)
    except settlement.AlreadySettled:
        pass
"""

Fact = tuple[str, str, str, int]
"""("start" | "reading" | "stop", identity, transaction, register in Wh)"""


@dataclasses.dataclass
class Report:
    """What a chain of kills showed."""

    points: int = 0
    sessions: int = 0
    acknowledged: int = 0
    stored_unanswered: int = 0
    """Facts that were committed when the kill kept their answer from being sent."""
    violations: list[str] = dataclasses.field(default_factory=list)

    def __add__(self, other: Report) -> Report:
        names = ("points", "sessions", "acknowledged", "stored_unanswered", "violations")
        return Report(*(getattr(self, name) + getattr(other, name) for name in names))


async def chain(installation: Installation, *, seed: int, points: int, chargers: int = 12) -> Report:
    """Kill a server ``points`` times at seeded moments while chargers load it; then let all come to its end."""
    rng = random.Random(seed)
    fleet = [
        Charger(identity, password, VERSIONS[number % 3], random.Random(f"{seed} {identity}"))
        for number, (identity, password) in enumerate(identities(chargers))
    ]
    report = Report()
    server = await asyncio.to_thread(installation.serve)
    for point in range(points):
        where = f"seed {seed}, point {point}"
        async with _working(fleet, server):
            await _some_answers(fleet, rng.choice((0, rng.randrange(MOST_ANSWERS))))
            await asyncio.to_thread(_kill, installation, server, rng)
        report.points += 1
        await asyncio.to_thread(server.start)
        stored = set(await asyncio.to_thread(facts, installation))
        acknowledged = {fact for charger in fleet for fact in charger.acknowledged}
        known = {_without_number(fact) for fact in stored}
        report.stored_unanswered += sum(
            _without_number(one) in known for charger in fleet for one in charger.unanswered()
        )
        report.violations += [f"{where}: acknowledged and lost: {fact}" for fact in sorted(acknowledged - stored)]
    for charger in fleet:
        charger.is_last = True
    async with _working(fleet, server) as works:
        await asyncio.wait_for(asyncio.gather(*works), SETTLED_WITHIN_S)
    report.violations += [f"seed {seed}: {refusal}" for charger in fleet for refusal in charger.refusals]
    report.violations += [
        f"seed {seed}: {problem}" for problem in await asyncio.to_thread(_compare, installation, fleet)
    ]
    report.acknowledged = sum(len(charger.acknowledged) for charger in fleet)
    report.sessions = sum(charger.lives for charger in fleet)
    return report


@contextlib.asynccontextmanager
async def _working(fleet: list[Charger], server: Process) -> AsyncIterator[list[asyncio.Task[None]]]:
    works = [asyncio.create_task(charger.work(server.ocpp)) for charger in fleet]
    try:
        yield works
        await asyncio.gather(*works)
    finally:
        for work in works:
            work.cancel()


def _without_number(fact: Fact) -> tuple[str, str, int]:
    kind, identity, _ref, wh = fact  # 1.6 learns the number of a transaction from the answer only
    return kind, identity, wh


async def _some_answers(fleet: list[Charger], number: int) -> None:
    goal = sum(charger.answers for charger in fleet) + number
    deadline = time.monotonic() + RUNS_AT_MOST_S
    while sum(charger.answers for charger in fleet) < goal and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def _kill(installation: Installation, server: Process, rng: random.Random) -> None:
    """Kill at once, or at a commit: the rows are there then, their answers just on the way."""
    watch = installation.commits() if rng.random() < 0.6 else None
    if watch is not None:
        watch.wait(within=1.0)
        time.sleep(rng.choice((0.0, 0.0, 0.0005, 0.002)))
    server.kill()
    if watch is not None:
        watch.close()


class Charger:
    """Charges one car after the other; keeps what was not acknowledged and says it again after the next dial."""

    def __init__(self, identity: str, password: str, version: str, rng: random.Random) -> None:
        self.identity = identity
        self.version = version
        self.is_last = False
        self.lives = 0
        self.answers = 0
        self.acknowledged: list[Fact] = []
        self.refusals: list[str] = []
        self._password = password
        self._rng = rng
        self._register = 1000
        self._said_at = dt.datetime.now(dt.UTC)
        self._life: Generator[tuple[Frame, list[Fact]], Payload, None] | None = None
        self._pending: tuple[Frame, list[Fact], str] | None = None

    def unanswered(self) -> list[Fact]:
        """Return what was said and not acknowledged."""
        return [] if self._pending is None else self._pending[1]

    async def work(self, url: str) -> None:
        """Dial, repeat what is unanswered, go on; until the connection is lost, or the last life is over."""
        try:
            socket = await dial(url, self.identity, self._password, self.version, open_timeout=20)
        except (OSError, TimeoutError, InvalidHandshake, EOFError):
            return
        link = Link(socket, self.identity, _refuse, timeout=30.0)
        listener = asyncio.create_task(link.listen())
        try:
            await link.call("BootNotification", _boot(self.version))
            await self._go_on(link)
        except (LinkClosed, CallTimedOut):
            pass
        finally:
            listener.cancel()
            link.drop()

    async def _go_on(self, link: Link) -> None:
        while True:
            if self._pending is None:
                self._pending = self._next({})
            if self._pending is None:
                return
            (action, payload), facts, message_id = self._pending
            if self._rng.random() < 0.5:
                message_id = f"{message_id}-again"[-36:]
            try:
                answer = await link.call(action, payload, message_id=message_id)
            except CallRefused as refusal:
                self.refusals.append(f"{self.identity} {action} was refused: {refusal}")
                answer = {}
            self.answers += 1
            number = str(answer.get("transactionId", ""))
            self.acknowledged += [(kind, who, ref or number, wh) for kind, who, ref, wh in facts]
            self._pending = self._next(answer)

    def _next(self, answer: Payload) -> tuple[Frame, list[Fact], str] | None:
        while True:
            if self._life is None:
                if self.is_last:
                    return None
                self._life, step = self._charge(), None
            else:
                step = answer
            try:
                frame, facts = next(self._life) if step is None else self._life.send(step)
            except StopIteration:
                self._life = None
                continue
            return frame, facts, f"{self._rng.getrandbits(64):016x}"

    def _charge(self) -> Generator[tuple[Frame, list[Fact]], Payload, None]:
        """Yield the calls of one session with the facts that their acknowledgement stands for."""
        self.lives += 1
        counts, card = self.version == "1.6", self.identity
        ref = "" if counts else f"{self.identity}-{self.lives}-{self._rng.getrandbits(32):08x}"
        token = {"idTag": card} if counts else {"idToken": {"idToken": card, "type": "ISO14443"}}
        yield ("Authorize", token), []
        begin = self._register
        frame = say.start(self.version, ref=ref, token=card, meter=begin, at=self._now())
        answer = yield frame, [self._fact("start", ref, begin), *self._shown(ref, begin)]
        ref = ref or str(answer["transactionId"])
        for number in range(1, self._rng.randint(1, METERS) + 1):
            self._register += self._rng.randint(1, 40)
            frame = say.meter(self.version, ref=ref, wh=self._register, at=self._now(), seq=number)
            yield frame, [self._fact("reading", ref, self._register)]
        self._register += self._rng.randint(1, 40)
        frame = say.stop(self.version, ref=ref, meter=self._register, at=self._now(), seq=number + 1)
        yield frame, [self._fact("stop", ref, self._register), *self._shown(ref, self._register)]

    def _shown(self, ref: str, wh: int) -> list[Fact]:
        # In 2.x the events at both ends carry a reading of their own.
        return [] if self.version == "1.6" else [self._fact("reading", ref, wh)]

    def _fact(self, kind: str, ref: str, wh: int) -> Fact:
        return kind, self.identity, ref, wh

    def _now(self) -> dt.datetime:
        self._said_at = max(dt.datetime.now(dt.UTC), self._said_at + dt.timedelta(milliseconds=1))
        return self._said_at


def _boot(version: str) -> Payload:
    if version == "1.6":
        return {"chargePointVendor": "Kill", "chargePointModel": "Nine"}
    return {"reason": "PowerUp", "chargingStation": {"vendorName": "Kill", "model": "Nine"}}


async def _refuse(action: str, payload: Payload, reply: Reply) -> None:
    raise CallFailed("NotSupported")


def facts(installation: Installation) -> Iterable[Fact]:
    """Return what the database holds, one entry per row."""
    sessions = installation.rows(
        "SELECT st.identity, s.transaction_ref, CAST(s.meter_start_wh AS INTEGER), CAST(s.meter_stop_wh AS INTEGER),"
        " s.status FROM charging_chargingsession s JOIN stations_station st ON st.id = s.station_id"
    )
    readings = installation.rows(
        "SELECT st.identity, s.transaction_ref, CAST(r.energy_wh AS INTEGER) FROM charging_meterreading r"
        " JOIN charging_chargingsession s ON s.id = r.session_id JOIN stations_station st ON st.id = s.station_id"
        " WHERE r.energy_wh IS NOT NULL"
    )
    found: list[Fact] = [("reading", identity, ref, wh) for identity, ref, wh in readings]
    for identity, ref, start, stop, status in sessions:
        found.append(("start", identity, ref, start))
        if status == "ended":
            found.append(("stop", identity, ref, stop))
    return found


def _compare(installation: Installation, fleet: list[Charger]) -> list[str]:
    """Compare everything said with everything stored, now that all came to its end."""
    stored = collections.Counter(facts(installation))
    told = collections.Counter(fact for charger in fleet for fact in charger.acknowledged)
    problems = [f"missing at the end: {fact}" for fact in sorted(told - stored)]
    problems += [f"twice or from nowhere: {fact}" for fact in sorted(stored - told)]
    held = installation.rows("SELECT id, review FROM charging_chargingsession WHERE CAST(review AS TEXT) <> '[]'")
    problems += [f"session {pk} is doubted: {review}" for pk, review in held]
    installation.python("-c", SWEEP)
    unbilled = installation.rows(UNBILLED)
    problems += [f"session {pk} has no bill ({state}, {held})" for pk, state, held in unbilled]
    problems += [f"books: {one['name']}: {one['problems'][:3]}" for one in installation.check_books()]
    return problems
