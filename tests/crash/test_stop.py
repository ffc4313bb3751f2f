"""A server told to stop under load: it finishes what it took, and forgets nothing."""

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc
import pytest
from tests.crash.audit import check_store
from tests.crash.ledger import Flow, Journal, Kind
from tests.crash.load import Load
from tests.crash.world import PATIENCE, World, template, until

from watchword.core.ports import MINUTE, SECOND

# Servers in processes of their own keep the processors busy: one test at a time.
pytestmark = pytest.mark.xdist_group("processes")

# The carrier wants these later than the server lives.
LATER = """
[[carriers.sandbox.rules]]
suffix = "7"
outcome = "throttled"
retry_after_ms = 60000
"""
LATE_PHONE = "+16462000007"


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `watchword serve` itself; yields the process and where it listens."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WATCHWORD_")}
    with world.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "watchword.cli", "serve", "--json"),
            *("--config", str(world.config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environ,
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await process.stdout.readline()
        yield process, json.loads(line)["endpoint"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_stop_under_load_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    world = await World.make(tmp_path / "world", LATER)
    load = Load(random.Random(7), Journal(world.journal))
    async with serving(world) as (process, endpoint), world.client(endpoint) as client:
        late = Flow(LATE_PHONE, [(Kind.RIGHT,)])
        await load.begin([client], late)
        await until(lambda: put_off(world))
        working = asyncio.create_task(load.work([client]))
        await until(lambda: load.acknowledged >= 100)
        process.terminate()
        await working
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    # Every call was answered or turned away: none was cut off.
    assert load.lost == {grpc.StatusCode.UNAVAILABLE}
    assert '"event":"stopped"' in world.logged
    assert '"event":"fault"' not in world.logged
    assert not any(m.verification_id == late.verification_id for m in load.journal.messages)
    await again(world, load)
    assert late.approvals == 1


async def again(world: World, load: Load) -> None:
    """Serve once more: all is as it was told, and the message that waited goes out."""
    world.configure()
    load.shift = MINUTE + SECOND
    async with template(world.log) as program:
        process = await (await program.serve(world, load.shift)).ready()
        async with world.client(process.endpoint) as client, asyncio.timeout(PATIENCE):
            await load.settle([client])
            await load.finish([client])
        process.terminate()
        assert await process.ended() == 0
    load.journal.read()
    await check_store(world, load.flows, load.journal.check(), load.now)


def put_off(world: World) -> bool:
    """Tell whether the carrier has put the first message off and the store knows."""
    query = "SELECT count(*) FROM send WHERE attempts = 1 AND lease_time = 0"
    with closing(sqlite3.connect(f"file:{world.store}?mode=ro", uri=True)) as db:
        return bool(db.execute(query).fetchone() == (1,))
