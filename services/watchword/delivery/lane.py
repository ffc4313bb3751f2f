"""A carrier's own lane: its slots and its line, so that a hung carrier holds up nobody else."""

import asyncio
from collections.abc import Iterable

from watchword.core.ports import SECOND, Millis
from watchword.delivery.carrier import Carrier

_LOG_EVERY: Millis = 10 * SECOND
_WEIGHT = 0.2
_SENDS_A_SLOT = 8


def room(lanes: Iterable["Lane"]) -> tuple[int, frozenset[str]]:
    """Return how many sends to claim, and the carriers whose sends to leave alone.

    Whose they are shows only once they are claimed: so no more than any lane takes that
    is not full, and none of those that are.
    """
    lanes = tuple(lanes)
    limit = min((lane.free for lane in lanes if lane.ready), default=0)
    return limit, frozenset(lane.name for lane in lanes if not lane.ready)


class Lane:
    """Bounds what one carrier is busy with: `width` calls at a time, the others in line.

    `load` counts both. `pace` is the running mean of how long its calls take.
    """

    __slots__ = ("_failures", "_logged", "_width", "carrier", "load", "name", "pace", "slots")

    def __init__(self, name: str, carrier: Carrier, width: int) -> None:
        """Open an empty lane to `carrier`."""
        self.name = name
        self.carrier = carrier
        self.slots = asyncio.Semaphore(width)
        self.load = 0
        self.pace: Millis = 0
        self._width = width
        self._failures = 0
        self._logged: Millis = -_LOG_EVERY

    @property
    def free(self) -> int:
        """Return how many more sends the lane takes; below 1 where it is full."""
        return _SENDS_A_SLOT * self._width - self.load

    @property
    def ready(self) -> bool:
        """Tell whether the lane takes so many that asking for them is worth a command."""
        return self.free >= self._width

    @property
    def near(self) -> bool:
        """Tell whether a message may come straight from its Start, past the outbox.

        Only while half of the line is empty: then whatever is due in the outbox is
        claimed as well, and nobody who waits there is overtaken for long.
        """
        return 2 * self.free > _SENDS_A_SLOT * self._width

    @property
    def wait(self) -> Millis:
        """Return how long the line will last."""
        return self.pace * self.load // self._width

    def leave(self) -> bool:
        """Let one send go; tells whether the lane has just become ready by it."""
        before = self.ready
        self.load -= 1
        return self.ready and not before

    def took(self, duration: Millis) -> None:
        """Learn how long a call took."""
        self.pace += int(_WEIGHT * (duration - self.pace))

    def failed(self, now: Millis) -> int:
        """Count a failure; returns how many to log now, 0 while the last line is fresh."""
        self._failures += 1
        if now - self._logged < _LOG_EVERY:
            return 0
        count, self._failures, self._logged = self._failures, 0, now
        return count
