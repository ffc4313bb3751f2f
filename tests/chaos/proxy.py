"""A TCP proxy that breaks connections on purpose, whatever is spoken over them.

It knows bytes and nothing else, so it may stand between a client and a server as well as
between a server and its database.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

_CHUNK = 65_536


class Direction(Enum):
    """Which way bytes go."""

    UP = "from the client to the server"
    DOWN = "from the server to the client"


class Action(Enum):
    """What is done once the moment has come."""

    CUT = "reset both connections"
    STALL = "pass nothing on, in this direction, and close nothing"
    DRIP = "pass one byte on at a time"
    HALF_CLOSE = "say in this direction that no more comes, and pass on the other"


class Fault(NamedTuple):
    """Breaks one connection in one direction, at a moment in the stream.

    The moment is after `after_bytes` bytes, or after the bytes `pattern` if there is one;
    with `forward` what came up to that moment is passed on first, without it is kept back.
    """

    action: Action
    direction: Direction
    after_bytes: int = 0
    pattern: bytes = b""
    forward: bool = True

    def reached(self, passed: int, chunk: bytes, tail: bytes) -> int | None:
        """Return how many bytes of `chunk` come before the moment, None where it is not in it.

        `passed` bytes went before; `tail` are the last of them.
        """
        if not self.pattern:
            left = self.after_bytes - passed
            return max(0, left) if left <= len(chunk) else None
        place = (tail + chunk).find(self.pattern)
        return None if place < 0 else max(0, place + len(self.pattern) - len(tail))


@dataclass(eq=False)
class _Connection:
    """Both sockets of a connection that runs."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter

    def cut(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class ChaosProxy:
    """Listens on a port of loopback and passes on to `host:port`; see `chaos_proxy`.

    `plan` is asked for the fault of each new connection; None is a connection that works.
    While `refusing`, connections are reset as soon as they come.
    """

    def __init__(self, host: str, port: int) -> None:
        """Pass everything on until told otherwise."""
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.plan: Callable[[], Fault | None] = lambda: None
        self.refusing = False
        self.accepted = 0
        self.fired = 0

    @property
    def endpoint(self) -> str:
        """Where it listens, `host:port`."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Cut everything and listen no more."""
        assert self._server is not None
        self._server.close()
        self.cut_all()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut_all(self) -> None:
        """Reset every connection that runs."""
        for connection in tuple(self._connections):
            connection.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, up_writer)
        self._connections.add(connection)
        fault = self.plan()
        try:
            async with asyncio.TaskGroup() as group:
                ways = (
                    (Direction.UP, reader, up_writer),
                    (Direction.DOWN, up_reader, writer),
                )
                for direction, source, target in ways:
                    own = fault if fault is not None and fault.direction is direction else None
                    group.create_task(self._pipe(connection, source, target, own))
            # Both ends have said all: what is still in a buffer is sent before the end.
            for end in (writer, up_writer):
                end.close()
        except BaseException:
            connection.cut()
            raise
        finally:
            self._connections.discard(connection)

    async def _pipe(
        self,
        connection: _Connection,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        fault: Fault | None,
    ) -> None:
        """Pass on in one direction until the end or the fault; resets are an end too."""
        try:
            if await self._passed_on(connection, source, target, fault) and target.can_write_eof():
                target.write_eof()
        except OSError:
            # One end is gone: so is the other.
            connection.cut()

    async def _passed_on(
        self,
        connection: _Connection,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        fault: Fault | None,
    ) -> bool:
        """Pass on all there is; returns whether it came to an end without the fault."""
        passed, tail = 0, b""
        while chunk := await source.read(_CHUNK):
            moment = None if fault is None else fault.reached(passed, chunk, tail)
            if fault is not None and moment is not None:
                self.fired += 1
                if fault.forward:
                    target.write(chunk[:moment])
                    await target.drain()
                await self._strike(connection, source, target, fault, chunk[moment:])
                return False
            target.write(chunk)
            await target.drain()
            passed += len(chunk)
            if fault is not None and fault.pattern:
                tail = (tail + chunk)[-len(fault.pattern) + 1 :]
        return True

    async def _strike(
        self,
        connection: _Connection,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        fault: Fault,
        rest: bytes,
    ) -> None:
        if fault.action is Action.CUT:
            connection.cut()
        elif fault.action is Action.HALF_CLOSE:
            target.write_eof()
        elif fault.action is Action.STALL:
            # What comes is read, so that the sender notices nothing, and kept.
            while await source.read(_CHUNK):
                pass
        else:
            await _drip(rest, source, target)


async def _drip(rest: bytes, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while rest:
        for place in range(len(rest)):
            target.write(rest[place : place + 1])
            await target.drain()
            # Each byte in a packet of its own, as far as that can be had.
            await asyncio.sleep(0)
        rest = await source.read(_CHUNK)


@contextlib.asynccontextmanager
async def chaos_proxy(endpoint: str) -> AsyncIterator[ChaosProxy]:
    """Stand in front of `endpoint` (`host:port`)."""
    host, _, port = endpoint.rpartition(":")
    proxy = ChaosProxy(host, int(port))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
