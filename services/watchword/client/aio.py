"""The client for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
import grpc.aio

from watchword.account.v1.account_pb2_grpc import AccountServiceStub
from watchword.client import calls
from watchword.client.base import BaseClient, RequestT, as_method, own
from watchword.client.calls import Call
from watchword.client.errors import from_rpc_error
from watchword.verification.v1.verification_pb2_grpc import VerificationServiceStub

if TYPE_CHECKING:
    # Only the types know these two names.
    from watchword.account.v1.account_pb2_grpc import AccountServiceAsyncStub
    from watchword.verification.v1.verification_pb2_grpc import VerificationServiceAsyncStub

P = ParamSpec("P")
T = TypeVar("T")
ReplyT = TypeVar("ReplyT")


def _unary(
    build: Callable[P, Call[T]], name: str | None = None
) -> Callable[Concatenate["Client", P], Coroutine[Any, Any, T]]:
    """Make a method that sends what `build` describes."""

    async def method(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await client.send(build(*args, **kwargs))

    as_method(method, build, name)
    return method


def _stream(
    build: Callable[P, Call[T]],
) -> Callable[Concatenate["Client", P], AsyncIterator[T]]:
    """Make a method that follows what `build` describes."""

    def method(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return client.follow(build(*args, **kwargs))

    as_method(method, build)
    return method


class Client(BaseClient):
    """Calls Watchword from asyncio; use it as `async with Client(...) as client:`.

    Every method raises a `WatchwordError`; UNAVAILABLE is tried again within the deadline,
    which is safe because each effect carries a `request_id`, the caller's or a random one.
    One client serves many tasks. See `BaseClient` for what it is made with.
    """

    async def __aenter__(self) -> Self:
        """Open the channel; the connection is made with the first call."""
        self.channel = (
            grpc.aio.secure_channel(self.endpoint, self._tls.credentials())
            if self._tls
            else grpc.aio.insecure_channel(self.endpoint)
        )
        self.verification: VerificationServiceAsyncStub = VerificationServiceStub(self.channel)
        self.account: AccountServiceAsyncStub = AccountServiceStub(self.channel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel; calls in flight are cancelled."""
        await self.channel.close()

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

    async def send(self, call: Call[T]) -> T:
        """Send a described call and read its reply."""
        return call.read(await self._try(self._method(call), call.request))

    async def call(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[RequestT, ReplyT]",
        request: RequestT,
    ) -> ReplyT:
        """Call a stub's method with the credential, the deadline, retries and typed errors.

        For example `await client.call(client.account.ListUsage, ListUsageRequest())`.
        """
        reply: ReplyT = await self._try(method, own(request))
        return reply

    async def follow(self, call: Call[T]) -> AsyncIterator[T]:
        """Yield a stream's replies as they come; one that breaks off is taken up again."""
        attempts = self._endless_attempts()
        while True:
            stream = self._method(call)(call.request, metadata=self.metadata())
            try:
                async for reply in stream:
                    attempts.progressed()
                    yield call.read(reply)
            except grpc.aio.AioRpcError as error:
                wait = attempts.wait_after(from_rpc_error(error))
            else:
                return
            finally:
                stream.cancel()
            await asyncio.sleep(wait)

    async def _try(self, method: Any, request: RequestT) -> Any:  # noqa: ANN401 - any method
        attempts = self._attempts(request)
        while True:
            try:
                return await method(request, timeout=attempts.timeout, metadata=self.metadata())
            except grpc.aio.AioRpcError as error:
                wait = attempts.wait_after(from_rpc_error(error))
            await asyncio.sleep(wait)

    def _method(self, call: Call[T]) -> Any:  # noqa: ANN401 - any method
        return getattr(
            self.account if call.service == "account" else self.verification, call.method
        )
