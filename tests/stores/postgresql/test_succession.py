"""What is done before a database with another history is served, and that nothing is until then."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from tests.stores.postgresql.conftest import opened
from tests.stores.postgresql.pair import until
from tests.support import postgres

from watchword.core.errors import Unavailable
from watchword.core.ports import MINUTE
from watchword.server.bus import LocalChangeBus
from watchword.testing import verification_cases as cases
from watchword.testing.clock import FakeClock
from watchword.testing.verification_cases import CASE, LEASE, LIMITS, outcomes
from watchword.verification.model import State
from watchword_adapters.stores.postgresql import PostgresStores

ELSEWHERE = "UPDATE watchword.stamp SET timeline = 'elsewhere'"


@pytest.fixture
async def db(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def states(stores: PostgresStores) -> list[State]:
    page = await stores.verification.list(cases.page())
    return [s.verification.state for s in reversed(page)]


async def served(stores: PostgresStores) -> bool:
    try:
        await stores.check()
    except Unavailable:
        return False
    return True


@asynccontextmanager
async def three_verifications(dsn: str, clock: FakeClock) -> AsyncIterator[PostgresStores]:
    """One is approved, one pending, and one whose time is over though nobody wrote it."""
    async with opened(dsn, clock=clock) as stores:
        await stores.verification.start(cases.start(1))
        await stores.verification.check(cases.check(1))
        await stores.verification.start(cases.start(2, CASE._replace(phone=2)))
        clock.advance(6 * MINUTE)
        await stores.verification.start(cases.start(3, CASE._replace(phone=3)))
        clock.advance(6 * MINUTE)
        # The store's clock follows when a connection is taken.
        await stores.check()
        yield stores


async def test_nothing_is_served_until_a_timeline_is_taken_over(
    dsn: str, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    clock = FakeClock()
    async with three_verifications(dsn, clock) as stores, opened(dsn, clock=clock) as other:
        await stores.watch.look()
        async with db.transaction():
            await db.execute(ELSEWHERE)
            # Whoever wants to take over waits for this connection from here on.
            await db.execute("COMMIT; BEGIN; SELECT FROM watchword.stamp FOR UPDATE")
            await until(lambda: refused(stores))
            made = await outcomes(
                [
                    stores.verification.check(cases.check(3, case=CASE._replace(phone=3))),
                    stores.verification.start(cases.start(4, CASE._replace(phone=4))),
                    stores.verification.cancel(cases.cancel(3, CASE._replace(phone=3))),
                    stores.outbox.claim(5, LEASE, LIMITS),
                    states(stores),
                    stores.watch.look(),
                    stores.tenancy.account(cases.ACCOUNT),
                ]
            )
            assert [type(o) for o in made] == [Unavailable] * 7
            leaves = await db.fetchval("SELECT count(*) FROM watchword.audit_leaf")
        await until(lambda: served(stores))
        await until(lambda: served(other))
        assert await states(stores) == [State.APPROVED, State.EXPIRED, State.CANCELED]
        # Both wanted to; one did, with one leaf for each that it voided.
        assert await db.fetchval("SELECT count(*) FROM watchword.audit_leaf") == leaves + 2
        # What is queued for them is not sent any more.
        assert (await stores.outbox.claim(5, LEASE, LIMITS)).claims == []
        await stores.verification.start(cases.start(4, CASE._replace(phone=4)))
        assert (
            await stores.verification.check(cases.check(4, case=CASE._replace(phone=4)))
        ).approved


async def refused(stores: PostgresStores) -> bool:
    return not await served(stores)


async def test_every_replica_tells_its_watchers(
    dsn: str, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    buses = LocalChangeBus(), LocalChangeBus()
    async with opened(dsn, bus=buses[0]) as first, opened(dsn, bus=buses[1]):
        await first.verification.start(cases.start(1))
        async with (
            buses[0].subscribe(cases.verification_id(1)) as here,
            buses[1].subscribe(cases.verification_id(1)) as there,
        ):
            # The other's tail tells of the Start.
            async with asyncio.timeout(10):
                await anext(there)
            await db.execute(ELSEWHERE)
            async with asyncio.timeout(10):
                await asyncio.gather(anext(here), anext(there))
            assert await states(first) == [State.CANCELED]


@pytest.mark.parametrize("change", [ELSEWHERE, "UPDATE watchword.stamp SET system_identifier = 1"])
async def test_a_store_is_taken_over_before_it_is_opened(
    dsn: str, db: "asyncpg.Connection[asyncpg.Record]", change: str
) -> None:
    clock = FakeClock()
    async with three_verifications(dsn, clock):
        pass
    await db.execute(change)
    async with opened(dsn, clock=clock) as stores:
        assert await states(stores) == [State.APPROVED, State.EXPIRED, State.CANCELED]
    async with opened(dsn, clock=clock) as stores:
        await stores.verification.start(cases.start(4, CASE._replace(phone=4)))
    # The same history again: what is pending stays so.
    async with opened(dsn, clock=clock) as stores:
        assert (await states(stores))[-1] is State.PENDING


async def test_a_role_without_privileges_can_take_over(
    postgres_server: postgres.Server,
) -> None:
    role, password = f"watchword_{secrets.token_hex(4)}", secrets.token_hex(8)
    name = await postgres_server.create(None)
    await postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    await postgres_server.execute(f"ALTER DATABASE {name} OWNER TO {role}")
    split = urlsplit(postgres_server.dsn(name))
    host = split.netloc.rpartition("@")[2]
    dsn = urlunsplit(split._replace(netloc=f"{role}:{password}@{host}"))
    try:
        async with opened(dsn, create=True) as stores:
            await stores.verification.start(cases.start(1))
            (row,) = await stores.engine.fetch("SELECT current_user, timeline FROM watchword.stamp")
            assert row["current_user"] == role
            assert row["timeline"]
            await stores.engine.fetch(ELSEWHERE)
            await until(lambda: served(stores))
            assert await states(stores) == [State.CANCELED]
    finally:
        await postgres_server.drop(name)
        await postgres_server.execute(f"DROP ROLE {role}")
