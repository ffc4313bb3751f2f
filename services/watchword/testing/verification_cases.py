"""Commands for the store suites: small numbers stand for ids, phones and codes."""

import asyncio
import hashlib
from collections.abc import Awaitable, Iterable
from typing import NamedTuple

from watchword.core.errors import DomainError
from watchword.core.ids import send_id_of
from watchword.core.ports import MINUTE, Millis
from watchword.delivery.carrier import Channel
from watchword.delivery.outbox import Outbox, Send, SendError, SendKind, SendState
from watchword.fraud.budget import AccountCaps
from watchword.fraud.limits import PhoneLimits
from watchword.tenancy.model import CodePolicy, Resend
from watchword.testing.clock import FakeClock
from watchword.verification.checking import CheckCommand
from watchword.verification.model import CodeOrigin, RequestKey, SendPlan, State, Verification
from watchword.verification.starting import Sending, StartCommand
from watchword.verification.store import (
    CancelCommand,
    ListQuery,
    PhoneUsage,
    RebindCommand,
    ResendCommand,
    Snapshot,
    VerificationStore,
)

ACCOUNT = "AC" + "1" * 32
APPLICATION = "AP" + "1" * 32
OTHER_ACCOUNT = "AC" + "2" * 32
OTHER_APPLICATION = "AP" + "2" * 32
LIMITS = PhoneLimits()
CAPS = AccountCaps()
LEASE: Millis = MINUTE
REBIND_DELAY: Millis = 24 * 60 * MINUTE
RIGHT = 1
"""`matches` of a code that equals generation 0's."""
WRONG = 0


class Harness(NamedTuple):
    """A store under test: its ports, the clock that it reads, and what it told the bus."""

    verification: VerificationStore
    outbox: Outbox
    clock: FakeClock
    published: list[str]


class Case(NamedTuple):
    """What a verification is about; equal cases are the same pending tuple."""

    phone: int = 0
    purpose: str = "login"
    binding: int = 0
    action: int = 0
    resend: Resend = Resend.SAME
    test: bool = False
    custom: int = 0
    account_id: str = ACCOUNT
    application_id: str = APPLICATION


CASE = Case()


def digest(kind: str, number: int | str) -> bytes:
    """Return 32 bytes that stand for a keyed value."""
    return hashlib.sha256(f"{kind}/{number}".encode()).digest()


def verification_id(number: int) -> str:
    """Return the id of verification `number`; ids sort like their numbers."""
    return f"VE{number:040x}"


def send_id(number: int, send: int = 1) -> str:
    """Return the id of a send of verification `number`, the first unless told otherwise."""
    return send_id_of(verification_id(number), send)


def notice_id(number: int) -> str:
    """Return the id of notice `number`."""
    return f"SE{number:032x}"


def phone_index(case: Case = CASE) -> bytes:
    """Return the account's index of the case's phone."""
    return digest(f"phone/{case.account_id}", case.phone)


def binding_key(case: Case = CASE) -> bytes:
    """Return the case's binding, b"" where it has none."""
    return digest("binding", case.binding) if case.binding else b""


def draft(number: int, case: Case = CASE) -> Verification:
    """Return what a Start of `case` proposes."""
    return Verification(
        verification_id=verification_id(number),
        account_id=case.account_id,
        application_id=case.application_id,
        version=1,
        state=State.PENDING,
        channel=Channel.SMS,
        purpose=case.purpose,
        binding_key=binding_key(case),
        action_mac=digest("action", case.action),
        phone_index=phone_index(case),
        limits_index=digest("limits", case.phone),
        phone_sealed=digest("sealed", case.phone),
        phone_commitment=digest("commitment", case.phone),
        custom_mac=digest("custom", case.custom) if case.custom else b"",
        custom_sealed=digest("custom sealed", case.custom) if case.custom else b"",
        code_origin=CodeOrigin.CALLER if case.custom else CodeOrigin.DERIVED,
        carrier_trust="sandbox",
        test=case.test,
        hint="**00",
        region_code="US",
        line_type="MOBILE",
        generation=0,
        resend=case.resend,
        checks_used=0,
        max_checks=5,
        send_count=0,
        next_send_time=0,
        create_time=0,
        update_time=0,
        expire_time=0,
        approve_time=0,
        receipt_kid="",
        tags='{"team":"blue"}',
        message='{"brand":"Example"}',
    )


def start(
    number: int,
    case: Case = CASE,
    *,
    request: RequestKey | None = None,
    limits: PhoneLimits = LIMITS,
    caps: AccountCaps = CAPS,
) -> StartCommand:
    """Return the Start that would make verification `number`."""
    return StartCommand(
        draft=draft(number, case),
        policy=CodePolicy(resend=case.resend),
        sending=Sending(SendPlan(Channel.SMS, "sandbox"), limits, caps),
        request=request,
    )


def leased(command: StartCommand, lease: Millis = LEASE) -> StartCommand:
    """Return the Start whose message is queued leased."""
    return command._replace(sending=command.sending._replace(lease=lease))


def resend(
    number: int,
    case: Case = CASE,
    *,
    request: RequestKey | None = None,
    limits: PhoneLimits = LIMITS,
) -> ResendCommand:
    """Return a Resend of verification `number`."""
    return ResendCommand(
        verification_id=verification_id(number),
        account_id=case.account_id,
        application_id=case.application_id,
        sending=Sending(SendPlan(Channel.SMS, "sandbox"), limits, CAPS),
        request=request,
    )


def check(
    number: int,
    matches: int = RIGHT,
    case: Case = CASE,
    *,
    request: RequestKey | None = None,
    limits: PhoneLimits = LIMITS,
) -> CheckCommand:
    """Return a Check of verification `number` whose code equals the generations in `matches`."""
    return CheckCommand(
        verification_id=verification_id(number),
        account_id=case.account_id,
        application_id=case.application_id,
        matches=matches,
        custom_mac=digest("custom", case.custom) if case.custom and matches else b"wrong",
        purpose=case.purpose,
        action_mac=digest("action", case.action),
        binding_key=binding_key(case),
        receipt_kid="receipt-1",
        limits=limits,
        request=request,
    )


def cancel(number: int, case: Case = CASE, request: RequestKey | None = None) -> CancelCommand:
    """Return a Cancel of verification `number`."""
    return CancelCommand(verification_id(number), case.account_id, case.application_id, request)


def rebind(
    case: Case = CASE, notice: int | None = None, request: RequestKey | None = None
) -> RebindCommand:
    """Return a re-bind of the case's phone, with send `notice` to tell of it."""
    return RebindCommand(
        account_id=case.account_id,
        application_id=case.application_id,
        phone_index=phone_index(case),
        delay=REBIND_DELAY,
        reason="lost SIM",
        evidence_digest=digest("evidence", 1),
        notice=None if notice is None else _notice(notice, case),
        request=request,
    )


def page(
    case: Case = CASE, *, state: State | None = None, before: str = "", limit: int = 50
) -> ListQuery:
    """Return the query of a page of the case's application."""
    return ListQuery(case.account_id, case.application_id, b"", state, before, limit)


def request(number: int, method: str, body: int = 0, case: Case = CASE) -> RequestKey:
    """Return request id `number`; `body` stands for what it asked."""
    return RequestKey(case.application_id, method, f"request-{number}", digest("body", body))


async def outcomes(calls: Iterable[Awaitable[object]]) -> list[object]:
    """Return what calls made at once came to; a `DomainError` counts as an outcome."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in found:
        if isinstance(outcome, BaseException) and not isinstance(outcome, DomainError):
            raise outcome
    return list(found)


async def get(harness: Harness, number: int, case: Case = CASE) -> Snapshot:
    """Read verification `number` of the case's application."""
    return await harness.verification.get(
        verification_id(number), case.account_id, case.application_id
    )


async def usage(harness: Harness, case: Case = CASE) -> PhoneUsage:
    """Read what the limits on the case's phone have used."""
    index = phone_index(case)
    return await harness.verification.usage(case.account_id, case.application_id, index, index)


def _notice(number: int, case: Case) -> Send:
    return Send(
        send_id=notice_id(number),
        kind=SendKind.NOTICE,
        account_id=case.account_id,
        application_id=case.application_id,
        subject_id=notice_id(number),
        version=1,
        channel=Channel.SMS,
        carrier="sandbox",
        generation=0,
        state=SendState.QUEUED,
        error_reason=SendError.NONE,
        provider_id="",
        attempts=0,
        doubts=0,
        withheld=False,
        due_time=0,
        lease_time=0,
        expire_time=10 * MINUTE,
        notice="REBIND",
        recipient_sealed=digest("recipient", case.phone),
        create_time=0,
        submit_time=0,
        update_time=0,
    )
