"""The proxy itself, in front of a server that says everything twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.chaos.proxy import Action, ChaosProxy, Direction, Fault, chaos_proxy

LONG = 10.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[ChaosProxy]:
    """A proxy before a server that sends back each chunk, twice, until the end."""

    ended: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.current_task())
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1_000):
                writer.write(chunk * 2)
                await writer.drain()
            writer.write(b"END")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with chaos_proxy(f"{host}:{port}") as found:
        yield found
    server.close()
    await asyncio.gather(*(task for task in ended if task is not None))
    await server.wait_closed()


@contextlib.asynccontextmanager
async def connected(proxy: ChaosProxy) -> AsyncIterator[Streams]:
    """Connect to the proxy, for a while."""
    host, _, port = proxy.endpoint.rpartition(":")
    async with asyncio.timeout(LONG):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def said(proxy: ChaosProxy, text: bytes, *, eof: bool = True) -> bytes:
    """Send `text`, close one's half, return all that comes; b"RESET" ends what was cut."""
    found = b""
    async with connected(proxy) as (reader, writer):
        try:
            writer.write(text)
            await writer.drain()
            if eof:
                writer.write_eof()
            while chunk := await reader.read(1_000):
                found += chunk
        except OSError:
            found += b"RESET"
    return found


async def test_without_a_fault_all_passes(proxy: ChaosProxy) -> None:
    assert await said(proxy, b"hello") == b"hellohelloEND"
    assert (proxy.accepted, proxy.fired) == (1, 0)


async def test_a_connection_is_cut_after_so_many_bytes(proxy: ChaosProxy) -> None:
    proxy.plan = lambda: Fault(Action.CUT, Direction.DOWN, after_bytes=7)
    found = await said(proxy, b"hello")
    # A reset may overtake the bytes before it.
    assert b"hellohe".startswith(found.removesuffix(b"RESET"))
    assert proxy.fired == 1


@pytest.mark.parametrize("parts", [[b"one COMMIT two"], [b"one COM", b"MIT two"]])
async def test_a_pattern_is_found_across_chunks(proxy: ChaosProxy, parts: list[bytes]) -> None:
    proxy.plan = lambda: Fault(Action.STALL, Direction.UP, pattern=b"COMMIT")
    passed = len(b"one COMMIT")
    async with connected(proxy) as (reader, writer):
        for part in parts:
            writer.write(part)
            await writer.drain()
            # So that the next part is a chunk of its own.
            fits = min(len(part), passed)
            await reader.readexactly(2 * fits)
            passed -= fits
    assert passed == 0
    assert proxy.fired == 1


async def test_what_comes_before_the_moment_can_be_kept_back(proxy: ChaosProxy) -> None:
    fault = Fault(Action.HALF_CLOSE, Direction.UP, pattern=b"COMMIT", forward=False)
    proxy.plan = lambda: fault
    assert await said(proxy, b"COMMIT", eof=False) == b"END"


async def test_half_of_a_connection_is_closed(proxy: ChaosProxy) -> None:
    proxy.plan = lambda: Fault(Action.HALF_CLOSE, Direction.UP, after_bytes=3)
    assert await said(proxy, b"hello", eof=False) == b"helhelEND"


async def test_bytes_drip_and_all_come(proxy: ChaosProxy) -> None:
    proxy.plan = lambda: Fault(Action.DRIP, Direction.DOWN, after_bytes=2)
    assert sorted(await said(proxy, b"abc" * 20)) == sorted(b"abc" * 40 + b"END")


async def test_connections_are_refused_and_cut(proxy: ChaosProxy) -> None:
    proxy.refusing = True
    assert await said(proxy, b"hello") in (b"", b"RESET")
    proxy.refusing = False
    async with connected(proxy) as (reader, writer):
        writer.write(b"x")
        assert await reader.readexactly(2) == b"xx"
        proxy.cut_all()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read(1) == b""
