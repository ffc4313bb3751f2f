"""Kills whatever it is told to, again and again, under load that keeps a ledger."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path

from tests.crash.audit import check_integrity, check_store
from tests.crash.books import queued_in_postgresql, queued_in_sqlite
from tests.crash.ledger import Journal
from tests.crash.load import STORE_GONE, WAIT, Clients, Down, Load
from tests.crash.world import PATIENCE, Process, Template, World, template, until
from tests.support.postgres import OwnServer

from watchword.core.ports import SECOND

SEED = "WATCHWORD_TEST_CRASH_SEED"
"""Names the variable that repeats a run's choices."""

KILLS = "WATCHWORD_TEST_KILLS"
"""Names the variable that says how often a loop kills, whatever the test would."""

# Some messages take a while, so that kills fall between their leaving and its record; of
# some the carrier takes the first and says that it does not know.
RULES = """
[[carriers.sandbox.rules]]
suffix = "9"
delay_ms = 60

[[carriers.sandbox.rules]]
suffix = "8"
outcome = "ambiguous_taken"
times = 1
"""
_STEPS_AHEAD = (0, 0, SECOND, 31 * SECOND, WAIT)
# A cycle over PostgreSQL costs more, for two processors do the work of more programs.
_MOST_REPLIES, _MOST_OVER_POSTGRESQL = 250, 150
_LATER = 0.03


class Victim(StrEnum):
    """What a cycle kills: one server, all of them, or the database under them."""

    SERVER = "server"
    SERVERS = "servers"
    STORE = "store"


class CrashLoop:
    """Kills under load and holds what is said afterwards against the ledger.

    `database` is the PostgreSQL that the world's store is in, where that is to be killed.
    """

    def __init__(
        self,
        world: World,
        seed: int,
        *,
        replicas: int = 1,
        victims: tuple[Victim, ...] = (Victim.SERVERS,),
        database: OwnServer | None = None,
    ) -> None:
        self._world, self._victims, self._database = world, victims, database
        self._chance = random.Random(seed)
        self._running: list[Process | None] = [None] * replicas
        self._programs: list[Template] = []
        self.load = Load(random.Random(seed + 1), Journal(world.journal))
        if Victim.STORE in victims:
            self.load.gone.add(STORE_GONE)
        self.done = 0

    async def run(self, kills: int) -> None:
        async with AsyncExitStack() as stack:
            for _ in self._running:
                program = await stack.enter_async_context(template(self._world.log))
                self._programs.append(program)
            while self.done < kills:
                await self._life()
                self.done += 1
                if self.done <= 20 or self.done % 50 == 0:
                    await check_integrity(self._world, self._world.root.with_name("scratch"))
                self._tell(kills)
            await self._last_life()
        self.load.journal.read()
        taken = self.load.journal.check()
        await check_store(self._world, self.load.flows, taken, self.load.now)
        assert '"event":"fault"' not in self._world.logged

    async def _life(self) -> None:
        """Serve, verify what was, work on, die."""
        await self._hear_survivors()
        victim = self._chance.choice(self._victims)
        await self._revive()
        async with self._clients() as clients:
            killer = asyncio.create_task(self._kill(victim))
            try:
                await self.load.settle(clients, also=5)
                await self.load.work(clients)
                # Callers may all have met their server's end while it was coming about.
                await killer
            except Down:
                await killer
            finally:
                # Work ends with what served it, or at once where a promise is broken.
                killer.cancel()
        if self._database and victim is Victim.STORE:
            await asyncio.to_thread(self._database.start)

    async def _hear_survivors(self) -> None:
        """Ask those who outlived the last kill, before anybody is started again.

        What a dead server's last commands do in the database is under way perhaps.
        """
        async with asyncio.timeout(PATIENCE), self._clients() as clients:
            while clients:
                try:
                    await self.load.settle(clients)
                except Down:
                    # The database has only just come back.
                    assert self._database
                    await asyncio.sleep(0.02)
                else:
                    return

    async def _revive(self, ahead: int | None = None) -> None:
        """Start what does not run; where that is everything, time may have passed."""
        world = self._world
        if not any(self._running):
            self.load.shift += self._chance.choice(_STEPS_AHEAD) if ahead is None else ahead
            await world.tell_time(self.load.shift)
            if ahead is None and self._chance.random() < 0.1:
                # Before it serves: while it recovers the log, opens the keys, takes the ports.
                early = await self._programs[0].serve(world, self.load.shift)
                await asyncio.sleep(self._chance.uniform(0, 0.1))
                early.kill()
                assert await early.ended() == -9
        for place, process in enumerate(self._running):
            if process is None:
                made = await self._programs[place].serve(world, self.load.shift)
                self._running[place] = await made.ready()

    async def _kill(self, victim: Victim) -> None:
        """Let the servers answer for a while, then kill in the midst of whatever they do."""
        most = _MOST_OVER_POSTGRESQL if self._world.dsn else _MOST_REPLIES
        enough = self.load.replies + self._chance.randrange(most)
        await until(lambda: self.load.replies >= enough)
        await asyncio.sleep(self._chance.uniform(0, _LATER))
        if victim is Victim.STORE:
            assert self._database
            self._database.kill()
            # Now and then a server goes as well, or all of them, so that time can pass.
            if self._chance.random() < 0.7:
                return
            victim = self._chance.choice((Victim.SERVER, Victim.SERVERS))
        places = list(range(len(self._running)))
        if victim is Victim.SERVER:
            places = [self._chance.choice(places)]
        for place in places:
            process = self._running[place]
            assert process
            process.kill()
        for place in places:
            process, self._running[place] = self._running[place], None
            assert process
            assert await process.ended() == -9

    async def _last_life(self) -> None:
        """Serve once more, past every lease; verify, let the queue run dry, stop in order."""
        world = self._world
        await self._hear_survivors()
        for process in self._stopping():
            process.kill()
            assert await process.ended() == -9
        await self._revive(ahead=WAIT)
        async with self._clients() as clients:
            await self.load.settle(clients, also=100)
        async with asyncio.timeout(PATIENCE):
            while await _queued(world):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        for process in self._stopping():
            process.terminate()
            assert await process.ended() == 0

    def _stopping(self) -> list[Process]:
        """Return what runs, and count on it no more."""
        found = [process for process in self._running if process]
        self._running = [None] * len(self._running)
        return found

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[Clients]:
        """Yield a way to each server that runs."""
        async with AsyncExitStack() as stack:
            running = [process for process in self._running if process]
            yield [
                await stack.enter_async_context(self._world.client(process.endpoint))
                for process in running
            ]

    def _tell(self, kills: int) -> None:
        if kills > 20 and self.done % 10 == 0:
            load = self.load
            sys.stderr.write(
                f"{self.done} kills: {len(load.flows)} verifications,"
                f" {load.acknowledged} answers, {load.repeated} repeated\n"
            )


async def _queued(world: World) -> int:
    if world.dsn:
        return await queued_in_postgresql(world.dsn)
    return queued_in_sqlite(world.store)


async def crash(
    directory: Path,
    kills: int,
    *,
    dsn: str = "",
    replicas: int = 1,
    victims: tuple[Victim, ...] = (Victim.SERVERS,),
    database: OwnServer | None = None,
) -> None:
    """Run a loop over a new world; a failure says how to repeat its choices."""
    kills = int(os.environ.get(KILLS, "0")) or kills
    seed = int(os.environ.get(SEED, "0")) or random.SystemRandom().randrange(1, 2**32)
    world = await World.make(directory / "world", RULES, dsn)
    loop = CrashLoop(world, seed, replicas=replicas, victims=victims, database=database)
    try:
        await loop.run(kills)
    except BaseException as error:
        error.add_note(f"after {loop.done} kills; again with {SEED}={seed}")
        raise
    # A loop in which nothing happened would prove nothing.
    assert loop.load.acknowledged > 10 * kills
    assert loop.load.repeated > 10 * kills
    assert sum(flow.approvals for flow in loop.load.flows) > kills
