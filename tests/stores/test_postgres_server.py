"""The PostgreSQL that tests run on: there on every machine, durable, and gone afterwards."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.support import postgres

ROOT = Path(__file__).parents[2]


@pytest.fixture(
    params=[postgres.local_programs, postgres.packaged_programs], ids=["local", "packaged"]
)
def programs(request: pytest.FixtureRequest) -> Path:
    found: Path | None = request.param()
    if found is None:
        pytest.skip("there is none of this kind here")
    return found


async def run(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_what_was_committed_outlives_a_kill(programs: Path) -> None:
    with postgres.own_server(programs) as server:
        dsn = server.dsn("postgres")
        await run(dsn, "CREATE TABLE kept AS SELECT 7 AS value")
        server.kill()
        with pytest.raises(OSError, match="Connect call failed"):
            await run(dsn, "SELECT 1")
        server.start()
        assert await run(dsn, "SELECT value FROM kept") == 7


async def test_a_fresh_database_is_a_copy_of_the_migrated_one(
    postgres_server: postgres.Server,
) -> None:
    runs = []

    async def migrate(dsn: str) -> None:
        runs.append(dsn)
        await run(dsn, "CREATE TABLE made AS SELECT 1 AS value")

    names = []
    for _ in range(2):
        async with postgres.fresh_database(postgres_server, migrate) as dsn:
            names.append(urlsplit(dsn).path)
            assert await run(dsn, "UPDATE made SET value = value + 1 RETURNING value") == 2
    assert len(runs) == 1
    assert len(set(names)) == 2
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await run(dsn, "SELECT 1")


def test_the_server_stops_when_its_tests_are_killed() -> None:
    programs = postgres.local_programs() or postgres.packaged_programs()
    if programs is None:
        pytest.skip("no programs of our own to run")
    script = (
        "import sys; from pathlib import Path; from tests.support import postgres\n"
        f"with postgres.own_server(Path({str(programs)!r})) as server:\n"
        "    print(server.dsn('postgres'), server.directory, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdout is not None
        dsn, directory = child.stdout.readline().split()
        assert asyncio.run(run(dsn, "SELECT 1")) == 1
        child.kill()
    end = time.monotonic() + 10
    while Path(directory).exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(run(dsn, "SELECT 1"))


def test_no_server_is_a_skip_here_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(postgres.VARIABLE, raising=False)
    monkeypatch.setattr(postgres, "local_programs", lambda: None)
    monkeypatch.setattr(postgres, "packaged_programs", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="pip install"), postgres.postgres_server():
        pass
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="pip install"), postgres.postgres_server():
        pass
