"""Lets a store that needs real I/O take part in a simulation: each call is made to its end.

The simulated loop has no sockets and no time of its own. So such a store lives on a loop
in a thread, and a call of it stops the simulation until it has come back: for the
scheduler it is one step, and the run depends on the seed alone.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from watchword.core.ports import ChangeBus
from watchword.server.plugins import Stores
from watchword.testing.bus import RecordingBus

T = TypeVar("T")
_PATIENCE = 60.0


class Aside:
    """A loop in a thread, for what must have a real one."""

    def __init__(self) -> None:
        """Begin."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and wait for its end, with everything here standing still."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


AT_ONCE = frozenset({"revision"})
"""What a port answers from memory, without asking its store."""


class _Port:
    """A port whose calls are made aside; what they publish is told here when they are back."""

    def __init__(self, port: object, aside: Aside, tell: Callable[[], None]) -> None:
        self._port = port
        self._aside = aside
        self._tell = tell

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method: Callable[..., Coroutine[Any, Any, Any]] = getattr(self._port, name)
        if name in AT_ONCE:
            return method

        async def call(*args: Any, **names: Any) -> Any:
            try:
                return self._aside.run(method(*args, **names))
            finally:
                self._tell()

        call.__name__ = name
        return call


class InlineStores:
    """All ports of a store, behind calls that are made to their end."""

    def __init__(
        self, open_store: Callable[[ChangeBus], Coroutine[Any, Any, Stores]], bus: ChangeBus
    ) -> None:
        """Open the store aside, on a bus whose news go to `bus`."""
        self._aside = Aside()
        self._news = RecordingBus()
        self._bus = bus
        self._stores = self._aside.run(open_store(self._news))
        self.verification = self._port(self._stores.verification)
        self.outbox = self._port(self._stores.outbox)
        self.account = self._port(self._stores.account)
        self.tenancy = self._port(self._stores.tenancy)
        self.keystore = self._port(self._stores.keystore)

    async def check(self) -> None:
        """Return where the store can serve."""
        self._aside.run(self._stores.check())

    async def close(self) -> None:
        """Close the store and its loop."""
        self._aside.run(self._stores.close())
        self._aside.close()

    def _port(self, port: object) -> Any:
        return _Port(port, self._aside, self._tell)

    def _tell(self) -> None:
        news, self._news.published = self._news.published, []
        for object_id in news:
            self._bus.publish(object_id)


def inline(
    open_store: Callable[[ChangeBus], Coroutine[Any, Any, Stores]], bus: ChangeBus
) -> Stores:
    """Return the store that `open_store` opens, to be called from a simulation."""
    return cast("Stores", InlineStores(open_store, bus))
