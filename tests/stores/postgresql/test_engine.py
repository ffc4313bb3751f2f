"""The engine: batches, what it tries again, and what it answers when PostgreSQL cannot serve."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.stores.postgresql.conftest import opened

from watchword.core.errors import DomainError, NotFound, Reason, Unavailable
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import CASE, WRONG, outcomes
from watchword.verification.model import RejectionReason, State
from watchword.verification.store import CheckOutcome
from watchword_adapters.stores.postgresql import PostgresStores
from watchword_adapters.stores.postgresql.columns import request_locks
from watchword_adapters.stores.postgresql.engine import StoreFault

# A sequence counts on where a transaction is undone.
FAILING = """
CREATE SEQUENCE public.tries;
CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.tries') <= TG_ARGV[1]::integer AND new.verification_id LIKE TG_ARGV[2] THEN
        RAISE EXCEPTION 'as the test wants it' USING ERRCODE = TG_ARGV[0];
    END IF;
    RETURN new;
END
$$;
CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON watchword.verification
    FOR EACH ROW EXECUTE FUNCTION public.fail('{state}', {times}, '{ids}');
"""


WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
UNDONE = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"


class Meter:
    """Remembers how many commands shared each commit."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def committed(self, seconds: float, commands: int) -> None:
        assert seconds > 0
        self.batches.append(commands)

    def store_queue(self, waiting: int) -> None:
        assert waiting >= 0


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
async def stores(dsn: str, meter: Meter) -> AsyncIterator[PostgresStores]:
    async with opened(dsn, meter=meter) as stores:
        yield stores


@pytest.fixture
async def db(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def fail(
    db: "asyncpg.Connection[asyncpg.Record]", state: str, times: int, ids: str = "%"
) -> None:
    await db.execute(FAILING.format(state=state, times=times, ids=ids))


async def state_of(stores: PostgresStores, number: int) -> State:
    got = await stores.verification.get(
        cases.verification_id(number), cases.ACCOUNT, cases.APPLICATION
    )
    return got.verification.state


async def test_sixty_four_checks_of_one_verification_are_one_batch(
    stores: PostgresStores, meter: Meter
) -> None:
    await stores.verification.start(cases.start(1))
    meter.batches.clear()
    made = await outcomes(stores.verification.check(cases.check(1, WRONG)) for _ in range(64))
    assert meter.batches == [64]
    checks = [o for o in made if isinstance(o, CheckOutcome)]
    assert [o.checks_remaining for o in checks[:5]] == [4, 3, 2, 1, 0]
    assert Counter(o.rejection for o in checks[5:]) == {RejectionReason.EXHAUSTED: 59}
    assert sum(o.compared for o in checks) == 5


async def test_what_comes_meanwhile_shares_the_next_batch(
    stores: PostgresStores, meter: Meter
) -> None:
    first = asyncio.create_task(stores.verification.start(cases.start(0)))
    for _ in range(3):
        await asyncio.sleep(0)
    rest = [stores.verification.start(cases.start(n, CASE._replace(phone=n))) for n in range(1, 9)]
    await asyncio.gather(first, *rest)
    assert meter.batches == [1, 8]


async def test_a_refusal_concerns_its_command_alone(stores: PostgresStores, meter: Meter) -> None:
    made = await outcomes(
        [
            stores.verification.start(cases.start(1)),
            stores.verification.start(cases.start(2)),
            stores.verification.start(cases.start(3, CASE._replace(phone=3))),
        ]
    )
    assert meter.batches == [3]
    assert [o.reason for o in made if isinstance(o, DomainError)] == [Reason.SEND_COOLDOWN]
    assert [await state_of(stores, n) for n in (1, 3)] == [State.PENDING] * 2


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_c154_what_was_undone_for_another_is_done_again(
    stores: PostgresStores, db: "asyncpg.Connection[asyncpg.Record]", state: str
) -> None:
    await fail(db, state, 3)
    assert (await stores.verification.start(cases.start(1))).created
    assert await db.fetchval("SELECT count(*) FROM watchword.send") == 1
    assert await db.fetchval("SELECT count(*) FROM watchword.audit_leaf") == 1
    assert await db.fetchval("SELECT day_used FROM watchword.account_budget") == 1


async def test_c154_what_is_undone_too_often_is_given_up(
    stores: PostgresStores, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await fail(db, "40001", 4)
    with pytest.raises(Unavailable) as refusal:
        await stores.verification.start(cases.start(1))
    assert refusal.value.retry_after
    assert await db.fetchval("SELECT count(*) FROM watchword.send") == 0
    assert (await stores.verification.start(cases.start(1))).created


async def test_a_command_at_fault_spoils_no_other(
    stores: PostgresStores, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await fail(db, "23514", 1_000, cases.verification_id(3))
    calls = [stores.verification.start(cases.start(n, CASE._replace(phone=n))) for n in range(6)]
    made = await asyncio.gather(*calls, return_exceptions=True)
    (fault,) = [o for o in made if isinstance(o, BaseException)]
    assert made.index(fault) == 3
    assert isinstance(fault, StoreFault)
    assert str(fault) == "23514"
    assert await db.fetchval("SELECT count(*) FROM watchword.verification") == 5


async def test_what_came_to_be_between_look_up_and_lock_is_locked_yet(
    stores: PostgresStores, dsn: str, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A check that waits for its locks when its verification is made begins again."""
    request = cases.request(1, "check")
    (stripe,) = request_locks(request)
    async with opened(dsn) as other, db.transaction():
        await db.execute("SELECT FROM watchword.stripe WHERE stripe = $1 FOR UPDATE", stripe)
        check = asyncio.create_task(stores.verification.check(cases.check(1, request=request)))
        async with asyncio.timeout(5):
            while not await db.fetchval(WAITING):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        await other.verification.start(cases.start(1))
        undone = await db.fetchval(UNDONE)
    assert (await check).approved
    # An idle session tells its counts after ten seconds at the latest.
    async with asyncio.timeout(30):
        while await db.fetchval(UNDONE) == undone:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def test_too_many_commands_are_refused_at_once(stores: PostgresStores) -> None:
    stores.engine._capacity = 10
    await stores.verification.start(cases.start(1))
    made = await outcomes(stores.verification.check(cases.check(1, WRONG)) for _ in range(30))
    refused = [o for o in made if isinstance(o, Unavailable)]
    assert Counter(o.reason for o in refused) == {Reason.OVERLOADED: 20}
    assert stores.engine.waiting == 0


async def test_lost_connections_are_made_anew(
    stores: PostgresStores, db: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await stores.verification.start(cases.start(1))
    await db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    made = await outcomes(stores.verification.check(cases.check(1, WRONG)) for _ in range(2))
    assert all(isinstance(o, CheckOutcome | Unavailable) for o in made)
    await asyncio.sleep(0.1)
    assert isinstance(await stores.verification.check(cases.check(1, WRONG)), CheckOutcome)
    await stores.check()


class Confused:
    """A pool whose driver lost count of what a dying server said."""

    @asynccontextmanager
    async def acquire(self, **_: float) -> AsyncIterator["Confused"]:
        yield self

    async def fetch(self, statement: str, *values: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12")

    def terminate(self) -> None:
        """Nothing is open."""


async def test_a_driver_that_is_confused_by_a_dying_server_is_a_store_that_is_away(
    stores: PostgresStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores.engine, "_pool", Confused())
    with pytest.raises(Unavailable) as refusal:
        await stores.verification.start(cases.start(1))
    assert refusal.value.reason is Reason.DEPENDENCY_UNAVAILABLE
    with pytest.raises(Unavailable):
        await stores.check()


async def test_a_caller_that_goes_away_stops_nothing(stores: PostgresStores) -> None:
    task = asyncio.create_task(stores.verification.start(cases.start(1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        while True:
            try:
                assert await state_of(stores, 1) is State.PENDING
                break
            except NotFound:
                await asyncio.sleep(0.01)


async def test_what_waits_is_finished_before_the_end(dsn: str) -> None:
    async with opened(dsn) as stores:
        calls = [
            asyncio.create_task(stores.verification.start(cases.start(n, CASE._replace(phone=n))))
            for n in range(300)
        ]
        await asyncio.sleep(0)
    assert all(outcome.created for outcome in await asyncio.gather(*calls))
    with pytest.raises(Unavailable):
        await stores.verification.start(cases.start(999))


async def test_it_works_without_prepared_statements(dsn: str) -> None:
    async with opened(dsn, prepared_statements=False) as stores:
        await stores.verification.start(cases.start(1))
        assert (await stores.verification.check(cases.check(1))).approved


async def test_the_log_says_what_kept_it_from_serving(
    stores: PostgresStores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In a field that the log lets through: it leaves out the arguments of a text."""
    monkeypatch.setattr(stores.engine, "_pool", Confused())
    with pytest.raises(Unavailable):
        await stores.verification.start(cases.start(1))
    told = [record.__dict__.get("error") for record in caplog.records if not record.args]
    assert "InternalClientError" in told
