"""What the database's answers mean: outcomes, and refusals as the errors that they stand for."""

from collections.abc import Callable, Mapping

from watchword.core.errors import (
    DomainError,
    FailedPrecondition,
    NotFound,
    Reason,
    ResourceExhausted,
)
from watchword.core.ports import Millis
from watchword.delivery.outbox import Claim
from watchword.verification.model import RejectionReason, closed_error
from watchword.verification.store import CheckOutcome, Snapshot, StartOutcome
from watchword_adapters.stores.postgresql.columns import send_of, verification_of
from watchword_adapters.stores.postgresql.engine import Row

_Make = Callable[[Millis | None], DomainError]


def _exhausted(text: str, reason: Reason) -> _Make:
    return lambda wait: ResourceExhausted(text, reason=reason, retry_after=wait)


_TOO_OFTEN = "this phone was sent to too often"
_ERRORS: Mapping[str, _Make] = {
    "NOT_FOUND": lambda _: NotFound("no such verification"),
    "REQUEST_ID_MISMATCH": lambda _: FailedPrecondition(
        "the request id was used with another request", reason=Reason.REQUEST_ID_MISMATCH
    ),
    "VERIFICATION_CLOSED": lambda _: closed_error(),
    "SEND_COOLDOWN": _exhausted(_TOO_OFTEN, Reason.SEND_COOLDOWN),
    "SEND_BUDGET_EXHAUSTED": _exhausted(_TOO_OFTEN, Reason.SEND_BUDGET_EXHAUSTED),
    "ACCOUNT_BUDGET_EXHAUSTED": _exhausted(
        "the account's send budget is used up", Reason.ACCOUNT_BUDGET_EXHAUSTED
    ),
    "NO_SENDS_LEFT": _exhausted(
        "this verification has no sends left", Reason.SEND_BUDGET_EXHAUSTED
    ),
    "NEXT_SEND_WAITS": _exhausted("the next send must wait", Reason.SEND_COOLDOWN),
    "HARD_STOPPED": _exhausted("this phone must be re-bound first", Reason.GUESS_BUDGET_EXHAUSTED),
    "GUESSES": _exhausted("too many wrong codes for this phone", Reason.GUESS_BUDGET_EXHAUSTED),
}


def accepted(row: Row, retry_after: Millis | None = None) -> Row:
    """Return the answer, or raise the refusal that it is."""
    if row["error"] is not None:
        raise _ERRORS[row["error"]](retry_after)
    return row


def snapshot_of(row: Row) -> Snapshot:
    """Return the snapshot that an answer holds."""
    sends = tuple(map(send_of, row["sends"]))
    return Snapshot(verification_of(row["verification"]), sends, row["now"])


def start_outcome(row: Row) -> StartOutcome:
    """Return what a Start or Resend came to; raises its refusal."""
    accepted(row, row["retry_after"])
    snapshot = snapshot_of(row)
    claim = None
    if row["queued"] and snapshot.sends[-1].lease_time:
        v = snapshot.verification
        claim = Claim(snapshot.sends[-1], v.phone_sealed, v.custom_sealed, v.message)
    return StartOutcome(snapshot, row["created"], row["replayed"], claim)


def check_outcome(row: Row) -> CheckOutcome:
    """Return what a Check came to; raises its refusal."""
    accepted(row, row["retry_after"])
    return CheckOutcome(
        snapshot=snapshot_of(row),
        approved=row["approved"],
        rejection=None if row["approved"] else RejectionReason(row["rejection"]),
        checks_remaining=row["checks_remaining"],
        replayed=row["replayed"],
        compared=row["compared"],
    )
