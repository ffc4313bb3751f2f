"""The outbox's decisions alone: forward only, at most twice, never after the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.ports import MINUTE, SECOND, Millis
from watchword.delivery import outbox
from watchword.delivery.carrier import Channel, Receipt, ReceiptState
from watchword.delivery.outbox import (
    MAX_ATTEMPTS,
    Result,
    ResultKind,
    Send,
    SendError,
    SendKind,
    SendState,
)

NOW: Millis = 1_800_000_000_000
LEASE = 40 * SECOND
ORDER = list(SendState)


def a_send(**changes: object) -> Send:
    send = Send(
        send_id="SN" + "1" * 32,
        kind=SendKind.CODE,
        account_id="AC",
        application_id="AP",
        subject_id="VE",
        version=1,
        channel=Channel.SMS,
        carrier="a",
        generation=0,
        state=SendState.QUEUED,
        error_reason=SendError.NONE,
        provider_id="",
        attempts=0,
        doubts=0,
        withheld=False,
        due_time=NOW,
        lease_time=0,
        expire_time=NOW + 10 * MINUTE,
        notice="",
        recipient_sealed=b"",
        create_time=NOW,
        submit_time=0,
        update_time=NOW,
    )
    return send._replace(**changes)  # type: ignore[arg-type]


def claimed(send: Send, now: Millis = NOW, *, wanted: bool = True, repeat: bool = True) -> Send:
    return outbox.claim(send, wanted=wanted, may_repeat=repeat, now=now, lease=LEASE)


def settled(send: Send, kind: ResultKind, *, repeat: bool = True, **more: object) -> Send:
    result = Result(send.send_id, send.attempts, kind)._replace(**more)  # type: ignore[arg-type]
    return outbox.settle(send, result, NOW, may_repeat=repeat)


def test_a_claim_records_the_attempt_and_the_lease() -> None:
    send = claimed(a_send())
    assert (send.attempts, send.doubts, send.lease_time) == (1, 0, NOW + LEASE)
    assert send.attempt_id == f"{send.send_id}.1"
    assert send.state is SendState.QUEUED


@pytest.mark.parametrize(
    ("changes", "wanted", "error"),
    [
        ({}, False, SendError.NOT_NEEDED),
        ({"withheld": True}, True, SendError.DELIVERY_REFUSED),
        ({"withheld": True}, False, SendError.NOT_NEEDED),
    ],
)
def test_what_must_not_go_ends_at_the_claim(
    changes: dict[str, object], wanted: bool, error: SendError
) -> None:
    send = claimed(a_send(**changes), wanted=wanted)
    assert (send.state, send.error_reason, send.attempts) == (SendState.FAILED, error, 0)
    assert not send.live


def test_c070_a_lease_that_ran_out_is_a_doubt() -> None:
    once = claimed(claimed(a_send()), NOW + LEASE)
    assert (once.attempts, once.doubts, once.state) == (2, 1, SendState.QUEUED)
    twice = claimed(once, NOW + 2 * LEASE)
    assert (twice.attempts, twice.state) == (2, SendState.SUBMITTED)
    assert twice.error_reason is SendError.OUTCOME_UNKNOWN


def test_c071_a_doubt_that_no_budget_bears_is_left_as_it_is() -> None:
    for send in (
        claimed(claimed(a_send()), NOW + LEASE, repeat=False),
        settled(claimed(a_send()), ResultKind.AMBIGUOUS, repeat=False),
    ):
        assert (send.state, send.error_reason) == (SendState.SUBMITTED, SendError.OUTCOME_UNKNOWN)
        assert send.attempts == 1


@pytest.mark.parametrize(
    ("kind", "state", "error"),
    [
        (ResultKind.SUBMITTED, SendState.SUBMITTED, SendError.NONE),
        (ResultKind.REJECTED, SendState.FAILED, SendError.DELIVERY_REFUSED),
        (ResultKind.MISCONFIGURED, SendState.FAILED, SendError.CARRIER_MISCONFIGURED),
        (ResultKind.THROTTLED, SendState.QUEUED, SendError.NONE),
        (ResultKind.UNREACHABLE, SendState.QUEUED, SendError.NONE),
        (ResultKind.AMBIGUOUS, SendState.QUEUED, SendError.NONE),
    ],
)
def test_each_result_has_its_end(kind: ResultKind, state: SendState, error: SendError) -> None:
    send = settled(claimed(a_send()), kind)
    assert (send.state, send.error_reason, send.lease_time) == (state, error, 0)
    assert send.version == 2


@pytest.mark.parametrize(
    "kind", [ResultKind.THROTTLED, ResultKind.UNREACHABLE, ResultKind.MISCONFIGURED]
)
def test_another_carrier_may_take_over(kind: ResultKind) -> None:
    send = settled(claimed(a_send()), kind, next_carrier="b")
    assert (send.state, send.carrier) == (SendState.QUEUED, "b")


def test_the_carriers_wish_and_the_backoff_both_hold() -> None:
    first = claimed(a_send())
    assert settled(first, ResultKind.THROTTLED).due_time == NOW + SECOND // 2
    assert settled(first, ResultKind.THROTTLED, jitter=0.99).due_time > NOW + 900
    wish = settled(first, ResultKind.THROTTLED, retry_after=MINUTE)
    assert wish.due_time == NOW + MINUTE
    late = settled(a_send(attempts=7, lease_time=1), ResultKind.UNREACHABLE)
    assert late.due_time == NOW + 32 * SECOND


def test_a_retry_that_would_come_too_late_is_none() -> None:
    send = settled(claimed(a_send()), ResultKind.THROTTLED, retry_after=10 * MINUTE)
    assert (send.state, send.error_reason) == (SendState.FAILED, SendError.CARRIER_UNREACHABLE)


def test_the_result_of_an_attempt_that_is_over_changes_nothing() -> None:
    second = claimed(claimed(a_send()), NOW + LEASE)
    late = Result(second.send_id, 1, ResultKind.REJECTED)
    assert outbox.settle(second, late, NOW, may_repeat=True) is second


@pytest.mark.parametrize("kind", list(ResultKind))
def test_a_result_that_is_recorded_twice_counts_once(kind: ResultKind) -> None:
    once = settled(claimed(a_send()), kind)
    assert settled(once, kind) is once


@pytest.mark.parametrize("state", list(ReceiptState))
def test_a_receipt_may_overtake_the_result(state: ReceiptState) -> None:
    send = claimed(a_send())
    heard = outbox.receive(send, Receipt(send.send_id, state), NOW)
    assert heard.state == str(state)
    assert settled(heard, ResultKind.UNREACHABLE) is heard


def test_a_receipt_for_what_was_never_tried_is_ignored() -> None:
    send = a_send()
    assert outbox.receive(send, Receipt(send.send_id, ReceiptState.DELIVERED), NOW) is send


@pytest.mark.parametrize("state", [SendState.DELIVERED, SendState.UNDELIVERED, SendState.FAILED])
@pytest.mark.parametrize("receipt", list(ReceiptState))
def test_c080_no_receipt_changes_an_end(state: SendState, receipt: ReceiptState) -> None:
    send = a_send(state=state, attempts=1)
    assert outbox.receive(send, Receipt(send.send_id, receipt), NOW) is send


STEPS = st.one_of(
    st.tuples(st.just("claim"), st.booleans(), st.booleans()),
    st.tuples(st.just("settle"), st.sampled_from(list(ResultKind)), st.integers(0, 2)),
    st.tuples(st.just("receive"), st.sampled_from(list(ReceiptState)), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([SECOND, LEASE, MINUTE]), st.none()),
)


@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_a_person_gets_two_messages_at_most(
    steps: list[tuple[str, object, object]],
) -> None:
    send, now = a_send(), NOW
    for step, one, two in steps:
        before = send
        if step == "wait":
            assert isinstance(one, int)
            now += one
        elif step == "claim" and now >= max(send.due_time, send.lease_time):
            if send.state is SendState.QUEUED:
                wanted = bool(one) and now < send.expire_time
                send = outbox.claim(send, wanted=wanted, may_repeat=bool(two), now=now, lease=LEASE)
        elif step == "settle" and isinstance(one, ResultKind) and isinstance(two, int):
            attempt = send.attempts - two
            result = Result(send.send_id, attempt, one, next_carrier="b" if two else "")
            send = outbox.settle(send, result, now, may_repeat=True)
        elif step == "receive" and isinstance(one, ReceiptState):
            send = outbox.receive(send, Receipt(send.send_id, one), now)
        if before.state is not SendState.QUEUED:
            assert ORDER.index(send.state) >= ORDER.index(before.state)
            assert send.attempts == before.attempts
        assert send.version - before.version in (0, 1)
        assert send.attempts <= MAX_ATTEMPTS + 1
        assert send.doubts <= 2
        # What may have left: each attempt in doubt, and the one that was taken.
        taken = send.state is SendState.SUBMITTED and not send.error_reason
        assert send.doubts + taken <= 2
