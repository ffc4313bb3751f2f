"""The same commands, drawn at random, come out the same in memory and in the databases."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.account import replica
from tests.support import postgres

from watchword.account.model import AccountPatch, ApplicationPatch, Lifetime
from watchword.account.store import AccountStore, ListQuery
from watchword.audit.leaf import LeafMaker
from watchword.core.errors import DomainError
from watchword.core.ports import DAY, HOUR
from watchword.tenancy.model import Scope
from watchword.testing.account_cases import (
    OPERATOR,
    PA,
    PB,
    A,
    B,
    admin_of,
    application_of,
    credential_of,
    id_of,
    key_of,
    number_of,
)
from watchword.testing.carriers import FakeBus
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.memory_account import MemoryAccountStore
from watchword_adapters.stores.sqlite.stores import SqliteStores

Command = Callable[[AccountStore], Awaitable[object]]

ACCOUNTS = st.sampled_from([A.account_id, B.account_id])
CALLERS = st.sampled_from([OPERATOR, OPERATOR, admin_of(A.account_id), admin_of(B.account_id)])
LETTERS = st.sampled_from("123")
# Each command has a method of its own, so that a repetition asks for the same kind of row.
REQUESTS = st.none() | st.just(key_of("r")) | st.just(key_of("r", body=b"else"))
ID = "spiffe://mesh/ns/a/sa/web"


@st.composite
def commands(draw: st.DrawFn) -> Command:
    caller, account_id, request = draw(CALLERS), draw(ACCOUNTS), draw(REQUESTS)
    kind = draw(st.integers(0, 11))
    request = request and request._replace(method=str(kind))
    letter, place = draw(LETTERS), id_of("AP", draw(LETTERS))
    application = application_of(account_id, letter)
    account = AccountPatch(regions=draw(st.none() | st.just(("DE",))), activate=draw(st.booleans()))
    changed = ApplicationPatch(
        display_name=draw(st.none() | st.sampled_from(["p", "q"])),
        regions=draw(st.none() | st.just(frozenset({"US"}))),
        spiffe_ids=draw(st.none() | st.sampled_from([(), (ID,)])),
        spiffe_scopes=draw(st.none() | st.just(frozenset({Scope.HOLD}))),
    )
    credential = credential_of(account_id, draw(st.sampled_from(["", place])), letter)
    lifetime = draw(st.sampled_from([Lifetime(), Lifetime(ttl=HOUR), Lifetime(expire_time=1)]))
    number = number_of(place, draw(st.integers(0, 11)))
    choices: list[Command] = [
        lambda s: s.update_account(account_id, account, caller, request),
        lambda s: s.suspend_account(account_id, "why", caller, request),
        lambda s: _once(
            s.application(application.application_id),
            lambda: s.create_application(application, caller, request),
        ),
        lambda s: s.update_application(place, changed, caller, request),
        lambda s: _once(
            s.credential(credential.credential_id),
            lambda: s.create_credential(credential, lifetime, caller, request),
        ),
        lambda s: s.revoke_credential(credential.credential_id, caller, request),
        lambda s: s.create_test_number(number, caller, request),
        lambda s: s.delete_test_number(place, number.phone_index, caller, request),
        lambda s: s.application_by_spiffe(ID),
        lambda s: s.list_applications(ListQuery(account_id, "", "", 10)),
        lambda s: s.list_credentials(ListQuery(account_id, place, "", 1)),
        lambda s: s.list_test_numbers(ListQuery(account_id, place, "", 3)),
    ]
    return choices[kind]


async def _once(found: Awaitable[object], make: Callable[[], Awaitable[object]]) -> object:
    """Make what is not there yet: ids are random, and no two drafts ever share one."""
    return await make() if await found is None else None


async def outcome(store: AccountStore, command: Command) -> object:
    try:
        return await command(store)
    except DomainError as error:
        return type(error), error.reason, error.field


STEPS = st.lists(
    st.tuples(commands(), st.sampled_from([0, 1, HOUR, DAY])), min_size=10, max_size=40
)
Open = Callable[[FakeClock], AbstractAsyncContextManager[AccountStore]]


async def compare(open_store: Open, steps: list[tuple[Command, int]]) -> None:
    clock = FakeClock()
    memory = MemoryAccountStore(clock, FakeBus(), LeafMaker(MemoryKeyProvider()))
    async with open_store(clock) as other:
        for store in (memory, other):
            for account, application in ((A, PA), (B, PB)):
                await store.create_account(account, OPERATOR, None)
                await store.create_application(application, OPERATOR, None)
        for command, wait in steps:
            expected = await outcome(memory, command)
            assert await outcome(other, command) == expected
            clock.advance(wait)


@asynccontextmanager
async def sqlite(clock: FakeClock) -> AsyncIterator[AccountStore]:
    with tempfile.TemporaryDirectory() as directory:
        stores = await SqliteStores.open(
            Path(directory) / "watchword.db",
            world="dev",
            clock=clock,
            bus=FakeBus(),
            provider=MemoryKeyProvider(),
            create=True,
            entropy=SeededEntropy(),
        )
        try:
            yield stores.account
        finally:
            await stores.close()


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_memory_and_sqlite_agree(steps: list[tuple[Command, int]]) -> None:
    asyncio.run(compare(sqlite, steps))


@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_memory_and_postgresql_agree(
    postgres_server: postgres.Server, steps: list[tuple[Command, int]]
) -> None:
    @asynccontextmanager
    async def postgresql(clock: FakeClock) -> AsyncIterator[AccountStore]:
        async with (
            postgres.fresh_database(postgres_server, replica.migrate) as dsn,
            replica.opened_pool(dsn, clock) as pool,
        ):
            yield replica.store_over(pool, FakeBus())

    asyncio.run(compare(postgresql, steps))
