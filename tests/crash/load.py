"""Callers at work on a server that may die at any moment, and what they find when it is back."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import grpc
from tests.crash.ledger import Answer, Flow, Journal, Kind, Request, agrees

from watchword.client import Approved, Client, Rejected, WatchwordError
from watchword.client import verification_pb2 as pb
from watchword.core.ports import SECOND, Millis
from watchword.core.system import SystemClock

CALLERS = 32
_POLL = 0.005
_POLLS = 60
# What callers do after their Start; requests in one group go out at the same time.
_PLANS: tuple[tuple[tuple[Kind, ...], ...], ...] = (
    ((Kind.RIGHT,),),
    ((Kind.RIGHT, Kind.RIGHT),),
    ((Kind.WRONG,), (Kind.RIGHT,)),
    ((Kind.WRONG,), (Kind.WRONG,), (Kind.RIGHT, Kind.RIGHT, Kind.WRONG)),
    ((Kind.WRONG,) * 6, (Kind.RIGHT,)),
    ((Kind.RIGHT, Kind.CANCEL),),
    ((Kind.CANCEL,),),
    ((Kind.RESEND,), (Kind.WRONG,), (Kind.RESEND,), (Kind.RIGHT,)),
    ((Kind.RESEND, Kind.RESEND), (Kind.CANCEL,)),
    ((Kind.RIGHT,), (Kind.RIGHT,), (Kind.WRONG,)),
)
_REFUSALS = {"SEND_COOLDOWN", "SEND_BUDGET_EXHAUSTED", "VERIFICATION_CLOSED"}
_GONE = {
    (grpc.StatusCode.UNAVAILABLE, ""),
    (grpc.StatusCode.UNAVAILABLE, "OVERLOADED"),
    (grpc.StatusCode.UNKNOWN, ""),
    (grpc.StatusCode.CANCELLED, ""),
    (grpc.StatusCode.DEADLINE_EXCEEDED, ""),
}


STORE_GONE = (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
"""What a server may say besides where its store may die."""

Clients = Sequence[Client]
"""Ways to the replicas of one deployment; each call takes any."""


class Down(Exception):
    """The server went away: what came of the call is unknown."""


@dataclass
class Load:
    """All callers of one test: their flows, in the order of their starts."""

    chance: random.Random
    journal: Journal
    flows: list[Flow] = field(default_factory=list)
    unsettled: list[Flow] = field(default_factory=list)
    parked: list[Flow] = field(default_factory=list)
    gone: set[tuple[grpc.StatusCode, str]] = field(default_factory=_GONE.copy)
    lost: set[grpc.StatusCode] = field(default_factory=set)
    acknowledged: int = 0
    repeated: int = 0
    shift: Millis = 0

    @property
    def replies(self) -> int:
        """How many calls were answered so far."""
        return self.acknowledged + self.repeated

    @property
    def now(self) -> Millis:
        """The server's time."""
        return SystemClock().now() + self.shift

    async def work(self, clients: Clients) -> None:
        """Call until the server is gone: finish what was begun, then begin anew."""
        parked, self.parked = self.parked, []
        await asyncio.gather(*(self._caller(clients, parked) for _ in range(CALLERS)))
        self.parked += parked

    async def begin(self, clients: Clients, flow: Flow) -> None:
        """Do what is planned for `flow`, as far as messages come in time."""
        self.flows.append(flow)
        self.unsettled.append(flow)
        await self._go_on(clients, flow)

    async def finish(self, clients: Clients) -> None:
        """Do what is still planned for the flows whose messages were late; begins nothing."""
        while self.parked:
            await self._go_on(clients, self.parked.pop())

    async def settle(self, clients: Clients, *, also: int = 0) -> None:
        """Repeat every request of the unsettled flows and of `also` older ones; all must agree.

        Raises `Down` where the server dies meanwhile; then another time will do.
        """
        older = self.chance.sample(self.flows, min(also, len(self.flows)))
        left = {id(flow): flow for flow in (*self.unsettled, *older)}
        queue = iter(list(left.values()))
        found = await asyncio.gather(
            *(self._settler(clients, queue, left) for _ in range(CALLERS)), return_exceptions=True
        )
        self.unsettled = list(left.values())
        failures = [error for error in found if isinstance(error, BaseException)]
        for error in sorted(failures, key=lambda error: isinstance(error, Down)):
            raise error

    async def _settler(
        self, clients: Clients, queue: Iterator[Flow], left: dict[int, Flow]
    ) -> None:
        for flow in queue:
            await self._verify(clients, flow)
            del left[id(flow)]

    async def _verify(self, clients: Clients, flow: Flow) -> None:
        """Repeat each request of a flow, look at the row, and try to use the code again."""
        for request in flow.requests:
            await self._ask(clients, flow, request)
        if not flow.verification_id:
            return
        try:
            row = await self._any(clients).get(flow.verification_id)
        except WatchwordError as error:
            raise self._refusal(error) from None
        name = pb.VerificationState.Name(row.state).removeprefix("VERIFICATION_STATE_")
        assert name in flow.states(self.now), f"{name} after {flow.told()}"
        used = flow.count("WRONG_CODE") + flow.approved
        flow.check(name, used, len(row.sends), self.now)
        if name == "PENDING":
            assert row.checks_remaining == 5 - used, flow.told()
        if flow.approved and self.chance.random() < 0.3:
            again = Request(Kind.RIGHT, f"again-{len(flow.requests)}-{flow.phone}")
            again.code = next(r.code for r in flow.requests if r.kind is Kind.RIGHT)
            flow.requests.append(again)
            await self._ask(clients, flow, again)
            assert again.answer is not None
            assert again.answer.what == "ALREADY_USED", flow.told()

    async def _caller(self, clients: Clients, parked: list[Flow]) -> None:
        while True:
            flow = parked.pop() if parked else self._new_flow()
            self.unsettled.append(flow)
            try:
                await self._go_on(clients, flow)
            except Down:
                return

    def _new_flow(self) -> Flow:
        number = len(self.flows)
        # Numbers of New York that no script and no fiction knows: 212 2xx and on.
        phone = f"+1212{2_000_000 + number * 7 % 3_000_000:07d}"
        flow = Flow(phone, list(self.chance.choice(_PLANS)))
        self.flows.append(flow)
        return flow

    async def _go_on(self, clients: Clients, flow: Flow) -> None:
        if not flow.requests:
            flow.requests.append(Request(Kind.START, f"start-{flow.phone}"))
        await self._ask(clients, flow, flow.requests[0])
        while flow.plan:
            kinds = flow.plan[0]
            requests = [await self._request(flow, kind, i) for i, kind in enumerate(kinds)]
            if any(not r.code and r.kind in (Kind.WRONG, Kind.RIGHT) for r in requests):
                self.parked.append(flow)
                return
            flow.plan.pop(0)
            flow.requests += requests
            asked = (self._ask(clients, flow, request) for request in requests)
            found = await asyncio.gather(*asked, return_exceptions=True)
            for error in found:
                if isinstance(error, BaseException):
                    raise error

    async def _request(self, flow: Flow, kind: Kind, number: int) -> Request:
        request = Request(kind, f"{kind}-{len(flow.requests)}-{number}-{flow.phone}")
        if kind in (Kind.WRONG, Kind.RIGHT):
            code = await self._code(flow)
            if kind is Kind.WRONG and code:
                code = f"{(int(code) + 1 + number) % 1_000_000:06d}"
            request.code = code
        return request

    async def _code(self, flow: Flow) -> str:
        """Return the code as soon as the carrier has it, "" where it takes too long."""
        for _ in range(_POLLS):
            self.journal.read()
            code = self.journal.codes.get(flow.verification_id)
            if code:
                return code
            await asyncio.sleep(_POLL)
        return ""

    async def _ask(self, clients: Clients, flow: Flow, request: Request) -> None:
        """Send a request, or send it again: the answer must be what it was."""
        if request.refused:
            return
        before = request.answer
        try:
            answer = await self._sent(clients, flow, request)
        except WatchwordError as error:
            request.refused = self._refusal(error).reason
            if before:
                raise AssertionError(f"{before.what} became {request.refused}") from None
            return
        if before is None:
            request.answer = answer
            self.acknowledged += 1
        else:
            self.repeated += 1
            assert agrees(before, answer, self.now), (
                f"{request.kind} was {before.what}, is {answer.what}: {flow.told()}"
            )

    async def _sent(self, clients: Clients, flow: Flow, request: Request) -> Answer:
        request_id, client = request.request_id, self._any(clients)
        if request.kind is Kind.START:
            row = await client.start(flow.phone, purpose="login", request_id=request_id)
            flow.expire_time = row.expire_time.ToMilliseconds() or flow.expire_time
            return Answer("STARTED", row.verification_id)
        if request.kind is Kind.RESEND:
            row = await client.resend(flow.verification_id, request_id=request_id)
            return Answer("RESENT", row.verification_id)
        if request.kind is Kind.CANCEL:
            row = await client.cancel(flow.verification_id, request_id=request_id)
            return Answer("CANCELED", row.verification_id)
        outcome = await client.check(
            request.code,
            verification_id=flow.verification_id,
            purpose="login",
            request_id=request_id,
        )
        if isinstance(outcome, Approved):
            time = outcome.verification.update_time.ToMilliseconds()
            return Answer("APPROVED", flow.verification_id, outcome.receipt, time=time)
        assert isinstance(outcome, Rejected)
        return Answer(outcome.reason, flow.verification_id, remaining=outcome.checks_remaining)

    def _any(self, clients: Clients) -> Client:
        return self.chance.choice(clients)

    def _refusal(self, error: WatchwordError) -> WatchwordError:
        """Return the refusal, or raise `Down` where the server is gone or going.

        Whatever else a server may say to these callers is a fault.
        """
        if error.reason in _REFUSALS:
            return error
        assert (error.code, error.reason) in self.gone, error
        self.lost.add(error.code)
        raise Down from None


WAIT: Millis = 45 * SECOND
"""Longer than the lease on a message: what was in doubt is sent again after it."""
