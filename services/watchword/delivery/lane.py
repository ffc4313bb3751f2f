"""A carrier's own lane: its slots and its line, so that a hung carrier holds up nobody else."""

import asyncio

from watchword.core.ports import SECOND, Millis
from watchword.delivery.carrier import Carrier

_LOG_EVERY: Millis = 10 * SECOND
_WEIGHT = 0.2


class Lane:
    """Bounds what one carrier is busy with: `slots` calls at a time and as many in line.

    `load` counts both. `pace` is the running mean of how long its calls take.
    """

    __slots__ = ("_failures", "_logged", "carrier", "load", "name", "pace", "size", "slots")

    def __init__(self, name: str, carrier: Carrier, slots: int) -> None:
        """Open an empty lane to `carrier`."""
        self.name = name
        self.carrier = carrier
        self.slots = asyncio.Semaphore(slots)
        self.size = 2 * slots
        self.load = 0
        self.pace: Millis = 0
        self._failures = 0
        self._logged: Millis = -_LOG_EVERY

    @property
    def free(self) -> int:
        """Return how many more sends the lane takes."""
        return self.size - self.load

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
