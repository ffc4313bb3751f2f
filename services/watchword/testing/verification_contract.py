"""What every verification store must do: subclass, and give it a `harness` fixture."""

from collections import Counter

import pytest

from watchword.core.errors import DomainError, FailedPrecondition, NotFound, Reason
from watchword.core.ports import DAY, HOUR, MINUTE, SECOND
from watchword.delivery.outbox import OUTBOX_TOPIC, SendState
from watchword.tenancy.model import Resend
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import (
    CASE,
    RIGHT,
    WRONG,
    Harness,
    get,
    outcomes,
    usage,
)
from watchword.verification.model import RejectionReason, State
from watchword.verification.store import CheckOutcome


class VerificationStoreContract:
    """The suite behind the MUSTs of `VerificationStore`; needs pytest-asyncio in auto mode.

    The harness begins empty; its clock stands still unless a test moves it.
    """

    @pytest.fixture
    def harness(self) -> Harness:
        """Return an empty store and its clock."""
        raise NotImplementedError("override the harness fixture")

    async def test_a_start_is_read_back_whole(self, harness: Harness) -> None:
        """What Start returns is what Get returns, and what the draft said."""
        store, clock = harness.verification, harness.clock
        started = await store.start(cases.start(1))
        row = started.snapshot.verification
        now = clock.now()
        assert row == cases.draft(1)._replace(
            send_count=1,
            create_time=now,
            update_time=now,
            expire_time=now + 10 * MINUTE,
            next_send_time=now + 30 * SECOND,
        )
        assert (started.created, started.replayed) == (True, False)
        assert repr(await get(harness, 1)) == repr(started.snapshot)
        assert [send.state for send in started.snapshot.sends] == [SendState.QUEUED]

    async def test_what_changed_is_published(self, harness: Harness) -> None:
        """The verification's id and the outbox are told of, after the start and the check."""
        await harness.verification.start(cases.start(1))
        assert set(harness.published) == {cases.verification_id(1), OUTBOX_TOPIC}
        harness.published.clear()
        await harness.verification.check(cases.check(1))
        assert harness.published == [cases.verification_id(1)]

    async def test_a_refused_start_changes_nothing(self, harness: Harness) -> None:
        """A second start within the cool-down is refused, and nobody is told of anything."""
        store = harness.verification
        before = (await store.start(cases.start(1))).snapshot
        harness.published.clear()
        with pytest.raises(DomainError) as refusal:
            await store.start(cases.start(2))
        assert (refusal.value.reason, refusal.value.retry_after) == (
            Reason.SEND_COOLDOWN,
            30 * SECOND,
        )
        assert await get(harness, 1) == before
        assert harness.published == []

    async def test_c019_a_check_before_any_start_finds_nothing(self, harness: Harness) -> None:
        """An unknown id is NOT_FOUND."""
        with pytest.raises(NotFound):
            await harness.verification.check(cases.check(1))

    async def test_c044_anothers_verification_is_unknown(self, harness: Harness) -> None:
        """Neither account nor application reaches what is not its own; nothing changes."""
        store = harness.verification
        before = (await store.start(cases.start(1))).snapshot
        for other in (
            CASE._replace(account_id=cases.OTHER_ACCOUNT),
            CASE._replace(application_id=cases.OTHER_APPLICATION),
        ):
            for call in (
                store.check(cases.check(1, RIGHT, other)),
                store.cancel(cases.cancel(1, other)),
                store.resend(cases.resend(1, other)),
                store.get(cases.verification_id(1), other.account_id, other.application_id),
            ):
                with pytest.raises(NotFound):
                    await call
            assert await store.list(cases.page(other)) == []
        assert await get(harness, 1) == before

    async def test_c001_five_wrong_codes_end_it(self, harness: Harness) -> None:
        """The right code after five wrong ones is rejected: EXHAUSTED, never approved."""
        store = harness.verification
        await store.start(cases.start(1))
        left = [(await store.check(cases.check(1, WRONG))).checks_remaining for _ in range(5)]
        assert left == [4, 3, 2, 1, 0]
        last = await store.check(cases.check(1))
        assert (last.approved, last.rejection) == (False, RejectionReason.EXHAUSTED)
        assert (await get(harness, 1)).verification.state is State.EXHAUSTED

    async def test_c003_the_budget_of_a_phone_outlives_its_verifications(
        self, harness: Harness
    ) -> None:
        """New verifications never refill it: at most ten comparisons in any 24 hours."""
        store, clock = harness.verification, harness.clock
        compared: list[int] = []
        for number in range(1, 49):
            await outcomes([store.start(cases.start(number))])
            made = await outcomes(store.check(cases.check(n, WRONG)) for n in (number, 1))
            compared += [clock.now() for o in made if isinstance(o, CheckOutcome) and o.compared]
            clock.advance(HOUR)
        assert len(compared) > 10
        for end in compared:
            assert sum(end - DAY < time <= end for time in compared) <= 10

    async def test_c007_expiry_is_sharp_and_sticky(self, harness: Harness) -> None:
        """At its expire time a verification is over, and stays so when the clock steps back."""
        store, clock = harness.verification, harness.clock
        await store.start(cases.start(1))
        clock.advance(10 * MINUTE)
        outcome = await store.check(cases.check(1))
        assert (outcome.approved, outcome.rejection) == (False, RejectionReason.EXPIRED)
        clock.advance(-5 * MINUTE)
        again = await store.check(cases.check(1))
        assert (again.approved, again.rejection) == (False, RejectionReason.EXPIRED)

    async def test_c007_the_last_millisecond_counts(self, harness: Harness) -> None:
        """A right code just before the expire time is approved."""
        await harness.verification.start(cases.start(1))
        harness.clock.advance(10 * MINUTE - 1)
        assert (await harness.verification.check(cases.check(1))).approved

    async def test_get_writes_the_expiry_that_it_sees(self, harness: Harness) -> None:
        """Get and List of what is over say EXPIRED, tell the bus, and clear what is personal."""
        store, clock = harness.verification, harness.clock
        for number, case in ((1, CASE), (2, CASE._replace(phone=1))):
            await store.start(cases.start(number, case))
        clock.advance(10 * MINUTE)
        harness.published.clear()
        row = (await get(harness, 1)).verification
        assert (row.state, row.phone_sealed, row.limits_index) == (State.EXPIRED, b"", b"")
        listed = await store.list(cases.page(state=State.EXPIRED))
        assert [s.verification.state for s in listed] == [State.EXPIRED] * 2
        assert await store.list(cases.page(state=State.PENDING)) == []
        assert Counter(harness.published) == Counter(map(cases.verification_id, (1, 2)))

    async def test_c020_every_part_of_the_tuple_must_fit(self, harness: Harness) -> None:
        """A right code for another purpose, action or binding is charged and rejected."""
        store = harness.verification
        case = CASE._replace(binding=1)
        await store.start(cases.start(1, case))
        for wrong in (
            case._replace(purpose="pay"),
            case._replace(action=2),
            case._replace(binding=2),
        ):
            outcome = await store.check(cases.check(1, RIGHT, wrong))
            assert (outcome.approved, outcome.compared) == (False, 1)
            assert outcome.rejection is RejectionReason.BINDING_MISMATCH
        right = await store.check(cases.check(1, RIGHT, case))
        assert right.approved
        assert right.snapshot.verification.checks_used == 4

    async def test_another_action_takes_the_place(self, harness: Harness) -> None:
        """It cancels the pending one and begins anew; another binding never sees it."""
        store, clock = harness.verification, harness.clock
        await store.start(cases.start(1))
        clock.advance(30 * SECOND)
        second = await store.start(cases.start(2, CASE._replace(action=2)))
        assert second.created
        assert (await get(harness, 1)).verification.state is State.CANCELED
        clock.advance(MINUTE)
        third = await store.start(cases.start(3, CASE._replace(binding=3)))
        assert third.created
        assert (await get(harness, 2)).verification.state is State.PENDING

    @pytest.mark.parametrize(("first", "second"), [(7, 0), (0, 7), (7, 7)])
    async def test_a_callers_own_code_is_always_a_new_deed(
        self, harness: Harness, first: int, second: int
    ) -> None:
        """A start with one, or after one, cancels the pending verification and begins anew."""
        store = harness.verification
        await store.start(cases.start(1, CASE._replace(custom=first)))
        harness.clock.advance(30 * SECOND)
        assert (await store.start(cases.start(2, CASE._replace(custom=second)))).created
        assert (await get(harness, 1)).verification.state is State.CANCELED

    async def test_a_start_of_the_same_is_a_resend(self, harness: Harness) -> None:
        """The same id comes back with a second send and the old expiry."""
        store, clock = harness.verification, harness.clock
        first = (await store.start(cases.start(1))).snapshot.verification
        clock.advance(30 * SECOND)
        again = await store.start(cases.start(2))
        row = again.snapshot.verification
        assert (again.created, row.verification_id) == (False, cases.verification_id(1))
        assert (row.send_count, row.expire_time) == (2, first.expire_time)
        sends = again.snapshot.sends
        assert [send.send_id for send in sends] == [cases.send_id(1), cases.send_id(1, 2)]

    async def test_a_resend_with_a_new_code_supersedes(self, harness: Harness) -> None:
        """NEW moves the generation on; the old code is SUPERSEDED, the new one right."""
        store, clock = harness.verification, harness.clock
        case = CASE._replace(resend=Resend.NEW)
        await store.start(cases.start(1, case))
        clock.advance(30 * SECOND)
        resent = await store.resend(cases.resend(1, case))
        assert [send.generation for send in resent.snapshot.sends] == [0, 1]
        old = await store.check(cases.check(1, 0b01, case))
        assert old.rejection is RejectionReason.SUPERSEDED
        assert (await store.check(cases.check(1, 0b10, case))).approved

    async def test_the_last_guess_is_held_against_one_code(self, harness: Harness) -> None:
        """LAST_TWO charges two guesses; where one is left, only the newest code counts."""
        store, clock = harness.verification, harness.clock
        case = CASE._replace(resend=Resend.LAST_TWO)
        await store.start(cases.start(1, case))
        clock.advance(30 * SECOND)
        await store.resend(cases.resend(1, case))
        wrong = [await store.check(cases.check(1, WRONG, case)) for _ in range(2)]
        assert [(o.compared, o.checks_remaining) for o in wrong] == [(2, 3), (2, 1)]
        last = await store.check(cases.check(1, 0b01, case))
        assert (last.approved, last.rejection) == (False, RejectionReason.SUPERSEDED)
        assert (last.compared, last.checks_remaining) == (1, 0)

    async def test_a_resend_of_what_has_ended_is_refused(self, harness: Harness) -> None:
        """VERIFICATION_CLOSED; an expiry noticed on the way is kept."""
        store, clock = harness.verification, harness.clock
        await store.start(cases.start(1))
        clock.advance(10 * MINUTE)
        with pytest.raises(FailedPrecondition) as refusal:
            await store.resend(cases.resend(1))
        assert refusal.value.reason is Reason.VERIFICATION_CLOSED
        clock.advance(-MINUTE)
        assert (await get(harness, 1)).verification.state is State.EXPIRED

    async def test_a_cancel_is_idempotent(self, harness: Harness) -> None:
        """A second cancel changes nothing; one after an approval is refused."""
        store = harness.verification
        await store.start(cases.start(1))
        first = await store.cancel(cases.cancel(1))
        assert await store.cancel(cases.cancel(1)) == first
        other = CASE._replace(phone=1)
        await store.start(cases.start(2, other))
        await store.check(cases.check(2, RIGHT, other))
        with pytest.raises(FailedPrecondition):
            await store.cancel(cases.cancel(2, other))

    async def test_an_approval_forgives_the_sends(self, harness: Harness) -> None:
        """Sends followed by an approval count no more; a caller's own code proves nothing."""
        store = harness.verification
        await store.start(cases.start(1))
        await store.check(cases.check(1))
        assert (await usage(harness)).sends == ()
        own = CASE._replace(phone=1, custom=7)
        await store.start(cases.start(2, own))
        assert (await store.check(cases.check(2, RIGHT, own))).approved
        assert len((await usage(harness, own)).sends) == 1

    async def test_a_known_binding_keeps_its_part_of_the_budget(self, harness: Harness) -> None:
        """Whose binding was approved may still check when strangers have used up their share."""
        store, clock = harness.verification, harness.clock
        known, stranger = CASE._replace(binding=1), CASE._replace(binding=2)
        await store.start(cases.start(0, known))
        assert (await store.check(cases.check(0, RIGHT, known))).approved
        for number in range(1, 8):
            clock.advance(2 * HOUR)
            await store.start(cases.start(number, stranger))
            await store.check(cases.check(number, WRONG, stranger))
        clock.advance(2 * HOUR)
        await store.start(cases.start(8, stranger))
        with pytest.raises(DomainError) as refusal:
            await store.check(cases.check(8, RIGHT, stranger))
        assert refusal.value.reason is Reason.GUESS_BUDGET_EXHAUSTED
        clock.advance(2 * MINUTE)
        await store.start(cases.start(9, known))
        assert (await store.check(cases.check(9, RIGHT, known))).approved

    async def test_pending_ids_counts_to_two(self, harness: Harness) -> None:
        """Ids in time for the tuple; without a binding any will do."""
        store, clock = harness.verification, harness.clock
        for number in (1, 2, 3):
            await store.start(cases.start(number, CASE._replace(binding=number, purpose="login")))
            clock.advance(2 * MINUTE)

        async def ids(binding: bytes | None, purpose: str = "login") -> list[str]:
            index = cases.phone_index()
            return await store.pending_ids(cases.APPLICATION, index, purpose, binding)

        assert await ids(None) == list(map(cases.verification_id, (1, 2)))
        assert await ids(cases.binding_key(CASE._replace(binding=3))) == [cases.verification_id(3)]
        assert await ids(b"") == []
        assert await ids(None, "pay") == []
        clock.advance(6 * MINUTE)
        assert await ids(None) == [cases.verification_id(3)]

    async def test_pages_follow_each_other(self, harness: Harness) -> None:
        """Newest first, each once, filtered by state and by phone."""
        store = harness.verification
        for number in range(1, 8):
            await store.start(cases.start(number, CASE._replace(phone=number)))
        await store.cancel(cases.cancel(3))
        seen: list[str] = []
        while part := await store.list(cases.page(before=seen[-1] if seen else "", limit=3)):
            seen += [s.verification.verification_id for s in part]
        assert seen == [cases.verification_id(n) for n in range(7, 0, -1)]
        (canceled,) = await store.list(cases.page(state=State.CANCELED))
        assert canceled.verification.verification_id == cases.verification_id(3)
        by_phone = cases.page()._replace(phone_index=cases.phone_index(CASE._replace(phone=5)))
        assert [s.verification.verification_id for s in await store.list(by_phone)] == [
            cases.verification_id(5)
        ]

    async def test_c013_a_rebind_opens_a_hard_stop_after_its_delay(self, harness: Harness) -> None:
        """100 failures in a row stop an approved phone until a re-bind comes due."""
        store, clock = harness.verification, harness.clock
        await store.start(cases.start(0))
        await store.check(cases.check(0))
        number = 1
        while (await usage(harness)).guesses.in_a_row < 100:
            await outcomes([store.start(cases.start(number))])
            await outcomes([store.check(cases.check(number, WRONG))])
            clock.advance(HOUR)
            number += 1
        with pytest.raises(DomainError) as stopped:
            await store.start(cases.start(number))
        assert stopped.value.reason is Reason.GUESS_BUDGET_EXHAUSTED
        effective = (await store.rebind(cases.rebind(notice=9_000))).effective_time
        assert effective == clock.now() + cases.REBIND_DELAY
        assert (await store.rebind(cases.rebind())).effective_time == effective
        clock.advance(cases.REBIND_DELAY)
        await store.start(cases.start(number))
        assert (await store.check(cases.check(number))).approved

    async def test_sweep_expires_then_deletes(self, harness: Harness) -> None:
        """In batches, until nothing is left of a verification past its retention."""
        store, clock = harness.verification, harness.clock
        for number in range(5):
            await store.start(
                cases.start(
                    number, CASE._replace(phone=number), request=cases.request(number, "start")
                )
            )
        clock.advance(10 * MINUTE)
        assert await store.sweep(DAY, 3) == 3
        assert await store.sweep(DAY, 3) == 2
        clock.advance(DAY + 1)
        while await store.sweep(DAY, 3):
            pass
        assert await store.list(cases.page()) == []
        assert (await usage(harness)).sends == ()
        with pytest.raises(NotFound):
            await get(harness, 1)
