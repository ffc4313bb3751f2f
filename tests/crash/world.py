"""A deployment in a directory of its own, and a server process on it that can be killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import asyncpg

from watchword.account.first import DevIdentities, set_up_dev
from watchword.client import Client, RetryPolicy
from watchword.core.ports import Millis
from watchword.core.system import SystemClock, SystemEntropy
from watchword.server.bus import LocalChangeBus
from watchword_adapters.keys.file import FileKeyProvider
from watchword_adapters.stores.postgresql import PostgresStores
from watchword_adapters.stores.postgresql.place import Place
from watchword_adapters.stores.sqlite import SqliteStores

PATIENCE = 30.0
"""Seconds after which a server that does not do what it should is given up."""

_POLL = 0.01

_TEMPLATE = Path(__file__).with_name("template.py")
_CONFIG = """\
world = "sandbox"
issuer = "watchword-sandbox"
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:0"
callback_listen = "127.0.0.1:0"
{store}

[keys]
directory = "{root}/keys"

[carriers.order]
SMS = ["sandbox"]

[carriers.sandbox]
path = "{root}/messages.jsonl"
{rules}
"""


# A database's own clock decides, and only a dev store lets itself be told the time.
_AHEAD = """
CREATE TABLE public.ahead (shift bigint NOT NULL);
INSERT INTO public.ahead VALUES (0);
CREATE OR REPLACE FUNCTION watchword.now() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + shift FROM public.ahead
$$;
"""


async def _let_time_be_told(dsn: str) -> None:
    await _execute(dsn, _AHEAD)


async def _execute(dsn: str, statements: str) -> None:
    db = await asyncpg.connect(dsn)
    try:
        await db.execute(statements)
    finally:
        await db.close()


async def until(reached: Callable[[], bool]) -> None:
    """Wait for something that another process does and tells nobody."""
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(_POLL)


@dataclass(frozen=True)
class World:
    """A sandbox deployment: its files, and the credential that calls it."""

    root: Path
    identities: DevIdentities
    dsn: str = ""

    @classmethod
    async def make(cls, root: Path, rules: str = "", dsn: str = "") -> Self:
        """Make keys, store, one application and the configuration.

        The store is a file in `root`, or the empty database that `dsn` names.
        """
        root.mkdir(mode=0o700)  # noqa: ASYNC240 - nobody waits
        clock, entropy = SystemClock(), SystemEntropy()
        provider = FileKeyProvider.create(root / "keys", clock=clock, entropy=entropy)
        kind: Any = PostgresStores if dsn else SqliteStores
        stores = await kind.open(
            Place(dsn) if dsn else root / "watchword.db",
            world="sandbox",
            clock=clock,
            bus=LocalChangeBus(),
            provider=provider,
            create=True,
        )
        made = await set_up_dev(stores.account, provider, clock, entropy, "sandbox")
        await stores.close()
        if dsn:
            await _let_time_be_told(dsn)
        world = cls(root, made, dsn)
        world.configure(rules)
        return world

    @property
    def config(self) -> Path:
        return self.root / "watchword.toml"

    @property
    def store(self) -> Path:
        return self.root / "watchword.db"

    @property
    def journal(self) -> Path:
        return self.root / "messages.jsonl"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def configure(self, rules: str = "") -> None:
        """Write the configuration; `rules` script the carrier."""
        store = f'store = "{self.dsn}"' if self.dsn else f'store.path = "{self.store}"'
        self.config.write_text(_CONFIG.format(root=self.root, store=store, rules=rules))

    async def tell_time(self, shift: Millis) -> None:
        """Set the clock of a database ahead; a file is served by its process's clock."""
        if self.dsn:
            await _execute(self.dsn, f"UPDATE public.ahead SET shift = {shift}")

    def client(self, endpoint: str, *, attempts: int = 1) -> Client:
        """Return a client that tries each call `attempts` times."""
        credential = self.identities.application
        return Client(
            endpoint,
            credential.credential.credential_id,
            credential.secret.reveal(),
            deadline=9.0,
            retry=RetryPolicy(max_attempts=attempts),
        )


@dataclass
class Process:
    """A server's process; `endpoint` and `http` are known once it serves."""

    _lines: asyncio.StreamReader
    pid: int = 0
    endpoint: str = ""
    http: str = ""
    killed: bool = False

    async def heard(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            line = await self._lines.readline()
        if not line:
            raise AssertionError("the server's process is gone; see its log")
        found: dict[str, Any] = json.loads(line)
        return found

    async def ready(self) -> Self:
        """Wait until it serves."""
        told = await self.heard()
        assert "endpoint" in told, f"the server ended at once: {told}"
        self.endpoint, self.http = told["endpoint"], told["http"]
        return self

    def kill(self) -> None:
        """Kill it at once, as the kernel or a power cut would; once is enough."""
        if not self.killed:
            os.kill(self.pid, signal.SIGKILL)
        self.killed = True

    def terminate(self) -> None:
        """Ask it to stop."""
        os.kill(self.pid, signal.SIGTERM)

    async def ended(self) -> int:
        """Wait for its end; returns the exit code, negative for a signal."""
        told = await self.heard()
        if "exit" not in told:  # killed while it said that it serves
            told = await self.heard()
        return int(told["exit"])


@dataclass
class Template:
    """The program that servers are forked from; one server at a time."""

    _program: asyncio.subprocess.Process
    _running: list[int] = field(default_factory=list)

    async def serve(self, world: World, shift: Millis = 0) -> Process:
        """Begin a server whose clock is `shift` ahead; it does not serve yet."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        order = json.dumps({"config": str(world.config), "shift": shift})
        self._program.stdin.write(f"{order}\n".encode())
        process = Process(self._program.stdout)
        process.pid = int((await process.heard())["pid"])
        self._running[:] = [process.pid]
        return process

    def end(self) -> None:
        """End the program and the server that may still run."""
        for pid in (*self._running, self._program.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@asynccontextmanager
async def template(log: Path) -> AsyncIterator[Template]:
    """Start the program that servers are forked from; what they log goes to `log`."""
    with log.open("ab") as stderr:
        program = await _start(stderr)
    found = Template(program)
    try:
        yield found
    finally:
        found.end()
        await program.wait()


async def _start(stderr: IO[bytes]) -> asyncio.subprocess.Process:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WATCHWORD_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(_TEMPLATE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=environ,
    )
