"""The blocking client, for code without an event loop."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from watchword.account.v1.account_pb2_grpc import AccountServiceStub
from watchword.client import calls
from watchword.client.base import BaseClient, RequestT, as_method, own
from watchword.client.calls import Call
from watchword.client.errors import from_rpc_error
from watchword.verification.v1.verification_pb2_grpc import VerificationServiceStub

P = ParamSpec("P")
T = TypeVar("T")
ReplyT = TypeVar("ReplyT")


def _unary(
    build: Callable[P, Call[T]], name: str | None = None
) -> Callable[Concatenate["SyncClient", P], T]:
    """Make a method that sends what `build` describes."""

    def method(client: "SyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client.send(build(*args, **kwargs))

    as_method(method, build, name)
    return method


def _stream(
    build: Callable[P, Call[T]],
) -> Callable[Concatenate["SyncClient", P], Iterator[T]]:
    """Make a method that follows what `build` describes."""

    def method(client: "SyncClient", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return client.follow(build(*args, **kwargs))

    as_method(method, build)
    return method


class SyncClient(BaseClient):
    """Calls Watchword and waits; use it as `with SyncClient(...) as client:`.

    The same methods as `Client`, blocking. One client serves many threads.
    """

    def __enter__(self) -> Self:
        """Open the channel; the connection is made with the first call."""
        self.channel = (
            grpc.secure_channel(self.endpoint, self._tls.credentials())
            if self._tls
            else grpc.insecure_channel(self.endpoint)
        )
        self.verification = VerificationServiceStub(self.channel)
        self.account = AccountServiceStub(self.channel)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel; calls in flight are cancelled."""
        self.channel.close()

    start = _unary(calls.start)
    resend = _unary(calls.resend)
    check = _unary(calls.check)
    cancel = _unary(calls.cancel)
    get = _unary(calls.get)
    list = _unary(calls.list_page, "list")
    watch = _stream(calls.watch)
    get_quota = _unary(calls.get_quota)
    rebind = _unary(calls.rebind)
    lookup = _unary(calls.lookup)
    receipt_keys = _unary(calls.receipt_keys)

    def send(self, call: Call[T]) -> T:
        """Send a described call and read its reply."""
        return call.read(self._try(self._method(call), call.request))

    def call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[RequestT, ReplyT]",
        request: RequestT,
    ) -> ReplyT:
        """Call a stub's method with the credential, the deadline, retries and typed errors.

        For example `client.call(client.account.ListUsage, ListUsageRequest())`.
        """
        reply: ReplyT = self._try(method, own(request))
        return reply

    def follow(self, call: Call[T]) -> Iterator[T]:
        """Yield a stream's replies as they come; one that breaks off is taken up again."""
        attempts = self._endless_attempts()
        while True:
            stream = self._method(call)(call.request, metadata=self.metadata())
            try:
                for reply in stream:
                    attempts.progressed()
                    yield call.read(reply)
            except grpc.RpcError as error:
                wait = attempts.wait_after(from_rpc_error(error))
            else:
                return
            finally:
                stream.cancel()
            time.sleep(wait)

    def _try(self, method: Any, request: RequestT) -> Any:  # noqa: ANN401 - any method
        attempts = self._attempts(request)
        while True:
            try:
                return method(request, timeout=attempts.timeout, metadata=self.metadata())
            except grpc.RpcError as error:
                wait = attempts.wait_after(from_rpc_error(error))
            time.sleep(wait)

    def _method(self, call: Call[T]) -> Any:  # noqa: ANN401 - any method
        return getattr(
            self.account if call.service == "account" else self.verification, call.method
        )
