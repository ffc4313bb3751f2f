"""After a commit the next batch waits for a lull, so that more commands share its commit."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword_adapters.stores.sqlite import engine as engine_module
from watchword_adapters.stores.sqlite.engine import Engine, Transaction


@pytest_asyncio.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    # Longer than any hiccup of the machine: what comes in these turns comes in time.
    monkeypatch.setattr(engine_module, "_LULL", 0.5)
    path = tmp_path / "linger.db"
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER)")
    db.close()
    made = Engine(path, FakeClock(), RecordingBus())
    yield made
    await made.close()


async def _batches(engine: Engine, stragglers: int) -> list[int]:
    """Return the sizes of the batches when one command is followed by others during its commit.

    Of those one is there when the commit ends, the others come some turns later.
    """
    sizes: list[int] = []
    run = engine._run

    def counted(batch: list[engine_module._Job], *, careful: bool = False) -> None:
        sizes.append(len(batch))
        run(batch, careful=careful)

    engine._run = counted  # type: ignore[method-assign]
    began, ended = asyncio.Event(), asyncio.Event()

    def insert(tx: Transaction) -> None:
        began.set()
        tx.db.execute("INSERT INTO t VALUES (1)")

    async def first() -> None:
        await engine.write(insert)
        ended.set()

    async def meanwhile() -> None:
        await began.wait()
        await engine.write(insert)

    async def later() -> None:
        await ended.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        await engine.write(insert)

    await asyncio.gather(first(), meanwhile(), *(later() for _ in range(stragglers)))
    return sizes


async def test_what_comes_before_the_lull_shares_one_commit(engine: Engine) -> None:
    assert await _batches(engine, 5) == [1, 6]


async def test_a_full_batch_waits_for_nobody(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_BATCH", 4)
    assert await _batches(engine, 7) == [1, 4, 4]


async def test_a_command_alone_waits_for_nobody(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a lull that never ends: only a first command may not wait for it."""
    monkeypatch.setattr(engine_module, "_LULL", 3600.0)
    async with asyncio.timeout(60):
        assert await engine.write(lambda tx: tx.now) == FakeClock().now()
