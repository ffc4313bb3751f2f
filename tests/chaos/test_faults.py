"""Single faults between a client and a server, each at a chosen moment of a call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from tests.attacks.site import wrong
from tests.chaos.proxy import Action, ChaosProxy, Direction, Fault, chaos_proxy
from tests.support.live import Live, running

from watchword.client import Approved, Client, Rejected, RetryPolicy, WatchwordError
from watchword.client import verification_pb2 as pb

LONG = 10.0
DEADLINE = 0.5
_PHONES = iter(range(2_000_000, 9_000_000))


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with running(tmp_path / "var") as server:
        yield server


@pytest_asyncio.fixture
async def proxy(live: Live) -> AsyncIterator[ChaosProxy]:
    async with chaos_proxy(live.endpoint) as found:
        yield found


@asynccontextmanager
async def calling(
    live: Live, endpoint: str, *, deadline: float = LONG, attempts: int = 1
) -> AsyncIterator[Client]:
    """Call the server at `endpoint`, by default without trying again; never wait for ever."""
    client = Client(
        endpoint,
        live.credentials["credential_id"],
        live.credentials["credential_secret"],
        deadline=deadline,
        retry=RetryPolicy(max_attempts=attempts),
    )
    async with asyncio.timeout(LONG), client:
        yield client


def a_phone() -> str:
    return f"+1212{next(_PHONES)}"


async def started(live: Live) -> tuple[pb.Verification, str]:
    """Start a verification past all trouble; returns it and its code."""
    row = await live.start(a_phone())
    return row, await live.code(row.verification_id)


async def failed(live: Live, proxy: ChaosProxy, code: str, name: str, request_id: str) -> None:
    """Check through the proxy; whatever happens there, the caller must hear of no answer."""
    async with calling(live, proxy.endpoint, deadline=DEADLINE) as client:
        with pytest.raises(WatchwordError) as error:
            await client.check(code, verification_id=name, request_id=request_id)
    assert error.value.code.name in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN"}
    assert proxy.fired >= 1


def moments(code: str, name: str) -> dict[str, Fault]:
    """Faults around one Check: before it, after it was sent, and before its reply."""
    sent, reply = code.encode(), name.encode()
    return {
        "cut before it": Fault(Action.CUT, Direction.UP, pattern=sent, forward=False),
        "cut after it": Fault(Action.CUT, Direction.UP, pattern=sent),
        "cut before its reply": Fault(Action.CUT, Direction.DOWN, pattern=reply, forward=False),
        "stall after it": Fault(Action.STALL, Direction.UP, pattern=sent),
        "stall before its reply": Fault(Action.STALL, Direction.DOWN, pattern=reply, forward=False),
        "half closed after it": Fault(Action.HALF_CLOSE, Direction.UP, pattern=sent),
        "half closed before its reply": Fault(
            Action.HALF_CLOSE, Direction.DOWN, pattern=reply, forward=False
        ),
    }


@pytest.mark.parametrize("moment", moments("0", "V"))
async def test_a_right_code_is_approved_once_whatever_becomes_of_the_reply(
    live: Live, proxy: ChaosProxy, moment: str
) -> None:
    row, code = await started(live)
    name = row.verification_id
    proxy.plan = lambda: moments(code, name)[moment]
    await failed(live, proxy, code, name, "first")
    async with calling(live, live.endpoint) as client:
        again = [
            await client.check(code, verification_id=name, request_id="first") for _ in range(2)
        ]
        other = await client.check(code, verification_id=name, request_id="second")
    assert isinstance(again[0], Approved)
    assert isinstance(again[1], Approved)
    assert again[0].receipt == again[1].receipt
    assert isinstance(other, Rejected)
    assert other.reason == "ALREADY_USED"


@pytest.mark.parametrize("moment", moments("0", "V"))
async def test_a_wrong_code_is_one_guess_whatever_becomes_of_the_reply(
    live: Live, proxy: ChaosProxy, moment: str
) -> None:
    row, code = await started(live)
    name, guess = row.verification_id, wrong(code)
    proxy.plan = lambda: moments(guess, name)[moment]
    await failed(live, proxy, guess, name, "first")
    async with calling(live, live.endpoint) as client:
        again = await client.check(guess, verification_id=name, request_id="first")
        assert isinstance(again, Rejected)
        assert again.checks_remaining == 4
        assert (await client.get(name)).checks_remaining == 4


async def test_a_start_is_one_message_whatever_becomes_of_the_reply(
    live: Live, proxy: ChaosProxy
) -> None:
    phone = a_phone()
    proxy.plan = lambda: Fault(Action.CUT, Direction.UP, pattern=phone.encode())
    async with calling(live, proxy.endpoint) as client:
        with pytest.raises(WatchwordError):
            await client.start(phone, request_id="start")
    async with calling(live, live.endpoint) as client:
        rows = [await client.start(phone, request_id="start") for _ in range(2)]
    assert rows[0].verification_id == rows[1].verification_id
    await live.code(rows[0].verification_id)
    assert [m.to.reveal() for m in live.messages].count(phone) == 1


async def test_a_client_that_tries_again_gets_through(live: Live, proxy: ChaosProxy) -> None:
    row, code = await started(live)
    faults = iter([Fault(Action.CUT, Direction.UP, pattern=code.encode())])
    proxy.plan = lambda: next(faults, None)
    async with calling(live, proxy.endpoint, attempts=6) as client:
        found = await client.check(code, verification_id=row.verification_id)
    assert isinstance(found, Approved)
    assert (proxy.fired, proxy.accepted) == (1, 2)


async def test_bytes_that_drip_are_a_slow_call_and_no_other(live: Live, proxy: ChaosProxy) -> None:
    for direction in Direction:
        proxy.plan = lambda direction=direction: Fault(Action.DRIP, direction)  # type: ignore[misc]
        row, code = await started(live)
        async with calling(live, proxy.endpoint) as client:
            found = await client.check(code, verification_id=row.verification_id)
        assert isinstance(found, Approved)
    assert proxy.fired == 2


async def test_without_a_server_a_call_fails_within_its_deadline(
    live: Live, proxy: ChaosProxy
) -> None:
    proxy.refusing = True
    async with calling(live, proxy.endpoint, deadline=DEADLINE, attempts=10) as client:
        with pytest.raises(WatchwordError) as error:
            await client.start(a_phone())
    assert error.value.code.name in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
