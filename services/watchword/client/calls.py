"""The verification API as pure functions: arguments in, a `Call` out, nothing sent.

Both clients make their methods from these, so each request is described once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from watchword.account.v1 import account_pb2
from watchword.client.results import Outcome, Page, Quotas, to_outcome
from watchword.verification.v1 import verification_pb2 as pb

T = TypeVar("T")
Action = Mapping[str, str]
"""What exactly is approved: an amount and a payee, for example."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of a method: its request, and how its reply reads. The request may be secret."""

    service: str
    """`verification` or `account`."""

    method: str
    """The rpc's name."""

    request: Message = field(repr=False)
    """What is sent."""

    read: Callable[[Any], T] = field(repr=False)
    """Takes the reply, returns what the method returns."""


def start(
    phone_number: str,
    *,
    region_code: str = "",
    channel: "pb.Channel.ValueType | None" = None,
    purpose: str = "",
    action: Action | None = None,
    binding: bytes = b"",
    code_policy: pb.CodePolicy | None = None,
    language_code: str = "",
    client: pb.ClientContext | None = None,
    web_otp_origin: str = "",
    android_app_hash: str = "",
    tags: Mapping[str, str] | None = None,
    custom_code: str = "",
    request_id: str = "",
) -> Call[pb.Verification]:
    """Start a verification: a code goes out to `phone_number` (E.164, or with `region_code`).

    `purpose`, `action` and `binding` (at most 64 bytes that tie it to the session that asks;
    pass one) must be the same at the check. Returns the verification, pending.
    """
    request = pb.StartVerificationRequest(
        phone_number=phone_number,
        region_code=region_code,
        channel=channel,
        purpose=purpose,
        action=action,
        binding=binding,
        code_policy=code_policy,
        language_code=language_code,
        client=client,
        web_otp_origin=web_otp_origin,
        android_app_hash=android_app_hash,
        tags=tags,
        custom_code=custom_code,
        request_id=request_id,
    )
    return Call("verification", "StartVerification", request, _verification)


def resend(
    verification_id: str,
    *,
    channel: "pb.Channel.ValueType | None" = None,
    request_id: str = "",
) -> Call[pb.Verification]:
    """Send the code again, or a new one, as the policy says; restores no checks."""
    request = pb.ResendVerificationRequest(
        verification_id=verification_id, channel=channel, request_id=request_id
    )
    return Call("verification", "ResendVerification", request, _verification)


def check(
    code: str,
    *,
    verification_id: str | None = None,
    phone_number: str | None = None,
    purpose: str = "",
    action: Action | None = None,
    binding: bytes = b"",
    request_id: str = "",
) -> Call[Outcome]:
    """Check what the person entered, for one of `verification_id` and `phone_number`.

    Returns `Approved`, which is true and holds the receipt, or `Rejected`, which is false
    and says why. This reply alone is authority: `get` and `watch` are information.
    Raises `ValueError` unless exactly one of the two is given.
    """
    if (verification_id is None) == (phone_number is None):
        raise ValueError("check needs one of verification_id and phone_number")
    request = pb.CheckVerificationRequest(
        code=code, purpose=purpose, action=action, binding=binding, request_id=request_id
    )
    if verification_id is not None:
        request.verification_id = verification_id
    if phone_number is not None:
        request.phone_number = phone_number
    return Call("verification", "CheckVerification", request, to_outcome)


def cancel(verification_id: str, *, request_id: str = "") -> Call[pb.Verification]:
    """Cancel a pending verification; a message still queued is not sent."""
    request = pb.CancelVerificationRequest(verification_id=verification_id, request_id=request_id)
    return Call("verification", "CancelVerification", request, _verification)


def get(verification_id: str) -> Call[pb.Verification]:
    """Return a verification as it stands: information, never authority."""
    request = pb.GetVerificationRequest(verification_id=verification_id)
    return Call("verification", "GetVerification", request, _verification)


def list_page(
    *,
    page_size: int = 0,
    page_token: str = "",
    phone_number: str = "",
    state: "pb.VerificationState.ValueType | None" = None,
) -> Call[Page]:
    """Return a page of the application's verifications, newest first."""
    request = pb.ListVerificationsRequest(
        page_size=page_size, page_token=page_token, phone_number=phone_number, state=state
    )
    return Call("verification", "ListVerifications", request, _page)


def watch(verification_id: str) -> Call[pb.Verification]:
    """Follow a verification: its whole state at once, then at each change, until it has ended."""
    request = pb.WatchVerificationRequest(verification_id=verification_id)
    return Call("verification", "WatchVerification", request, _verification)


def get_quota(phone_number: str, *, region_code: str = "") -> Call[Quotas]:
    """Return what the limits leave for a phone number and for the account."""
    request = pb.GetQuotaRequest(phone_number=phone_number, region_code=region_code)
    return Call("verification", "GetQuota", request, _quotas)


def rebind(
    phone_number: str,
    *,
    reason: str,
    region_code: str = "",
    evidence: str = "",
    request_id: str = "",
) -> Call[pb.Rebind]:
    """Give a phone number a fresh start after a hard stop, at once only with `evidence`."""
    request = pb.RebindPhoneRequest(
        phone_number=phone_number,
        region_code=region_code,
        reason=reason,
        evidence=evidence,
        request_id=request_id,
    )
    return Call("verification", "RebindPhone", request, _rebind)


def lookup(phone_number: str, *, region_code: str = "") -> Call[pb.LookupPhoneNumberResponse]:
    """Return what numbering plans say of a number; nothing of who is known here."""
    request = pb.LookupPhoneNumberRequest(phone_number=phone_number, region_code=region_code)
    return Call("verification", "LookupPhoneNumber", request, _same)


def receipt_keys() -> Call[str]:
    """Return the JSON Web Key Set (RFC 7517, as JSON) that verifies receipts."""
    return Call("account", "GetSigningKeys", account_pb2.GetSigningKeysRequest(), _receipt_keys)


def _verification(reply: Any) -> pb.Verification:  # noqa: ANN401 - several replies hold one
    verification: pb.Verification = reply.verification
    return verification


def _page(reply: pb.ListVerificationsResponse) -> Page:
    return Page(tuple(reply.verifications), reply.next_page_token)


def _quotas(reply: pb.GetQuotaResponse) -> Quotas:
    known = reply.HasField("next_send_time")
    next_send_time = reply.next_send_time.ToMilliseconds() / 1000 if known else None
    return Quotas(tuple(reply.quotas), next_send_time)


def _rebind(reply: pb.RebindPhoneResponse) -> pb.Rebind:
    return reply.rebind


def _same(reply: pb.LookupPhoneNumberResponse) -> pb.LookupPhoneNumberResponse:
    return reply


def _receipt_keys(reply: account_pb2.GetSigningKeysResponse) -> str:
    for key_set in reply.key_sets:
        if key_set.use == account_pb2.KEY_USE_RECEIPT:
            return key_set.jwks
    return '{"keys":[]}'
