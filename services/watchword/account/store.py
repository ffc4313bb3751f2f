"""The port that keeps the tenancy: atomic commands, each decided by the store's clock."""

from typing import Generic, NamedTuple, Protocol, TypeVar

from watchword.account.model import AccountPatch, ApplicationPatch, Lifetime, RequestKey
from watchword.account.rows import UsageCount, UsageKey
from watchword.tenancy.directory import TenancyReader
from watchword.tenancy.model import Account, Application, Caller, Credential, TestNumber

T = TypeVar("T")


class Written(NamedTuple, Generic[T]):
    """The row after a command; `replayed` where the request id was known already."""

    row: T
    replayed: bool


class ListQuery(NamedTuple):
    """A page of rows, newest first.

    `account_id` and `application_id` "" mean any; `before` is the id after which the page
    starts ("" for the first).
    """

    account_id: str
    application_id: str
    before: str
    limit: int


class UsageQuery(NamedTuple):
    """A page of an account's usage, oldest day first, summed over its applications.

    `application_id` "" means all of them; days run from `start_day` to before `end_day`
    (UTC days since 1970); `after` is the last row of the page before, or None.
    """

    account_id: str
    application_id: str
    start_day: int
    end_day: int
    after: "UsageCell | None"
    limit: int


class UsageCell(NamedTuple):
    """What a usage row is about; the field order is the row order."""

    day: int
    channel: str
    region_code: str
    carrier: str


class UsageRow(NamedTuple):
    """What was used on one day by one channel, region and carrier."""

    cell: UsageCell
    used: UsageCount


class SetUp(NamedTuple):
    """What a dev or sandbox store starts with; `credential` is the application's."""

    account: Account
    application: Application
    credential: Credential
    operator: Credential


class AccountStore(TenancyReader, Protocol):
    """Port: every method is one atomic command or one reading of committed rows.

    MUST: decide by `account.model` (or the same in its own language) with the store's
    own clock; return only after the commit is durable; do each command whole or not at
    all; keep a `request` for 24 hours, answer its repetition with the row as it stands,
    and refuse another body with FAILED_PRECONDITION (REQUEST_ID_MISMATCH); write one audit
    leaf for each object that a command changes; publish on the change bus, after the
    commit, the ids of what changed and `TENANCY_TOPIC`; answer what the caller may not
    see as unknown (`NotFound`); make it impossible, in the schema where there is one, that
    a row names an application of another account. Raises `Unavailable` where the store
    cannot serve: then nothing was done, or, after an unknown commit, the request id tells.
    """

    async def create_account(
        self, draft: Account, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Add an account; its times are the store's."""
        ...

    async def update_account(
        self, account_id: str, patch: AccountPatch, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Change an account. Raises `NotFound`, `FailedPrecondition` (ACCOUNT_SUSPENDED)."""
        ...

    async def suspend_account(
        self, account_id: str, reason: str, caller: Caller, request: RequestKey | None
    ) -> Written[Account]:
        """Suspend an account. Raises `NotFound`, `FailedPrecondition` (ACCOUNT_SUSPENDED)."""
        ...

    async def create_application(
        self, draft: Application, caller: Caller, request: RequestKey | None
    ) -> Written[Application]:
        """Add an application.

        Raises `NotFound`, `InvalidArgument` where a SPIFFE id is mapped already,
        `FailedPrecondition` (ACCOUNT_SUSPENDED, REGION_DISABLED).
        """
        ...

    async def update_application(
        self,
        application_id: str,
        patch: ApplicationPatch,
        caller: Caller,
        request: RequestKey | None,
    ) -> Written[Application]:
        """Change an application; raises as `create_application`, and `PermissionDenied`."""
        ...

    async def create_credential(
        self, draft: Credential, lifetime: Lifetime, caller: Caller, request: RequestKey | None
    ) -> Written[Credential]:
        """Add a credential; where it names an application, the account may be left "".

        Raises `NotFound`, `InvalidArgument`, `FailedPrecondition` (CREDENTIAL_LIMIT,
        ACCOUNT_SUSPENDED).
        """
        ...

    async def revoke_credential(
        self, credential_id: str, caller: Caller, request: RequestKey | None
    ) -> Written[Credential]:
        """Revoke a credential, for good. Raises `NotFound`."""
        ...

    async def create_operator(self, draft: Credential, *, first: bool) -> Credential:
        """Add an operator's credential, for the host alone: no RPC leads here.

        Raises `FailedPrecondition` (CREDENTIAL_LIMIT) beyond two live ones and, where it
        is to be the `first`, where there ever was one.
        """
        ...

    async def set_up(self, draft: SetUp) -> None:
        """Add all of it, and revoke every earlier operator credential."""
        ...

    async def create_test_number(
        self, draft: TestNumber, caller: Caller, request: RequestKey | None
    ) -> Written[TestNumber]:
        """Add or renew a test number.

        Raises `NotFound`, `FailedPrecondition` (TEST_NUMBER_LIMIT, ACCOUNT_SUSPENDED).
        """
        ...

    async def delete_test_number(
        self,
        application_id: str,
        phone_index: bytes,
        caller: Caller,
        request: RequestKey | None,
    ) -> None:
        """Delete a test number. Raises `NotFound`."""
        ...

    async def add_usage(self, counts: dict[UsageKey, UsageCount]) -> None:
        """Add to the counters, all of them or none; writes no leaf and publishes nothing."""
        ...

    async def list_accounts(self, query: ListQuery) -> list[Account]:
        """Read one page; the query names no owner."""
        ...

    async def list_applications(self, query: ListQuery) -> list[Application]:
        """Read one page of an account's applications."""
        ...

    async def list_credentials(self, query: ListQuery) -> list[Credential]:
        """Read one page of an account's credentials, revoked ones included."""
        ...

    async def list_test_numbers(self, query: ListQuery) -> list[TestNumber]:
        """Read one page of an application's live test numbers.

        Ordered by index, downwards; `before` is the hex of the last one.
        """
        ...

    async def list_usage(self, query: UsageQuery) -> list[UsageRow]:
        """Read one page."""
        ...
