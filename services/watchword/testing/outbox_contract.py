"""What every outbox must do: subclass, and give it a `harness` fixture."""

import asyncio

import pytest

from watchword.core.ports import HOUR, MINUTE, SECOND
from watchword.delivery.carrier import Receipt, ReceiptState
from watchword.delivery.outbox import (
    Claim,
    OutboxDepth,
    Result,
    ResultKind,
    Send,
    SendError,
    SendState,
)
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import CASE, LEASE, LIMITS, Harness
from watchword.verification.model import State


class OutboxContract:
    """The suite behind the MUSTs of `Outbox`; needs pytest-asyncio in auto mode.

    The harness begins empty; its clock stands still unless a test moves it.
    """

    @pytest.fixture
    def harness(self) -> Harness:
        """Return an empty store and its clock."""
        raise NotImplementedError("override the harness fixture")

    async def test_a_claim_holds_what_a_message_needs(self, harness: Harness) -> None:
        """The send with its attempt counted, and the verification's sealed parts."""
        await harness.verification.start(cases.start(1, CASE._replace(custom=1)))
        (claim,) = await self._claim(harness)
        draft = cases.draft(1, CASE._replace(custom=1))
        assert claim[1:] == (draft.phone_sealed, draft.custom_sealed, draft.message)
        assert (claim.send.attempts, claim.send.lease_time) == (1, harness.clock.now() + LEASE)

    async def test_a_send_is_leased_to_one(self, harness: Harness) -> None:
        """Claims at once share the work, and none of it twice; oldest due first."""
        for number in range(10):
            await harness.verification.start(cases.start(number, CASE._replace(phone=number)))
            harness.clock.advance(1)
        parts = await asyncio.gather(*(self._claim(harness, limit=4) for _ in range(4)))
        taken = [claim.send.send_id for part in parts for claim in part]
        assert taken == [cases.send_id(number) for number in range(10)]
        assert await self._claim(harness) == []

    async def test_a_send_may_be_born_leased(self, harness: Harness) -> None:
        """Its Start records the attempt and returns the claim; nobody else is told of it."""
        outcome = await harness.verification.start(cases.leased(cases.start(1)))
        claim = outcome.claim
        assert claim is not None
        assert claim[1:] == (cases.draft(1).phone_sealed, b"", cases.draft(1).message)
        assert (claim.send.attempts, claim.send.lease_time) == (1, harness.clock.now() + LEASE)
        assert harness.published == [cases.verification_id(1)]
        assert await self._claim(harness) == []
        assert await harness.outbox.wanted(claim.send.send_id)
        send = await self._settle(harness, claim, ResultKind.SUBMITTED)
        assert await self._verification(harness) == (State.PENDING, (send,))

    async def test_a_lease_of_birth_that_is_lost_is_in_doubt(self, harness: Harness) -> None:
        """Like any other: repeated once, and charged."""
        await harness.verification.start(cases.leased(cases.start(1)))
        harness.clock.advance(LEASE)
        (again,) = await self._claim(harness)
        assert (again.send.attempts, again.send.doubts) == (2, 1)
        usage = await cases.usage(harness)
        assert (len(usage.sends), usage.budget.day_used) == (2, 2)
        harness.clock.advance(LEASE)
        assert await self._claim(harness) == []

    async def test_a_resend_may_be_born_leased(self, harness: Harness) -> None:
        """It takes what the verification sealed, and leaves the first send alone."""
        await harness.verification.start(cases.start(1, CASE._replace(custom=1)))
        (first,) = await self._claim(harness)
        harness.clock.advance(30 * SECOND)
        command = cases.resend(1, CASE._replace(custom=1))
        sending = command.sending._replace(lease=LEASE)
        outcome = await harness.verification.resend(command._replace(sending=sending))
        claim = outcome.claim
        assert claim is not None
        assert claim[1:] == first[1:]
        assert claim.send == outcome.snapshot.sends[1]
        assert (claim.send.attempts, claim.send.lease_time) == (1, harness.clock.now() + LEASE)

    async def test_what_must_not_go_is_not_born_leased(self, harness: Harness) -> None:
        """What is withheld, a test number's, or only replayed leaves nothing to send."""
        request = cases.request(1, "Start")
        first = cases.leased(cases.start(1, request=request))
        assert (await harness.verification.start(first)).claim is not None
        assert (await harness.verification.start(first)).claim is None
        other = CASE._replace(
            account_id=cases.OTHER_ACCOUNT, application_id=cases.OTHER_APPLICATION
        )
        withheld = await harness.verification.start(cases.leased(cases.start(2, other)))
        assert withheld.claim is None
        assert [send.attempts for send in withheld.snapshot.sends] == [0]
        test = CASE._replace(phone=3, test=True)
        assert (await harness.verification.start(cases.leased(cases.start(3, test)))).claim is None

    async def test_results_are_settled_together(self, harness: Harness) -> None:
        """One command for all; each has its own outcome, in their order."""
        for number in range(3):
            await harness.verification.start(cases.start(number, CASE._replace(phone=number)))
        claims = await self._claim(harness)
        kinds = (ResultKind.SUBMITTED, ResultKind.REJECTED, ResultKind.THROTTLED)
        results = [
            Result(claim.send.send_id, claim.send.attempts, kind)
            for claim, kind in zip(claims, kinds, strict=True)
        ]
        unknown = Result(cases.send_id(9), 1, ResultKind.SUBMITTED)
        settled = await harness.outbox.settle([*results[:2], unknown, results[2]], LIMITS)
        assert [send and (send.send_id, send.state) for send in settled] == [
            (cases.send_id(0), SendState.SUBMITTED),
            (cases.send_id(1), SendState.FAILED),
            None,
            (cases.send_id(2), SendState.QUEUED),
        ]
        assert await harness.outbox.settle([], LIMITS) == []

    async def test_a_submitted_send_is_done(self, harness: Harness) -> None:
        """It keeps the carrier's name for it, and waits no more."""
        await harness.verification.start(cases.start(1))
        (claim,) = await self._claim(harness)
        harness.published.clear()
        send = await self._settle(harness, claim, ResultKind.SUBMITTED)
        assert (send.state, send.provider_id) == (SendState.SUBMITTED, "provider-1")
        assert harness.published == [cases.verification_id(1)]
        assert await harness.outbox.next_due_time() is None
        assert await harness.outbox.depth() == OutboxDepth(0, 0)
        snapshot = await self._verification(harness)
        assert snapshot == (State.PENDING, (send,))

    async def test_a_refusal_fails_the_verification(self, harness: Harness) -> None:
        """With its last live send a verification FAILS."""
        await harness.verification.start(cases.start(1))
        (claim,) = await self._claim(harness)
        send = await self._settle(harness, claim, ResultKind.REJECTED)
        assert (send.state, send.error_reason) == (SendState.FAILED, SendError.DELIVERY_REFUSED)
        assert await self._verification(harness) == (State.FAILED, (send,))

    async def test_another_live_send_keeps_it_pending(self, harness: Harness) -> None:
        """A refused resend does not end what an earlier message may still approve."""
        await harness.verification.start(cases.start(1))
        (first,) = await self._claim(harness)
        await self._settle(harness, first, ResultKind.SUBMITTED)
        harness.clock.advance(30 * SECOND)
        await harness.verification.resend(cases.resend(1))
        (second,) = await self._claim(harness)
        await self._settle(harness, second, ResultKind.REJECTED)
        state, sends = await self._verification(harness)
        assert (state, [s.state for s in sends]) == (
            State.PENDING,
            [SendState.SUBMITTED, SendState.FAILED],
        )

    async def test_an_unreachable_carrier_is_tried_again(self, harness: Harness) -> None:
        """After a wait, by the carrier that takes over; the attempt has another name."""
        await harness.verification.start(cases.start(1))
        (claim,) = await self._claim(harness)
        send = await self._settle(harness, claim, ResultKind.UNREACHABLE, next_carrier="other")
        assert (send.state, send.carrier) == (SendState.QUEUED, "other")
        due = await harness.outbox.next_due_time()
        assert due is not None
        assert due > harness.clock.now()
        assert await self._claim(harness) == []
        harness.clock.set(due)
        (again,) = await self._claim(harness)
        assert again.send.attempts == 2
        assert again.send.attempt_id != claim.send.attempt_id

    async def test_after_eight_attempts_nobody_tries_again(self, harness: Harness) -> None:
        """However much time is left; the verification fails with the message."""
        await harness.verification.start(cases.start(1))
        states = []
        for _ in range(8):
            (claim,) = await self._claim(harness)
            send = await self._settle(harness, claim, ResultKind.UNREACHABLE)
            states.append(send.state)
            harness.clock.set(max(send.due_time, harness.clock.now()))
        assert states == [SendState.QUEUED] * 7 + [SendState.FAILED]
        assert await self._verification(harness) == (State.FAILED, (send,))
        assert harness.clock.now() < send.expire_time

    async def test_a_lost_lease_is_in_doubt(self, harness: Harness) -> None:
        """The message may have left: it is repeated once, charged, and then called unknown."""
        await harness.verification.start(cases.start(1))
        await self._claim(harness)
        harness.clock.advance(LEASE)
        (again,) = await self._claim(harness)
        assert (again.send.attempts, again.send.doubts) == (2, 1)
        index = cases.phone_index()
        usage = await harness.verification.usage(cases.ACCOUNT, cases.APPLICATION, index, index)
        assert (len(usage.sends), usage.budget.day_used) == (2, 2)
        harness.clock.advance(LEASE)
        assert await self._claim(harness) == []
        state, (send,) = await self._verification(harness)
        assert (send.state, send.error_reason) == (SendState.SUBMITTED, SendError.OUTCOME_UNKNOWN)
        assert state is State.PENDING

    async def test_a_result_of_a_lost_attempt_changes_nothing(self, harness: Harness) -> None:
        """Only the attempt that is under way may end the send."""
        await harness.verification.start(cases.start(1))
        (lost,) = await self._claim(harness)
        harness.clock.advance(LEASE)
        (current,) = await self._claim(harness)
        assert await self._settle(harness, lost, ResultKind.REJECTED) == current.send
        settled = await self._settle(harness, current, ResultKind.SUBMITTED)
        assert await self._settle(harness, current, ResultKind.REJECTED) == settled

    async def test_what_is_not_wanted_is_not_sent(self, harness: Harness) -> None:
        """The code of a canceled or expired verification never leaves."""
        for number in (1, 2):
            await harness.verification.start(cases.start(number, CASE._replace(phone=number)))
        await harness.verification.cancel(cases.cancel(1))
        (claim,) = await self._claim(harness)
        assert claim.send.send_id == cases.send_id(2)
        await self._settle(harness, claim, ResultKind.THROTTLED)
        harness.clock.advance(10 * MINUTE)
        claims, (ended,) = await harness.outbox.claim(1, LEASE, LIMITS)
        assert claims == []
        assert (ended.state, ended.error_reason) == (SendState.FAILED, SendError.TOO_LATE)
        assert await harness.outbox.depth() == OutboxDepth(0, 0)

    async def test_what_is_over_is_told_once(self, harness: Harness) -> None:
        """A claim returns the sends that it ended, as they stand, and ends them for good."""
        await harness.verification.start(cases.start(1))
        await harness.verification.cancel(cases.cancel(1))
        claims, (ended,) = await harness.outbox.claim(1, LEASE, LIMITS)
        assert claims == []
        assert (ended.state, ended.error_reason) == (SendState.FAILED, SendError.NOT_NEEDED)
        assert await self._verification(harness) == (State.CANCELED, (ended,))
        assert await harness.outbox.claim(1, LEASE, LIMITS) == ([], [])

    async def test_what_is_too_late_to_attempt_fails(self, harness: Harness) -> None:
        """An attempt may find that the code's time or its key is over."""
        await harness.verification.start(cases.start(1))
        (claim,) = await self._claim(harness)
        send = await self._settle(harness, claim, ResultKind.TOO_LATE)
        assert (send.state, send.error_reason) == (SendState.FAILED, SendError.TOO_LATE)
        assert await self._verification(harness) == (State.FAILED, (send,))

    async def test_a_claimed_send_is_wanted_until_its_verification_ends(
        self, harness: Harness
    ) -> None:
        """What waits in line is asked about once more before it goes."""
        await harness.verification.start(cases.start(1))
        await harness.verification.rebind(cases.rebind(notice=2))
        claims = await self._claim(harness)
        assert [await harness.outbox.wanted(c.send.send_id) for c in claims] == [True, True]
        await harness.verification.cancel(cases.cancel(1))
        wanted = {c.send.send_id: await harness.outbox.wanted(c.send.send_id) for c in claims}
        assert wanted == {cases.send_id(1): False, cases.notice_id(2): True}
        assert not await harness.outbox.wanted(cases.send_id(3))
        (claim,) = (c for c in claims if c.send.send_id == cases.send_id(1))
        send = await self._settle(harness, claim, ResultKind.NOT_NEEDED)
        assert (send.state, send.error_reason) == (SendState.FAILED, SendError.NOT_NEEDED)
        assert not await harness.outbox.wanted(cases.send_id(1))

    async def test_sends_of_full_carriers_are_left_alone(self, harness: Harness) -> None:
        """Neither claimed nor counted as due, however long they wait; the others are."""
        carriers = ("full", "b", "full", "a", "b")
        for number, carrier in enumerate(carriers):
            command = cases.start(number, CASE._replace(phone=number))
            sending = command.sending
            plan = sending.plan._replace(carrier=carrier)
            await harness.verification.start(command._replace(sending=sending._replace(plan=plan)))
            harness.clock.advance(1)
        full = frozenset({"full", "unknown"})
        now = harness.clock.now()
        assert await harness.outbox.next_due_time() == now - 5
        assert await harness.outbox.next_due_time(full) == now - 4
        first, _ = await harness.outbox.claim(2, LEASE, LIMITS, full)
        rest, _ = await harness.outbox.claim(9, LEASE, LIMITS, full)
        assert [c.send.send_id for c in first] == [cases.send_id(1), cases.send_id(3)]
        assert [c.send.send_id for c in rest] == [cases.send_id(4)]
        assert await harness.outbox.next_due_time(full) == now + LEASE
        freed = await self._claim(harness)
        assert [c.send.send_id for c in freed] == [cases.send_id(0), cases.send_id(2)]
        assert {c.send.attempts for c in freed} == {1}

    async def test_what_other_accounts_used_up_is_withheld(self, harness: Harness) -> None:
        """A phone that others sent to is not sent to; it looks like a carrier's refusal."""
        other = CASE._replace(
            account_id=cases.OTHER_ACCOUNT, application_id=cases.OTHER_APPLICATION
        )
        await harness.verification.start(cases.start(1))
        await harness.verification.start(cases.start(2, other))
        (claim,) = await self._claim(harness)
        assert claim.send.send_id == cases.send_id(1)
        got = await harness.verification.get(
            cases.verification_id(2), other.account_id, other.application_id
        )
        assert got.verification.state is State.FAILED
        assert got.sends[0].error_reason is SendError.DELIVERY_REFUSED

    async def test_receipts_only_move_forward(self, harness: Harness) -> None:
        """A receipt may overtake its attempt's result; a second one changes nothing."""
        await harness.verification.start(cases.start(1))
        receipt = Receipt(cases.send_id(1), ReceiptState.DELIVERED)
        early = await harness.outbox.receive(receipt)
        assert early is not None
        assert early.state is SendState.QUEUED
        (claim,) = await self._claim(harness)
        delivered = await harness.outbox.receive(receipt)
        assert delivered is not None
        assert delivered.state is SendState.DELIVERED
        assert await self._settle(harness, claim, ResultKind.UNREACHABLE) == delivered
        late = Receipt(cases.send_id(1), ReceiptState.UNDELIVERED)
        assert await harness.outbox.receive(late) == delivered

    async def test_an_unknown_send_is_none(self, harness: Harness) -> None:
        """Results and receipts of what is not there are no error."""
        result = Result(cases.send_id(1), 1, ResultKind.SUBMITTED)
        assert await harness.outbox.settle([result], LIMITS) == [None]
        receipt = Receipt(cases.send_id(1), ReceiptState.DELIVERED)
        assert await harness.outbox.receive(receipt) is None

    async def test_a_notice_is_claimed_and_swept(self, harness: Harness) -> None:
        """A notice stands for itself: sent without a verification, deleted when it is old."""
        await harness.verification.rebind(cases.rebind(notice=1))
        (claim,) = await self._claim(harness)
        assert (claim.recipient_sealed, claim.message) == (claim.send.recipient_sealed, "")
        assert claim.send.recipient_sealed
        await self._settle(harness, claim, ResultKind.SUBMITTED)
        harness.clock.advance(HOUR + 1)
        assert await harness.verification.sweep(HOUR, 10) == 1
        assert await self._settle_unknown(harness, claim) is None

    async def test_depth_counts_what_waits(self, harness: Harness) -> None:
        """The age is that of the send that has been due the longest."""
        for number in range(3):
            await harness.verification.start(cases.start(number, CASE._replace(phone=number)))
            harness.clock.advance(SECOND)
        assert await harness.outbox.depth() == OutboxDepth(3, 3 * SECOND)

    async def _claim(self, harness: Harness, limit: int = 100) -> list[Claim]:
        return (await harness.outbox.claim(limit, LEASE, LIMITS)).claims

    async def _settle(
        self, harness: Harness, claim: Claim, kind: ResultKind, next_carrier: str = ""
    ) -> Send:
        send = claim.send
        result = Result(
            send.send_id, send.attempts, kind, "provider-1", jitter=0.5, next_carrier=next_carrier
        )
        [settled] = await harness.outbox.settle([result], LIMITS)
        assert settled is not None
        return settled

    async def _settle_unknown(self, harness: Harness, claim: Claim) -> Send | None:
        result = Result(claim.send.send_id, claim.send.attempts, ResultKind.SUBMITTED)
        [settled] = await harness.outbox.settle([result], LIMITS)
        return settled

    async def _verification(self, harness: Harness) -> tuple[State, tuple[Send, ...]]:
        got = await harness.verification.get(
            cases.verification_id(1), cases.ACCOUNT, cases.APPLICATION
        )
        return got.verification.state, got.sends
