"""What a server depends on fails while it serves: it says UNAVAILABLE, and does nothing by half."""

import asyncio
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import grpc
import pytest
from tests.crash.ledger import Journal
from tests.crash.world import PATIENCE, Process, World, template, until
from tests.support.live import running
from tests.support.status import details

from watchword.client import Client, Rejected, Unavailable
from watchword.client import verification_pb2 as pb
from watchword.core.ports import DAY
from watchword.testing.clock import FakeClock

# Servers in processes of their own keep the processors busy: one test at a time.
pytestmark = pytest.mark.xdist_group("processes")

PHONE, OTHER = "+12122000001", "+12122000002"
_MANY = 2_000


@asynccontextmanager
async def serving(world: World, log: Path) -> AsyncIterator[tuple[Process, Client]]:
    async with template(log) as program:
        process = await (await program.serve(world)).ready()
        async with world.client(process.endpoint) as client:
            yield process, client


async def ready(process: Process) -> bool:
    async with aiohttp.ClientSession() as web, web.get(f"http://{process.http}/readyz") as reply:
        return reply.status == 200


async def until_ready(process: Process, *, wanted: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while await ready(process) is not wanted:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def refused(*calls: Awaitable[object]) -> None:
    """Each call says that the store is away: not that it is late, and nothing else."""
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(error, Unavailable), error
        assert error.reason == "DEPENDENCY_UNAVAILABLE"
        assert error.retry_after is not None


async def code_of(world: World, verification: pb.Verification) -> str:
    journal = Journal(world.journal)

    def arrived() -> bool:
        journal.read()
        return verification.verification_id in journal.codes

    await until(arrived)
    return journal.codes[verification.verification_id]


async def test_c155_a_lock_held_too_long_is_unavailable_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    world = await World.make(tmp_path / "world")
    async with serving(world, world.log) as (process, client):
        begun = await client.start(PHONE, request_id="first")
        code = await code_of(world, begun)
        wrong = f"{(int(code) + 1) % 1_000_000:06d}"
        known = begun.verification_id
        with closing(sqlite3.connect(world.store, timeout=PATIENCE)) as other:
            other.execute("BEGIN IMMEDIATE")
            await refused(
                client.start(OTHER, request_id="second"),
                client.check(wrong, verification_id=known, request_id="wrong"),
                client.check(code, verification_id=known, request_id="right"),
                client.cancel(known, request_id="cancel"),
            )
            # What only reads goes on; those who send calls here are told to look elsewhere.
            assert (await client.get(known)).checks_remaining == 5
            assert not await ready(process)
            other.execute("ROLLBACK")
        await until_ready(process, wanted=True)
        assert (await client.get(known)).checks_remaining == 5
        assert [v.verification_id for v in (await client.list()).verifications] == [known]
        await until(lambda: "SQLITE_BUSY" in world.logged)
        rejected = await client.check(wrong, verification_id=known, request_id="wrong")
        assert isinstance(rejected, Rejected)
        assert rejected.checks_remaining == 4
        assert await client.check(code, verification_id=known, request_id="right")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB; only root may mount one."""
    mount = shutil.which("mount")
    place = tmp_path / "disk"
    place.mkdir()
    command = [str(mount), "-t", "tmpfs", "-o", "size=4m,mode=0700", "none", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that takes root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def start_until_refused(client: Client) -> int:
    """Start verifications until one is refused; returns how many there were."""
    for number in range(_MANY):
        try:
            await client.start(f"+1646{2_000_000 + number}", request_id=f"{number}")
        except Unavailable:
            return number
    raise AssertionError("the disk never filled up")


async def test_c147_a_full_disk_is_unavailable_until_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    world, log = await World.make(small_disk / "world"), tmp_path / "server.log"
    async with serving(world, log) as (process, client):
        begun = await client.start(PHONE)
        code = await code_of(world, begun)
        ballast = small_disk / "ballast"
        fill(ballast)
        count = await start_until_refused(client)
        await refused(
            client.start(OTHER, request_id="full"),
            client.check(code, verification_id=begun.verification_id, request_id="full"),
        )
        await until_ready(process, wanted=False)
        await until(lambda: "SQLITE_FULL" in log.read_text())
        assert (await client.get(begun.verification_id)).state == pb.VERIFICATION_STATE_PENDING
        ballast.unlink()
        await until_ready(process, wanted=True)
        assert await client.check(code, verification_id=begun.verification_id, request_id="full")
        await client.start(OTHER, request_id="full")
        process.terminate()
        assert await process.ended() == 0
    assert held(world) == count + 2


def fill(ballast: Path) -> None:
    """Take all the room that there is."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 512):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


async def test_c148_a_disk_that_fails_stops_the_store_until_a_restart(tmp_path: Path) -> None:
    world = await World.make(tmp_path / "world")
    async with serving(world, world.log) as (process, client):
        begun = await client.start(PHONE)
        code = await code_of(world, begun)
        # No file of the server may grow: its next commit fails half-way.
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4_096, most))
        await refused(client.start(OTHER, request_id="failed"))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        # What the file holds now is for the recovery of the next start to find out.
        await refused(
            client.start(OTHER, request_id="failed"),
            client.check(code, verification_id=begun.verification_id, request_id="right"),
        )
        assert not await ready(process)
        await until(lambda: "then restart" in world.logged)
        assert "SQLITE_IOERR_WRITE" in world.logged
        process.terminate()
        assert await process.ended() == 0
    assert held(world) == 1
    async with serving(world, world.log) as (process, client):
        assert await client.check(code, verification_id=begun.verification_id, request_id="right")
        await client.start(OTHER, request_id="failed")
        process.kill()
    assert held(world) == 2


def held(world: World) -> int:
    """Return how many verifications the store holds, whole ones."""
    with closing(sqlite3.connect(world.store)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = db.execute("SELECT count(*) FROM verification").fetchone()
        (sends,) = db.execute("SELECT count(*) FROM send").fetchone()
        (leaves,) = db.execute(
            "SELECT count(*) FROM audit_leaf WHERE version = 1 AND kind = 'verification'"
        ).fetchone()
    assert leaves == count == sends
    return int(count)


async def test_c139_without_its_key_store_it_checks_and_starts_nothing_new(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    directory = tmp_path / "var"
    keys, away = directory / "watchword-keys.db", tmp_path / "away.db"
    async with running(directory, clock=clock) as live:
        begun = await live.start(PHONE)
        code = await live.code(begun.verification_id)
        keys.rename(away)
        # The key of this day is in memory: codes are issued and checked as before.
        assert (await live.check(begun.verification_id, code)).HasField("approval")
        await live.start(OTHER)
        clock.advance(DAY)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await live.start(OTHER)
        told = details(caught.value)
        assert (told.code, told.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "DEPENDENCY_UNAVAILABLE",
        )
        away.rename(keys)
        again = await live.start(OTHER)
        code = await live.code(again.verification_id)
    # What was issued since can be checked after a restart: its key is where it belongs.
    async with running(directory, clock=clock) as live:
        assert (await live.check(again.verification_id, code)).HasField("approval")
