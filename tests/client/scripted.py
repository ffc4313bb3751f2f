"""A real gRPC server on loopback that answers every method as it was told to."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import grpc
from google.protobuf import any_pb2, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from watchword.client import account_pb2, verification_pb2

Ask = Callable[..., Any]
"""`ask(method, *args, **kwargs)`: the reply of either client; a list of a stream's replies."""

Handler = Callable[[Any, grpc.ServicerContext], Any]

_METHODS = {
    f"/{service.full_name}/{method.name}": method
    for file in (verification_pb2.DESCRIPTOR, account_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
}


@dataclass(frozen=True)
class Refusal:
    """A status with the details that Watchword gives."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "a fixed text"
    retry_after: float | None = None
    fields: tuple[str, ...] = ()
    domain: str = "watchword"
    details: bytes | None = None

    def abort(self, context: grpc.ServicerContext) -> NoReturn:
        details = self.details if self.details is not None else self._status().SerializeToString()
        if details:
            context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(self.code, self.message)
        raise AssertionError("abort raises")

    def _status(self) -> status_pb2.Status:
        found: list[Any] = []
        if self.reason:
            info = error_details_pb2.ErrorInfo(reason=self.reason, domain=self.domain)
            found.append(info)
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(self.retry_after * 1000))
            found.append(retry)
        if self.fields:
            request = error_details_pb2.BadRequest()
            for path in self.fields:
                request.field_violations.add(field=path)
            found.append(request)
        status = status_pb2.Status()
        for detail in found:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status


Step = Message | Refusal


@dataclass(frozen=True)
class Seen:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, Any]
    time_remaining: float


@dataclass
class ScriptedServer(grpc.GenericRpcHandler):
    """Answers from `script`, by method; the last step of a method repeats."""

    script: dict[str, list[Step | Sequence[Step]]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    endpoint: str = ""
    credentials: grpc.ServerCredentials | None = None

    def __post_init__(self) -> None:
        self._next: dict[str, int] = defaultdict(int)
        # One port is one server: another process must not share it.
        self._server = grpc.server(
            futures.ThreadPoolExecutor(4), [self], options=(("grpc.so_reuseport", 0),)
        )

    def __enter__(self) -> Self:
        if self.credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", self.credentials)
        self.endpoint = f"127.0.0.1:{port}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def answers(self, method: str, *steps: Step | Sequence[Step]) -> None:
        """Script a method; a sequence of steps is one stream."""
        self.script[method] = list(steps)
        self._next[method] = 0

    def requests(self, method: str) -> list[Any]:
        """Return what a method was asked, in order."""
        return [seen.request for seen in self.seen if seen.method == method]

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = _METHODS[handler_call_details.method]
        settings = {
            "request_deserializer": message_factory.GetMessageClass(method.input_type).FromString,
            "response_serializer": lambda reply: reply.SerializeToString(),
        }
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(method.name), **settings)
        return grpc.unary_unary_rpc_method_handler(self._unary(method.name), **settings)

    def _unary(self, name: str) -> Handler:
        def answer(request: object, context: grpc.ServicerContext) -> Message:
            step: Step = self._step(name, request, context)
            return step.abort(context) if isinstance(step, Refusal) else step

        return answer

    def _stream(self, name: str) -> Handler:
        def answer(request: object, context: grpc.ServicerContext) -> Iterator[Message]:
            steps: Sequence[Step] = self._step(name, request, context)
            for step in steps:
                yield step.abort(context) if isinstance(step, Refusal) else step

        return answer

    def _step(self, name: str, request: object, context: grpc.ServicerContext) -> Any:
        metadata = dict(context.invocation_metadata())
        self.seen.append(Seen(name, request, metadata, context.time_remaining()))
        steps = self.script.get(name) or [Refusal(grpc.StatusCode.UNIMPLEMENTED)]
        at = min(self._next[name], len(steps) - 1)
        self._next[name] += 1
        return steps[at]
