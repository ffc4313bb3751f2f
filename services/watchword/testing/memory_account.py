"""`AccountStore` in memory, over the shared atomic commands; nothing is durable."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, fields
from typing import TypeVar

from watchword.account import commands
from watchword.account.model import (
    REQUEST_TTL,
    AccountPatch,
    ApplicationPatch,
    Lifetime,
    RequestKey,
)
from watchword.account.rows import StoredRequest, UsageCount, UsageKey
from watchword.account.store import ListQuery, SetUp, UsageCell, UsageQuery, UsageRow, Written
from watchword.audit.leaf import Leaf, LeafMaker
from watchword.core.ports import ChangeBus, Clock, Millis
from watchword.tenancy.model import Account, Application, Caller, Credential, TestNumber

T = TypeVar("T")

_TOP = "~"


@dataclass
class AccountTables:
    """Everything that the store holds."""

    accounts: dict[str, Account] = field(default_factory=dict)
    applications: dict[str, Application] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    test_numbers: dict[tuple[str, bytes], TestNumber] = field(default_factory=dict)
    usage: dict[UsageKey, UsageCount] = field(default_factory=dict)
    requests: dict[tuple[str, str, str], StoredRequest] = field(default_factory=dict)
    leaves: list[Leaf] = field(default_factory=list)

    def copy(self) -> "AccountTables":
        """Return a copy whose changes do not show here."""
        return AccountTables(**{f.name: copy(getattr(self, f.name)) for f in fields(self)})


class MemoryAccountRows:
    """An open transaction, as `watchword.account.rows.Rows` says."""

    def __init__(self, tables: AccountTables, now: Millis) -> None:
        """Work on `tables`, at one moment."""
        self.tables = tables
        self.now = now
        self.ids: list[str] = []

    def account(self, account_id: str) -> Account | None:
        """Return the row or None."""
        return self.tables.accounts.get(account_id)

    def put_account(self, row: Account) -> None:
        """Add the row, or replace the one of this id."""
        self.tables.accounts[row.account_id] = row

    def application(self, application_id: str) -> Application | None:
        """Return the row or None."""
        return self.tables.applications.get(application_id)

    def put_application(self, row: Application) -> None:
        """Add the row, or replace the one of this id, with its SPIFFE ids."""
        self.tables.applications[row.application_id] = row

    def spiffe_owner(self, spiffe_id: str) -> str:
        """Return the id of the application that this SPIFFE id is mapped to, or ""."""
        owners = (a for a in self.tables.applications.values() if spiffe_id in a.spiffe_ids)
        return next((owner.application_id for owner in owners), "")

    def credential(self, credential_id: str) -> Credential | None:
        """Return the row or None."""
        return self.tables.credentials.get(credential_id)

    def put_credential(self, row: Credential) -> None:
        """Add the row, or replace the one of this id."""
        self.tables.credentials[row.credential_id] = row

    def unrevoked(self, account_id: str, application_id: str) -> list[Credential]:
        """Return the credentials of exactly this owner that were not revoked, expired or not."""
        owner = (account_id, application_id)
        return [
            c
            for c in self.tables.credentials.values()
            if (c.account_id, c.application_id) == owner and not c.revoke_time
        ]

    def operators(self) -> list[Credential]:
        """Return every credential of an operator, revoked ones included."""
        return [c for c in self.tables.credentials.values() if not c.account_id]

    def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the row or None."""
        return self.tables.test_numbers.get((application_id, phone_index))

    def live_test_numbers(self, application_id: str) -> int:
        """Return how many of the application's test numbers are live."""
        rows = self.tables.test_numbers.values()
        return sum(r.application_id == application_id and r.live(self.now) for r in rows)

    def put_test_number(self, row: TestNumber) -> None:
        """Add the row, or replace the one of this application and index."""
        self.tables.test_numbers[row.application_id, row.phone_index] = row

    def add_usage(self, key: UsageKey, count: UsageCount) -> None:
        """Add to the counter; nothing for an application that the account does not have."""
        application = self.application(key.application_id)
        if application is not None and application.account_id == key.account_id:
            self.tables.usage[key] = _sum([self.tables.usage.get(key, UsageCount()), count])

    def request(self, scope: str, method: str, request_id: str) -> StoredRequest | None:
        """Return the stored request not older than 24 hours, or None."""
        found = self.tables.requests.get((scope, method, request_id))
        return found if found and found.create_time > self.now - REQUEST_TTL else None

    def put_request(self, row: StoredRequest) -> None:
        """Add the stored request and drop those older than 24 hours."""
        kept = self.tables.requests.items()
        since = self.now - REQUEST_TTL
        self.tables.requests = {k: r for k, r in kept if r.create_time > since}
        self.tables.requests[row.key[:3]] = row

    def append_leaf(self, leaf: Leaf) -> None:
        """Append to the audit log."""
        self.tables.leaves.append(leaf)

    def changed(self, object_id: str) -> None:
        """Note what the change bus is told afterwards."""
        self.ids.append(object_id)


class MemoryAccountStore:
    """An `AccountStore` for tests; `tables` shows what it holds."""

    def __init__(self, clock: Clock, bus: ChangeBus, leaves: LeafMaker) -> None:
        """Begin empty."""
        self.tables = AccountTables()
        self._clock = clock
        self._bus = bus
        self._leaves = leaves

    async def create_account(
        self, draft: Account, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Add an account."""
        return self._run(commands.create_account, draft, caller, request)

    async def update_account(
        self, account_id: str, patch: AccountPatch, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Change an account."""
        return self._run(commands.update_account, account_id, patch, caller, request)

    async def suspend_account(
        self, account_id: str, reason: str, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Suspend an account."""
        return self._run(commands.suspend_account, account_id, reason, caller, request)

    async def create_application(
        self, draft: Application, caller: Caller, request: RequestKey | None
    ) -> Written[Application]:
        """Add an application."""
        return self._run(commands.create_application, draft, caller, request)

    async def update_application(
        self,
        application_id: str,
        patch: ApplicationPatch,
        caller: Caller,
        request: RequestKey | None,
    ) -> Written[Application]:
        """Change an application."""
        return self._run(commands.update_application, application_id, patch, caller, request)

    async def create_credential(
        self, draft: Credential, lifetime: Lifetime, caller: Caller, request: RequestKey | None
    ) -> Written[Credential]:
        """Add a credential."""
        return self._run(commands.create_credential, draft, lifetime, caller, request)

    async def revoke_credential(
        self, credential_id: str, caller: Caller, request: RequestKey | None
    ) -> Written[Credential]:
        """Revoke a credential."""
        return self._run(commands.revoke_credential, credential_id, caller, request)

    async def create_operator(self, draft: Credential, *, first: bool) -> Credential:
        """Add an operator's credential."""
        return self._write(
            lambda rows: commands.create_operator(rows, self._leaves, draft, first=first)
        )

    async def set_up(self, draft: SetUp) -> None:
        """Add what a dev or sandbox store starts with."""
        self._run(commands.set_up, draft)

    async def create_test_number(
        self, draft: TestNumber, caller: Caller, request: RequestKey | None
    ) -> Written[TestNumber]:
        """Add or renew a test number."""
        return self._run(commands.create_test_number, draft, caller, request)

    async def delete_test_number(
        self, application_id: str, phone_index: bytes, caller: Caller, request: RequestKey | None
    ) -> None:
        """Delete a test number."""
        self._run(commands.delete_test_number, application_id, phone_index, caller, request)

    async def add_usage(self, counts: dict[UsageKey, UsageCount]) -> None:
        """Add to the counters."""

        def add(rows: MemoryAccountRows) -> None:
            for key, count in counts.items():
                rows.add_usage(key, count)

        self._write(add)

    def revision(self) -> int:
        """Return a number that stays: no other process writes here."""
        return 0

    async def account(self, account_id: str) -> Account | None:
        """Return the account."""
        return self._rows().account(account_id)

    async def application(self, application_id: str) -> Application | None:
        """Return the application."""
        return self._rows().application(application_id)

    async def application_by_spiffe(self, spiffe_id: str) -> Application | None:
        """Return the application that this SPIFFE id is mapped to."""
        rows = self._rows()
        return rows.application(rows.spiffe_owner(spiffe_id))

    async def credential(self, credential_id: str) -> Credential | None:
        """Return the credential."""
        return self._rows().credential(credential_id)

    async def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the test number."""
        return self._rows().test_number(application_id, phone_index)

    async def list_accounts(self, query: ListQuery) -> list[Account]:
        """Read one page."""
        return _page(self.tables.accounts, query, lambda _: True)

    async def list_applications(self, query: ListQuery) -> list[Application]:
        """Read one page."""
        return _page(
            self.tables.applications, query, lambda row: row.account_id == query.account_id
        )

    async def list_credentials(self, query: ListQuery) -> list[Credential]:
        """Read one page."""
        return _page(
            self.tables.credentials,
            query,
            lambda row: (
                bool(row.account_id)
                and row.account_id == query.account_id
                and query.application_id in ("", row.application_id)
            ),
        )

    async def list_test_numbers(self, query: ListQuery) -> list[TestNumber]:
        """Read one page."""
        now = self._clock.now()
        by_index = {
            index.hex(): row
            for (application_id, index), row in self.tables.test_numbers.items()
            if application_id == query.application_id
        }
        return _page(by_index, query, lambda row: row.live(now))

    async def list_usage(self, query: UsageQuery) -> list[UsageRow]:
        """Read one page."""
        cells: dict[UsageCell, list[UsageCount]] = {}
        for key, count in self.tables.usage.items():
            if (
                key.account_id == query.account_id
                and query.application_id in ("", key.application_id)
                and query.start_day <= key.day < query.end_day
            ):
                cells.setdefault(UsageCell(*key[2:]), []).append(count)
        after = query.after or UsageCell(-1, "", "", "")
        found = sorted(cell for cell in cells if cell > after)
        return [UsageRow(cell, _sum(cells[cell])) for cell in found[: query.limit]]

    def _rows(self) -> MemoryAccountRows:
        return MemoryAccountRows(self.tables, self._clock.now())

    def _run(self, command: Callable[..., T], *arguments: object) -> T:
        return self._write(lambda rows: command(rows, self._leaves, *arguments))

    def _write(self, command: Callable[[MemoryAccountRows], T]) -> T:
        """Run a command whole or not at all."""
        rows = MemoryAccountRows(self.tables.copy(), self._clock.now())
        outcome = command(rows)
        self.tables = rows.tables
        for object_id in dict.fromkeys(rows.ids):
            self._bus.publish(object_id)
        return outcome


def _page(rows: dict[str, T], query: ListQuery, wanted: Callable[[T], bool]) -> list[T]:
    before = query.before or _TOP
    names = sorted((n for n, row in rows.items() if n < before and wanted(row)), reverse=True)
    return [rows[name] for name in names[: query.limit]]


def _sum(counts: list[UsageCount]) -> UsageCount:
    return UsageCount._make(map(sum, zip(*counts, strict=True)))
