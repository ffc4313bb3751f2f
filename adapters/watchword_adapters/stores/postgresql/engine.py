"""Runs commands on PostgreSQL, many in one statement, one round trip and one commit.

Each kind of command has a lane. While one of its batches is under way, further commands
of the kind queue; the next batch takes all that wait. The database's functions lock what
a whole batch needs first, in one order for all of them, and then run command after
command, each on what those before it left. A refusal is an outcome of its command and
not a failure of the batch.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from secrets import SystemRandom
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import asyncpg

from watchword.audit.leaf import NONCE_BYTES, LeafMaker
from watchword.core.errors import Reason, Unavailable
from watchword.core.ports import ChangeBus, Entropy, Millis, StoreMeter
from watchword_adapters.stores.postgresql.calls import NOT_OURS, Pool

Row: TypeAlias = "asyncpg.Record"

BATCH = 128
CAPACITY = 2_000
_RETRIES = 3
_CHANCE = SystemRandom()
_PAUSE_SECONDS = 0.02
# Shorter than any statement that waits for a lock: what finds no connection is told soon.
_ACQUIRE_SECONDS = 1.0
# A batch that took longer, only to fail, found nobody at the other end.
_STALLED_SECONDS = 2.0
_OVERLOAD_RETRY: Millis = 500
_DEPENDENCY_RETRY: Millis = 1_000
# The server has undone everything, for another's sake.
_UNDONE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
# The server, or the way to it, cannot serve; what it was doing may have been done.
_FAULTS = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresSystemError,
    asyncpg.InterfaceError,
    # What the driver makes of a server that dies in the midst of its answer.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)

_log = logging.getLogger(__name__)


class StoreFault(Exception):
    """A statement failed by what was given to it; the text is the SQLSTATE and no more."""


class Seal(NamedTuple):
    """What the database makes one transaction's audit leaves with; see `LeafMaker.delegate`."""

    nonce: bytes
    key: bytes
    origin: int


class Engine:
    """Gives statements to the pool; raises `Unavailable` where the database cannot serve.

    `origin` names this process in the leaves that its commands leave.
    """

    def __init__(
        self,
        pool: Pool,
        leaves: LeafMaker,
        bus: ChangeBus,
        entropy: Entropy,
        *,
        meter: StoreMeter | None = None,
        capacity: int = CAPACITY,
        not_ours: Callable[[], None] = lambda: None,
    ) -> None:
        """Work through `pool`; up to `capacity` commands wait.

        `not_ours` is told of a database that is a standby, or was not taken over yet.
        """
        self.origin = int.from_bytes(entropy.token(8), "big") >> 1
        self.waiting = 0
        self._pool = pool
        self._leaves = leaves
        self._bus = bus
        self._entropy = entropy
        self._meter = meter
        self._capacity = capacity
        self._not_ours = not_ours
        self._lanes: list[Lane] = []
        self._closed = False

    def lane(self, statement: str) -> "Lane":
        """Return a lane for the batches of one kind of command."""
        lane = Lane(self, statement)
        self._lanes.append(lane)
        return lane

    def admit(self) -> None:
        """Count one more command that waits. Raises `Unavailable`."""
        if self._closed:
            raise _unavailable()
        if self.waiting >= self._capacity:
            raise Unavailable(
                "too many commands are waiting",
                reason=Reason.OVERLOADED,
                retry_after=_OVERLOAD_RETRY,
            )
        self.waiting += 1

    def seal(self) -> Seal:
        """Return what makes the leaves of one more transaction."""
        nonce = self._entropy.token(NONCE_BYTES)
        return Seal(nonce, self._leaves.delegate(nonce), self.origin)

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Run one statement; return its rows once they are durable.

        It runs again, three times at most, where the server undid it for another's sake.
        Raises `Unavailable`, after which a write may have been done where its answer was
        lost; and `StoreFault`.
        """
        for attempt in range(1, _RETRIES + 2):
            try:
                return await self._once(statement, values)
            except _UNDONE:
                # Those that met once should not meet again.
                most = _PAUSE_SECONDS * 2**attempt
                await asyncio.sleep(_CHANCE.uniform(0, most))
        _log.warning("PostgreSQL: undone for others too often")
        raise _unavailable()

    async def batch(self, statement: str, commands: Sequence[object], locks: set[int]) -> list[Row]:
        """Run commands by one statement; tell the bus what they changed; return their answers."""
        began = perf_counter()
        rows = await self.fetch(statement, commands, sorted(locks), self.seal())
        if self._meter is not None:
            self._meter.committed(perf_counter() - began, len(commands))
            self._meter.store_queue(self.waiting)
        self.publish(object_id for row in rows for object_id in row["changed"])
        return rows

    def publish(self, ids: Iterable[str | None]) -> None:
        """Tell the change bus, once for each id."""
        for object_id in dict.fromkeys(ids):
            if object_id:
                self._bus.publish(object_id)

    async def check(self) -> None:
        """Return where the store can serve; raises `Unavailable`."""
        await self.fetch("SELECT watchword.require_timeline()")

    async def close(self) -> None:
        """Refuse new commands and finish those that wait."""
        self._closed = True
        await asyncio.gather(*(lane.drained() for lane in self._lanes))

    async def _once(self, statement: str, values: tuple[object, ...]) -> list[Row]:
        try:
            async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
                try:
                    return await connection.fetch(statement, *values)
                except (asyncpg.InternalClientError, TimeoutError):
                    # The server's last word, that it goes, came in between; or it stands
                    # still, and nobody waits for it to take note of that.
                    connection.terminate()
                    raise
        except _UNDONE:
            raise
        except NOT_OURS:
            # Look for the primary anew; where it is this one, it must be taken over.
            await self._pool.expire_connections()
            self._not_ours()
            raise _unavailable() from None
        except _FAULTS as error:
            _log.warning("PostgreSQL cannot serve", extra={"error": type(error).__name__})
            raise _unavailable() from None
        except asyncpg.PostgresError as error:
            # Its own text may quote what was to be stored.
            _log.error("PostgreSQL refused a statement", extra={"error": error.sqlstate})
            raise StoreFault(error.sqlstate) from None


class _Job(NamedTuple):
    command: object
    locks: tuple[int, ...]
    answer: "asyncio.Future[Row]"


class Lane:
    """The queue of one kind of command; `statement` takes commands, locks and a seal."""

    def __init__(self, engine: Engine, statement: str) -> None:
        """Begin idle."""
        self._engine = engine
        self._statement = statement
        self._queue: deque[_Job] = deque()
        self._running: asyncio.Task[None] | None = None

    async def run(self, command: Any, locks: tuple[int, ...] = ()) -> Row:  # noqa: ANN401
        """Run `command` in the next batch; return its answer once that is durable.

        It runs even where its caller has gone meanwhile. Raises what `Engine.fetch` does.
        """
        self._engine.admit()
        job = _Job(command, locks, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        if self._running is None:
            self._running = asyncio.create_task(self._serve())
        return await job.answer

    async def drained(self) -> None:
        """Wait until nothing is queued or under way."""
        while self._running is not None:
            await asyncio.wait([self._running])

    async def _serve(self) -> None:
        queue = self._queue
        try:
            while queue:
                jobs = [queue.popleft() for _ in range(min(len(queue), BATCH))]
                self._engine.waiting -= len(jobs)
                await self._answer(jobs)
        finally:
            self._running = None

    async def _answer(self, jobs: list[_Job]) -> None:
        began = perf_counter()
        try:
            rows = await self._engine.batch(
                self._statement,
                [job.command for job in jobs],
                {lock for job in jobs for lock in job.locks},
            )
        except StoreFault as error:
            # One of them is at fault and the others are not: each by itself.
            if len(jobs) > 1:
                for job in jobs:
                    await self._answer([job])
                return
            _fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            _fail(jobs, error)
            if isinstance(error, Unavailable) and perf_counter() - began > _STALLED_SECONDS:
                self._give_up(error)
        else:
            for job, row in zip(jobs, rows, strict=True):
                if not job.answer.done():
                    job.answer.set_result(row)

    def _give_up(self, error: Exception) -> None:
        """Refuse those who came meanwhile: the same wait again would outlast their deadlines."""
        jobs = list(self._queue)
        self._queue.clear()
        self._engine.waiting -= len(jobs)
        _fail(jobs, error)


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.answer.done():
            # An exception belongs to one task: its traceback grows where it is raised.
            each = _unavailable() if isinstance(error, Unavailable) else error
            job.answer.set_exception(each)


def _unavailable() -> Unavailable:
    return Unavailable("the store cannot serve now", retry_after=_DEPENDENCY_RETRY)
