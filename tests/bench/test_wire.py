"""The generator's own gRPC client against a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio

from watchword.cli.bench.wire import CallFailed, Connection, Headers, connect, request_headers

SERVICE = "watchword.test.Echo"


async def _echo(request: bytes, _: object) -> bytes:
    return request


async def _refuse(_: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "not now")
    raise AssertionError("abort returned")


async def _metadata(_: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
    found = dict(context.invocation_metadata() or ())
    return str(found.get("authorization")).encode()


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[str]:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        name: grpc.unary_unary_rpc_method_handler(behaviour)
        for name, behaviour in (("Echo", _echo), ("Refuse", _refuse), ("Metadata", _metadata))
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest_asyncio.fixture
async def connection(endpoint: str) -> AsyncIterator[Connection]:
    made = await connect(endpoint)
    yield made
    made.close()
    await asyncio.sleep(0)


def _headers(method: str, *metadata: tuple[str, str]) -> Headers:
    return request_headers("localhost", f"/{SERVICE}/{method}", metadata)


async def test_replies_go_to_their_calls(connection: Connection) -> None:
    headers = _headers("Echo")
    messages = [str(number).encode() * 40 for number in range(400)]
    replies = await asyncio.gather(*(connection.call(headers, each) for each in messages))
    assert replies == messages


async def test_methods_may_alternate(connection: Connection) -> None:
    echo, metadata = _headers("Echo"), _headers("Metadata", ("authorization", "Basic abc"))
    for _ in range(5):
        assert await connection.call(echo, b"one") == b"one"
        assert await connection.call(metadata, b"") == b"Basic abc"


async def test_a_refusal_is_a_failure_with_its_status(connection: Connection) -> None:
    echo, refuse = _headers("Echo"), _headers("Refuse")
    for _ in range(3):
        with pytest.raises(CallFailed, match="grpc-status 8: not now"):
            await connection.call(refuse, b"")
        assert await connection.call(echo, b"still here") == b"still here"


async def test_an_unknown_method_is_a_failure(connection: Connection) -> None:
    with pytest.raises(CallFailed, match="grpc-status 12"):
        await connection.call(_headers("Nothing"), b"")


async def test_more_than_the_window_holds_is_sent_bit_by_bit(connection: Connection) -> None:
    headers, message = _headers("Echo"), b"x" * 8_000
    calls = [connection.call(headers, message) for _ in range(50)]
    assert await asyncio.gather(*calls) == [message] * 50


async def test_a_lost_connection_fails_what_is_open(connection: Connection) -> None:
    answer = connection.call(_headers("Echo"), b"")
    connection.close()
    with pytest.raises(CallFailed, match="lost"):
        await answer


async def test_a_message_too_long_is_refused_at_once(connection: Connection) -> None:
    with pytest.raises(ValueError, match="too long"):
        connection.call(_headers("Echo"), b"x" * 9_000)
