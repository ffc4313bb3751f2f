"""The port that keeps verifications: atomic commands, each decided by the store's clock."""

from typing import NamedTuple, Protocol

from watchword.core.ports import Millis
from watchword.delivery.outbox import Claim, Send
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import GuessGuard, SendTimes
from watchword.verification.checking import CheckCommand
from watchword.verification.model import RejectionReason, RequestKey, State, Verification
from watchword.verification.starting import Sending, StartCommand


class Snapshot(NamedTuple):
    """A verification with its sends, oldest first, and the store's time of the reading."""

    verification: Verification
    sends: tuple[Send, ...]
    now: Millis


class StartOutcome(NamedTuple):
    """What a Start or Resend came to; `replayed` where the request id was known already.

    `claim` is the message that it queued leased (`Sending.lease`), None for any other.
    """

    snapshot: Snapshot
    created: bool
    replayed: bool
    claim: Claim | None = None


class ResendCommand(NamedTuple):
    """What a Resend brings: the verification's id guarded by its owners, and the new send.

    `sending.plan.channel` must be one that the application enabled.
    """

    verification_id: str
    account_id: str
    application_id: str
    sending: Sending
    request: RequestKey | None


class CheckOutcome(NamedTuple):
    """What a Check came to: approved, or rejected for `rejection`.

    `checks_remaining` is as of the Check, also where it is a replay. `time_to_check` is
    the time from create to approval in milliseconds.
    """

    snapshot: Snapshot
    approved: bool
    rejection: RejectionReason | None
    checks_remaining: int
    replayed: bool
    compared: int


class CancelCommand(NamedTuple):
    """What a Cancel brings."""

    verification_id: str
    account_id: str
    application_id: str
    request: RequestKey | None


class RebindCommand(NamedTuple):
    """What a re-bind request brings; it takes effect `delay` later, with `notice` to the phone.

    `notice` is a ready send of kind NOTICE whose times the store fills in, or None where
    the phone was told of this re-bind already.
    """

    account_id: str
    application_id: str
    phone_index: bytes
    delay: Millis
    reason: str
    evidence_digest: bytes
    notice: Send | None
    request: RequestKey | None


class RebindOutcome(NamedTuple):
    """When the re-bind takes effect, by the store's clock, and that clock's reading."""

    effective_time: Millis
    now: Millis
    replayed: bool


class PhoneUsage(NamedTuple):
    """What the account's limits on one phone have used; the cross-account counter is not told."""

    sends: SendTimes
    guesses: GuessGuard
    budget: AccountBudget
    now: Millis


class ListQuery(NamedTuple):
    """A page of an application's verifications, newest first.

    `phone_index` b"" and `state` None mean any; `before` is the id after which the page
    starts ("" for the first).
    """

    account_id: str
    application_id: str
    phone_index: bytes
    state: State | None
    before: str
    limit: int


class VerificationStore(Protocol):
    """Port: every method is one atomic command, whatever runs beside it.

    MUST: decide by `verification.model`, `starting` and `checking` (or the same in its own
    language) with the store's own clock; return only after the commit is durable; do each
    command whole or not at all; keep a `request` for 24 hours, answer its repetition from
    what was stored, and refuse another body with FAILED_PRECONDITION
    (REQUEST_ID_MISMATCH); write one audit leaf for each object that a command changes;
    publish the ids of what changed on the change bus after the commit; answer an id of
    another account or application as an unknown one (`NotFound`). Raises `Unavailable`
    where the store cannot serve: then nothing was done, or, after an unknown commit, the
    request id tells.
    """

    async def start(self, command: StartCommand) -> StartOutcome:
        """Begin or resend. Raises `ResourceExhausted` with nothing changed."""
        ...

    async def resend(self, command: ResendCommand) -> StartOutcome:
        """Queue one more send. Raises `NotFound`, `FailedPrecondition`, `ResourceExhausted`."""
        ...

    async def check(self, command: CheckCommand) -> CheckOutcome:
        """Judge a code. Raises `NotFound`, `ResourceExhausted` (GUESS_BUDGET_EXHAUSTED)."""
        ...

    async def cancel(self, command: CancelCommand) -> Snapshot:
        """Cancel. Raises `NotFound`, `FailedPrecondition` (VERIFICATION_CLOSED)."""
        ...

    async def rebind(self, command: RebindCommand) -> RebindOutcome:
        """Schedule the end of a hard stop; a re-bind already scheduled keeps its time."""
        ...

    async def get(self, verification_id: str, account_id: str, application_id: str) -> Snapshot:
        """Read the committed state; one found expired is written so first. Raises `NotFound`."""
        ...

    async def pending_ids(
        self, application_id: str, phone_index: bytes, purpose: str, binding_key: bytes | None
    ) -> list[str]:
        """Return up to two pending verifications in time; `binding_key` None means any."""
        ...

    async def list(self, query: ListQuery) -> list[Snapshot]:
        """Read one page."""
        ...

    async def usage(
        self, account_id: str, application_id: str, send_key: bytes, phone_index: bytes
    ) -> PhoneUsage:
        """Read what the limits on a phone have used."""
        ...

    async def sweep(self, retention: Millis, limit: int) -> int:
        """Expire what is over and delete what is older than `retention`; returns rows touched.

        Works in batches so that other commands go on between: `limit` rows expire, as many
        are deleted for their age, and `STALE_LOOKS` times as many of each other kind are
        looked at, so that what has grown stale goes in the end.
        """
        ...
