"""The change bus within one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self


class LocalChangeBus:
    """A `ChangeBus` that reaches the watchers of this process; keeps no history.

    `publish` may be called from any thread, for a store commits in its own.
    """

    def __init__(self) -> None:
        """Begin with nobody subscribed."""
        # Tuples are replaced, never changed, so that another thread reads a whole one.
        self._watchers: dict[str, tuple[_Changes, ...]] = {}

    def publish(self, object_id: str) -> None:
        """Wake every subscriber of `object_id`; one look-up where there is none."""
        for watcher in self._watchers.get(object_id, ()):
            watcher.wake()

    @asynccontextmanager
    async def subscribe(self, object_id: str) -> AsyncIterator[AsyncIterator[None]]:
        """Return a context whose iterator yields once after each change, merged when slow."""
        watcher = _Changes()
        self._watchers[object_id] = (*self._watchers.get(object_id, ()), watcher)
        try:
            yield watcher
        finally:
            self._leave(object_id, watcher)

    def _leave(self, object_id: str, watcher: "_Changes") -> None:
        left = tuple(other for other in self._watchers[object_id] if other is not watcher)
        if left:
            self._watchers[object_id] = left
        else:
            del self._watchers[object_id]


class _Changes:
    """The endless iterator of one subscriber."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        # A watcher whose loop is closed has nobody left to wake.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._event.set)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        await self._event.wait()
        self._event.clear()
