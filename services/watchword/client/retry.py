"""When a call is tried again: UNAVAILABLE alone, never an effect twice, never past the deadline.

`Attempts` decides and does not sleep; the clients do. A read may be repeated at any
time, an effect when its request names a `request_id`, by which the server recognises it.
"""

import time
from collections.abc import Callable
from functools import cache
from secrets import SystemRandom
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from watchword.client.errors import Unavailable, WatchwordError

_JITTER = SystemRandom().random


class RetryPolicy(NamedTuple):
    """How often and how long; waits are seconds and grow twofold up to `max_wait`.

    `max_attempts` counts the first try; 1 never tries again.
    """

    max_attempts: int = 4
    first_wait: float = 0.05
    max_wait: float = 2.0

    def wait(self, tries: int, jitter: float) -> float:
        """Return the wait after `tries` tries: between half and all of the step (jitter 0…1)."""
        step = min(self.max_wait, self.first_wait * 2.0 ** (tries - 1))
        return step * (0.5 + jitter / 2)


class Attempts:
    """The tries of one call, within one deadline (seconds from now; None: without end)."""

    def __init__(
        self,
        policy: RetryPolicy,
        deadline: float | None,
        *,
        repeatable: bool,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = _JITTER,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self._end = None if deadline is None else clock() + deadline
        self._left = policy.max_attempts if repeatable else 1
        self._tries = 0

    @property
    def timeout(self) -> float | None:
        """What is left of the deadline, in seconds; the next try gets all of it."""
        return None if self._end is None else max(0.0, self._end - self._clock())

    def wait_after(self, error: WatchwordError) -> float:
        """Return how long to wait before the next try; raises `error` when there is none."""
        self._tries += 1
        if not isinstance(error, Unavailable) or self._tries >= self._left:
            raise error
        wait = self._policy.wait(self._tries, self._jitter())
        if error.retry_after is not None:
            wait += error.retry_after
        left = self.timeout
        if left is not None and wait >= left:
            raise error
        return wait

    def progressed(self) -> None:
        """Count anew: a stream that moved has earned all its tries again."""
        self._tries = 0


def make_repeatable(request: Message, new_request_id: Callable[[], str]) -> bool:
    """Give an effect's request a `request_id` if it has none; tell whether it may be repeated."""
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        if not getattr(request, "request_id", ""):
            setattr(request, "request_id", new_request_id())  # noqa: B010 - of any request type
        return True
    return _only_reads(request.DESCRIPTOR)


@cache
def _only_reads(request: Descriptor) -> bool:
    # A request belongs to one method alone.
    method = _method_of(request)
    return (
        method is not None
        and method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    )


def _method_of(request: Descriptor) -> MethodDescriptor | None:
    for service in request.file.services_by_name.values():
        for method in service.methods:
            if method.input_type == request:
                return method
    return None
