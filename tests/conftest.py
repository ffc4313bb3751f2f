"""Fixtures that every area uses."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

# gRPC must not try to survive the forks of tests that start programs.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# `tests.support` is importable from wherever pytest was started.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pytest
from tests.support import postgres
from tests.support.live import Live, running

from watchword.testing.clock import FakeClock


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="make this one run of the simulator again")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that moves only when it is told to."""
    return FakeClock()


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    """A server with the machine's clock and the sandbox carrier."""
    async with running(tmp_path / "var") as server:
        yield server


@pytest.fixture
async def timed(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Live]:
    """A server whose time is the fixture `clock`."""
    async with running(tmp_path / "var", clock=clock) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server: one a session, of this worker alone unless a DSN names one."""
    with postgres.postgres_server() as server:
        yield server


@pytest.fixture
async def postgres_dsn(postgres_server: postgres.Server) -> AsyncIterator[str]:
    """An empty database of the test's own."""
    async with postgres.fresh_database(postgres_server) as dsn:
        yield dsn
