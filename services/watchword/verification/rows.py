"""Row access for stores that decide in process: what `commands` reads and writes.

An implementation is a transaction that is already open; it neither decides nor commits.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from watchword.audit.leaf import Leaf
from watchword.core.ports import Millis
from watchword.delivery.outbox import Send
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import GuessGuard, SendTimes
from watchword.verification.model import Verification


class StoredRequest(NamedTuple):
    """A request id that was answered: its body's MAC, what it made, and how it came out."""

    scope: str
    method: str
    request_id: str
    mac: bytes
    object_id: str
    outcome: str
    create_time: Millis


class PhoneState(NamedTuple):
    """What a phone's limits have used: sends in the account and in all, guesses, the budget."""

    account_sends: SendTimes
    global_sends: SendTimes
    guesses: GuessGuard
    budget: AccountBudget


StaleKeys = tuple[tuple[str | bytes, ...], ...]
"""The key of each kind of row at which a walk in search of stale ones stands, () for the start.

The kinds are requests, send times, bindings and guards.
"""

FROM_THE_START: StaleKeys = ((), (), (), ())

STALE_LOOKS = 4
"""How many rows a sweep looks at for each that it may delete: most are still fresh."""


class Swept(NamedTuple):
    """How many stale rows were deleted, and where the next call goes on."""

    deleted: int
    after: StaleKeys


class Rows(Protocol):
    """An open transaction of one store. Every read sees the transaction's own writes."""

    now: Millis
    """The store's clock, read once a command."""

    def verification(self, verification_id: str) -> Verification | None:
        """Return the row or None."""
        ...

    def pending(
        self, application_id: str, phone_index: bytes, purpose: str, binding_key: bytes
    ) -> Verification | None:
        """Return the one row in state PENDING for this tuple, expired or not."""
        ...

    def insert_verification(self, row: Verification) -> None:
        """Add the row."""
        ...

    def update_verification(self, row: Verification) -> None:
        """Replace the row of this id."""
        ...

    def overdue(self, limit: int) -> list[Verification]:
        """Return rows in state PENDING whose `expire_time` has come, oldest first."""
        ...

    def delete_older(self, before: Millis, limit: int) -> int:
        """Delete terminal rows updated before that time, with their sends; return how many."""
        ...

    def delete_stale(self, after: StaleKeys, limit: int) -> Swept:
        """Delete request ids after 24 h, send times after a day, idle guards and bindings.

        Looks at the `limit` rows of each kind whose keys follow `after`, in the keys' order;
        so each row's turn comes, one call after the other.
        """
        ...

    def send(self, send_id: str) -> Send | None:
        """Return the send or None."""
        ...

    def sends(self, subject_id: str) -> tuple[Send, ...]:
        """Return the sends of one verification (`ids.send_id_of`), oldest first."""
        ...

    def insert_send(self, row: Send) -> None:
        """Add the row."""
        ...

    def update_send(self, row: Send) -> None:
        """Replace the row of this id."""
        ...

    def due_sends(
        self, limit: int, except_carriers: frozenset[str]
    ) -> list[tuple[Send, Verification | None]]:
        """Return QUEUED sends whose due time and lease have passed, with their verification.

        Those that have waited longest come first; sends of `except_carriers` are left out.
        """
        ...

    def send_times(self, keys: tuple[bytes, ...]) -> Mapping[bytes, SendTimes]:
        """Return the send times kept under these keys; absent keys are left out."""
        ...

    def put_send_times(self, times: Mapping[bytes, SendTimes]) -> None:
        """Replace the send times of these keys."""
        ...

    def drop_send_times(self, keys: tuple[bytes, ...]) -> None:
        """Forget the send times of these keys."""
        ...

    def phone_state(self, row: Verification) -> PhoneState:
        """Return what a send to the phone of `row` must keep to, in one read."""
        ...

    def guesses(self, application_id: str, phone_index: bytes) -> GuessGuard | None:
        """Return the guard or None where nothing ever happened."""
        ...

    def put_guesses(self, application_id: str, phone_index: bytes, guard: GuessGuard) -> None:
        """Replace the guard."""
        ...

    def binding_time(self, application_id: str, phone_index: bytes, binding_key: bytes) -> Millis:
        """Return when this binding was last approved, 0 for never."""
        ...

    def put_binding(self, application_id: str, phone_index: bytes, binding_key: bytes) -> None:
        """Record that this binding was approved now."""
        ...

    def budget(self, account_id: str) -> AccountBudget:
        """Return what the account has used."""
        ...

    def put_budget(self, account_id: str, budget: AccountBudget) -> None:
        """Replace what the account has used."""
        ...

    def request(self, scope: str, method: str, request_id: str) -> StoredRequest | None:
        """Return the stored request not older than 24 hours, or None."""
        ...

    def put_request(self, row: StoredRequest) -> None:
        """Add the stored request."""
        ...

    def append_leaf(self, leaf: Leaf) -> None:
        """Append to the audit log."""
        ...

    def changed(self, object_id: str) -> None:
        """Note what the change bus is told once the transaction is durable."""
        ...
