"""The store behind a PgBouncer in transaction mode that knows no prepared statements."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.stores.postgresql.conftest import opened
from tests.support import postgres

from watchword.testing import verification_cases as cases
from watchword.testing.clock import FakeClock
from watchword.testing.verification_cases import CASE, LEASE, LIMITS, outcomes
from watchword.verification.store import CheckOutcome, StartOutcome

VARIABLE = "WATCHWORD_TEST_PGBOUNCER"
CONFIG = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_reset_query =
"""


@pytest.fixture
def bouncer(dsn: str, tmp_path: Path) -> Iterator[str]:
    """Return the DSN of the test's database, as reached through PgBouncer."""
    program = os.environ.get(VARIABLE) or shutil.which("pgbouncer")
    if program is None:
        pytest.skip(f"no PgBouncer: install Debian's, or set {VARIABLE}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = probe.getsockname()[1]
    there = urlsplit(dsn)
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            host=there.hostname,
            port=there.port,
            user=there.username,
            password=there.password,
            listen=listen,
        )
    )
    for path in (config, *config.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    user = postgres.UNPRIVILEGED if os.geteuid() == 0 else None
    process = subprocess.Popen([program, "-q", str(config)], user=user, cwd="/")
    yield f"postgresql://{there.username}@127.0.0.1:{listen}{there.path}?sslmode=disable"
    process.terminate()
    process.wait(10)


@pytest.fixture
async def through(bouncer: str) -> str:
    async with asyncio.timeout(10):
        while True:
            try:
                connection = await asyncpg.connect(bouncer, statement_cache_size=0)
                break
            except OSError:
                await asyncio.sleep(0.02)
    await connection.close()
    return bouncer


async def test_statements_of_many_clients_never_mix(through: str) -> None:
    """More connections than PgBouncer has: each statement meets its own values."""
    clock = FakeClock()
    async with (
        opened(through, clock=clock, prepared_statements=False) as first,
        opened(through, clock=clock, prepared_statements=False) as second,
    ):

        async def verify(number: int) -> tuple[object, object]:
            stores, case = (first, second)[number % 2], CASE._replace(phone=number)
            started = await stores.verification.start(cases.start(number, case))
            got = await stores.verification.get(
                cases.verification_id(number), cases.ACCOUNT, cases.APPLICATION
            )
            assert got.verification.verification_id == cases.verification_id(number)
            await stores.outbox.claim(3, LEASE, LIMITS)
            await stores.account.account(f"AC{number:032x}")
            await stores.keystore.get_or_create(f"key/{number}", None)
            index = cases.phone_index(case)
            usage = await stores.verification.usage(cases.ACCOUNT, cases.APPLICATION, index, index)
            assert len(usage.sends) == 1
            return started, await stores.verification.check(cases.check(number, 1, case))

        for start in range(0, 200, 40):
            made = await outcomes(verify(number) for number in range(start, start + 40))
            for pair in made:
                assert isinstance(pair, tuple)
                assert isinstance(pair[0], StartOutcome)
                assert isinstance(pair[1], CheckOutcome)
                assert pair[1].approved
