"""A TCP proxy that mistreats what it carries, for tests of what a bad network does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

_CHUNK = 65_536


class Fault(Enum):
    """What the proxy does to every connection."""

    NONE = auto()
    CUT = auto()
    """Reset each connection and refuse new ones."""
    STALL = auto()
    """Take bytes and carry none, either way."""
    DRIP = auto()
    """Carry one byte at a time."""
    HALF_CLOSE = auto()
    """End what goes to the client once; what comes from it is carried on."""


@dataclass
class Proxy:
    """Carries connections to one server.

    `lose_answer` may name a request whose answer is to be lost: it is given what a client
    sent, and where it is true the connection is cut as soon as the server has answered.
    `lost` counts such answers, `held` what was stalled, `halved` what was half closed.
    """

    port: int
    fault: Fault = Fault.NONE
    lose_answer: Callable[[bytes], bool] | None = None
    lost: int = 0
    held: int = 0
    halved: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _listening: int = 0

    @property
    def listening(self) -> int:
        """The port to connect to."""
        return self._listening

    def set(self, fault: Fault) -> None:
        """Begin to mistreat, or to treat well, what is connected and what will be."""
        self.fault = fault
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if fault is Fault.CUT:
            for writer in self._writers:
                writer.transport.abort()
        if fault is Fault.HALF_CLOSE:
            self.half_close()

    def half_close(self) -> None:
        """Say to each client that nothing more comes."""
        for writer in self._writers:
            if not writer.is_closing() and writer.get_extra_info("sockname")[1] == self.listening:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                    self.halved += 1

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        if self.fault is Fault.CUT:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        doomed = asyncio.Event()
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, back, doomed, to_server=True))
                group.create_task(self._carry(there, writer, doomed, to_server=False))
        except* OSError:
            pass
        finally:
            self._writers -= {writer, back}
            for each in (writer, back):
                each.transport.abort()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        doomed: asyncio.Event,
        *,
        to_server: bool,
    ) -> None:
        while chunk := await reader.read(_CHUNK):
            while self.fault is Fault.STALL:
                self.held += 1
                await self._changed.wait()
            if to_server and self.lose_answer and self.lose_answer(chunk):
                doomed.set()
            elif not to_server and doomed.is_set():
                # It was done, and whoever asked will never hear of it.
                self.lost += 1
                raise ConnectionAbortedError
            if self.fault is Fault.DRIP:
                for byte in chunk:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(0)
            else:
                writer.write(chunk)
                await writer.drain()
        raise ConnectionAbortedError


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """Run a proxy to a local port."""
    proxy = Proxy(port)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.accept(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy._listening = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
