"""The tenancy in SQLite: `account.commands` inside the engine's transactions."""

from collections.abc import Callable
from typing import Any, TypeVar

from watchword.account import commands
from watchword.account.model import AccountPatch, ApplicationPatch, Lifetime, RequestKey
from watchword.account.rows import UsageCount, UsageKey
from watchword.account.store import ListQuery, SetUp, UsageCell, UsageQuery, UsageRow, Written
from watchword.audit.leaf import LeafMaker
from watchword.core.ports import Clock
from watchword.tenancy.model import Account, Application, Caller, Credential, TestNumber
from watchword_adapters.stores.sqlite import account_rows as sql
from watchword_adapters.stores.sqlite.account_rows import AccountRows
from watchword_adapters.stores.sqlite.engine import Engine, Transaction

T = TypeVar("T")

# An id above every other, for the first page.
_TOP = "~"
_USAGE = (
    "SELECT day, channel, region_code, carrier, sum(starts), sum(sends), sum(approvals)"
    " FROM usage_day WHERE account_id = ? AND (? = '' OR application_id = ?)"
    " AND day >= ? AND day < ? AND (day, channel, region_code, carrier) > (?, ?, ?, ?)"
    " GROUP BY day, channel, region_code, carrier"
    " ORDER BY day, channel, region_code, carrier LIMIT ?"
)


class SqliteAccountStore:
    """An `AccountStore` over one engine; see the port for what each method does."""

    def __init__(self, engine: Engine, leaves: LeafMaker, clock: Clock) -> None:
        """Work through `engine`; `clock` is the one that the engine reads."""
        self._engine = engine
        self._leaves = leaves
        self._clock = clock

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
        return await self._engine.write(
            lambda tx: commands.create_operator(AccountRows(tx), self._leaves, draft, first=first)
        )

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

        def add(tx: Transaction) -> None:
            rows = AccountRows(tx)
            for key, count in counts.items():
                rows.add_usage(key, count)

        await self._engine.write(add)

    def revision(self) -> int:
        """Return a number that stays: no other process writes here."""
        return 0

    async def account(self, account_id: str) -> Account | None:
        """Return the account."""
        return self._engine.look(lambda db: sql.read_account(db, account_id))

    async def application(self, application_id: str) -> Application | None:
        """Return the application."""
        return self._engine.look(lambda db: sql.read_application(db, application_id))

    async def application_by_spiffe(self, spiffe_id: str) -> Application | None:
        """Return the application that this SPIFFE id is mapped to."""
        return self._engine.look(
            lambda db: sql.read_application(db, sql.read_spiffe_owner(db, spiffe_id))
        )

    async def credential(self, credential_id: str) -> Credential | None:
        """Return the credential."""
        return self._engine.look(lambda db: sql.read_credential(db, credential_id))

    async def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the test number."""
        return self._engine.look(lambda db: sql.read_test_number(db, application_id, phone_index))

    async def list_accounts(self, query: ListQuery) -> list[Account]:
        """Read one page."""
        return await self._page(
            f"{sql.ACCOUNT} WHERE account_id < ? ORDER BY account_id DESC LIMIT ?",
            (query.before or _TOP, query.limit),
            sql.to_account,
        )

    async def list_applications(self, query: ListQuery) -> list[Application]:
        """Read one page."""
        return await self._page(
            f"{sql.APPLICATION} WHERE account_id = ? AND application_id < ?"
            " ORDER BY application_id DESC LIMIT ?",
            (query.account_id, query.before or _TOP, query.limit),
            sql.to_application,
        )

    async def list_credentials(self, query: ListQuery) -> list[Credential]:
        """Read one page."""
        return await self._page(
            f"{sql.CREDENTIAL} WHERE account_id = ? AND (? = '' OR application_id = ?)"
            " AND credential_id < ? ORDER BY credential_id DESC LIMIT ?",
            (
                query.account_id,
                query.application_id,
                query.application_id,
                query.before or _TOP,
                query.limit,
            ),
            sql.to_credential,
        )

    async def list_test_numbers(self, query: ListQuery) -> list[TestNumber]:
        """Read one page."""
        return await self._page(
            f"{sql.TEST_NUMBER} WHERE application_id = ? AND hex(phone_index) < ?"
            " AND expire_time > ? ORDER BY phone_index DESC LIMIT ?",
            (
                query.application_id,
                query.before.upper() or _TOP,
                self._clock.now(),
                query.limit,
            ),
            TestNumber._make,
        )

    async def list_usage(self, query: UsageQuery) -> list[UsageRow]:
        """Read one page."""
        return await self._page(
            _USAGE,
            (
                query.account_id,
                query.application_id,
                query.application_id,
                query.start_day,
                query.end_day,
                *(query.after or UsageCell(-1, "", "", "")),
                query.limit,
            ),
            lambda row: UsageRow(UsageCell(*row[:4]), UsageCount(*row[4:])),
        )

    async def _run(self, command: Callable[..., T], *arguments: object) -> T:
        return await self._engine.write(
            lambda tx: command(AccountRows(tx), self._leaves, *arguments)
        )

    async def _page(
        self, statement: str, values: tuple[object, ...], make: Callable[[Any], T]
    ) -> list[T]:
        return await self._engine.read(
            lambda db: [make(row) for row in db.execute(statement, values)]
        )
