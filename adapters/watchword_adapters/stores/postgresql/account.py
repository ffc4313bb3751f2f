"""The tenancy in PostgreSQL: `account.commands` inside one transaction each.

Commands lock the one row of `watchword.tenancy` first. They are rare, and one after
another there are neither deadlocks nor counts that two of them took at once.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from watchword.account import commands
from watchword.account.model import AccountPatch, ApplicationPatch, Lifetime, RequestKey
from watchword.account.rows import UsageCount, UsageKey
from watchword.account.store import ListQuery, SetUp, UsageCell, UsageQuery, UsageRow, Written
from watchword.audit.leaf import LeafMaker
from watchword.core.ports import ChangeBus
from watchword.tenancy.model import Account, Application, Caller, Credential, TestNumber
from watchword_adapters.stores.postgresql import account_sql as sql
from watchword_adapters.stores.postgresql.account_rows import (
    AccountRows,
    Answers,
    Unanswered,
    storable,
)
from watchword_adapters.stores.postgresql.account_sql import Write
from watchword_adapters.stores.postgresql.calls import (
    Connection,
    Pool,
    connected,
    in_transaction,
)
from watchword_adapters.stores.postgresql.tenancy import PostgresTenancy, TenancyWatch

T = TypeVar("T")

# An id above every other, for the first page.
_TOP = "~"
_LOCK = "SELECT revision FROM watchword.tenancy FOR UPDATE"
_NOW = "SELECT watchword.now()"
_COUNT_UP = "UPDATE watchword.tenancy SET revision = revision + 1"


class PostgresAccountStore(PostgresTenancy):
    """An `AccountStore` over a pool; see the port for what each method does."""

    def __init__(self, pool: Pool, leaves: LeafMaker, bus: ChangeBus, watch: TenancyWatch) -> None:
        """Work through `pool`; `bus` is told after each commit."""
        super().__init__(pool, watch)
        self._leaves = leaves
        self._bus = bus

    async def create_account(
        self, draft: Account, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Add an account."""
        return await self._run(commands.create_account, draft, caller, request)

    async def update_account(
        self, account_id: str, patch: AccountPatch, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Change an account."""
        return await self._run(commands.update_account, account_id, patch, caller, request)

    async def suspend_account(
        self, account_id: str, reason: str, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Suspend an account."""
        return await self._run(commands.suspend_account, account_id, reason, caller, request)

    async def create_application(
        self, draft: Application, caller: Caller, request: RequestKey | None
    ) -> Written[Application]:
        """Add an application."""
        return await self._run(commands.create_application, draft, caller, request)

    async def update_application(
        self,
        application_id: str,
        patch: ApplicationPatch,
        caller: Caller,
        request: RequestKey | None,
    ) -> Written[Application]:
        """Change an application."""
        return await self._run(commands.update_application, application_id, patch, caller, request)

    async def create_credential(
        self, draft: Credential, lifetime: Lifetime, caller: Caller, request: RequestKey | None
    ) -> Written[Credential]:
        """Add a credential."""
        return await self._run(commands.create_credential, draft, lifetime, caller, request)

    async def revoke_credential(
        self, credential_id: str, caller: Caller, request: RequestKey | None
    ) -> Written[Credential]:
        """Revoke a credential."""
        return await self._run(commands.revoke_credential, credential_id, caller, request)

    async def create_operator(self, draft: Credential, *, first: bool) -> Credential:
        """Add an operator's credential."""
        return await self._run(partial(commands.create_operator, first=first), draft)

    async def set_up(self, draft: SetUp) -> None:
        """Add what a dev or sandbox store starts with."""
        await self._run(commands.set_up, draft)

    async def create_test_number(
        self, draft: TestNumber, caller: Caller, request: RequestKey | None
    ) -> Written[TestNumber]:
        """Add or renew a test number."""
        return await self._run(commands.create_test_number, draft, caller, request)

    async def delete_test_number(
        self, application_id: str, phone_index: bytes, caller: Caller, request: RequestKey | None
    ) -> None:
        """Delete a test number."""
        await self._run(commands.delete_test_number, application_id, phone_index, caller, request)

    async def add_usage(self, counts: dict[UsageKey, UsageCount]) -> None:
        """Add to the counters."""
        await in_transaction(self._pool, lambda db: _write(db, sql.add_usage(counts)))

    async def list_accounts(self, query: ListQuery) -> list[Account]:
        """Read one page."""
        return await self._page(
            f"{sql.ACCOUNT} WHERE account_id < $1 ORDER BY account_id DESC LIMIT $2",
            (query.before or _TOP, query.limit),
            sql.to_account,
        )

    async def list_applications(self, query: ListQuery) -> list[Application]:
        """Read one page."""
        return await self._page(
            f"{sql.APPLICATION} WHERE account_id = $1 AND application_id < $2"
            " ORDER BY application_id DESC LIMIT $3",
            (query.account_id, query.before or _TOP, query.limit),
            sql.to_application,
        )

    async def list_credentials(self, query: ListQuery) -> list[Credential]:
        """Read one page."""
        return await self._page(
            f"{sql.CREDENTIAL} WHERE account_id = $1 AND ($2 = '' OR application_id = $2)"
            " AND credential_id < $3 ORDER BY credential_id DESC LIMIT $4",
            (query.account_id, query.application_id, query.before or _TOP, query.limit),
            sql.to_credential,
        )

    async def list_test_numbers(self, query: ListQuery) -> list[TestNumber]:
        """Read one page."""
        return await self._page(
            f"{sql.TEST_NUMBER} WHERE application_id = $1 AND expire_time > watchword.now()"
            " AND encode(phone_index, 'hex') COLLATE \"C\" < $2"
            " ORDER BY phone_index DESC LIMIT $3",
            (query.application_id, query.before or _TOP, query.limit),
            sql.to_test_number,
        )

    async def list_usage(self, query: UsageQuery) -> list[UsageRow]:
        """Read one page."""
        return await self._page(
            sql.LIST_USAGE,
            (
                query.account_id,
                query.application_id,
                query.start_day,
                query.end_day,
                *(query.after or UsageCell(-1, "", "", "")),
                query.limit,
            ),
            lambda row: UsageRow(UsageCell(*row[:4]), UsageCount(*row[4:])),
        )

    async def _run(self, command: Callable[..., T], *arguments: object) -> T:
        outcome, ids = await in_transaction(
            self._pool,
            lambda db: _attempt(db, lambda rows: command(rows, self._leaves, *arguments)),
        )
        for object_id in dict.fromkeys(ids):
            self._bus.publish(object_id)
        return outcome

    async def _page(
        self, statement: str, values: tuple[object, ...], make: Callable[[Any], T]
    ) -> list[T]:
        if not storable(values):
            return []
        async with connected(self._pool) as db:
            return [make(row) for row in await db.fetch(statement, *values)]


async def _attempt(db: Connection, command: Callable[[AccountRows], T]) -> tuple[T, list[str]]:
    """Run the command, answering what it asks, and write; return its outcome and the ids."""
    await db.execute(_LOCK)
    now = await db.fetchval(_NOW)
    answers: Answers = {}
    while True:
        rows = AccountRows(now, answers)
        try:
            outcome = command(rows)
        except Unanswered as lacking:
            statement, values = lacking.question
            answers[lacking.question] = await db.fetch(statement, *values)
            continue
        writes: list[Write] = rows.writes
        if rows.ids:
            writes = [*writes, (_COUNT_UP, ())]
        await _write(db, writes)
        return outcome, rows.ids


async def _write(db: Connection, writes: Iterable[Write]) -> None:
    for statement, values in writes:
        await db.execute(statement, *values)
