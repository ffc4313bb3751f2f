"""Through PgBouncer in transaction mode: no statement needs a session of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.stores.postgresql.conftest import empty, migrate, opened
from tests.stores.postgresql.pair import until
from tests.support import postgres
from tests.support.live import running, sandbox_config
from tests.support.pgbouncer import pgbouncer

from watchword.config import Store
from watchword.core.errors import Unavailable
from watchword.testing import verification_cases as cases
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.outbox_contract import OutboxContract
from watchword.testing.races_contract import RacesContract
from watchword.testing.verification_cases import Harness, outcomes
from watchword.testing.verification_contract import VerificationStoreContract
from watchword.verification.model import RejectionReason
from watchword.verification.store import CheckOutcome


@pytest.fixture(scope="module")
def pooler(postgres_server: postgres.Server) -> Iterator[postgres.Server]:
    """The session's server as it is seen through PgBouncer."""
    with pgbouncer(postgres_server.dsn("postgres")) as dsn:
        yield postgres.Server(dsn)


@pytest.fixture(scope="module")
def database(postgres_server: postgres.Server) -> Iterator[str]:
    """The name of one for all tests: to empty it is much quicker than to make another."""
    name = asyncio.run(postgres_server.create(migrate))
    yield name
    asyncio.run(postgres_server.drop(name))


@pytest.fixture
async def direct(postgres_server: postgres.Server, database: str) -> str:
    """A dev store without a row, past the pooler."""
    dsn = postgres_server.dsn(database)
    await empty(dsn)
    return dsn


@pytest.fixture
def pooled(pooler: postgres.Server, direct: str, database: str) -> str:
    """The same store through the pooler."""
    return pooler.dsn(database)


@asynccontextmanager
async def harness_on(pooled: str) -> AsyncIterator[Harness]:
    clock, bus = FakeClock(), RecordingBus()
    async with opened(pooled, clock=clock, bus=bus, prepared_statements=False) as stores:
        bus.published.clear()
        yield Harness(stores.verification, stores.outbox, clock, bus.published)


class TestVerification(VerificationStoreContract):
    """Every case of the contract, over statements that are never prepared by name."""

    @pytest.fixture
    async def harness(self, pooled: str) -> AsyncIterator[Harness]:
        async with harness_on(pooled) as made:
            yield made


class TestOutbox(OutboxContract):
    """The same for the outbox."""

    @pytest.fixture
    async def harness(self, pooled: str) -> AsyncIterator[Harness]:
        async with harness_on(pooled) as made:
            yield made


class TestRaces(RacesContract):
    """And for those who race."""

    @pytest.fixture
    async def harness(self, pooled: str) -> AsyncIterator[Harness]:
        async with harness_on(pooled) as made:
            yield made


async def test_it_is_one_session_that_many_clients_share(pooled: str, direct: str) -> None:
    """What the cases above went through: more clients than the server has sessions."""
    async with opened(pooled, prepared_statements=False) as first:
        async with opened(pooled, prepared_statements=False) as second:
            await first.verification.start(cases.start(1))
            made = await outcomes(
                (first, second)[n % 2].verification.check(cases.check(1)) for n in range(64)
            )
            checks = [o for o in made if isinstance(o, CheckOutcome)]
            assert Counter(o.rejection for o in checks) == {
                None: 1,
                RejectionReason.ALREADY_USED: 63,
            }
        db = await asyncpg.connect(direct)
        sessions = await db.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        await db.close()
        assert 1 <= sessions <= 4


async def test_a_fail_over_behind_it_is_noticed(pooled: str, direct: str) -> None:
    """The pooler keeps its clients' connections, so none of them is made anew."""
    async with opened(pooled, prepared_statements=False) as stores:
        await stores.verification.start(cases.start(1))
        db = await asyncpg.connect(direct)
        await db.execute("UPDATE watchword.stamp SET timeline = 'elsewhere'")
        await db.close()

        async def taken_over() -> bool:
            try:
                await stores.check()
            except Unavailable:
                return False
            return True

        await until(taken_over)
        again = await stores.verification.check(cases.check(1))
        assert again.rejection is RejectionReason.CANCELED


async def test_a_server_serves_through_it(
    pooler: postgres.Server, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    async with postgres.fresh_database(postgres_server) as dsn:
        through = pooler.dsn(urlsplit(dsn).path[1:])
        store = Store("postgresql", dsn=through, prepared_statements=False)
        config = replace(sandbox_config(tmp_path / "var"), store=store)
        async with asyncio.timeout(60), running(tmp_path / "var", config=config) as live:
            verification = await live.start()
            code = await live.code(verification.verification_id)
            reply = await live.check(verification.verification_id, code)
            assert reply.approval.receipt
