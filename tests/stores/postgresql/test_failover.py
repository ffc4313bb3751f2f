"""A primary is killed and its replica promoted: what was acknowledged, and what is voided."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import count

import asyncpg
import pytest
from tests.stores.postgresql.conftest import migrate, opened
from tests.stores.postgresql.pair import DATABASE, Pair, pair_of_servers, until

from watchword.core.errors import Unavailable
from watchword.server.bus import LocalChangeBus
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import CASE
from watchword.verification.model import RejectionReason, State
from watchword_adapters.stores.postgresql import PostgresStores, StoreRefused

# Leaves and versions of each verification: as many, where there is one for each change.
LEAVES = """
SELECT count(*) FROM watchword.verification AS v WHERE v.version <> (
    SELECT count(*) FROM watchword.audit_leaf AS l WHERE l.object_id = v.verification_id)
"""


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with pair_of_servers(migrate) as made:
        yield made


class Load:
    """Starts and checks one verification after another, and remembers what was acknowledged."""

    def __init__(self, stores: PostgresStores) -> None:
        self._stores = stores
        self._numbers = count(1)
        self.started: set[int] = set()
        self.approved: Counter[int] = Counter()
        self.refused = 0

    async def run(self) -> None:
        while True:
            number = next(self._numbers)
            case = CASE._replace(phone=number)
            try:
                await self._stores.verification.start(cases.start(number, case))
                self.started.add(number)
                if number % 3:
                    made = await self._stores.verification.check(cases.check(number, case=case))
                    self.approved[number] += made.approved
            except Unavailable:
                self.refused += 1
            await asyncio.sleep(0.01)

    async def grows_by(self, more: int) -> None:
        goal = self.approved.total() + more

        async def reached() -> bool:
            return self.approved.total() >= goal

        await until(reached)


async def state_of(stores: PostgresStores, number: int) -> State:
    got = await stores.verification.get(
        cases.verification_id(number), cases.ACCOUNT, cases.APPLICATION
    )
    return got.verification.state


async def test_c151_a_synchronous_replica_has_all_that_was_acknowledged(pair: Pair) -> None:
    await pair.synchronous()
    async with opened(pair.dsn) as stores:
        load = Load(stores)
        workers = [asyncio.create_task(load.run()) for _ in range(4)]
        await load.grows_by(20)
        await pair.fail_over()
        # The same process finds the new primary by itself.
        await load.grows_by(20)
        for worker in workers:
            worker.cancel()
        done = await asyncio.gather(*workers, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in done)
        assert load.refused
        assert set(load.approved.values()) <= {0, 1}
        for number in load.started:
            state = await state_of(stores, number)
            if load.approved[number]:
                assert state is State.APPROVED
                case = CASE._replace(phone=number)
                again = await stores.verification.check(cases.check(number, case=case))
                assert again.rejection is RejectionReason.ALREADY_USED
    db = await asyncpg.connect(pair.replica.dsn(DATABASE))
    assert await db.fetchval(LEAVES) == 0
    await db.close()


async def test_c151_what_an_asynchronous_replica_missed_approves_nobody_twice(pair: Pair) -> None:
    bus = LocalChangeBus()
    async with opened(pair.dsn, bus=bus) as stores:
        await stores.verification.start(cases.start(1))
        await pair.cut()
        # Acknowledged, and lost with the primary.
        assert (await stores.verification.check(cases.check(1))).approved
        async with bus.subscribe(cases.verification_id(1)) as told:
            await pair.fail_over()
            # Nobody calls: the process notices by itself, and tells who watches.
            async with asyncio.timeout(30):
                await anext(told)
                while await served_state(stores, 1) is not State.CANCELED:
                    await anext(told)
        again = await stores.verification.check(cases.check(1))
        assert again.rejection is RejectionReason.CANCELED
        await stores.check()
        later = CASE._replace(phone=2)
        await stores.verification.start(cases.start(2, later))
        assert (await stores.verification.check(cases.check(2, case=later))).approved
    db = await asyncpg.connect(pair.replica.dsn(DATABASE))
    assert await db.fetchval(LEAVES) == 0
    stamp = await db.fetchrow("SELECT timeline, watchword.timeline() AS now FROM watchword.stamp")
    assert stamp is not None
    assert stamp["timeline"] == stamp["now"] == "00000002"
    await db.close()


async def served_state(stores: PostgresStores, number: int) -> State | None:
    try:
        return await state_of(stores, number)
    except Unavailable:
        return None


async def test_c153_a_standby_is_refused(pair: Pair) -> None:
    with pytest.raises(StoreRefused, match="standby"):
        async with opened(pair.replica.dsn(DATABASE)):
            pass
    # Where both are named the primary is found behind the standby.
    async with opened(Pair(pair.replica, pair.primary).dsn) as stores:
        await stores.verification.start(cases.start(1))
    # Nor does it serve where a pooler leads us there behind our back.
    standby = await asyncpg.connect(pair.replica.dsn(DATABASE))
    for asked in ("require_timeline()", "require_history()", "lock('{}')"):
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await standby.execute(f"SELECT watchword.{asked}")
    await standby.close()
