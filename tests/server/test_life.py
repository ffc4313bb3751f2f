"""Deadlines, overload, readiness and an orderly end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support.live import Live, running, sandbox_config
from tests.support.status import details

from watchword.config import ConfigError
from watchword.core.errors import Unavailable
from watchword.rpc.interceptor import Limits
from watchword.verification.v1 import verification_pb2 as pb


class Gate:
    """Stands before a store: what comes waits until the gate is opened."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        async def wait(*args: object) -> Any:
            self.entered.set()
            await self.open.wait()
            return await getattr(self._inner, name)(*args)

        return wait


def gated(live: Live) -> Gate:
    service = live.server.parts.verification
    gate = Gate(service.store)
    service.store = cast("Any", gate)
    return gate


async def to_the_end(replies: AsyncIterator[object]) -> None:
    """Read what still comes: the delivery may change while the stream ends."""
    async for _ in replies:
        pass


async def test_a_call_that_takes_too_long_is_ended_by_the_server(tmp_path: Path) -> None:
    limits = Limits(unary_deadline=50)
    async with running(tmp_path / "var", limits=limits) as live:
        gate = gated(live)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await live.start()
        told = details(caught.value)
        assert (told.code, told.infos) == (grpc.StatusCode.DEADLINE_EXCEEDED, 1)
        # A stop waits for what the store still does.
        gate.open.set()


async def test_an_effect_does_not_begin_without_time_to_end(tmp_path: Path) -> None:
    limits = Limits(least_time=9_000)
    async with running(tmp_path / "var", limits=limits) as live:
        request = pb.StartVerificationRequest(phone_number="+14155550123")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await live.verification.StartVerification(request, metadata=live.auth, timeout=5)
        assert details(caught.value).reason == "DEADLINE_TOO_SHORT"
        # A reading may be cut off at any time.
        lookup = pb.LookupPhoneNumberRequest(phone_number="+14155550123")
        await live.verification.LookupPhoneNumber(lookup, metadata=live.auth, timeout=5)


async def test_a_cancelled_call_is_counted_so_and_is_no_fault(live: Live) -> None:
    gate = gated(live)
    calling: Any = live.verification.StartVerification(
        pb.StartVerificationRequest(phone_number="+14155550123"), metadata=live.auth
    )
    await gate.entered.wait()
    calling.cancel()
    # The server hears of it by and by; a stop waits for all that runs.
    await live.server.stop(5)
    (line,) = (line for line in live.lines if line["event"] == "call")
    assert (line["grpc_code"], line["level"]) == ("CANCELLED", "info")
    assert 'grpc_code="CANCELLED"' in live.server.metrics.text().decode()


async def test_too_many_calls_at_a_time_are_turned_away_at_once(tmp_path: Path) -> None:
    async with running(tmp_path / "var", limits=Limits(unary_calls=1)) as live:
        gate = gated(live)
        first = asyncio.ensure_future(live.start())
        await gate.entered.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await live.start("+14155550124")
        told = details(caught.value)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        assert told.retry is not None
        gate.open.set()
        assert (await first).verification_id


async def test_a_stop_finishes_what_runs_and_ends_the_watchers(live: Live) -> None:
    verification = await live.start()
    watch: Any = live.verification.WatchVerification(
        pb.WatchVerificationRequest(verification_id=verification.verification_id),
        metadata=live.auth,
    )
    replies = aiter(watch)
    await anext(replies)
    gate = gated(live)
    running_call = asyncio.ensure_future(live.start("+14155550199"))
    await gate.entered.wait()
    stopping = asyncio.ensure_future(live.server.stop(5))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await to_the_end(replies)
    assert details(caught.value).reason == "OVERLOADED"
    gate.open.set()
    assert (await running_call).verification_id
    await stopping


async def test_health_and_readiness_follow_the_store(live: Live) -> None:
    class Down:
        async def check(self) -> None:
            raise Unavailable("the store is down")

    stores = live.server.parts.stores
    live.server.parts.stores = cast("Any", Down())
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{live.http}/readyz") as reply:
            assert reply.status == 503
        async with session.get(f"{live.http}/livez") as reply:
            assert reply.status == 200
        health: Any = health_pb2_grpc.HealthStub(live.channel)
        watch: Any = health.Watch(health_pb2.HealthCheckRequest())
        async for reply in watch:
            if reply.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                break
        watch.cancel()
        live.server.parts.stores = stores
        async with session.get(f"{live.http}/readyz") as reply:
            assert reply.status == 200


async def test_two_servers_never_share_a_port(live: Live, tmp_path: Path) -> None:
    other = tmp_path / "other"
    config = replace(sandbox_config(other), listen=live.endpoint)
    with pytest.raises(ConfigError, match="cannot be bound"):
        async with running(other, config=config):
            pass


async def test_a_trace_id_is_the_correlation_id(live: Live) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    lookup = pb.LookupPhoneNumberRequest(phone_number="+14155550123")
    for header, expected in (
        (f"00-{trace}-b7ad6b7169203331-01", trace),
        ("+14155550123" + "0" * 43, None),
        (f"00-{trace.upper()}-b7ad6b7169203331-01", None),
    ):
        metadata = (*live.auth, ("traceparent", header))
        await live.verification.LookupPhoneNumber(lookup, metadata=metadata)
        assert live.lines[-1].get("correlation_id") == expected


async def test_reflection_is_there_where_it_is_switched_on(tmp_path: Path) -> None:
    config = replace(sandbox_config(tmp_path / "var"), reflection=True)

    async def ask() -> AsyncIterator[object]:
        request: Any = reflection_pb2.ServerReflectionRequest
        yield request(list_services="")

    async with running(tmp_path / "var", config=config) as live:
        channel: Any = live.channel
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        (reply,) = [reply async for reply in stub.ServerReflectionInfo(ask())]
    names = {service.name for service in reply.list_services_response.service}
    assert "watchword.verification.v1.VerificationService" in names
