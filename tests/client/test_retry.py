"""When a call is tried again."""

import grpc
import pytest

from watchword.client import (
    DeadlineExceeded,
    RetryPolicy,
    Unavailable,
    account_pb2,
    verification_pb2,
)
from watchword.client.retry import Attempts, make_repeatable

POLICY = RetryPolicy(max_attempts=4, first_wait=0.1, max_wait=0.25)


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def unavailable(retry_after: float | None = None) -> Unavailable:
    return Unavailable("down", code=grpc.StatusCode.UNAVAILABLE, retry_after=retry_after)


def attempts(
    deadline: float | None = 5.0, *, repeatable: bool = True, jitter: float = 1
) -> Attempts:
    return Attempts(
        POLICY, deadline, repeatable=repeatable, clock=FakeClock(), jitter=lambda: jitter
    )


def test_waits_grow_to_a_bound_and_then_end() -> None:
    tried = attempts()
    assert [tried.wait_after(unavailable()) for _ in range(3)] == [0.1, 0.2, 0.25]
    with pytest.raises(Unavailable):
        tried.wait_after(unavailable())


def test_jitter_takes_up_to_half() -> None:
    assert attempts(jitter=0).wait_after(unavailable()) == pytest.approx(0.05)


def test_the_server_s_own_wait_is_kept_and_spread() -> None:
    assert attempts().wait_after(unavailable(retry_after=2)) == pytest.approx(2.1)


def test_nothing_is_waited_for_past_the_deadline() -> None:
    with pytest.raises(Unavailable):
        attempts(deadline=0.09).wait_after(unavailable())


def test_a_later_try_gets_what_is_left() -> None:
    clock = FakeClock()
    tried = Attempts(POLICY, 5.0, repeatable=True, clock=clock)
    clock.now += 2
    assert tried.timeout == 3.0
    clock.now += 4
    assert tried.timeout == 0.0


def test_a_stream_without_deadline_has_no_timeout() -> None:
    assert attempts(deadline=None).timeout is None


def test_progress_earns_all_tries_again() -> None:
    tried = attempts()
    for _ in range(10):
        assert tried.wait_after(unavailable()) == 0.1
        tried.progressed()


def test_other_errors_are_raised_at_once() -> None:
    late = DeadlineExceeded("late", code=grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(DeadlineExceeded):
        attempts().wait_after(late)


def test_what_cannot_be_repeated_is_tried_once() -> None:
    with pytest.raises(Unavailable):
        attempts(repeatable=False).wait_after(unavailable())


def test_reads_and_effects_with_request_id_can_be_repeated() -> None:
    read = verification_pb2.GetVerificationRequest()
    effect = verification_pb2.StartVerificationRequest()
    mine = account_pb2.CreateAccountRequest(request_id="mine")
    assert make_repeatable(read, lambda: "fresh")
    assert make_repeatable(effect, lambda: "fresh")
    assert make_repeatable(mine, lambda: "fresh")
    assert effect.request_id == "fresh"
    assert mine.request_id == "mine"


def test_a_message_that_is_no_request_cannot_be_repeated() -> None:
    assert not make_repeatable(verification_pb2.Verification(), lambda: "fresh")


def test_every_effect_of_the_api_takes_a_request_id() -> None:
    for file in (verification_pb2.DESCRIPTOR, account_pb2.DESCRIPTOR):
        for service in file.services_by_name.values():
            for method in service.methods:
                reads = method.GetOptions().idempotency_level == 1
                has_id = "request_id" in method.input_type.fields_by_name
                assert reads != has_id, method.full_name
