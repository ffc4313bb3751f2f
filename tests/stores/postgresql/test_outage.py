"""PostgreSQL goes away and comes back, or stands still: calls fail fast, nothing kept is lost."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import asyncpg
import pytest
from tests.stores.postgresql.conftest import migrate, opened
from tests.support import postgres

from watchword.core.errors import Unavailable
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import CASE, outcomes
from watchword.verification.store import CheckOutcome, StartOutcome
from watchword_adapters.stores.postgresql import PostgresStores


@pytest.fixture
def server() -> Iterator[postgres.OwnServer]:
    """A server of this test alone, which may be killed."""
    programs = postgres.local_programs() or postgres.packaged_programs()
    if programs is None:
        postgres.skip_without()
        return
    with postgres.own_server(programs) as server:
        yield server


async def back(stores: PostgresStores) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await stores.check()
                await asyncio.sleep(0.3)
                return await stores.check()
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_a_kill_loses_nothing_that_was_answered(server: postgres.OwnServer) -> None:
    dsn = server.dsn("postgres")
    await migrate(dsn)
    async with opened(dsn) as stores:

        async def verify(number: int) -> object:
            case = CASE._replace(phone=number)
            await stores.verification.start(cases.start(number, case))
            return await stores.verification.check(cases.check(number, 1, case))

        calls = [asyncio.create_task(verify(number)) for number in range(400)]
        await asyncio.sleep(0.15)
        server.kill()
        began = time.monotonic()
        made = await outcomes(calls)
        with pytest.raises(Unavailable):
            await stores.check()
        assert time.monotonic() - began < 8
        approved = [n for n, o in enumerate(made) if isinstance(o, CheckOutcome)]
        server.start()
        await back(stores)
        for number in approved:
            got = await stores.verification.get(
                cases.verification_id(number), cases.ACCOUNT, cases.APPLICATION
            )
            assert got.verification.state == "APPROVED"
        again = await stores.verification.start(cases.start(999, CASE._replace(phone=999)))
        assert isinstance(again, StartOutcome)


async def test_a_server_that_stands_still_holds_nobody_for_long(
    server: postgres.OwnServer,
) -> None:
    dsn = server.dsn("postgres")
    await migrate(dsn)
    async with opened(dsn) as stores:
        await stores.verification.start(cases.start(1))
        db = await asyncpg.connect(dsn)
        pids = await db.fetch(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )
        for row in pids:
            os.kill(row["pid"], signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(Unavailable):
                await stores.verification.check(cases.check(1))
            assert time.monotonic() - began < 8
        finally:
            for row in pids:
                os.kill(row["pid"], signal.SIGCONT)
        await back(stores)
        # The answer was lost, and what it would have said was done.
        again = await stores.verification.check(cases.check(1))
        assert again.approved or again.rejection == "ALREADY_USED"
        await db.close()
