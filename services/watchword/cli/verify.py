"""`watchword verify`: the main job from a shell."""

from enum import StrEnum
from typing import Annotated

import typer

from watchword.cli.command import (
    PageSize,
    PageToken,
    RequestId,
    Session,
    command,
    pairs,
)
from watchword.cli.fields import text_of, time_text
from watchword.cli.output import as_json
from watchword.client import Approved, Outcome
from watchword.client import verification_pb2 as pb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


class ChannelName(StrEnum):
    """How a code travels."""

    SMS = "sms"
    VOICE = "voice"
    EMAIL = "email"
    AUTO = "auto"


class StateName(StrEnum):
    """Where a verification stands."""

    PENDING = "pending"
    APPROVED = "approved"
    CANCELED = "canceled"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    FAILED = "failed"


class ResendName(StrEnum):
    """Which code a resend carries."""

    SAME = "same"
    NEW = "new"
    LAST_TWO = "last-two"


Phone = Annotated[str, typer.Argument(help="E.164, or national together with --region.")]
Region = Annotated[str, typer.Option("--region", help="ISO 3166 region of a national number.")]
VerificationId = Annotated[str, typer.Argument(help="The verification, VE...")]
Purpose = Annotated[str, typer.Option(help="What the code is for; Start and Check agree.")]
Action = Annotated[
    list[str] | None, typer.Option(help="KEY=VALUE of what is approved; Start and Check agree.")
]
Binding = Annotated[str, typer.Option(help="What ties it to a session; Start and Check agree.")]
ChannelOption = Annotated[ChannelName | None, typer.Option(help="How the code travels.")]


@command(app)
def start(
    session: Session,
    *,
    phone_number: Phone,
    region: Region = "",
    channel: ChannelOption = None,
    purpose: Purpose = "",
    action: Action = None,
    binding: Binding = "",
    length: Annotated[int, typer.Option(min=0, help="Digits; 0 takes the application's.")] = 0,
    max_checks: Annotated[int, typer.Option(min=0, help="Wrong codes it takes.")] = 0,
    ttl: Annotated[int, typer.Option(min=0, help="Seconds that it stays pending.")] = 0,
    resend_policy: Annotated[ResendName | None, typer.Option("--resend")] = None,
    language: Annotated[str, typer.Option(help="BCP 47 tag of the message's language.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of your own.")] = None,
    request_id: RequestId = "",
) -> None:
    """Send a code to a phone number."""
    verification = session.client.start(
        phone_number,
        region_code=region,
        channel=_channel(channel),
        purpose=purpose,
        action=pairs("--action", action or []),
        binding=binding.encode(),
        code_policy=_code_policy(length, max_checks, ttl, resend_policy),
        language_code=language,
        tags=pairs("--tag", tag or []),
        request_id=request_id,
    )
    session.output.message(verification)
    session.output.line(f"next: watchword verify check {verification.verification_id} CODE")


@command(app)
def check(
    session: Session,
    *,
    identifier: Annotated[str, typer.Argument(help="The verification, VE..., or its phone number")],
    code: Annotated[str, typer.Argument(help="What the person entered.")],
    purpose: Purpose = "",
    action: Action = None,
    binding: Binding = "",
    request_id: RequestId = "",
) -> None:
    """Check what the person entered; exits 1 when it is rejected."""
    by_id = identifier.startswith("VE")
    outcome = session.client.check(
        code,
        verification_id=identifier if by_id else None,
        phone_number=None if by_id else identifier,
        purpose=purpose,
        action=pairs("--action", action or []),
        binding=binding.encode(),
        request_id=request_id,
    )
    _show(session, outcome)
    if not outcome:
        raise typer.Exit(1)


@command(app)
def resend(
    session: Session,
    *,
    verification_id: VerificationId,
    channel: ChannelOption = None,
    request_id: RequestId = "",
) -> None:
    """Send the code again, or a new one, as the policy says."""
    session.output.message(
        session.client.resend(verification_id, channel=_channel(channel), request_id=request_id)
    )


@command(app)
def watch(session: Session, *, verification_id: VerificationId) -> None:
    """Follow a verification until it has ended: a line each change."""
    for verification in session.client.watch(verification_id):
        if session.output.json:
            session.output.document(as_json(verification))
        else:
            session.output.line(_summary(verification))


@command(app)
def cancel(
    session: Session, *, verification_id: VerificationId, request_id: RequestId = ""
) -> None:
    """Cancel a pending verification."""
    session.output.message(session.client.cancel(verification_id, request_id=request_id))


@command(app)
def get(session: Session, *, verification_id: VerificationId) -> None:
    """Show a verification as it stands."""
    session.output.message(session.client.get(verification_id))


@command(app, "list")
def list_(
    session: Session,
    *,
    phone_number: Annotated[str, typer.Option("--phone", help="Only those of this number.")] = "",
    state: Annotated[StateName | None, typer.Option(help="Only those in this state.")] = None,
    page_size: PageSize = 0,
    page_token: PageToken = "",
) -> None:
    """List the application's verifications, newest first."""
    wanted = pb.VerificationState.Value(f"VERIFICATION_STATE_{state.name}") if state else None
    page = session.client.list(
        phone_number=phone_number, state=wanted, page_size=page_size, page_token=page_token
    )
    session.output.listing(
        "verifications",
        page.verifications,
        ("verification_id", "state", "channel", "recipient_hint", "purpose", "create_time"),
        page.next_page_token,
    )


@command(app)
def quota(session: Session, *, phone_number: Phone, region: Region = "") -> None:
    """Show what the limits leave for a phone number and for the account."""
    found = session.client.get_quota(phone_number, region_code=region)
    if session.output.json:
        quotas = [as_json(each) for each in found.quotas]
        session.output.document({"quotas": quotas, "next_send_time": found.next_send_time})
        return
    columns = ("name", "limit", "used", "remaining", "reset_time")
    session.output.listing("quotas", found.quotas, columns)
    if found.next_send_time is not None:
        session.output.line(f"next send: {time_text(found.next_send_time)}")


@command(app)
def lookup(session: Session, *, phone_number: Phone, region: Region = "") -> None:
    """Show what numbering plans say of a phone number; nothing is sent."""
    session.output.message(session.client.lookup(phone_number, region_code=region))


@command(app)
def rebind(
    session: Session,
    *,
    phone_number: Phone,
    reason: Annotated[str, typer.Option(help="Why; audited. No personal data.")],
    region: Region = "",
    evidence: Annotated[str, typer.Option(help="A receipt of another factor.")] = "",
    request_id: RequestId = "",
) -> None:
    """Give a phone number a fresh start after a hard stop."""
    session.output.message(
        session.client.rebind(
            phone_number,
            region_code=region,
            reason=reason,
            evidence=evidence,
            request_id=request_id,
        )
    )


def _channel(name: ChannelName | None) -> "pb.Channel.ValueType | None":
    return pb.Channel.Value(f"CHANNEL_{name.name}") if name else None


def _code_policy(
    length: int, max_checks: int, ttl: int, resend_policy: ResendName | None
) -> pb.CodePolicy | None:
    if not (length or max_checks or ttl or resend_policy):
        return None
    policy = pb.CodePolicy(length=length, max_checks=max_checks)
    if ttl:
        policy.ttl.FromSeconds(ttl)
    if resend_policy:
        policy.resend = pb.ResendPolicy.Value(f"RESEND_POLICY_{resend_policy.name}")
    return policy


def _show(session: Session, outcome: Outcome) -> None:
    """Show a verdict; its JSON has the API's own shape."""
    if session.output.json:
        session.output.document(_document(outcome))
    elif isinstance(outcome, Approved):
        session.output.line("approved")
        session.output.line(f"receipt: {outcome.receipt}")
    else:
        left = outcome.checks_remaining
        session.output.line(f"rejected: {outcome.reason}; {left} checks left")


def _document(outcome: Outcome) -> dict[str, object]:
    reply = pb.CheckVerificationResponse(verification=outcome.verification)
    if isinstance(outcome, Approved):
        reply.approval.receipt = outcome.receipt
        reply.approval.salts.phone_salt = outcome.salts.phone_salt
        reply.approval.salts.action_salt = outcome.salts.action_salt
        return as_json(reply)
    document = as_json(reply)
    rejection = {"reason": outcome.reason, "checks_remaining": outcome.checks_remaining}
    return document | {"rejection": rejection}


def _summary(verification: pb.Verification) -> str:
    state = text_of(verification, "state")
    sends = ", ".join(f"{text_of(s, 'state')} by {s.carrier or '?'}" for s in verification.sends)
    return f"{text_of(verification, 'update_time')}  {state:<9}  {sends}"
