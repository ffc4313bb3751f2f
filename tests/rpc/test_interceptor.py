"""What the wrapper demands before it serves a method."""

from typing import Any

import pytest
from google.protobuf.internal import api_implementation
from tests.support.live import sandbox_config

from watchword.config import ConfigError
from watchword.core.system import SystemEntropy
from watchword.rpc.identity import Authenticator
from watchword.rpc.interceptor import Interceptor
from watchword.server.grpc import GrpcServer, service_of
from watchword.telemetry.logs import Log
from watchword.telemetry.metrics import Metrics
from watchword.tenancy.directory import Directory
from watchword.testing.clock import FakeClock
from watchword.verification.scopes import SCOPES
from watchword.verification.v1 import verification_pb2, verification_pb2_grpc

# Its methods are never called here, so that the generated base serves.
_servicer: Any = verification_pb2_grpc.VerificationServiceServicer
SERVICE = service_of(
    verification_pb2.DESCRIPTOR.services_by_name["VerificationService"],
    verification_pb2_grpc.add_VerificationServiceServicer_to_server,
    _servicer(),
)


def interceptor(clock: FakeClock, scopes: dict[str, Any]) -> Interceptor:
    reader: Any = None
    metrics = Metrics()
    authenticator = Authenticator(Directory(reader), lambda *_: False, clock, metrics)
    log = Log(lambda _: None, clock)
    return Interceptor(authenticator, metrics, log, SystemEntropy(), scopes=scopes)


def test_every_method_is_wrapped_and_takes_bytes(clock: FakeClock) -> None:
    wrapped = interceptor(clock, dict(SCOPES)).wrap(SERVICE.descriptor, SERVICE.handlers)
    assert set(wrapped) == {method.name for method in SERVICE.descriptor.methods}
    assert all(handler.request_deserializer is None for handler in wrapped.values())
    streaming = {name for name, handler in wrapped.items() if handler.response_streaming}
    assert streaming == {"WatchVerification"}


def test_a_method_without_scopes_is_not_served(clock: FakeClock) -> None:
    scopes = dict(SCOPES)
    scopes.popitem()
    with pytest.raises(ValueError, match="lacks a handler or its scopes"):
        interceptor(clock, scopes).wrap(SERVICE.descriptor, SERVICE.handlers)


def test_a_method_without_a_handler_is_not_served(clock: FakeClock) -> None:
    handlers = dict(SERVICE.handlers)
    handlers.popitem()
    with pytest.raises(ValueError, match="lacks a handler or its scopes"):
        interceptor(clock, dict(SCOPES)).wrap(SERVICE.descriptor, handlers)


async def test_c064_another_parser_is_refused(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(api_implementation, "Type", lambda: "python")
    with pytest.raises(ConfigError, match="upb"):
        GrpcServer(sandbox_config(tmp_path), [SERVICE], interceptor(clock, dict(SCOPES)))
