"""What calls return beside the messages of the API themselves."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from watchword.verification.v1.verification_pb2 import (
    CheckVerificationResponse,
    Quota,
    RejectionReason,
    Verification,
)


@dataclass(frozen=True, slots=True)
class Salts:
    """Opens a receipt's commitments; keep it to who must check the number or the action."""

    phone_salt: bytes = field(repr=False)
    action_salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Approved:
    """The code was right, in time and for this purpose, action and binding. True."""

    receipt: str = field(repr=False)
    """A JWT; `verify_receipt` checks it. Whoever holds it can use it: keep it secret."""

    salts: Salts = field(repr=False)
    """What opens the receipt's commitments."""

    verification: Verification = field(repr=False)
    """The verification as the check left it."""

    def __bool__(self) -> Literal[True]:
        """Hold: this outcome alone is an approval."""
        return True


@dataclass(frozen=True, slots=True)
class Rejected:
    """Nothing was approved. False, so that `if outcome:` is never fooled."""

    reason: str
    """A name of `RejectionReason` without its prefix, "WRONG_CODE" for example."""

    checks_remaining: int
    """How many wrong codes the verification still takes."""

    verification: Verification = field(repr=False)
    """The verification as the check left it."""

    def __bool__(self) -> Literal[False]:
        """Do not hold: this is no approval."""
        return False


Outcome = Approved | Rejected
"""The verdict of a check."""


class Page(NamedTuple):
    """A page of verifications, newest first; `next_page_token` is "" on the last."""

    verifications: tuple[Verification, ...]
    next_page_token: str


class Quotas(NamedTuple):
    """What the limits leave; `next_send_time` is seconds of the Unix epoch, None when at once."""

    quotas: tuple[Quota, ...]
    next_send_time: float | None


def to_outcome(reply: CheckVerificationResponse) -> Outcome:
    """Return the verdict; a reply without one approves nothing."""
    if reply.WhichOneof("result") == "approval":
        salts = reply.approval.salts
        return Approved(
            receipt=reply.approval.receipt,
            salts=Salts(phone_salt=salts.phone_salt, action_salt=salts.action_salt),
            verification=reply.verification,
        )
    return Rejected(
        reason=_reason_name(reply.rejection.reason),
        checks_remaining=reply.rejection.checks_remaining,
        verification=reply.verification,
    )


def _reason_name(number: int) -> str:
    # A newer server may know reasons that this client does not.
    known = RejectionReason.DESCRIPTOR.values_by_number.get(number)
    return known.name.removeprefix("REJECTION_REASON_") if known else f"REASON_{number}"
