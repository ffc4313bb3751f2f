"""An event loop whose order is drawn from a seed and whose time stands until all have run.

One thread and no real time: a timer is due when nothing else can run, and now and then
earlier, as on a machine that was too busy. What would go to a thread runs here, a little
later. The same seed gives the same run, step by step.
"""

import asyncio
import heapq
import random
from asyncio import events
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from hashlib import blake2b
from itertools import count
from typing import Any, TypeVar, TypeVarTuple, Unpack

OWNER: ContextVar["Owner | None"] = ContextVar("OWNER", default=None)
"""Whose work it is that runs; tasks inherit it from whoever makes them."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# A busy machine lets timers go off before those that could run; for so long at most (seconds).
_STALL = 1.0
_WORK_TIMES = (0.0, 0.0, 0.001, 0.02)


class Owner:
    """A process within the simulation: it can die, and all of its tasks with it."""

    def __init__(self, name: str) -> None:
        """Live."""
        self.name = name
        self.alive = True
        # In the order in which they were made: a set's order would depend on addresses.
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def kill(self) -> None:
        """End every task at the point where it waits."""
        self.alive = False
        for task in list(self.tasks):
            task.cancel()


class Stuck(AssertionError):
    """Nothing can run and no timer is left: somebody waits for ever."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs one ready callback a step. `after` is called when it has run."""

    def __init__(self, chance: random.Random, after: Callable[[], None] = lambda: None) -> None:
        """Draw everything from `chance`."""
        super().__init__()
        self.steps = 0
        self.after = after
        self.faults: list[BaseException] = []
        self._chance = chance
        # Some runs are nearly in order, as asyncio's own is; some nearly in reverse.
        self._in_order = chance.choice((0.0, 0.0, 0.5, 0.9))
        self._early = chance.choice((0.0, 0.0, 0.02))
        self._now = 0.0
        self._turn: list[asyncio.Handle] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self._halted = False
        self._trace = blake2b(digest_size=8)
        self.set_exception_handler(self._note)

    @property
    def trace(self) -> str:
        """Return what stands for every choice so far."""
        return self._trace.hexdigest()

    def time(self) -> float:
        return self._now

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._turn.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        context = options.get("context")
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is not None:
            owner.tasks[task] = None
            task.add_done_callback(lambda done: owner.tasks.pop(done, None))
        return task

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run `func` in this thread, at some later moment."""
        del executor
        future: asyncio.Future[T] = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
                if not future.cancelled():
                    future.set_exception(error)
            else:
                if not future.cancelled():
                    future.set_result(result)

        self.call_later(self._chance.choice(_WORK_TIMES), work)
        return future

    def run_forever(self) -> None:
        self._halted = False
        events._set_running_loop(self)
        try:
            while not self._halted:
                self._step()
                if self.faults:
                    raise self.faults[0]
        finally:
            events._set_running_loop(None)

    def stop(self) -> None:
        self._halted = True

    def forgive(self) -> None:
        """Care no more about failures: all that is left is to tidy up."""
        self.after = lambda: None
        self.faults.clear()
        self.set_exception_handler(lambda *_: None)

    def _step(self) -> None:
        if not self._turn or self._stalls():
            self._wait()
        handle = self._turn.pop(self._pick())
        if handle.cancelled():
            return
        self.steps += 1
        handle._run()
        self.after()

    def _stalls(self) -> bool:
        if self._early == 0 or self._chance.random() >= self._early:
            return False
        self._drop_cancelled()
        return bool(self._timers) and self._timers[0][0] <= self._now + _STALL

    def _pick(self) -> int:
        waiting = len(self._turn)
        if waiting == 1 or self._chance.random() < self._in_order:
            return 0
        place = self._chance.randrange(waiting)
        self._trace.update(f"{waiting}.{place} ".encode())
        return place

    def _wait(self) -> None:
        """Let time pass until the next timer is due, and take all that are due then."""
        self._drop_cancelled()
        if not self._timers:
            if not self._turn:
                raise Stuck("nothing can run any more")
            return
        self._now = max(self._now, self._timers[0][0])
        self._trace.update(f"@{self._now} ".encode())
        while self._timers and self._timers[0][0] <= self._now:
            self._turn.append(heapq.heappop(self._timers)[2])

    def _drop_cancelled(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what nobody caught: it ends the run."""
        self.faults.append(context.get("exception") or AssertionError(context["message"]))
