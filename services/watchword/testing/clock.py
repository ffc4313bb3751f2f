"""A clock that moves only when it is told to."""

from watchword.core.ports import Millis

START: Millis = 1_800_000_000_000
"""An ordinary moment: 2027-01-15 08:00 UTC."""


class FakeClock:
    """A `Clock` under a test's control."""

    def __init__(self, now: Millis = START) -> None:
        """Stand still at `now`."""
        self._now = now

    def now(self) -> Millis:
        """Return the time that it stands at."""
        return self._now

    def advance(self, millis: Millis) -> None:
        """Move forward, or back where `millis` is negative."""
        self._now += millis

    def set(self, now: Millis) -> None:
        """Stand at `now` instead."""
        self._now = now
