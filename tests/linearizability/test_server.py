"""A history of 64 connections to a whole server: some order explains every answer."""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.attacks.site import outcome
from tests.linearizability.callers import CALLERS, PHONES, Crowd
from tests.linearizability.checker import Answer
from tests.linearizability.spec import Cancel, Check, Get, Resend, Start
from tests.support.live import OWN_CONNECTION, Live, running
from tests.support.status import details

from watchword.testing.clock import FakeClock
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc


class ConnectionWay:
    """One caller with a connection of its own."""

    def __init__(self, live: Live, channel: grpc.aio.Channel) -> None:
        self._live = live
        stub = verification_pb2_grpc.VerificationServiceStub(channel)
        self._stub: verification_pb2_grpc.VerificationServiceAsyncStub = stub

    async def start(self, phone: int, op: Start) -> Answer | None:
        request = pb.StartVerificationRequest(
            phone_number=f"+1212736{4900 + phone}",
            purpose="login",
            action=_action(op.action),
            request_id=op.request_id,
        )
        found = await self._ask(self._stub.StartVerification(request, metadata=self._live.auth))
        return (
            found if isinstance(found, tuple) else ("started", found.verification.verification_id)
        )

    async def resend(self, op: Resend) -> Answer | None:
        request = pb.ResendVerificationRequest(verification_id=op.name, request_id=op.request_id)
        found = await self._ask(self._stub.ResendVerification(request, metadata=self._live.auth))
        return (
            found if isinstance(found, tuple) else ("started", found.verification.verification_id)
        )

    async def check(self, op: Check, code: str) -> Answer | None:
        request = pb.CheckVerificationRequest(
            verification_id=op.name,
            code=code,
            purpose="login",
            action=_action(op.action),
            request_id=op.request_id,
        )
        found = await self._ask(self._stub.CheckVerification(request, metadata=self._live.auth))
        if isinstance(found, tuple):
            return found
        judged = outcome(found)
        if judged == "APPROVED":
            return ("approved", op.name)
        return ("rejected", judged, found.rejection.checks_remaining)

    async def cancel(self, op: Cancel) -> Answer | None:
        request = pb.CancelVerificationRequest(verification_id=op.name, request_id=op.request_id)
        found = await self._ask(self._stub.CancelVerification(request, metadata=self._live.auth))
        return found if isinstance(found, tuple) else ("canceled",)

    async def get(self, op: Get) -> Answer | None:
        request = pb.GetVerificationRequest(verification_id=op.name)
        found = await self._ask(self._stub.GetVerification(request, metadata=self._live.auth))
        if isinstance(found, tuple):
            return found
        row = found.verification
        state = pb.VerificationState.Name(row.state).removeprefix("VERIFICATION_STATE_")
        return ("read", state, row.checks_remaining, len(row.sends))

    async def code(self, name: str) -> str:
        return await self._live.code(name)

    async def _ask(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            return ("error", details(error).reason)


def _started(found: Any) -> Answer:
    if isinstance(found, tuple):
        return found
    return ("started", found.verification.verification_id)


def _action(action: str) -> dict[str, str]:
    return {"amount": action} if action else {}


@contextlib.asynccontextmanager
async def crowd(directory: Path, seed: int) -> AsyncIterator[Crowd]:
    """Yield 64 callers of a server, each on a connection of its own."""
    clock = FakeClock()
    async with running(directory, clock=clock) as live, contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(
                grpc.aio.insecure_channel(live.endpoint, OWN_CONNECTION)
            )
            for _ in range(CALLERS)
        ]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        ways = [ConnectionWay(live, channel) for channel in channels]
        yield Crowd(ways, random.Random(seed), clock.advance, partial(_idle, live))


def _idle(live: Live) -> bool:
    path = f"file:{live.server.config.store.path}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as db:
        queued = db.execute("SELECT count(*) FROM send WHERE state = 'QUEUED'").fetchone()
    return bool(queued == (0,))


async def test_c033_a_server_answers_as_one_after_the_other(tmp_path: Path) -> None:
    async with crowd(tmp_path / "var", 1) as callers:
        history = await callers.run(6)
    history.check()
    assert history.most_running > 50
    assert len(history.phones) == PHONES + 1
    assert {("started",), ("approved",), ("read",)} <= history.outcomes.keys()


@pytest.mark.parametrize("wrong", [0, 63])
async def test_c027_all_connections_try_one_code_at_once(tmp_path: Path, wrong: int) -> None:
    async with crowd(tmp_path / "var", wrong) as callers:
        history = await callers.meet(wrong)
    history.check()
    assert history.outcomes[("approved",)] <= 1
