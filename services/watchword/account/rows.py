"""Row access for stores that decide in process: what `commands` reads and writes.

An implementation is a transaction that is already open; it neither decides nor commits.
"""

from typing import NamedTuple, Protocol

from watchword.account.model import RequestKey
from watchword.audit.leaf import Leaf
from watchword.core.ports import Millis
from watchword.tenancy.model import Account, Application, Credential, TestNumber


class StoredRequest(NamedTuple):
    """A request id that was answered: its key, and the id of what it was about."""

    key: RequestKey
    object_id: str
    create_time: Millis


class UsageKey(NamedTuple):
    """What a usage counter counts; `day` is the number of UTC days since 1970."""

    account_id: str
    application_id: str
    day: int
    channel: str
    region_code: str
    carrier: str


class UsageCount(NamedTuple):
    """A usage counter's values."""

    starts: int = 0
    sends: int = 0
    approvals: int = 0


class Rows(Protocol):
    """An open transaction of one store. Every read sees the transaction's own writes."""

    now: Millis
    """The store's clock, read once a command."""

    def account(self, account_id: str) -> Account | None:
        """Return the row or None."""
        ...

    def put_account(self, row: Account) -> None:
        """Add the row, or replace the one of this id."""
        ...

    def application(self, application_id: str) -> Application | None:
        """Return the row or None."""
        ...

    def put_application(self, row: Application) -> None:
        """Add the row, or replace the one of this id, with its SPIFFE ids."""
        ...

    def spiffe_owner(self, spiffe_id: str) -> str:
        """Return the id of the application that this SPIFFE id is mapped to, or ""."""
        ...

    def credential(self, credential_id: str) -> Credential | None:
        """Return the row or None."""
        ...

    def put_credential(self, row: Credential) -> None:
        """Add the row, or replace the one of this id."""
        ...

    def unrevoked(self, account_id: str, application_id: str) -> list[Credential]:
        """Return the credentials of exactly this owner that were not revoked, expired or not."""
        ...

    def operators(self) -> list[Credential]:
        """Return every credential of an operator, revoked ones included."""
        ...

    def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the row or None."""
        ...

    def live_test_numbers(self, application_id: str) -> int:
        """Return how many of the application's test numbers are live."""
        ...

    def put_test_number(self, row: TestNumber) -> None:
        """Add the row, or replace the one of this application and index."""
        ...

    def add_usage(self, key: UsageKey, count: UsageCount) -> None:
        """Add to the counter; nothing for an application that the account does not have."""
        ...

    def request(self, scope: str, method: str, request_id: str) -> StoredRequest | None:
        """Return the stored request not older than 24 hours, or None."""
        ...

    def put_request(self, row: StoredRequest) -> None:
        """Add the stored request and drop those older than 24 hours."""
        ...

    def append_leaf(self, leaf: Leaf) -> None:
        """Append to the audit log."""
        ...

    def changed(self, object_id: str) -> None:
        """Note what the change bus is told once the transaction is durable."""
        ...
