"""What goes on beside the calls: sweeping, destroying keys, writing usage, watching health."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from watchword.core.errors import DomainError
from watchword.telemetry.logs import Log

Work = Callable[[], Awaitable[float]]
"""Does one round; returns after how many seconds the next is due."""

_PAUSE_AFTER_FAILURE = 5.0


class Background:
    """Runs named loops until it is stopped; a round that fails is logged and tried again."""

    def __init__(self, log: Log) -> None:
        """Run nothing yet."""
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, name: str, work: Work) -> None:
        """Start a loop."""
        self._tasks.append(asyncio.create_task(self._loop(name, work), name=name))

    async def stop(self) -> None:
        """Cancel every loop and wait for its end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _loop(self, name: str, work: Work) -> None:
        while True:
            pause = _PAUSE_AFTER_FAILURE
            try:
                pause = await work()
            except DomainError as error:
                self._log.warning("background work failed", where=name, reason=error.reason)
            except Exception as error:  # noqa: BLE001 - a loop must not die of one round
                self._log.error("background work failed", where=name, error=type(error).__name__)
            await asyncio.sleep(pause)


def watch(task: "asyncio.Task[Any]", log: Log, name: str) -> None:
    """Say so where a task that should run for ever ends by an exception."""

    def ended(done: "asyncio.Task[Any]") -> None:
        if not done.cancelled() and done.exception() is not None:
            log.error("a task died", where=name, error=type(done.exception()).__name__)

    task.add_done_callback(ended)
