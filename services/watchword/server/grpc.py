"""The gRPC side: transport limits, the services behind their wrapper, health, reflection."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.internal import api_implementation
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from watchword.config import Config, ConfigError
from watchword.rpc.interceptor import Handler, Interceptor
from watchword.server.checks import parse_address
from watchword.server.tls import Certificates

MAX_REQUEST_BYTES = 64 * 1024

_HEALTH: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_TURN_AWAY_SECONDS = 0.03
_TURN_AWAY_ROUNDS = 10

# Bit 0 is identity: a compressed request is refused before anything is inflated.
_IDENTITY_ONLY = 1

OPTIONS: tuple[tuple[str, int | str], ...] = (
    # Two servers would share a port silently.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 1_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.http2.max_ping_strikes", 5),
    ("grpc.max_connection_idle_ms", 30 * 60_000),
    ("grpc.max_connection_age_ms", 60 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.enable_channelz", 0),
)


class Service(NamedTuple):
    """A service to register: its descriptor, and the handlers that its stubs made."""

    descriptor: ServiceDescriptor
    handlers: Mapping[str, Handler]


class _Recorder:
    """Stands in for a server in a generated `add_…_to_server`, to learn the handlers."""

    def __init__(self) -> None:
        self.handlers: Mapping[str, Handler] = {}

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Take a service's handlers; its name is known."""
        del service_name
        self.handlers = method_handlers

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[object]) -> None:
        """Ignore the same handlers in their other form."""


def service_of(
    descriptor: ServiceDescriptor, add_to_server: Callable[[Any, Any], None], servicer: object
) -> Service:
    """Return what the generated `add_to_server` would register for `servicer`."""
    recorder = _Recorder()
    add_to_server(servicer, recorder)
    return Service(descriptor, recorder.handlers)


class GrpcServer:
    """A listening gRPC server with health; the services are wrapped by `interceptor`."""

    def __init__(
        self, config: Config, services: Iterable[Service], interceptor: Interceptor
    ) -> None:
        """Register everything; nothing listens yet.

        Raises `ConfigError` without protobuf's C implementation, whose parser bounds the
        depth of what it reads.
        """
        if api_implementation.Type() != "upb":
            raise ConfigError("protobuf: the upb implementation is needed; reinstall protobuf")
        self._config = config
        self._interceptor = interceptor
        self._names = []
        self._server = grpc.aio.server(options=OPTIONS)
        for service in services:
            name = service.descriptor.full_name
            handlers = interceptor.wrap(service.descriptor, service.handlers)
            self._server.add_registered_method_handlers(name, handlers)
            generic = grpc.method_handlers_generic_handler(name, handlers)
            self._server.add_generic_rpc_handlers((generic,))
            self._names.append(name)
        self._health = health_aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            names = (*self._names, _HEALTH, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.port = 0
        self._ready: bool | None = None

    async def start(self) -> None:
        """Listen. Raises `ConfigError` where the address is taken."""
        try:
            if self._config.tls.enabled:
                credentials = Certificates(self._config.tls).credentials()
                self.port = self._server.add_secure_port(self._config.listen, credentials)
            else:
                self.port = self._server.add_insecure_port(self._config.listen)
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise ConfigError(f"listen: {self._config.listen} cannot be bound; is it in use?")
        await self._server.start()

    @property
    def endpoint(self) -> str:
        """Return host and port as bound."""
        host, _ = parse_address(self._config.listen)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    async def serving(self, *, ready: bool) -> None:
        """Tell the health service; it never says why."""
        if ready is self._ready:
            return
        self._ready = ready
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._names):
            await self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace: float) -> None:
        """Say NOT_SERVING for good, end the streams, let calls finish for `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        self._interceptor.drain()
        if grace:
            await self._turn_away()
        await self._server.stop(grace)

    async def _turn_away(self) -> None:
        """Let calls that are on their way here arrive and be told UNAVAILABLE.

        gRPC would end what it has read and not yet handed over as CANCELLED, which no
        client tries again.
        """
        for _ in range(_TURN_AWAY_ROUNDS):
            before = self._interceptor.turned_away
            await asyncio.sleep(_TURN_AWAY_SECONDS)
            if self._interceptor.turned_away == before:
                return
