"""Records what concurrent callers asked and heard, and has it checked phone by phone."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from tests.linearizability.checker import NEVER, UNKNOWN, Answer, Event, Verdict, check
from tests.linearizability.spec import Op, Phone, Tick, apply, forget_lone_requests


class NotLinearizable(AssertionError):
    """No order of a phone's calls explains their answers."""


class History:
    """The calls of every phone; a tick belongs to all of them."""

    def __init__(self) -> None:
        self._notes = count(1)
        self.phones: defaultdict[int, list[Event]] = defaultdict(list)
        self.ticks: list[Event] = []
        self.outcomes: Counter[Answer] = Counter()
        self._running = 0
        self.most_running = 0

    async def ask(
        self, phone: int, op: Op, call: Callable[[], Awaitable[Answer | None]]
    ) -> Answer | None:
        """Call and record it."""
        began = next(self._notes)
        self._running += 1
        self.most_running = max(self.most_running, self._running)
        answer = await call()
        self._running -= 1
        # What nobody knows may come to be at any time.
        ended = NEVER if answer is UNKNOWN else next(self._notes)
        self.phones[phone].append(Event(op, answer, began, ended))
        if answer is not None:
            self.outcomes[answer[:2] if answer[0] in ("error", "rejected") else answer[:1]] += 1
        return answer

    def tick(self, now: int, move: Callable[[], None]) -> None:
        """Move the clock on and record it."""
        began = next(self._notes)
        move()
        self.ticks.append(Event(Tick(now), ("ticked",), began, next(self._notes)))

    def check(self) -> None:
        """Raise `NotLinearizable` with the first phone that nothing explains."""
        for phone, events in self.phones.items():
            verdict = explained([*events, *self.ticks])
            if not verdict.linearizable:
                raise NotLinearizable(_told(phone, events, verdict))


def explained(events: Sequence[Event]) -> Verdict:
    """Check the calls of one phone against the specification."""
    ops = forget_lone_requests([event.op for event in events])
    own = [event._replace(op=op) for event, op in zip(events, ops, strict=True)]
    return check(own, Phone(), apply)


def _told(phone: int, events: Sequence[Event], verdict: Verdict) -> str:
    lines = [f"phone {phone}: explained are {len(verdict.order)} of {len(events)} calls"]
    lines += [f"  {event}" for event in verdict.order[-8:]]
    placed = {(event.began, event.ended) for event in verdict.order}
    left = [event for event in events if (event.began, event.ended) not in placed]
    lines += ["not explained:", *(f"  {event}" for event in left[:12])]
    return "\n".join(lines)
