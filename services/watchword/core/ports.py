"""Ports to the world that decisions must not touch by themselves."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

Millis = int
"""A point in time (Unix epoch, UTC) or a length of time, in milliseconds."""

SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> Millis:
        """Return the time since the Unix epoch in milliseconds, UTC."""
        ...


class Entropy(Protocol):
    """Gives unpredictable bytes."""

    def token(self, size: int) -> bytes:
        """Return `size` bytes from a cryptographically secure source.

        Raises `Unavailable` where the source is broken: never weaker bytes.
        """
        ...


class ChangeBus(Protocol):
    """Tells watchers that an object changed; carries ids only, never content.

    `publish` is called after the commit that made the change. A subscriber may
    miss how often an object changed, never that it changed after it subscribed.
    """

    def publish(self, object_id: str) -> None:
        """Wake every subscriber of `object_id`; never blocks."""
        ...

    def subscribe(self, object_id: str) -> AbstractAsyncContextManager[AsyncIterator[None]]:
        """Return a context whose iterator yields once after each change, merged when slow."""
        ...


class StoreMeter(Protocol):
    """What a store tells the metrics; every method is cheap and never raises."""

    def committed(self, seconds: float, commands: int) -> None:
        """Record one commit: how long it took and how many commands shared it."""
        ...

    def store_queue(self, waiting: int) -> None:
        """Set how many commands wait for the next commit."""
        ...
