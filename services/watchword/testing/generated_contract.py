"""Random command sequences, run against a store and against memory: all must be equal.

Memory decides by the pure model, so equality holds a store to the model.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from watchword.core.errors import DomainError
from watchword.core.ports import DAY, HOUR, MINUTE, SECOND, Millis
from watchword.delivery.carrier import Receipt, ReceiptState
from watchword.delivery.outbox import Claim, Result, ResultKind
from watchword.fraud.budget import AccountCaps
from watchword.fraud.limits import PhoneLimits
from watchword.tenancy.model import Resend
from watchword.testing import verification_cases as cases
from watchword.testing.bus import RecordingBus
from watchword.testing.clock import FakeClock
from watchword.testing.memory import MemoryStores
from watchword.testing.verification_cases import Case, Harness
from watchword.verification.model import RequestKey, State

_LIMITS = PhoneLimits(
    sends_per_hour=4, sends_per_day=6, first_cooldown=10 * SECOND, wrong_guesses_per_day=8
)
_CAPS = AccountCaps(sends_per_hour=12, sends_per_day=20)
_RETENTION = 2 * HOUR


class Step(NamedTuple):
    """One command of a sequence; each command reads the numbers that concern it.

    `target` picks among what was made so far, so that a shrunk sequence stays meaningful.
    """

    command: str
    case: Case
    target: int
    matches: int
    request: int
    body: int
    kind: ResultKind
    time: Millis


_CASES = st.builds(
    Case,
    phone=st.integers(0, 2),
    purpose=st.sampled_from(["login", "pay"]),
    binding=st.integers(0, 2),
    action=st.integers(0, 1),
    resend=st.sampled_from(Resend),
    test=st.sampled_from([False, False, False, True]),
    custom=st.sampled_from([0, 0, 0, 1]),
    account_id=st.just(cases.ACCOUNT),
    application_id=st.sampled_from([cases.APPLICATION, cases.APPLICATION, cases.OTHER_APPLICATION]),
)
_TIMES = st.sampled_from(
    [1, SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, HOUR, 5 * HOUR, DAY, -MINUTE]
)
_STEPS = st.lists(
    st.builds(
        Step,
        command=st.sampled_from(
            [
                *("start", "start", "resend", "check", "check", "check", "cancel", "rebind"),
                *("claim", "claim", "settle", "settle", "receive"),
                *("advance", "advance", "advance", "get", "list", "sweep"),
            ]
        ),
        case=_CASES,
        target=st.integers(0, 7),
        matches=st.integers(0, 7),
        request=st.sampled_from([0, 0, 1, 2, 3]),
        body=st.sampled_from([0, 0, 0, 1]),
        kind=st.sampled_from(ResultKind),
        time=_TIMES,
    ),
    min_size=1,
    max_size=40,
)


class GeneratedContract:
    """Override `open`; each example begins with an empty store."""

    def open(self) -> AbstractAsyncContextManager[Harness]:
        """Return a context that holds an empty store whose clock stands at `START`."""
        raise NotImplementedError("override open")

    @settings(
        max_examples=80, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    @given(steps=_STEPS)
    def test_a_store_does_as_the_model_does(self, steps: list[Step]) -> None:
        """Every outcome, every published id and the whole state in the end are equal."""
        asyncio.run(self._compare(steps))

    async def _compare(self, steps: list[Step]) -> None:
        clock, bus = FakeClock(), RecordingBus()
        memory = MemoryStores(clock, bus)
        oracle = Player(Harness(memory.verification, memory.outbox, clock, bus.published))
        async with self.open() as harness:
            player = Player(harness)
            for number, step in enumerate(steps):
                expected = await oracle.play(number, step)
                assert await player.play(number, step) == expected, (number, step)
            assert await player.state() == await oracle.state()


class Player:
    """Plays steps against one store and writes down what comes of them."""

    def __init__(self, harness: Harness) -> None:
        """Begin with nothing made."""
        self._harness = harness
        self._made: list[tuple[int, Case]] = []
        self._claims: list[Claim] = []

    async def play(self, number: int, step: Step) -> str:
        """Play one step; returns its outcome and what the bus was told, as text."""
        # Text, so that an enumeration never passes for its plain value.
        told = self._harness.published
        told.clear()
        commands: dict[str, Callable[[int, Step], Awaitable[object]]] = {
            name: getattr(self, f"_{name}") for name in _COMMANDS
        }
        try:
            outcome = await commands[step.command](number, step)
        except DomainError as error:
            outcome = (type(error), error.reason, error.retry_after, error.field)
        return f"{outcome!r} told {sorted(told)}"

    async def state(self) -> str:
        """Return all that the ports show of the store."""
        store, shown = self._harness.verification, list[object]()
        for application_id in (cases.APPLICATION, cases.OTHER_APPLICATION):
            case = Case(application_id=application_id)
            shown.append(await store.list(cases.page(case, limit=1_000)))
            for phone in range(3):
                index = cases.phone_index(case._replace(phone=phone))
                shown.append(await store.usage(case.account_id, application_id, index, index))
                shown.append(await store.pending_ids(application_id, index, "login", None))
        shown += [await self._harness.outbox.depth(), await self._harness.outbox.next_due_time()]
        return repr(shown)

    def _target(self, step: Step) -> tuple[int, Case]:
        if not self._made:
            return 0, step.case
        number, case = self._made[step.target % len(self._made)]
        # One step in four asks about something else than was started.
        return number, (step.case if step.target % 4 == 3 else case)

    def _request(self, step: Step) -> RequestKey | None:
        if not step.request:
            return None
        return cases.request(step.request, step.command, step.body, step.case)

    async def _start(self, number: int, step: Step) -> object:
        self._made.append((number, step.case))
        request = self._request(step)
        command = cases.start(number, step.case, request=request, limits=_LIMITS, caps=_CAPS)
        return await self._harness.verification.start(command)

    async def _resend(self, _: int, step: Step) -> object:
        target, case = self._target(step)
        command = cases.resend(target, case, request=self._request(step), limits=_LIMITS)
        return await self._harness.verification.resend(command)

    async def _check(self, _: int, step: Step) -> object:
        target, case = self._target(step)
        command = cases.check(
            target, step.matches, case, request=self._request(step), limits=_LIMITS
        )
        return await self._harness.verification.check(command)

    async def _cancel(self, _: int, step: Step) -> object:
        target, case = self._target(step)
        command = cases.cancel(target, case, self._request(step))
        return await self._harness.verification.cancel(command)

    async def _rebind(self, number: int, step: Step) -> object:
        notice = number if step.body else None
        command = cases.rebind(step.case, notice, self._request(step))
        return await self._harness.verification.rebind(command)

    async def _claim(self, _: int, step: Step) -> object:
        claims, ended = await self._harness.outbox.claim(1 + step.target, cases.LEASE, _LIMITS)
        self._claims += sorted(claims)
        return sorted(claims), sorted(ended)

    async def _settle(self, _: int, step: Step) -> object:
        if not self._claims:
            return None
        send = self._claims[step.target % len(self._claims)].send
        result = Result(
            send.send_id,
            send.attempts,
            step.kind,
            "provider",
            jitter=step.matches / 8,
            next_carrier="other" if step.body else "",
        )
        return await self._harness.outbox.settle([result], _LIMITS)

    async def _receive(self, _: int, step: Step) -> object:
        if not self._claims:
            return None
        send = self._claims[step.target % len(self._claims)].send
        state = ReceiptState.DELIVERED if step.body else ReceiptState.UNDELIVERED
        return await self._harness.outbox.receive(Receipt(send.send_id, state))

    async def _advance(self, _: int, step: Step) -> object:
        self._harness.clock.advance(step.time)
        return None

    async def _get(self, _: int, step: Step) -> object:
        target, case = self._target(step)
        return await self._harness.verification.get(
            cases.verification_id(target), case.account_id, case.application_id
        )

    async def _list(self, _: int, step: Step) -> object:
        state = [None, *State][step.matches % 7]
        return await self._harness.verification.list(cases.page(step.case, state=state, limit=3))

    async def _sweep(self, _: int, step: Step) -> object:
        return await self._harness.verification.sweep(_RETENTION, 1 + step.target)


_COMMANDS = (
    "start",
    "resend",
    "check",
    "cancel",
    "rebind",
    "claim",
    "settle",
    "receive",
    "advance",
    "get",
    "list",
    "sweep",
)
