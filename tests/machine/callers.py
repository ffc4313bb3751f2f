"""Everything that can happen to the verifications of one application, in any order."""

import copy
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)
from tests.machine.oracle import (
    APPROVED,
    CANCELED,
    DAY,
    SECOND,
    STARTED,
    Oracle,
    Outcome,
    Verification,
    within,
)
from tests.machine.promises import HOUR, LENGTH, MINUTE, PHONES, Promises
from tests.support.faults import Fault, FullDisk, LostCommit, NthStatement

from watchword.core.errors import DomainError
from watchword.core.secret import Secret
from watchword.delivery.carrier import Channel
from watchword.tenancy.model import Resend
from watchword.verification.request import CheckRequest, PolicyWish, StartRequest

RECEIPT_TTL = 5 * MINUTE
MOST_TIME = 20 * DAY
Action = tuple[tuple[str, str], ...]
_FAULTS = st.one_of(
    *[st.none()] * 6,
    st.builds(NthStatement, st.integers(1, 16)),
    st.builds(FullDisk),
    st.builds(LostCommit),
)
_PHONE = st.integers(0, len(PHONES) - 1)
_PURPOSE = st.sampled_from(["login", "pay"])
_BINDING = st.sampled_from([b"", b"session-1", b"session-2"])
_ACTION: st.SearchStrategy[Action] = st.sampled_from([(), (("amount", "10.00"),)])
_TIMES = st.one_of(
    st.sampled_from([1, SECOND, 29_999, 30 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE]),
    st.sampled_from([5 * MINUTE, 599_999, 10 * MINUTE, HOUR, DAY]),
    st.sampled_from([-1, -SECOND, -MINUTE, -5 * MINUTE]),
)
_TARGET = st.integers(0, 9)


class Asked(NamedTuple):
    """A request that was answered, to be repeated."""

    call: Callable[[], Coroutine[Any, Any, Outcome]]
    outcome: Outcome
    verification_id: str
    time: int


class Callers(Promises):
    """Starts, answers, guesses, waits, fails and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.numbers = iter(range(1_000_000))
        self.passed = 0

    # -------------------------------------------------------------------- rules

    @rule(
        phone=_PHONE,
        purpose=_PURPOSE,
        binding=_BINDING,
        action=_ACTION,
        resend=st.sampled_from(Resend),
        patient=st.booleans(),
        fault=_FAULTS,
    )
    def start(
        self,
        phone: int,
        purpose: str,
        binding: bytes,
        action: Action,
        resend: Resend,
        *,
        patient: bool,
        fault: Fault | None,
    ) -> None:
        wish = Verification(phone, purpose, binding, action, resend)
        if patient:
            self.wait_until(self.oracle.phones[phone].next_send(self.now)[0])
        found: list[Verification] = []

        def expected(oracle: Oracle) -> Outcome:
            outcome, row = oracle.start(copy.deepcopy(wish), self.now)
            found[:] = [row]
            return outcome

        request_id = self.request_id()

        async def call() -> Outcome:
            snapshot = await self.world.service.start(
                self.world.caller, self._start_request(wish, request_id)
            )
            if not found[0].verification_id:
                found[0].verification_id = snapshot.verification.verification_id
            assert snapshot.verification.verification_id == found[0].verification_id
            return STARTED

        self.ask(call, expected, lambda: found[0], fault)

    @precondition(lambda self: self.oracle.verifications)
    @rule(target_=st.integers(0, 3), patient=st.sampled_from([True, True, False]), fault=_FAULTS)
    def resend(self, target_: int, *, patient: bool, fault: Fault | None) -> None:
        row, request_id = self.pick(target_), self.request_id()
        if patient:
            self.deliver()
            self.wait_until(row().next_send_time)

        async def call() -> Outcome:
            snapshot = await self.world.service.resend(
                self.world.caller, row().verification_id, None, request_id, b"resend"
            )
            assert snapshot.verification.verification_id == row().verification_id
            return STARTED

        self.ask(call, lambda oracle: oracle.resend(row(oracle), self.now), row, fault)

    @precondition(lambda self: self.oracle.verifications)
    @rule(
        target_=st.integers(0, 3),
        guess=st.sampled_from(["newest"] * 4 + ["older", "older", "wrong", "wrong"]),
        other=st.sampled_from([""] * 6 + ["purpose", "action", "binding"]),
        fault=_FAULTS,
    )
    def check(self, target_: int, guess: str, other: str, fault: Fault | None) -> None:
        row, request_id = self.pick(target_), self.request_id()
        code = self.code(row(), guess)
        purpose, action, binding = row().purpose, row().action, row().binding
        if other == "purpose":
            purpose = "other"
        elif other == "action":
            action = (("amount", "99.00"),)
        elif other == "binding":
            binding = b"session-3"
        request = CheckRequest(
            verification_id=row().verification_id,
            phone_number="",
            code=Secret(code),
            purpose=purpose,
            action=dict(action),
            binding=binding,
            request_id=request_id,
            body=f"{code}{purpose}{action}{binding!r}".encode(),
        )

        async def call() -> Outcome:
            result = await self.world.service.check(self.world.caller, request)
            if result.receipt is not None:
                assert result.rejection is None
                return APPROVED
            return ("rejected", str(result.rejection), result.checks_remaining)

        def expected(oracle: Oracle) -> Outcome:
            return oracle.check(row(oracle), code, purpose, action, binding, self.now)

        if self.ask(call, expected, row, fault) == APPROVED:
            self.approvals[row().verification_id] += 1

    @rule(phone=_PHONE, resend=st.sampled_from(Resend), fault=_FAULTS)
    def begin(self, phone: int, resend: Resend, fault: Fault | None) -> None:
        """The person asks for a code, as one does."""
        self.start(phone, "login", b"session-1", (), resend, patient=True, fault=fault)

    @precondition(lambda self: self.any_pending)
    @rule(fault=_FAULTS)
    def answer(self, fault: Fault | None) -> None:
        """The person enters what the phone shows."""
        self.deliver()
        self.check(0, "newest", "", fault)

    @precondition(lambda self: self.any_pending)
    @rule(
        guess=st.sampled_from(["wrong", "older", "newest"]),
        other=st.sampled_from(["", "purpose", "action", "binding"]),
        times=st.integers(1, 6),
    )
    def guess_on(self, guess: str, other: str, times: int) -> None:
        """Somebody tries again and again."""
        for _ in range(times):
            self.check(0, guess, other if guess == "newest" else "", None)

    @precondition(lambda self: self.oracle.verifications)
    @rule(kind=st.sampled_from(["cancel", "get", "get", "sweep"]), target_=_TARGET, fault=_FAULTS)
    def tidy(self, kind: str, target_: int, fault: Fault | None) -> None:
        if kind == "cancel":
            self.cancel(target_, fault)
        elif kind == "get":
            self.get(target_)
        else:
            self.sweep()

    def cancel(self, target_: int, fault: Fault | None) -> None:
        row, request_id = self.pick(target_), self.request_id()

        async def call() -> Outcome:
            await self.world.service.cancel(
                self.world.caller, row().verification_id, request_id, b"cancel"
            )
            return CANCELED

        self.ask(call, lambda oracle: oracle.cancel(row(oracle), self.now), row, fault)

    @precondition(lambda self: self.asked)
    @rule(target_=_TARGET)
    def repeat(self, target_: int) -> None:
        asked = self.asked[-1 - target_ % len(self.asked)]
        if self.now - asked.time >= DAY:
            return
        expected = asked.outcome
        if expected == APPROVED:
            row = self.rows[asked.verification_id]
            if self.now >= row.approve_time + RECEIPT_TTL:
                expected = ("rejected", "ALREADY_USED", 0)
        assert self.run(self.outcome(asked.call)) == expected
        self.adopt({"EXPIRED"})

    def get(self, target_: int) -> None:
        row = self.pick(target_)()
        row.notice(self.now)
        found = self.run(self.world.service.get(self.world.caller, row.verification_id))
        assert found.verification.state == row.state
        assert found.verification.checks_remaining == row.remaining

    @precondition(lambda self: self.passed < MOST_TIME)
    @rule(millis=_TIMES)
    def wait(self, millis: int) -> None:
        self.world.clock.advance(millis)
        self.passed += max(0, millis)

    def sweep(self) -> None:
        self.run(self.world.parts.stores.verification.sweep(30 * DAY, 100))
        self.run(self.world.parts.epochs.destroy_expired(self.now))
        self.oracle.sweep(self.now)

    @rule()
    def deliver(self) -> None:
        self.delivered("")

    @rule(sending=st.sampled_from(["", "before", "after"]))
    def crash(self, sending: str) -> None:
        if sending:
            self.delivered(sending)
        else:
            self.run(self.world.crash())

    # ------------------------------------------------------------------ helpers

    def wait_until(self, time: int) -> None:
        """Let as much time pass, where it is not hours."""
        if self.now < time < self.now + 5 * MINUTE:
            self.world.clock.set(time)

    def request_id(self) -> str:
        return f"request-{next(self.numbers)}"

    def pick(self, target: int) -> Callable[..., Verification]:
        """Return what finds one verification, in the oracle or a copy: the open and new first."""
        rows = self.oracle.verifications
        order = sorted(range(len(rows)), key=lambda n: (rows[n].state != "PENDING", -n))
        number = order[target % len(order)]
        return lambda oracle=None: (oracle or self.oracle).verifications[number]

    def code(self, row: Verification, kind: str) -> str:
        known = [row.codes[generation] for generation in sorted(row.codes)]
        if known and kind == "newest":
            return known[-1]
        if len(known) > 1 and kind == "older":
            return known[0]
        wrong = int(known[-1]) + 1 if known else 12_345_678
        return f"{wrong % 10**LENGTH:0{LENGTH}d}"

    def ask(
        self,
        call: Callable[[], Coroutine[Any, Any, Outcome]],
        expected: Callable[[Oracle], Outcome],
        row: Callable[[], Verification],
        fault: Fault | None,
    ) -> Outcome:
        """Call, with a fault or without; what comes of it must be what the oracle says."""
        before = copy.deepcopy(self.oracle)
        wanted = expected(self.oracle)
        with self.world.failing(fault):
            found = self.run(self.outcome(call))
        if fault is not None and fault.fired:
            assert found == ("error", "DEPENDENCY_UNAVAILABLE")
            if isinstance(fault, LostCommit):
                # It was done and nobody was told: repeating the request tells.
                self.run(self.world.crash())
            else:
                self.oracle = before
                # A call may have noticed first, and apart, that a time is over.
                self.adopt({"EXPIRED"})
                self.the_store_holds_what_the_oracle_says()
                wanted = expected(self.oracle)
            found = self.run(self.outcome(call))
        assert found == wanted
        self.outcomes[wanted[:2]] += 1
        if wanted[0] != "error":
            self.asked.append(Asked(call, wanted, row().verification_id, self.now))
        return found

    async def outcome(self, call: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
        try:
            return await call()
        except DomainError as error:
            return ("error", str(error.reason))

    def _start_request(self, wish: Verification, request_id: str) -> StartRequest:
        return StartRequest(
            phone_number=PHONES[wish.phone],
            region_code="",
            channel=Channel.SMS,
            purpose=wish.purpose,
            action=dict(wish.action),
            binding=wish.binding,
            policy=PolicyWish(length=LENGTH, resend=Resend(wish.resend)),
            language_code="",
            web_otp_origin="",
            android_app_hash="",
            tags={},
            custom_code=None,
            request_id=request_id,
            body=repr(wish).encode(),
        )

    def delivered(self, hangs: str) -> None:
        """Let the dispatcher work; learn the codes, and what a message in doubt has cost."""
        in_doubt = [s.subject_id for s in self.world.queued if 0 < s.lease_time <= self.now]
        self.run(self.world.deliver(hangs=hangs))
        sends = self.world.committed.sends
        rows = self.rows
        for message in self.world.carrier.taken:
            row = rows[message.verification_id]
            row.codes[sends[message.send_id].generation] = message.code.reveal()
        for verification_id in in_doubt:
            self.may_charge(rows[verification_id])
        # A message that is too late may be what notices it.
        self.adopt({"EXPIRED", "FAILED"})

    def adopt(self, ends: set[str]) -> None:
        """Verifications whose time is over may have been written so by now, or not yet."""
        found = self.world.committed.verifications
        for row in self.oracle.verifications:
            state = str(found[row.verification_id].state)
            if row.overdue(self.now) and state in ends:
                row.state = state

    def may_charge(self, row: Verification) -> None:
        """A message in doubt is one more send, where the phone's budget bears it."""
        phone = self.oracle.phones[row.phone]
        bears = (
            len(within(phone.sends, self.now, HOUR)) < 5
            and len(within(phone.sends, self.now, DAY)) < 10
        )
        if bears and row.state == "PENDING":
            phone.send(self.now)
