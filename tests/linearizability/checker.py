"""Tells whether a history of concurrent calls could have come of one call after the other.

The search of Wing and Gong (1993) with Lowe's memory of what was tried (2017): take any
call that no other ended before, see whether the specification gives its answer, go on with
the rest. Histories of independent objects are checked apart: together they are
linearizable if and only if each of them is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

S = TypeVar("S")
Answer = tuple[Any, ...]

UNKNOWN: Answer | None = None
"""The answer that never came: the call had its effect at some time, or never."""

NEVER = 1 << 62
_MOST_STATES = 200_000


class Event(NamedTuple):
    """A call: when it began and ended, on a clock that counts the recorder's notes."""

    op: Any
    answer: Answer | None
    began: int
    ended: int


class Undecided(AssertionError):
    """The search was given up: too much was at the same time."""


Apply = Callable[[S, Any, Answer | None], S | None]
"""Returns the state after an operation with this answer, None where it cannot be answered so.

With the answer UNKNOWN it returns the state after the operation, whatever it answers.
States are values that can be compared and hashed.
"""


class Verdict(NamedTuple):
    """Whether a history is linearizable; `order` is an order that explains it, or the longest
    that explains a part.
    """

    linearizable: bool
    order: tuple[Event, ...]
    states: int


class _Search(Generic[S]):
    """A stack of choices; each level is a state, what is left, and what may still be tried."""

    def __init__(self, events: Sequence[Event], apply: Apply[S]) -> None:
        self.events = sorted(events, key=lambda event: event.began)
        self.apply = apply
        self.seen: set[tuple[int, S]] = set()
        self.must = sum(1 << n for n, e in enumerate(self.events) if e.answer is not UNKNOWN)
        self.longest: tuple[int, ...] = ()

    def run(self, initial: S, most: int) -> Verdict:
        left = (1 << len(self.events)) - 1
        path: list[int] = []
        left, state, taken = self._take_what_changes_nothing(left, initial)
        path += taken
        stack = [(left, state, len(path), iter(self._choices(left, state)))]
        while stack:
            left, state, depth, choices = stack[-1]
            del path[depth:]
            if not left & self.must:
                return self._verdict(path, linearizable=True)
            step = next(choices, None)
            if step is None:
                stack.pop()
                continue
            number, after = step
            path.append(number)
            rest, after, taken = self._take_what_changes_nothing(left & ~(1 << number), after)
            path += taken
            if (rest, after) in self.seen:
                continue
            self.seen.add((rest, after))
            if len(self.seen) > most:
                raise Undecided(f"gave up after {most} states")
            if len(path) > len(self.longest):
                self.longest = tuple(path)
            stack.append((rest, after, len(path), iter(self._choices(rest, after))))
        return self._verdict(self.longest, linearizable=False)

    def _take_what_changes_nothing(self, left: int, state: S) -> tuple[int, S, list[int]]:
        """Take at once each call that is answered rightly now and changes nothing.

        Wherever else it could be placed, it can be placed here: nobody can tell.
        """
        taken: list[int] = []
        found = True
        while found:
            found = False
            for number in self._first(left):
                event = self.events[number]
                if event.answer is UNKNOWN:
                    continue
                if self.apply(state, event.op, event.answer) == state:
                    left &= ~(1 << number)
                    taken.append(number)
                    found = True
        return left, state, taken

    def _choices(self, left: int, state: S) -> Iterable[tuple[int, S]]:
        """Yield what may come next. Of calls that are alike, the one that ended first is enough:

        the others can take its place in any order that begins with one of them.
        """
        alike: dict[tuple[object, ...], int] = {}
        for number in self._first(left):
            event = self.events[number]
            # Named tuples of two types are equal where their fields are.
            kind = (type(event.op), event.op, event.answer)
            other = alike.setdefault(kind, number)
            if event.ended < self.events[other].ended:
                alike[kind] = number
        for number in alike.values():
            event = self.events[number]
            after = self.apply(state, event.op, event.answer)
            if after is not None and after != state:
                yield number, after

    def _first(self, left: int) -> list[int]:
        """Return the calls that are left and that none of those left had ended before."""
        found: list[int] = []
        bound = NEVER
        rest = left
        while rest:
            number = (rest & -rest).bit_length() - 1
            rest &= rest - 1
            event = self.events[number]
            if event.began > bound:
                break
            bound = min(bound, event.ended)
            found.append(number)
        return found

    def _verdict(self, path: Iterable[int], *, linearizable: bool) -> Verdict:
        order = tuple(self.events[number] for number in path)
        return Verdict(linearizable, order, len(self.seen))


def check(
    events: Sequence[Event], initial: S, apply: Apply[S], most: int = _MOST_STATES
) -> Verdict:
    """Search for an order of `events` that `apply` explains, beginning at `initial`.

    Raises `Undecided` after `most` states.
    """
    return _Search(events, apply).run(initial, most)
