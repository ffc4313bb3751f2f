"""Under load the next batch waits a moment, so that more commands share its commit."""

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

BUSY = engine_module._BUSY


@pytest_asyncio.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    # Longer than any hiccup of the machine: what comes in these turns comes in time.
    monkeypatch.setattr(engine_module, "_LINGER", 0.5)
    path = tmp_path / "linger.db"
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER)")
    db.close()
    made = Engine(path, FakeClock(), RecordingBus())
    yield made
    await made.close()


async def _batches(engine: Engine, first: int) -> list[int]:
    """Return the sizes of the batches when one of `first` is followed by some stragglers."""
    sizes: list[int] = []
    run = engine._run

    def counted(batch: list[engine_module._Job], *, careful: bool = False) -> None:
        sizes.append(len(batch))
        run(batch, careful=careful)

    engine._run = counted  # type: ignore[method-assign]
    began = asyncio.Event()

    def insert(tx: Transaction) -> None:
        began.set()
        tx.db.execute("INSERT INTO t VALUES (1)")

    async def and_again() -> None:
        await engine.write(insert)
        for _ in range(3):
            await asyncio.sleep(0)
        await engine.write(insert)

    async def meanwhile() -> None:
        await began.wait()
        await engine.write(insert)

    await asyncio.gather(meanwhile(), *(and_again() for _ in range(first)))
    return sizes


async def test_after_a_large_batch_the_stragglers_share_one_commit(engine: Engine) -> None:
    assert await _batches(engine, BUSY) == [BUSY, BUSY + 1]


async def test_after_a_small_batch_nobody_waits(engine: Engine) -> None:
    assert await _batches(engine, 1) == [1, 1, 1]
