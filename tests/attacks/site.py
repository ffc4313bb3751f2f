"""A running server with its own time, and tenants that attack it or are attacked."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from tests.support.live import Live, Metadata, basic
from tests.support.status import Details, details

from watchword.account.v1 import account_pb2 as account
from watchword.core.ports import Millis
from watchword.delivery.outbox import OUTBOX_TOPIC
from watchword.testing.clock import FakeClock
from watchword.verification.v1 import verification_pb2 as pb

SCOPES = (
    "verification.start",
    "verification.check",
    "verification.read",
    "verification.admin",
    "account.read",
    "account.admin",
    "usage.read",
)
PATIENCE = 20.0


async def told(call: Awaitable[Any]) -> Details:
    """Return the error of a call that must fail."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return details(error)
    raise AssertionError("the call was not refused")


async def reason(call: Awaitable[Any]) -> str:
    """Return the ErrorInfo's reason of a call, "" where it succeeds."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return details(error).reason
    return ""


def outcome(reply: pb.CheckVerificationResponse) -> str:
    """Return `APPROVED` or the rejection's reason."""
    if reply.WhichOneof("result") == "approval":
        return "APPROVED"
    name = pb.RejectionReason.Name(reply.rejection.reason)
    return name.removeprefix("REJECTION_REASON_")


def wrong(code: str, number: int = 1) -> str:
    """Return another code of the same length; `number` below 10 ** length picks which."""
    return f"{(int(code) + number) % 10 ** len(code):0{len(code)}d}"


@dataclass
class Tenant:
    """One application of one account, with a credential of its own."""

    site: "Site"
    account_id: str
    application_id: str
    auth: Metadata
    channel: grpc.aio.Channel | None = None

    async def start(self, phone_number: str, **fields: Any) -> pb.Verification:
        """Start a verification."""
        request = pb.StartVerificationRequest(phone_number=phone_number, **fields)
        stub = self.site.live.verification
        return (await stub.StartVerification(request, metadata=self.auth)).verification

    async def started(self, phone_number: str, **fields: Any) -> tuple[str, str]:
        """Start a verification; returns its id and its code."""
        verification_id = (await self.start(phone_number, **fields)).verification_id
        return verification_id, await self.site.live.code(verification_id)

    async def resend(self, verification_id: str, **fields: Any) -> pb.Verification:
        """Resend."""
        request = pb.ResendVerificationRequest(verification_id=verification_id, **fields)
        stub = self.site.live.verification
        return (await stub.ResendVerification(request, metadata=self.auth)).verification

    async def check(
        self, verification_id: str, code: str, **fields: Any
    ) -> pb.CheckVerificationResponse:
        """Check a code."""
        request = pb.CheckVerificationRequest(verification_id=verification_id, code=code, **fields)
        return await self.site.live.verification.CheckVerification(request, metadata=self.auth)

    async def judged(self, verification_id: str, code: str, **fields: Any) -> str:
        """Check a code; returns APPROVED, the rejection's reason or the error's."""
        try:
            return outcome(await self.check(verification_id, code, **fields))
        except grpc.aio.AioRpcError as error:
            return details(error).reason

    async def cancel(self, verification_id: str, **fields: Any) -> pb.Verification:
        """Cancel."""
        request = pb.CancelVerificationRequest(verification_id=verification_id, **fields)
        stub = self.site.live.verification
        return (await stub.CancelVerification(request, metadata=self.auth)).verification

    async def get(self, verification_id: str) -> pb.Verification:
        """Read a verification."""
        request = pb.GetVerificationRequest(verification_id=verification_id)
        stub = self.site.live.verification
        return (await stub.GetVerification(request, metadata=self.auth)).verification

    async def state(self, verification_id: str) -> str:
        """Return a verification's state."""
        name = pb.VerificationState.Name((await self.get(verification_id)).state)
        return name.removeprefix("VERIFICATION_STATE_")

    async def quota(self, phone_number: str) -> dict[str, tuple[int, int, int]]:
        """Return each limit's (limit, used, remaining)."""
        request = pb.GetQuotaRequest(phone_number=phone_number)
        reply = await self.site.live.verification.GetQuota(request, metadata=self.auth)
        return {
            pb.QuotaName.Name(q.name).removeprefix("QUOTA_NAME_"): (q.limit, q.used, q.remaining)
            for q in reply.quotas
        }

    async def sent(self, verification_id: str, count: int = 1) -> pb.Send:
        """Return the verification's `count`-th send once it is not queued any more."""
        async with (
            asyncio.timeout(PATIENCE),
            self.site.live.server.bus.subscribe(verification_id) as changes,
        ):
            while True:
                sends = (await self.get(verification_id)).sends
                if len(sends) >= count and sends[count - 1].state != pb.SEND_STATE_QUEUED:
                    return sends[count - 1]
                await anext(changes)


@dataclass
class Site:
    """A server, its clock, and a supply of numbers that nobody used before."""

    live: Live
    clock: FakeClock
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def phone(self) -> str:
        """Return a number that the carrier simply takes."""
        return f"+1212{4_000_000 + next(self.numbers)}"

    async def tenant(
        self,
        *,
        scopes: Iterable[str] = SCOPES,
        active: bool = True,
        caps: tuple[int, int] = (100_000, 100_000),
        contact: str = "",
        **fields: Any,
    ) -> Tenant:
        """Return an application, in an account of its own."""
        made = await self.live.account.CreateAccount(
            account.CreateAccountRequest(
                display_name="tenant",
                limits=account.AccountLimits(sends_per_hour=caps[0], sends_per_day=caps[1]),
                contact_phone_number=contact,
            ),
            metadata=self.live.admin,
        )
        account_id = made.account.account_id
        if active:
            await self.activate(account_id)
        return await self.application(account_id, scopes=scopes, **fields)

    async def application(
        self, account_id: str, *, scopes: Iterable[str] = SCOPES, **fields: Any
    ) -> Tenant:
        """Return one more application of an account."""
        values = {"display_name": "Shop", "enabled_regions": ["*"], **fields}
        made = await self.live.account.CreateApplication(
            account.CreateApplicationRequest(account_id=account_id, **values),
            metadata=self.live.admin,
        )
        application_id = made.application.application_id
        auth = await self.credential(application_id, scopes)
        return Tenant(self, account_id, application_id, auth)

    async def credential(self, application_id: str, scopes: Iterable[str]) -> Metadata:
        """Return the metadata of one more credential of an application."""
        issued = await self.live.account.CreateCredential(
            account.CreateCredentialRequest(
                application_id=application_id, display_name="key", scopes=list(scopes)
            ),
            metadata=self.live.admin,
        )
        return basic(issued.credential.credential_id, issued.secret)

    async def activate(self, account_id: str) -> None:
        """End an account's trial or suspension."""
        wanted = account.Account(account_id=account_id, state=account.ACCOUNT_STATE_ACTIVE)
        await self.live.account.UpdateAccount(
            account.UpdateAccountRequest(account=wanted, update_mask=FieldMask(paths=["state"])),
            metadata=self.live.admin,
        )

    async def update(self, application_id: str, path: str, **fields: Any) -> None:
        """Change one field of an application, as the operator."""
        wanted = account.Application(application_id=application_id, **fields)
        await self.live.account.UpdateApplication(
            account.UpdateApplicationRequest(
                application=wanted, update_mask=FieldMask(paths=[path])
            ),
            metadata=self.live.admin,
        )

    def pass_time(self, millis: Millis) -> None:
        """Move the clock and wake the dispatcher, whose timers run on real time."""
        self.clock.advance(millis)
        self.live.server.bus.publish(OUTBOX_TOPIC)

    def bodies(self, phone_number: str) -> list[str]:
        """Return the texts that a number got."""
        return [m.body.reveal() for m in self.live.messages if m.to.reveal() == phone_number]

    def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """Read the store's file from outside the server."""
        path = f"file:{self.live.server.config.store.path}?mode=ro"
        with sqlite3.connect(path, uri=True) as db:
            return db.execute(sql, values).fetchall()


def raw(reply: Message) -> bytes:
    """Return a message's bytes in their one order."""
    return reply.SerializeToString(deterministic=True)
