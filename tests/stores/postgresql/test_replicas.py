"""What holds where two replicas work on one database at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from tests.stores.postgresql.conftest import opened

from watchword.core.errors import DomainError, Reason
from watchword.core.ports import HOUR, SECOND, ChangeBus
from watchword.delivery.outbox import Result, ResultKind
from watchword.fraud.budget import AccountCaps
from watchword.server.bus import LocalChangeBus
from watchword.testing import verification_cases as cases
from watchword.testing.clock import FakeClock
from watchword.testing.verification_cases import CASE, LEASE, LIMITS, RIGHT, WRONG, outcomes
from watchword.verification.model import RejectionReason, State
from watchword.verification.store import CheckOutcome, Snapshot, StartOutcome
from watchword_adapters.stores.postgresql import PostgresStores


class Two(NamedTuple):
    first: PostgresStores
    second: PostgresStores
    clock: FakeClock
    buses: tuple[ChangeBus, ChangeBus]

    def either(self, number: int) -> PostgresStores:
        return (self.first, self.second)[number % 2]

    async def get(self, number: int) -> Snapshot:
        return await self.first.verification.get(
            cases.verification_id(number), cases.ACCOUNT, cases.APPLICATION
        )


@pytest.fixture
async def two(dsn: str) -> AsyncIterator[Two]:
    clock, buses = FakeClock(), (LocalChangeBus(), LocalChangeBus())
    async with (
        opened(dsn, clock=clock, bus=buses[0]) as first,
        opened(dsn, clock=clock, bus=buses[1]) as second,
    ):
        yield Two(first, second, clock, buses)


async def test_c025_right_codes_at_both_give_one_approval(two: Two) -> None:
    await two.first.verification.start(cases.start(1))
    made = await outcomes(two.either(n).verification.check(cases.check(1)) for n in range(64))
    checks = [o for o in made if isinstance(o, CheckOutcome)]
    assert Counter(o.rejection for o in checks) == {None: 1, RejectionReason.ALREADY_USED: 63}


async def test_c026_wrong_codes_at_both_are_compared_five_times(two: Two) -> None:
    await two.first.verification.start(cases.start(1))
    made = await outcomes(
        two.either(n).verification.check(cases.check(1, WRONG)) for n in range(64)
    )
    assert sum(o.compared for o in made if isinstance(o, CheckOutcome)) == 5
    row = (await two.get(1)).verification
    assert (row.state, row.checks_used) == (State.EXHAUSTED, 5)


@pytest.mark.parametrize("place", [0, 31, 62, 63])
async def test_c027_at_the_boundary_the_first_one_decides(two: Two, place: int) -> None:
    await two.first.verification.start(cases.start(1))
    for _ in range(4):
        await two.second.verification.check(cases.check(1, WRONG))
    codes = [WRONG] * 63
    codes.insert(place, RIGHT)
    made = await outcomes(
        two.either(n).verification.check(cases.check(1, code)) for n, code in enumerate(codes)
    )
    checks = [o for o in made if isinstance(o, CheckOutcome)]
    assert sum(o.compared for o in checks) == 1
    row = (await two.get(1)).verification
    approvals = sum(o.approved for o in checks)
    assert (row.state, approvals) in ((State.APPROVED, 1), (State.EXHAUSTED, 0))


async def test_c033_a_phones_budget_is_one_for_both(two: Two) -> None:
    compared = 0
    for number in range(1, 25):
        await outcomes([two.either(number).verification.start(cases.start(number))])
        made = await outcomes(
            two.either(n).verification.check(cases.check(number, WRONG)) for n in range(6)
        )
        compared += sum(o.compared for o in made if isinstance(o, CheckOutcome))
        two.clock.advance(HOUR // 4)
    # Strangers have seven of the ten guesses of a day, in the six hours that this takes.
    assert compared == 7


async def test_c033_a_phones_sends_are_counted_once_for_both(two: Two) -> None:
    sent = 0
    for number in range(40):
        case = CASE._replace(binding=number + 1)
        made = await outcomes(
            store.verification.start(cases.start(number * 2 + n, case))
            for n, store in enumerate((two.first, two.second))
        )
        sent += sum(isinstance(o, StartOutcome) for o in made)
        two.clock.advance(80 * SECOND)
    assert sent == 5


async def test_an_accounts_cap_is_never_exceeded_by_both(two: Two) -> None:
    caps = AccountCaps(sends_per_hour=30, sends_per_day=30)
    made = await outcomes(
        two.either(n).verification.start(cases.start(n, CASE._replace(phone=n), caps=caps))
        for n in range(200)
    )
    refused = Counter(o.reason for o in made if isinstance(o, DomainError))
    assert refused == {Reason.ACCOUNT_BUDGET_EXHAUSTED: 170}
    assert (await two.first.outbox.depth()).waiting == 30


async def test_one_request_id_has_one_effect_at_both(two: Two) -> None:
    made = await outcomes(
        two.either(n).verification.start(
            cases.start(n, CASE._replace(phone=n), request=cases.request(1, "start"))
        )
        for n in range(20)
    )
    started = [o for o in made if isinstance(o, StartOutcome)]
    assert Counter(o.created for o in started) == {True: 1, False: 19}
    assert len({o.snapshot.verification for o in started}) == 1


async def test_both_share_the_queue(two: Two) -> None:
    count = 60
    await outcomes(
        two.either(n).verification.start(cases.start(n, CASE._replace(phone=n)))
        for n in range(count)
    )
    taken: list[str] = []

    async def work(stores: PostgresStores) -> None:
        while claims := (await stores.outbox.claim(7, LEASE, LIMITS)).claims:
            taken.extend(claim.send.send_id for claim in claims)
            results = [Result(c.send.send_id, 1, ResultKind.SUBMITTED) for c in claims]
            await stores.outbox.settle(results, LIMITS)

    await asyncio.gather(work(two.first), work(two.second))
    await work(two.first)
    assert sorted(taken) == [cases.send_id(n) for n in range(count)]


async def test_commands_that_cross_neither_stop_nor_lose_anything(two: Two) -> None:
    """Every kind on the same few phones at once: no deadlock, and each is answered."""
    cases_ = [CASE._replace(phone=n % 4, binding=n % 3, purpose="pay") for n in range(12)]
    for number, case in enumerate(cases_):
        await outcomes([two.first.verification.start(cases.start(number, case))])
        two.clock.advance(61 * SECOND)

    async def claim(stores: PostgresStores) -> None:
        claims = (await stores.outbox.claim(5, LEASE, LIMITS)).claims
        kinds = (ResultKind.REJECTED, ResultKind.AMBIGUOUS, ResultKind.THROTTLED)
        results = [
            Result(c.send.send_id, c.send.attempts, kinds[n % 3]) for n, c in enumerate(claims)
        ]
        await stores.outbox.settle(results[::-1], LIMITS)

    async def all_kinds(number: int) -> None:
        stores, case = two.either(number), cases_[number % 12]
        store = stores.verification
        await outcomes(
            [
                store.check(cases.check(number % 12, WRONG, case)),
                store.start(cases.start(100 + number, case)),
                store.resend(cases.resend((number * 5) % 12, cases_[(number * 5) % 12])),
                store.cancel(cases.cancel((number * 7) % 12, cases_[(number * 7) % 12])),
                store.rebind(cases.rebind(case)),
                store.sweep(HOUR, 10),
                claim(stores),
            ]
        )

    async with asyncio.timeout(60):
        await asyncio.gather(*(all_kinds(number) for number in range(60)))
    assert await deadlocks(two.first) == 0


async def deadlocks(stores: PostgresStores) -> int:
    (row,) = await stores.engine.fetch(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(row["deadlocks"])


async def test_a_watcher_hears_what_the_other_did(two: Two) -> None:
    await two.first.verification.start(cases.start(1))
    async with two.buses[1].subscribe(cases.verification_id(1)) as changes:
        await asyncio.sleep(0.6)
        await two.first.verification.check(cases.check(1))
        async with asyncio.timeout(1):
            await anext(changes)


async def test_a_watcher_hears_what_became_of_the_message(two: Two) -> None:
    outcome = await two.first.verification.start(cases.leased(cases.start(1)))
    assert outcome.claim is not None
    async with two.buses[1].subscribe(cases.verification_id(1)) as changes:
        async with asyncio.timeout(1):
            await anext(changes)
        result = Result(outcome.claim.send.send_id, 1, ResultKind.SUBMITTED)
        await two.first.outbox.settle([result], LIMITS)
        async with asyncio.timeout(1):
            await anext(changes)
