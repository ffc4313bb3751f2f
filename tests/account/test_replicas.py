"""What holds where several replicas share the tenancy in one PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest
from tests.account import replica
from tests.support import postgres

from watchword.account.model import AccountPatch, Lifetime
from watchword.account.rows import UsageCount, UsageKey
from watchword.account.store import AccountStore, UsageQuery
from watchword.core.errors import FailedPrecondition, NotFound, Unavailable
from watchword.server.bus import LocalChangeBus
from watchword.tenancy.directory import Directory, follow
from watchword.testing.account_cases import OPERATOR, PA, A, credential_of, id_of, number_of
from watchword.testing.clock import FakeClock
from watchword_adapters.stores.postgresql.calls import Connection, Pool, in_transaction
from watchword_adapters.stores.postgresql.tenancy import TenancyWatch

CREDENTIAL = credential_of(A.account_id, PA.application_id, "c")
OWNER = (A.account_id, PA.application_id)


class Seconds:
    """A process's own clock, under the test's control."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Replica:
    pool: Pool
    store: AccountStore
    watch: TenancyWatch
    directory: Directory
    seconds: Seconds

    async def revoked(self) -> bool:
        found = await self.directory.credential(CREDENTIAL.credential_id)
        assert found is not None
        return bool(found.revoke_time)

    async def look(self) -> None:
        """Ask for the revision, and let what the bus is told arrive."""
        await self.watch.look()
        for _ in range(5):
            await asyncio.sleep(0)


@asynccontextmanager
async def running(dsn: str) -> AsyncIterator[Replica]:
    bus, seconds = LocalChangeBus(), Seconds()
    async with replica.opened_pool(dsn, FakeClock()) as pool:
        watch = TenancyWatch(pool, bus, monotonic=seconds)
        store = replica.store_over(pool, bus, watch)
        directory = Directory(store)
        following = asyncio.create_task(follow(directory, bus))
        await asyncio.sleep(0)
        yield Replica(pool, store, watch, directory, seconds)
        following.cancel()


Two = tuple[Replica, Replica]


@pytest.fixture
async def two(postgres_server: postgres.Server) -> AsyncIterator[Two]:
    """Two replicas that keep a credential in memory, both a moment ago confirmed."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(
            postgres.fresh_database(postgres_server, replica.migrate)
        )
        first = await stack.enter_async_context(running(dsn))
        second = await stack.enter_async_context(running(dsn))
        await first.store.create_account(A, OPERATOR, None)
        await first.store.create_application(PA, OPERATOR, None)
        await first.store.create_credential(CREDENTIAL, Lifetime(), OPERATOR, None)
        for each in (first, second):
            await each.look()
            assert not await each.revoked()
        yield first, second


async def revoke(there: Replica) -> None:
    await there.store.revoke_credential(CREDENTIAL.credential_id, OPERATOR, None)


async def test_a_revocation_holds_elsewhere_with_the_next_look(two: Two) -> None:
    first, second = two
    await revoke(first)
    assert not await second.revoked()
    second.seconds.now += 1
    await second.look()
    assert await second.revoked()


async def test_a_revocation_holds_within_5_s_though_nobody_looks(two: Two) -> None:
    first, second = two
    await revoke(first)
    second.seconds.now += 4.9
    assert await second.revoked()


async def test_a_look_that_began_before_the_revocation_proves_nothing_after_it(two: Two) -> None:
    first, second = two
    await second.look()
    second.seconds.now += 3
    await revoke(first)
    second.seconds.now += 1.5
    assert await second.revoked()


async def test_a_replica_without_its_database_refuses_within_5_s(two: Two) -> None:
    _, second = two
    second.pool.terminate()
    second.seconds.now += 3
    assert not await second.revoked()
    with pytest.raises(Unavailable):
        await second.look()
    second.seconds.now += 1.9
    with pytest.raises(Unavailable):
        await second.revoked()


async def test_what_does_not_change_is_kept(two: Two) -> None:
    _, second = two
    for _ in range(3):
        second.seconds.now += 3
        await second.look()
    kept = await second.directory.credential(CREDENTIAL.credential_id)
    second.pool.terminate()
    assert await second.directory.credential(CREDENTIAL.credential_id) is kept


async def test_a_refused_or_repeated_command_moves_no_revision(two: Two) -> None:
    first, _ = two
    query = "SELECT revision FROM watchword.tenancy"
    await revoke(first)
    before = await first.pool.fetchval(query)
    await revoke(first)
    with pytest.raises(NotFound):
        await first.store.revoke_credential(id_of("CR", "f"), OPERATOR, None)
    assert await first.pool.fetchval(query) == before


async def test_the_watch_looks_every_second_whatever_happens(two: Two) -> None:
    first, _ = two
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            first.pool.terminate()
        if len(waits) == 4:
            raise asyncio.CancelledError

    watch = TenancyWatch(first.pool, LocalChangeBus(), monotonic=first.seconds, wait=wait)
    assert watch.revision() is None
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    assert waits == [1.0] * 4
    assert watch.revision() is not None


async def test_of_racing_credentials_two_are_made(two: Two) -> None:
    drafts = [credential_of(*OWNER, letter) for letter in "123456"]
    results = await asyncio.gather(
        *(
            two[place % 2].store.create_credential(draft, Lifetime(), OPERATOR, None)
            for place, draft in enumerate(drafts)
        ),
        return_exceptions=True,
    )
    # One was there before.
    refused = [result for result in results if isinstance(result, FailedPrecondition)]
    assert (len(refused), len(results)) == (5, 6)


async def test_of_racing_test_numbers_ten_are_made(two: Two) -> None:
    results = await asyncio.gather(
        *(
            two[place % 2].store.create_test_number(number_of(OWNER[1], place), OPERATOR, None)
            for place in range(16)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, FailedPrecondition) for result in results) == 6


async def test_racing_changes_each_make_a_version_and_a_leaf(two: Two) -> None:
    await asyncio.gather(
        *(
            each.store.update_account(
                A.account_id, AccountPatch(display_name=f"{place}"), OPERATOR, None
            )
            for place in range(8)
            for each in two
        )
    )
    found = await two[0].store.account(A.account_id)
    assert found is not None
    leaves = [leaf for leaf in await replica.leaves(two[0].pool) if leaf.object_id == A.account_id]
    assert [leaf.version for leaf in leaves] == list(range(1, found.version + 1))


async def test_usage_of_many_replicas_adds_up(two: Two) -> None:
    keys = [UsageKey(*OWNER, 20_000, "SMS", region, "c") for region in ("DE", "FR", "US")]
    turned = keys[::-1]
    await asyncio.gather(
        *(
            two[place % 2].store.add_usage(
                {key: UsageCount(1, 2, 3) for key in (keys if place % 2 else turned)}
            )
            for place in range(20)
        )
    )
    query = UsageQuery(A.account_id, "", 0, 30_000, None, 10)
    rows = await two[0].store.list_usage(query)
    assert [row.used for row in rows] == [UsageCount(20, 40, 60)] * 3


@pytest.mark.parametrize("text", ["\0", "CR\0x"])
async def test_what_cannot_be_stored_is_unknown(two: Two, text: str) -> None:
    store = two[0].store
    assert await store.credential(text) is None
    with pytest.raises(NotFound):
        await store.revoke_credential(text, OPERATOR, None)


@pytest.mark.parametrize(
    "error", [asyncpg.SerializationError, asyncpg.DeadlockDetectedError], ids=["40001", "40P01"]
)
@pytest.mark.parametrize(("failures", "served"), [(3, True), (4, False)])
async def test_what_the_server_undid_is_tried_three_times_more(
    two: Two, error: type[Exception], failures: int, served: bool
) -> None:
    tries = 0

    async def work(db: Connection) -> str:
        nonlocal tries
        tries += 1
        await db.execute("UPDATE watchword.tenancy SET revision = revision + 100")
        if tries <= failures:
            raise error("undone")
        return "done"

    before = await two[0].pool.fetchval("SELECT revision FROM watchword.tenancy")
    try:
        outcome = await in_transaction(two[0].pool, work)
    except Unavailable as unavailable:
        outcome = str(unavailable)
    assert (outcome == "done") is served
    assert tries == min(failures + 1, 4)
    after = await two[0].pool.fetchval("SELECT revision FROM watchword.tenancy")
    assert after - before == (100 if served else 0)


async def test_a_call_that_waits_for_long_is_given_up_and_leaves_its_connection(two: Two) -> None:
    async def work(db: Connection) -> None:
        await db.execute("UPDATE watchword.tenancy SET revision = revision + 1")

    first, second = two
    async with first.pool.acquire() as db, db.transaction():
        await work(db)
        with pytest.raises(Unavailable):
            await in_transaction(second.pool, work, patience=0.1)
    await in_transaction(second.pool, work)


async def test_a_commit_is_durable_whatever_the_role_says(two: Two) -> None:
    pool = two[0].pool

    async def setting(db: Connection) -> object:
        return await db.fetchval("SHOW synchronous_commit")

    async with pool.acquire() as db:
        role = await db.fetchval("SELECT quote_ident(current_user)")
        database = await db.fetchval("SELECT quote_ident(current_database())")
        for value, expected in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
            change = f"ALTER ROLE {role} IN DATABASE {database} SET synchronous_commit"
            await db.execute(f"{change} = {value}")
            await pool.expire_connections()
            assert await in_transaction(pool, setting) == expected


async def test_a_primary_that_became_read_only_is_left(two: Two) -> None:
    pool = two[0].pool
    async with pool.acquire() as db:
        database = await db.fetchval("SELECT quote_ident(current_database())")
        change = f"ALTER DATABASE {database} SET default_transaction_read_only"
        await db.execute(f"{change} = on")
        await pool.expire_connections()
        with pytest.raises(Unavailable):
            await revoke(two[0])
        await db.execute(f"{change} = off")
    # Connections of before are not used again.
    await revoke(two[0])
