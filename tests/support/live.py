"""A whole server on a real socket, in this process: port 0, a directory of its own, SQLite."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import orjson

from watchword.account.v1 import account_pb2_grpc
from watchword.config import Carriers, Config, dev_config
from watchword.core.ports import Clock, Entropy
from watchword.core.system import SystemClock, SystemEntropy
from watchword.delivery.carrier import Message
from watchword.rpc.interceptor import Limits
from watchword.server import dev
from watchword.server.bootstrap import Server
from watchword.telemetry.logs import INFO, Log
from watchword.verification.v1 import verification_pb2 as pb
from watchword.verification.v1 import verification_pb2_grpc

ANY_PORT = {"WATCHWORD_LISTEN": "127.0.0.1:0", "WATCHWORD_HTTP_LISTEN": "127.0.0.1:0"}
# Connections are shared within a process; a test wants its own.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
_PATIENCE = 10.0

Metadata = tuple[tuple[str, str], ...]


def basic(credential_id: str, secret: str) -> Metadata:
    """Return the metadata of a credential."""
    pair = base64.b64encode(f"{credential_id}:{secret}".encode()).decode()
    return (("authorization", f"Basic {pair}"),)


@dataclass
class Live:
    """A running server and the ways in; `lines` are the log lines so far, parsed."""

    server: Server
    directory: Path
    credentials: Mapping[str, str]
    channel: grpc.aio.Channel
    raw_lines: list[bytes] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """Where gRPC listens."""
        return self.server.endpoint

    @property
    def http(self) -> str:
        """The base URL of the HTTP side."""
        return f"http://{self.server.http_endpoint}"

    @property
    def verification(self) -> "verification_pb2_grpc.VerificationServiceAsyncStub":
        """A stub without metadata."""
        return verification_pb2_grpc.VerificationServiceStub(self.channel)

    @property
    def account(self) -> "account_pb2_grpc.AccountServiceAsyncStub":
        """A stub without metadata."""
        return account_pb2_grpc.AccountServiceStub(self.channel)

    @property
    def auth(self) -> Metadata:
        """The application's credential, which has every scope but operator."""
        return basic(self.credentials["credential_id"], self.credentials["credential_secret"])

    @property
    def admin(self) -> Metadata:
        """The operator's credential."""
        return basic(
            self.credentials["admin_credential_id"], self.credentials["admin_credential_secret"]
        )

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        return [orjson.loads(line) for line in self.raw_lines]

    async def start(
        self,
        phone_number: str = "+14155550123",
        **fields: Any,
    ) -> pb.Verification:
        """Start a verification with the application's credential."""
        request = pb.StartVerificationRequest(phone_number=phone_number, **fields)
        reply = await self.verification.StartVerification(request, metadata=self.auth)
        return reply.verification

    async def check(
        self,
        verification_id: str,
        code: str,
        **fields: Any,
    ) -> pb.CheckVerificationResponse:
        """Check a code with the application's credential."""
        request = pb.CheckVerificationRequest(verification_id=verification_id, code=code, **fields)
        return await self.verification.CheckVerification(request, metadata=self.auth)

    @property
    def messages(self) -> list[Message]:
        """What the sandbox carrier took so far."""
        carrier: Any = self.server.parts.carriers["sandbox"]
        return list(carrier.messages)

    async def message(self, verification_id: str, count: int = 1) -> Message:
        """Return the verification's `count`-th message as soon as the carrier has it."""
        async with asyncio.timeout(_PATIENCE), self.server.bus.subscribe(verification_id) as told:
            while True:
                found = [m for m in self.messages if m.verification_id == verification_id]
                if len(found) >= count:
                    return found[count - 1]
                await anext(told)

    async def code(self, verification_id: str, count: int = 1) -> str:
        """Return the code of the verification's `count`-th message."""
        return (await self.message(verification_id, count)).code.reveal()


def sandbox_config(directory: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Return a dev configuration in `directory` with the sandbox carrier."""
    config = dev_config(directory, {**ANY_PORT, **(environ or {})})
    carriers = Carriers(tables={"sandbox": {}}, order={"SMS": ("sandbox",)})
    return replace(config, carriers=carriers, reflection=False)


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    *,
    config: Config | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    limits: Limits | None = None,
    log_level: int = INFO,
) -> AsyncIterator[Live]:
    """Run a server on what `directory` holds; its keys, store and credentials are made at need.

    Leaving stops it; entering again with the same directory is a restart.
    """
    config = config or sandbox_config(directory)
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    lines: list[bytes] = []
    dev.prepare(config, clock, entropy)
    server = Server(
        config,
        Log(lines.append, clock, log_level),
        clock=clock,
        entropy=entropy,
        create=True,
        limits=limits,
    )
    parts = await server.open()
    values = await dev.credentials(parts, directory, clock, entropy, config.world)
    await server.start()
    dev.write(directory, server.endpoint, values)
    try:
        async with grpc.aio.insecure_channel(server.endpoint, OWN_CONNECTION) as channel:
            yield Live(server, directory, values, channel, lines)
    finally:
        await server.stop(1.0)
