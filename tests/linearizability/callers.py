"""Sixty-four callers at once on a few phones, whatever way leads to the server."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any, Protocol

from tests.linearizability.checker import Answer
from tests.linearizability.history import History
from tests.linearizability.spec import (
    MINUTE,
    SECOND,
    Cancel,
    Check,
    Get,
    Op,
    Resend,
    Start,
)

CALLERS = 64
PHONES = 6
_TICKS = (31 * SECOND, 31 * SECOND, 61 * SECOND, 2 * MINUTE, 10 * MINUTE)


class Way(Protocol):
    """How one caller calls; a method returns None where nobody knows what came of it."""

    async def start(self, phone: int, op: Start) -> Answer | None: ...

    async def resend(self, op: Resend) -> Answer | None: ...

    async def check(self, op: Check, code: str) -> Answer | None: ...

    async def cancel(self, op: Cancel) -> Answer | None: ...

    async def get(self, op: Get) -> Answer | None: ...

    async def code(self, name: str) -> str:
        """Return the code that the phone shows."""
        ...


class Crowd:
    """All callers of one history, with what they know in common."""

    def __init__(
        self,
        ways: Sequence[Way],
        chance: random.Random,
        advance: Callable[[int], None],
        idle: Callable[[], bool] | None = None,
    ) -> None:
        """Call by `ways`; `advance` moves the server's clock on by milliseconds.

        Where a dispatcher works beside the callers, `idle` tells whether it has nothing to
        do: time moves on only then, and while nobody causes a message. A message whose
        lease a leap of the clock ends would be charged twice, which no caller asked for.
        """
        self.history = History()
        self._ways = ways
        self._chance = chance
        self._advance = advance
        self._names: defaultdict[int, list[str]] = defaultdict(list)
        self._repeats: defaultdict[int, list[Op]] = defaultdict(list)
        self._codes: dict[str, str] = {}
        self._numbers = count()
        self._now = 0
        self._idle = idle
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._sending = 0

    async def run(self, actions: int) -> History:
        """Let everybody act, time pass, and now and then all meet on one phone."""
        # So that there is something to meet on.
        for phone in range(PHONES + 1):
            await self._start(self._ways[0], phone)
        async with asyncio.TaskGroup() as group:
            for way in self._ways:
                group.create_task(self._caller(way, actions))
            group.create_task(self._time(actions))
        return self.history

    async def meet(self, wrong: int) -> History:
        """Let all try codes of one verification at the same moment, `wrong` of them wrong ones."""
        phone = 0
        await self._start(self._ways[0], phone)
        (name,) = self._names[phone]
        await self._know(self._ways[0], name)
        rights = [False] * wrong + [True] * (len(self._ways) - wrong)
        self._chance.shuffle(rights)
        gate = asyncio.Event()

        async def one(way: Way, right: bool) -> None:
            await gate.wait()
            await self._check(way, phone, name, right=right)

        async with asyncio.TaskGroup() as group:
            for way, right in zip(self._ways, rights, strict=True):
                group.create_task(one(way, right))
            gate.set()
        return self.history

    async def _caller(self, way: Way, actions: int) -> None:
        for number in range(actions):
            # The last phone is everybody's, once.
            phone = PHONES if number == actions // 2 else self._chance.randrange(PHONES)
            await self._act(way, phone)

    async def _time(self, actions: int) -> None:
        for _ in range(actions):
            for _ in range(self._chance.randrange(40)):
                await asyncio.sleep(0)
            if self._idle is not None:
                self._may_send.clear()
                while self._sending or not self._idle():  # noqa: ASYNC110 - nobody would tell
                    await asyncio.sleep(0.001)
            millis = self._chance.choice(_TICKS)
            self._now += millis
            self.history.tick(self._now, lambda millis=millis: self._advance(millis))  # type: ignore[misc]
            self._may_send.set()
            await asyncio.sleep(0.002)

    async def _act(self, way: Way, phone: int) -> None:
        names = self._names[phone]
        draw = self._chance.random()
        if draw < 0.2 or not names:
            await self._start(way, phone)
            return
        name = self._chance.choice(names[-2:])
        if draw < 0.3:
            await self._repeat(way, phone)
        elif draw < 0.4:
            op = Resend(self._request_id(), name)
            self._repeats[phone].append(op)
            await self._send(phone, op, lambda: way.resend(op))
        elif draw < 0.45:
            cancel = Cancel(self._request_id(), name)
            self._repeats[phone].append(cancel)
            await self.history.ask(phone, cancel, lambda: way.cancel(cancel))
        elif draw < 0.6:
            get = Get(name)
            await self.history.ask(phone, get, lambda: way.get(get))
        else:
            await self._check(way, phone, name, right=self._chance.random() < 0.3)

    async def _start(self, way: Way, phone: int) -> None:
        op = Start(self._request_id(), self._chance.choice(("", "", "", "10.00")))
        self._repeats[phone].append(op)
        self._learn(phone, await self._send(phone, op, lambda: way.start(phone, op)))

    async def _check(self, way: Way, phone: int, name: str, *, right: bool) -> None:
        code = await self._know(way, name)
        if not right:
            code = f"{(int(code) + 1 + self._chance.randrange(1000)) % 1_000_000:06d}"
        action = self._chance.choice(("", "", "", "10.00"))
        op = Check(self._request_id(), name, action, right)
        await self.history.ask(phone, op, lambda: way.check(op, code))

    async def _repeat(self, way: Way, phone: int) -> None:
        """Send a request once more, perhaps beside the first."""
        op = self._chance.choice(self._repeats[phone][-6:])
        call: Callable[[], Coroutine[Any, Any, Answer | None]]
        if isinstance(op, Start):
            start = op
            call = lambda: way.start(phone, start)  # noqa: E731
        elif isinstance(op, Resend):
            resend = op
            call = lambda: way.resend(resend)  # noqa: E731
        else:
            assert isinstance(op, Cancel)
            cancel = op
            call = lambda: way.cancel(cancel)  # noqa: E731
        answer = await self._send(phone, op, call)
        if isinstance(op, Start):
            self._learn(phone, answer)

    async def _send(
        self, phone: int, op: Op, call: Callable[[], Coroutine[Any, Any, Answer | None]]
    ) -> Answer | None:
        """Ask for what may cause a message."""
        await self._may_send.wait()
        self._sending += 1
        try:
            return await self.history.ask(phone, op, call)
        finally:
            self._sending -= 1

    def _learn(self, phone: int, answer: Answer | None) -> None:
        if answer is not None and answer[0] == "started" and answer[1] not in self._names[phone]:
            self._names[phone].append(str(answer[1]))

    async def _know(self, way: Way, name: str) -> str:
        if name not in self._codes:
            self._codes[name] = await way.code(name)
        return self._codes[name]

    def _request_id(self) -> str:
        return f"request-{next(self._numbers)}"
