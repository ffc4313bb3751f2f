"""Callers, carriers, clocks, faults and crashes in any order; a plain oracle says what is so."""

import asyncio
import copy
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.machine.oracle import (
    APPROVED,
    CANCELED,
    DAY,
    SECOND,
    STARTED,
    Oracle,
    Outcome,
    Phone,
    Verification,
    within,
)
from tests.machine.world import (
    Fault,
    FullDisk,
    LostCommit,
    NthStatement,
    World,
    make_deployment,
)

from watchword.core.errors import DomainError
from watchword.core.secret import Secret
from watchword.delivery.carrier import Channel
from watchword.tenancy.model import Resend
from watchword.verification.request import CheckRequest, PolicyWish, StartRequest

PHONES = ("+12127364981", "+16463287190", "+14152639475")
# Eight digits, so that none of them stands in a file by chance.
LENGTH = 8
MINUTE, HOUR = 60 * SECOND, 3_600 * SECOND
RECEIPT_TTL = 5 * MINUTE
MOST_TIME = 20 * DAY
TERMINAL = {"APPROVED", "CANCELED", "EXPIRED", "EXHAUSTED", "FAILED"}

T = TypeVar("T")
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


class Callers(RuleBasedStateMachine):
    """Everything that can happen to the verifications of one application."""

    deployment: Path
    outcomes: ClassVar[Counter[Outcome]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="watchword-machine-"))
        self.loop = asyncio.Runner()
        self.world = World(self.deployment, self.root)
        self.oracle = Oracle([Phone() for _ in PHONES])
        self.asked: list[Asked] = []
        self.seen: dict[str, str] = {}
        self.approvals: Counter[str] = Counter()
        self.numbers = iter(range(1_000_000))
        self.passed = 0

    @initialize()
    def open(self) -> None:
        self.run(self.world.open())

    def teardown(self) -> None:
        if hasattr(self.world, "parts"):
            self.run(self.world.close())
        self.loop.close()
        shutil.rmtree(self.root)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    @property
    def now(self) -> int:
        return self.world.clock.now()

    @property
    def rows(self) -> dict[str, Verification]:
        return {row.verification_id: row for row in self.oracle.verifications}

    @property
    def any_pending(self) -> bool:
        return any(row.state == "PENDING" for row in self.oracle.verifications)

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

    # --------------------------------------------------------------- invariants

    @invariant()
    def the_store_holds_what_the_oracle_says(self) -> None:
        rows = self.world.rows(
            "SELECT verification_id, state, generation, checks_used, send_count, next_send_time,"
            " expire_time, approve_time FROM verification"
        )
        assert {row[0]: row[1:] for row in rows} == {
            verification_id: row.row for verification_id, row in self.rows.items()
        }

    @invariant()
    def no_state_moves_backwards(self) -> None:
        for row in self.oracle.verifications:
            before = self.seen.get(row.verification_id, "PENDING")
            assert before == row.state or before not in TERMINAL
            self.seen[row.verification_id] = row.state

    @invariant()
    def nothing_is_approved_twice_or_unasked(self) -> None:
        for row in self.oracle.verifications:
            approved = row.state == "APPROVED"
            assert self.approvals[row.verification_id] == approved
            assert not approved or any(
                message.verification_id == row.verification_id
                for message in self.world.carrier.taken
            )

    @invariant()
    def guesses_stay_within_the_budget(self) -> None:
        for row in self.oracle.verifications:
            assert row.checks_used <= 5
        for phone in self.oracle.phones:
            assert len(within(phone.wrong, self.now, DAY)) <= 10

    @invariant()
    def sends_stay_within_the_budget_and_are_recorded_first(self) -> None:
        sends = {
            send_id: (attempts, generation)
            for send_id, attempts, generation in self.world.rows(
                "SELECT send_id, attempts, generation FROM send"
            )
        }
        times = Counter(message.send_id for message in self.world.carrier.taken)
        for send_id, count in times.items():
            assert count <= min(2, sends[send_id][0])
        codes = {(m.send_id, m.code.reveal()) for m in self.world.carrier.taken}
        assert len(codes) == len(times), "a repeated message with another code"
        assert all(row.send_count <= 5 for row in self.oracle.verifications)

    @invariant()
    def every_change_has_one_audit_leaf(self) -> None:
        leaves = self.world.rows(
            "SELECT object_id, count(*), count(DISTINCT version), max(version)"
            " FROM audit_leaf WHERE kind = 'verification' GROUP BY object_id"
        )
        versions = dict(self.world.rows("SELECT verification_id, version FROM verification"))
        assert {row[0]: row[1:] for row in leaves} == {
            name: (version, version, version) for name, version in versions.items()
        }

    @invariant()
    def nothing_personal_is_at_rest_or_logged(self) -> None:
        secrets = {phone[2:] for phone in PHONES}
        secrets |= {message.code.reveal() for message in self.world.carrier.taken}
        pattern = re.compile(b"|".join(secret.encode() for secret in sorted(secrets)))
        for name, content in (*self.world.files(), ("log", b"".join(self.world.lines))):
            assert pattern.search(content) is None, name

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
        in_doubt = self.world.rows(
            "SELECT v.verification_id FROM send JOIN verification v ON subject_id = verification_id"
            " WHERE send.state = 'QUEUED' AND send.lease_time BETWEEN 1 AND ?",
            self.now,
        )
        self.run(self.world.deliver(hangs=hangs))
        generations = dict(self.world.rows("SELECT send_id, generation FROM send"))
        states = dict(self.world.rows("SELECT verification_id, state FROM verification"))
        rows = self.rows
        for message in self.world.carrier.taken:
            row = rows[message.verification_id]
            row.codes[generations[message.send_id]] = message.code.reveal()
        for (verification_id,) in in_doubt:
            self.may_charge(rows[verification_id])
        for row in rows.values():
            if row.overdue(self.now):
                # A message that is too late may be what notices it.
                assert states[row.verification_id] in {"PENDING", "EXPIRED", "FAILED"}
                row.state = states[row.verification_id]

    def may_charge(self, row: Verification) -> None:
        """A message in doubt is one more send, where the phone's budget bears it."""
        phone = self.oracle.phones[row.phone]
        bears = (
            len(within(phone.sends, self.now, HOUR)) < 5
            and len(within(phone.sends, self.now, DAY)) < 10
        )
        if bears and row.state == "PENDING":
            phone.send(self.now)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("machine") / "var"
    make_deployment(place)
    Callers.deployment = place
    yield place
    del Callers.deployment


SHORT = settings(
    max_examples=20,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    SHORT,
    derandomize=False,
    max_examples=1_500,
    stateful_step_count=80,
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
)


def test_any_order_of_calls_faults_and_crashes_keeps_every_promise(deployment: Path) -> None:
    Callers.outcomes.clear()
    run_state_machine_as_test(Callers, settings=SHORT)
    # A machine that goes nowhere would prove nothing.
    assert set(Callers.outcomes) >= {
        STARTED,
        APPROVED,
        CANCELED,
        ("rejected", "WRONG_CODE"),
        ("rejected", "EXHAUSTED"),
        ("rejected", "BINDING_MISMATCH"),
        ("error", "SEND_COOLDOWN"),
    }


@pytest.mark.long
def test_any_order_at_length_keeps_every_promise(deployment: Path) -> None:
    run_state_machine_as_test(Callers, settings=LONG)
