"""Callers: people who answer, people who guess, people who repeat, all on shared verifications."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.simulation.findings import Findings
from tests.simulation.ledger import UNKNOWN, Answer, Ask, Ledger
from tests.simulation.network import Network
from tests.simulation.oracle import PHONES, Action, Oracle, Submission
from tests.simulation.replica import Hung, Lost, Replica
from tests.simulation.trouble import StoreClock

from watchword.core.errors import DomainError, Unavailable
from watchword.core.ports import HOUR
from watchword.core.secret import Secret
from watchword.delivery.carrier import Channel
from watchword.tenancy.model import Caller, Resend
from watchword.verification.model import Verification
from watchword.verification.request import CheckRequest, PolicyWish, StartRequest
from watchword.verification.service import CheckResult, VerificationService

# Eight digits, so that none of them stands in a text by chance.
LENGTH = 8
_KEPT = 23 * HOUR
_PAUSES = (0.0, 0.0, 0.0, 0.05, 5.0, 31.0, 31.0, 61.0, 130.0)
_SIEGE = (0.0, 0.0, 0.0, 31.0, 61.0, 130.0, 610.0, 3_700.0)


@dataclass
class Flow:
    """A verification that clients know of, and for what it was asked."""

    verification_id: str
    asked: Submission
    resend: Resend


@dataclass
class Pool:
    """What all clients share: the way to the replicas, and all that is known by anybody."""

    replicas: Callable[[], list[Replica]]
    network: Network
    findings: Findings
    oracle: Oracle
    ledger: Ledger
    clock: StoreClock
    callers: list[Caller]
    siege: bool = False
    flows: list[Flow] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    numbers: "count[int]" = field(default_factory=count)
    outcomes: set[Answer] = field(default_factory=set)


class Client:
    """One caller, who does one thing after the other."""

    def __init__(self, pool: Pool, chance: random.Random) -> None:
        self._pool = pool
        self._chance = chance

    async def act(self, actions: int) -> None:
        """Do so many things, chosen by chance."""
        for _ in range(actions):
            await self._act()
            pauses = _SIEGE if self._pool.siege else _PAUSES
            await asyncio.sleep(self._chance.choice(pauses))

    async def ask(self, ask: Ask, tries: int = 3) -> Answer:
        """Send a request, and again while nobody knows what came of it."""
        pool = self._pool
        for _ in range(tries):
            if pool.clock.highest - ask.time >= _KEPT:
                break
            answer, row = await self._answer(ask)
            if answer != UNKNOWN:
                pool.ledger.note(ask, answer, row, pool.clock.now())
                pool.outcomes.add(answer[:2] if answer[0] in ("rejected", "error") else answer[:1])
                return answer
            await asyncio.sleep(self._chance.choice((0.0, 0.1, 3.0)))
        return UNKNOWN

    async def _act(self) -> None:
        chance, pool = self._chance, self._pool
        if not pool.flows:
            await self.start()
            return
        weights = (3, 1, 0, 12, 0, 0, 1) if pool.siege else (3, 4, 1, 8, 1, 2, 1)
        acts = (self.start, self.resend, self.cancel, self.check, self.race, self.get, self.repeat)
        await chance.choices(acts, weights)[0]()

    # -------------------------------------------------------------------- what they do

    async def start(self) -> None:
        chance = self._chance
        siege = self._pool.siege
        caller = self._pool.callers[0] if siege else chance.choice(self._pool.callers)
        phone = PHONES[0] if siege else chance.choice(PHONES)
        action: Action = chance.choice(((), (("amount", "10.00"),)))
        wish = Submission(
            caller,
            "",
            chance.choice(("login", "pay")),
            action,
            chance.choice((b"", b"session-1")),
        )
        resend = chance.choice(list(Resend))
        request_id = self._request_id()
        request = StartRequest(
            phone_number=phone,
            region_code="",
            channel=Channel.SMS,
            purpose=wish.purpose,
            action=dict(action),
            binding=wish.binding,
            policy=PolicyWish(length=LENGTH, resend=resend),
            language_code="",
            web_otp_origin="",
            android_app_hash="",
            tags={},
            custom_code=None,
            request_id=request_id,
            body=repr((phone, wish, resend)).encode(),
        )
        ask = self._ask("start", request_id, wish, "", lambda s: s.start(caller, request))
        ask.phone = phone
        answer = await self.ask(ask)
        if answer != UNKNOWN and answer[0] == "started":
            name = str(answer[1])
            if all(flow.verification_id != name for flow in self._pool.flows):
                self._pool.flows.append(Flow(name, wish, resend))

    async def resend(self) -> None:
        flow = self._flow()
        caller, request_id = flow.asked.caller, self._request_id()
        name = flow.verification_id
        call = self._ask(
            *("resend", request_id, flow.asked, name),
            lambda s: s.resend(caller, name, None, request_id, name.encode()),
        )
        await self.ask(call)

    async def cancel(self) -> None:
        flow = self._flow()
        caller, foreign = self._caller(flow)
        request_id, name = self._request_id(), flow.verification_id
        ask = self._ask(
            *("cancel", request_id, flow.asked, name),
            lambda s: s.cancel(caller, name, request_id, name.encode()),
        )
        ask.foreign = foreign
        await self.ask(ask)

    async def get(self) -> None:
        flow = self._flow()
        caller, foreign = self._caller(flow)
        name = flow.verification_id
        ask = self._ask("get", "", flow.asked, name, lambda s: s.get(caller, name))
        ask.foreign = foreign
        await self.ask(ask, tries=1)

    async def check(self) -> None:
        await self._check(self._flow())

    async def race(self) -> None:
        """Several at once, and perhaps somebody cancels."""
        flow = self._flow()
        calls = [self._check(flow) for _ in range(self._chance.randint(2, 6))]
        if self._chance.random() < 0.3:
            calls.append(self.cancel())
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)

    async def repeat(self) -> None:
        """Send again what was answered already."""
        asks = [ask for ask in self._pool.asks if ask.request_id]
        if asks:
            await self.ask(self._chance.choice(asks[-8:]), tries=1)

    async def _check(self, flow: Flow) -> None:
        chance = self._chance
        row = flow.asked
        code, newest = self._code(flow)
        purpose, action, binding = row.purpose, row.action, row.binding
        other = chance.choice(("",) * 8 + ("purpose", "action", "binding"))
        if other == "purpose":
            purpose = "other"
        elif other == "action":
            action = (("amount", "99.00"),)
        elif other == "binding":
            binding = b"session-2"
        caller, foreign = self._caller(flow)
        said = Submission(caller, code, purpose, action, binding)
        request_id, name = self._request_id(), flow.verification_id
        request = CheckRequest(
            verification_id=name,
            phone_number="",
            code=Secret(code),
            purpose=purpose,
            action=dict(action),
            binding=binding,
            request_id=request_id,
            body=repr(said).encode(),
        )
        ask = self._ask("check", request_id, said, name, lambda s: s.check(caller, request))
        ask.foreign = foreign
        ask.clear = newest and not other and flow.resend is Resend.SAME and not self._clock_set
        self._pool.oracle.submissions[name].append(said)
        await self.ask(ask)

    # ------------------------------------------------------------------------ helpers

    @property
    def _clock_set(self) -> bool:
        # A code key that a leap of the clock ended is gone for good, and its codes with it.
        return self._pool.clock.jumps > 0

    def _flow(self) -> Flow:
        """Pick a verification: one of the last that were begun."""
        return self._chance.choice(self._pool.flows[-1 if self._pool.siege else -4 :])

    def _caller(self, flow: Flow) -> tuple[Caller, bool]:
        """Return who asks, and whether they are a stranger to the verification."""
        owner = flow.asked.caller
        if self._chance.random() < 0.05:
            stranger = self._chance.choice([c for c in self._pool.callers if c != owner])
            return stranger, True
        return owner, False

    def _code(self, flow: Flow) -> tuple[str, bool]:
        """Return a code to try, and whether it is the newest that reached the phone."""
        known = [
            message.code
            for message in self._pool.network.taken
            if message.verification_id == flow.verification_id
        ]
        right = 0.02 if self._pool.siege else 0.6
        if known and self._chance.random() < right:
            return known[-1], True
        if known and not self._pool.siege and self._chance.random() < 0.6:
            return known[0], known[0] == known[-1]
        wrong = int(known[-1]) if known else 0
        return f"{(wrong + self._chance.randint(1, 10_000)) % 10**LENGTH:0{LENGTH}d}", False

    def _request_id(self) -> str:
        return f"request-{next(self._pool.numbers)}"

    def _ask(
        self,
        kind: str,
        request_id: str,
        said: Submission,
        verification_id: str,
        call: Callable[[VerificationService], Coroutine[Any, Any, Any]],
    ) -> Ask:
        ask = Ask(kind, request_id, said, verification_id, self._pool.clock.highest, call)
        self._pool.asks.append(ask)
        return ask

    async def _answer(self, ask: Ask) -> tuple[Answer, Verification | None]:
        """Call a replica; returns what came of it and the verification that the reply shows."""
        replica = self._chance.choice(self._pool.replicas())
        try:
            reply = await replica.call(ask.call)
        except (Lost, Unavailable):
            return UNKNOWN, None
        except DomainError as error:
            self._pool.oracle.told(error.message)
            return ("error", str(error.reason)), None
        except Hung as error:
            self._pool.findings.broken(12, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, no caller may see it
            self._pool.findings.broken(12, f"{ask.kind} raised {error!r}")
        return _shown(ask.kind, reply)


def _shown(kind: str, reply: Any) -> tuple[Answer, Verification | None]:
    row: Verification
    if isinstance(reply, CheckResult):
        row = reply.snapshot.verification
        if reply.receipt is not None:
            return ("approved", reply.receipt.token), row
        return ("rejected", str(reply.rejection), reply.checks_remaining), row
    row = reply.verification
    if kind == "cancel":
        return ("canceled",), row
    if kind == "get":
        return ("read", row.verification_id), row
    return ("started", row.verification_id), row
