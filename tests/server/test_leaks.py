"""What a caller, or anybody beside the API, may learn: nothing of the inside."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.support.live import Live
from tests.support.status import details

from watchword.core.errors import Unavailable

SECRETS = ("SELECT", "/var/lib", "+14155550123", "123456", "sqlite", "Traceback", "db.internal")
TEXT = "SELECT * FROM t at /var/lib/db.internal for +14155550123 code 123456 sqlite Traceback"


class Broken:
    """Fails at whatever is asked of it, with a text that must not be seen."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: object, **__: object) -> NoReturn:
            raise self._error

        return fail


class BrokenNow(Broken):
    """The same for what is not awaited."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> NoReturn:
            raise self._error

        return fail


@pytest.mark.parametrize(
    ("layer", "fake"),
    [
        ("store", Broken),
        ("directory", Broken),
        ("drafter", Broken),
        ("router", BrokenNow),
        ("provider", BrokenNow),
        ("usage", BrokenNow),
        ("meter", BrokenNow),
    ],
)
@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError(TEXT), KeyError(TEXT), RuntimeError(TEXT), MemoryError(TEXT)]
)
async def test_c039_a_fault_tells_a_correlation_id_and_nothing_else(
    live: Live, layer: str, fake: type[Broken], error: Exception
) -> None:
    setattr(live.server.parts.verification, layer, fake(error))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await live.start(request_id="a")
    told = details(caught.value)
    assert told.code is grpc.StatusCode.INTERNAL
    assert (told.infos, told.reason) == (1, "INTERNAL_FAULT")
    faults = [line for line in live.lines if line["event"] == "fault"]
    assert told.message == f"internal fault, correlation id {faults[0]['correlation_id']}"
    assert faults[0]["error"] == type(error).__name__
    assert faults[0]["where"].startswith("server/test_leaks.py:")
    seen = told.message + told.raw.decode("latin-1") + b"".join(live.raw_lines).decode()
    assert not [secret for secret in SECRETS if secret in seen]


async def test_c039_a_dependency_that_is_down_is_unavailable(live: Live) -> None:
    live.server.parts.verification.store = Broken(Unavailable("the store is down"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await live.start()
    told = details(caught.value)
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert told.retry is not None


async def test_c043_metrics_name_no_tenant_and_no_phone(live: Live) -> None:
    verification = await live.start()
    await live.code(verification.verification_id)
    async with aiohttp.ClientSession() as session, session.get(f"{live.http}/metrics") as reply:
        text = await reply.text()
        assert reply.headers["Server"] == "watchword"
    assert 'watchword_starts_total{channel="SMS",outcome="created",region="US"} 1.0' in text
    for value in (*live.credentials.values(), verification.verification_id, "4155550123"):
        assert value not in text


async def test_c043_health_says_serving_and_nothing_else(live: Live) -> None:
    health: Any = health_pb2_grpc.HealthStub(live.channel)
    reply = await health.Check(health_pb2.HealthCheckRequest())
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    assert len(reply.ListFields()) == 1


async def test_c043_reflection_and_channelz_are_not_there(live: Live) -> None:
    async def ask() -> AsyncIterator[object]:
        request: Any = reflection_pb2.ServerReflectionRequest
        yield request(list_services="")

    channel: Any = live.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [reply async for reply in stub.ServerReflectionInfo(ask())]
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    channelz: Any = live.channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
    with pytest.raises(grpc.aio.AioRpcError) as other:
        await channelz(b"")
    assert other.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", ["/", "/debug", "/metrics/", "/.well-known/openid-configuration"])
async def test_c043_http_serves_what_it_must_and_no_more(live: Live, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(live.http + path) as reply:
        assert reply.status == 404


async def test_http_takes_loopback_names_only(live: Live) -> None:
    headers = {"Host": "rebound.example"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{live.http}/metrics", headers=headers) as reply,
    ):
        assert reply.status == 421


async def test_the_published_keys_may_be_kept_for_a_while(live: Live) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{live.http}/.well-known/jwks.json") as reply,
    ):
        keys = (await reply.json(content_type=None))["keys"]
        assert reply.headers["Cache-Control"] == "public, max-age=300"
    assert [key["kty"] for key in keys] == ["OKP"]
    assert "d" not in keys[0]
