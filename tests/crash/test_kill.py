"""Servers killed at any moment: nothing acknowledged is lost, nothing is approved twice."""

import asyncio
import os
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash.audit import check_integrity, check_store
from tests.crash.ledger import Journal
from tests.crash.load import WAIT, Down, Load
from tests.crash.world import Process, Template, World, template, until

from watchword.core.ports import SECOND

# Servers in processes of their own keep the processors busy: one test at a time.
pytestmark = pytest.mark.xdist_group("processes")

SEED = "WATCHWORD_TEST_CRASH_SEED"
"""Names the variable that repeats a run's choices."""

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
_MOST_REPLIES = 250
_LATER = 0.03


class CrashLoop:
    """Kills servers under load and holds what the next one says against the ledger."""

    def __init__(self, directory: Path, kills: int, seed: int) -> None:
        self._directory = directory
        self._kills = kills
        self._chance = random.Random(seed)
        self.load = Load(random.Random(seed + 1), Journal(directory / "world" / "messages.jsonl"))
        self.done = 0

    async def run(self) -> None:
        world = await World.make(self._directory / "world", RULES)
        async with template(world.log) as program:
            while self.done < self._kills:
                await self._life(world, program)
                self.done += 1
                if self.done <= 20 or self.done % 50 == 0:
                    check_integrity(world.store, self._directory / "scratch")
                self._tell()
            await self._last_life(world, program)
        self.load.journal.read()
        taken = self.load.journal.check()
        check_store(world, self.load.flows, taken, self.load.now)
        assert "fault" not in {line.partition('"event":"')[2][:5] for line in _lines(world)}

    async def _life(self, world: World, program: Template) -> None:
        """Serve, verify what was, work on, die."""
        self.load.shift += self._chance.choice(_STEPS_AHEAD)
        process = await program.serve(world, self.load.shift)
        if self._chance.random() < 0.1:
            # Before it serves: while it recovers the log, opens the keys, takes the ports.
            await asyncio.sleep(self._chance.uniform(0, 0.1))
            process.kill()
        else:
            await process.ready()
            async with world.client(process.endpoint) as client:
                killer = asyncio.create_task(self._kill(process))
                try:
                    await self.load.settle(client, also=5)
                    await self.load.work(client)
                except Down:
                    pass
                finally:
                    # Work ends when the server does, or at once where a promise is broken.
                    killer.cancel()
                    process.kill()
        assert await process.ended() == -9

    async def _kill(self, process: Process) -> None:
        """Let the server answer for a while, then kill it in the midst of whatever it does."""
        enough = self.load.replies + self._chance.randrange(_MOST_REPLIES)
        await until(lambda: self.load.replies >= enough)
        await asyncio.sleep(self._chance.uniform(0, _LATER))
        process.kill()

    async def _last_life(self, world: World, program: Template) -> None:
        """Serve once more, past every lease; verify, let the queue run dry, stop in order."""
        self.load.shift += WAIT
        process = await (await program.serve(world, self.load.shift)).ready()
        async with world.client(process.endpoint) as client:
            await self.load.settle(client, also=100)
        await until(lambda: not _queued(world))
        process.terminate()
        assert await process.ended() == 0

    def _tell(self) -> None:
        if self._kills > 20 and self.done % 10 == 0:
            load = self.load
            sys.stderr.write(
                f"{self.done} kills: {len(load.flows)} verifications,"
                f" {load.acknowledged} answers, {load.repeated} repeated\n"
            )


def _queued(world: World) -> int:
    with closing(sqlite3.connect(f"file:{world.store}?mode=ro", uri=True)) as db:
        found = db.execute("SELECT count(*) FROM send WHERE state = 'QUEUED'").fetchone()
    return int(found[0])


def _lines(world: World) -> list[str]:
    return world.logged.splitlines()


async def crash(directory: Path, kills: int) -> None:
    seed = int(os.environ.get(SEED, "0")) or random.SystemRandom().randrange(1, 2**32)
    loop = CrashLoop(directory, kills, seed)
    try:
        await loop.run()
    except BaseException as error:
        error.add_note(f"after {loop.done} kills; again with {SEED}={seed}")
        raise
    # A loop in which nothing happened would prove nothing.
    assert loop.load.acknowledged > 10 * kills
    assert loop.load.repeated > 10 * kills
    assert sum(flow.approvals for flow in loop.load.flows) > kills


async def test_c070_c145_twenty_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    await crash(tmp_path, 20)


@pytest.mark.long
async def test_c070_c145_a_thousand_kills_lose_nothing_acknowledged(tmp_path: Path) -> None:
    await crash(tmp_path, 1_000)
