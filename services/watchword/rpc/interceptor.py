"""What surrounds every method: telemetry, then errors, then the caller, then the deadline.

One wrapper does all four, put around each handler when it is registered: a
`grpc.aio.ServerInterceptor` would look the handler up and wrap it anew on every call. It
takes the request's bytes, so that a request that does not parse is answered here too,
and nobody else aborts a call.
"""

import asyncio
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from time import perf_counter
from typing import Any, NamedTuple, NoReturn, Protocol, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import DecodeError

from watchword.core.errors import (
    DeadlineExceeded,
    DomainError,
    InvalidArgument,
    Reason,
    Unavailable,
)
from watchword.core.ports import MINUTE, SECOND, Entropy, Millis
from watchword.rpc.identity import Authenticator, Context, Metadata, bind_caller
from watchword.rpc.status import to_status
from watchword.telemetry.logs import ERROR, INFO, Log, Value
from watchword.telemetry.metrics import MethodMeter
from watchword.tenancy.model import Caller, Scope

UNARY_DEADLINE: Millis = 10 * SECOND
STREAM_DEADLINE: Millis = 15 * MINUTE
LEAST_TIME: Millis = 20
MAX_UNARY = 1024
MAX_STREAMS = 4096
TRACE_HEADER = "traceparent"

_OK = "OK"
_CANCELLED = "CANCELLED"
_TRACE_FORM = 55

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class CallMeters(Protocol):
    """Gives a meter for each method."""

    def method(self, service: str, method: str, kind: str) -> MethodMeter:
        """Return the meter of a method; `kind` is `unary` or `server_stream`."""
        ...


class Limits(NamedTuple):
    """How long calls may take (milliseconds) and how many may run at a time."""

    unary_deadline: Millis = UNARY_DEADLINE
    stream_deadline: Millis = STREAM_DEADLINE
    least_time: Millis = LEAST_TIME
    unary_calls: int = MAX_UNARY
    streams: int = MAX_STREAMS


class Method(NamedTuple):
    """What the wrapper knows of a method before any call."""

    name: str
    allowed: frozenset[Scope]
    effect: bool
    deadline: float
    meter: MethodMeter
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


class _Call:
    """One call on its way: what telemetry says of it at the end."""

    __slots__ = ("began", "caller", "code", "correlation_id", "method", "reason")

    def __init__(self, method: Method) -> None:
        self.method = method
        self.began = perf_counter()
        self.code = _OK
        self.reason = ""
        self.correlation_id = ""
        self.caller: Caller | None = None
        method.meter.started()


class Interceptor:
    """Wraps the handlers of a service."""

    def __init__(
        self,
        authenticator: Authenticator,
        meters: CallMeters,
        log: Log,
        entropy: Entropy,
        *,
        scopes: Mapping[str, frozenset[Scope]],
        limits: Limits | None = None,
    ) -> None:
        """`scopes` maps a full method name (`/package.Service/Method`) to those that suffice."""
        self._authenticator = authenticator
        self._meters = meters
        self._log = log
        self._entropy = entropy
        self._scopes = scopes
        self._limits = limits or Limits()
        self._least = self._limits.least_time / SECOND
        self._running = 0
        self._streams: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._turned_away = 0

    @property
    def running(self) -> int:
        """Return how many unary calls are being handled."""
        return self._running

    @property
    def turned_away(self) -> int:
        """Return how many unary calls came after `drain`."""
        return self._turned_away

    def drain(self) -> None:
        """Turn new calls away; end the streams, so that a stop need not wait for watchers."""
        self._draining = True
        for task in tuple(self._streams):
            task.cancel()

    def wrap(
        self, service: ServiceDescriptor, handlers: Mapping[str, Handler]
    ) -> dict[str, Handler]:
        """Return the handlers wrapped.

        Raises `ValueError` where a method has no handler or no entry in the scope table:
        a method that nobody decided on must not be served.
        """
        wrapped = {}
        for described in service.methods:
            name = f"/{service.full_name}/{described.name}"
            if described.name not in handlers or name not in self._scopes:
                raise ValueError(f"{name} lacks a handler or its scopes")
            wrapped[described.name] = self._wrap(name, described, handlers[described.name])
        return wrapped

    def _wrap(self, name: str, described: MethodDescriptor, handler: Handler) -> Handler:
        streams = bool(handler.response_streaming)
        options = MethodOptions.FromString(described.GetOptions().SerializeToString())
        service, _, short = name[1:].partition("/")
        deadline = self._limits.stream_deadline if streams else self._limits.unary_deadline
        method = Method(
            name=name,
            allowed=self._scopes[name],
            effect=options.idempotency_level != MethodOptions.NO_SIDE_EFFECTS,
            deadline=deadline / SECOND,
            meter=self._meters.method(service, short, "server_stream" if streams else "unary"),
            decode=_deserializer(handler),
            encode=_serializer(handler),
        )
        # Without serializers grpc hands bytes through, and the wrapper sees what fails.
        if streams:
            return grpc.unary_stream_rpc_method_handler(self._stream(method, handler.unary_stream))
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary))

    def _unary(
        self,
        method: Method,
        behaviour: Any,  # noqa: ANN401 - grpc types it so
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        decode, encode, most = method.decode, method.encode, self._limits.unary_calls

        async def call(raw: bytes, context: Context) -> bytes:
            record = _Call(method)
            self._running += 1
            try:
                if self._draining:
                    self._turn_away()
                if self._running > most:
                    _overloaded()
                late = await self._admit(record, context)
                request = decode(raw)
                if late is None:
                    return encode(await behaviour(request, context))
                async with asyncio.timeout(late):
                    return encode(await behaviour(request, context))
            except BaseException as error:  # noqa: BLE001 - nothing may pass unmapped
                await self._fail(record, context, error)
            finally:
                self._running -= 1
                self._done(record)

        return call

    def _stream(
        self,
        method: Method,
        behaviour: Any,  # noqa: ANN401 - grpc types it so
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        decode, encode = method.decode, method.encode

        async def call(raw: bytes, context: Context) -> None:
            record = _Call(method)
            task = asyncio.current_task()
            try:
                if self._draining or len(self._streams) >= self._limits.streams:
                    _overloaded()
                if task is not None:
                    self._streams.add(task)
                late = await self._admit(record, context)
                request = decode(raw)
                replies: AsyncGenerator[Any, None] = behaviour(request, context)
                async with asyncio.timeout(late), aclosing(replies):
                    async for reply in replies:
                        await context.write(encode(reply))
            except BaseException as error:  # noqa: BLE001 - nothing may pass unmapped
                if isinstance(error, asyncio.CancelledError) and self._draining:
                    error = _stopping()
                await self._fail(record, context, error)
            finally:
                self._streams.discard(task)
                self._done(record)

        return call

    def _turn_away(self) -> NoReturn:
        self._turned_away += 1
        raise _stopping()

    async def _admit(self, record: _Call, context: Context) -> float | None:
        """Establish the caller; return after how many seconds to stop, None where grpc does."""
        method = record.method
        metadata: Metadata = context.invocation_metadata() or ()
        for key, value in metadata:
            if key == TRACE_HEADER:
                record.correlation_id = _trace_id(value)
        caller = await self._authenticator.authenticate(context, metadata, method.allowed)
        record.caller = caller
        bind_caller(caller)
        remaining = _remaining(context)
        if remaining is None or remaining > method.deadline:
            return method.deadline
        if remaining < self._least and method.effect:
            raise DeadlineExceeded("too little time was left to begin")
        return None

    async def _fail(self, record: _Call, context: Context, error: BaseException) -> NoReturn:
        """Abort the call with the status of `error`, or let a cancellation pass."""
        if isinstance(error, asyncio.CancelledError):
            remaining = _remaining(context)
            late = remaining is not None and remaining <= 0
            record.code = "DEADLINE_EXCEEDED" if late else _CANCELLED
            raise error
        if isinstance(error, TimeoutError):
            error = DeadlineExceeded("the call took too long")
        elif isinstance(error, (DecodeError, UnicodeDecodeError)):
            error = InvalidArgument("the request does not parse")
        if not isinstance(error, DomainError):
            self._fault(record, error)
        status = to_status(error, record.correlation_id)
        record.code = status.code.name
        record.reason = status.reason
        await context.abort(status.code, status.message, status.trailing_metadata)
        raise AssertionError("abort returned")  # pragma: no cover - it always raises

    def _fault(self, record: _Call, error: BaseException) -> None:
        """Say where a fault of our own happened, without what it said."""
        record.correlation_id = record.correlation_id or self._entropy.token(8).hex()
        fields: dict[str, Value] = {
            "correlation_id": record.correlation_id,
            "error": type(error).__name__,
            "where": _where(error),
        }
        self._log.log(ERROR, "fault", fields)

    def _done(self, record: _Call) -> None:
        took = perf_counter() - record.began
        method, code, caller = record.method, record.code, record.caller
        method.meter.handled(code, took)
        if self._log.level <= INFO:
            self._log.call(
                method=method.name,
                code=code,
                seconds=took,
                account_id=caller.account_id if caller else "",
                application_id=caller.application_id if caller else "",
                reason=record.reason,
                correlation_id=record.correlation_id,
            )


def _remaining(context: Context) -> float | None:
    # None without a client's deadline, whatever the types say.
    return context.time_remaining()


def _overloaded() -> NoReturn:
    raise Unavailable("too many calls at a time", reason=Reason.OVERLOADED, retry_after=SECOND)


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping", reason=Reason.OVERLOADED, retry_after=SECOND)


def _deserializer(handler: Handler) -> Callable[[bytes], Any]:
    if handler.request_deserializer is None:
        raise ValueError("a handler without a request type cannot be served")
    return handler.request_deserializer


def _serializer(handler: Handler) -> Callable[[Any], bytes]:
    if handler.response_serializer is None:
        raise ValueError("a handler without a response type cannot be served")
    return handler.response_serializer


def _trace_id(value: str | bytes) -> str:
    """Return the trace id of a W3C `traceparent` (version 00), "" where it is malformed."""
    if not isinstance(value, str) or len(value) != _TRACE_FORM or not value.startswith("00-"):
        return ""
    trace = value[3:35]
    return trace if all(digit in "0123456789abcdef" for digit in trace) else ""


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    path, _, name = frames[-1].filename.rpartition("/")
    return f"{path.rpartition('/')[2]}/{name}:{frames[-1].lineno}"
