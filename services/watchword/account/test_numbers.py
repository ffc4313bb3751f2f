"""Test numbers: fictitious numbers with a fixed code, kept sealed like any other."""

from dataclasses import dataclass
from typing import NamedTuple

from watchword.account import fields
from watchword.account.model import RequestKey
from watchword.account.store import AccountStore, ListQuery
from watchword.core.errors import InvalidArgument, Reason
from watchword.core.phone import PhoneNumber, is_fictitious, parse_phone
from watchword.core.ports import Entropy
from watchword.core.secret import Secret
from watchword.tenancy.model import Application, Caller, TestNumber
from watchword.vault.envelope import aad, unwrap, wrap
from watchword.vault.index import BlindIndex
from watchword.vault.keyring import KeyProvider


class ShownTestNumber(NamedTuple):
    """A test number and what it is; nobody has it, so it may be shown whole."""

    row: TestNumber
    e164: str


@dataclass(slots=True)
class TestNumberKeeper:
    """Creates, lists and deletes the test numbers of one application at a time.

    The caller of these methods has seen to it that the application is the caller's.
    """

    # Not a test class, whatever its name says to a collector.
    __test__ = False

    store: AccountStore
    provider: KeyProvider
    index: BlindIndex
    entropy: Entropy

    async def create(
        self,
        caller: Caller,
        application: Application,
        number: str,
        code: Secret[str],
        request: RequestKey | None,
    ) -> ShownTestNumber:
        """Add a test number, or give the one that exists a new code and 90 days anew.

        Raises `InvalidArgument` (NUMBER_NOT_ALLOWED outside the fictitious ranges),
        `FailedPrecondition` (TEST_NUMBER_LIMIT, ACCOUNT_SUSPENDED).
        """
        fields.test_code("code", code.reveal())
        phone = parse_phone(number)
        if not is_fictitious(phone):
            raise InvalidArgument(
                "a test number lies in a range that is kept for fiction",
                reason=Reason.NUMBER_NOT_ALLOWED,
                field="phone_number",
            )
        index = await self._index(application, phone)
        draft = self._sealed(application, index, phone, code)
        written = await self.store.create_test_number(draft, caller, request)
        return ShownTestNumber(written.row, phone.e164)

    async def list(
        self, application: Application, before: str, limit: int
    ) -> "list[ShownTestNumber]":
        """Return a page of the live ones; `before` is the hex of the last one's index."""
        query = ListQuery(application.account_id, application.application_id, before, limit)
        rows = await self.store.list_test_numbers(query)
        return [ShownTestNumber(row, self._opened(row)) for row in rows]

    async def delete(
        self, caller: Caller, application: Application, number: str, request: RequestKey | None
    ) -> None:
        """End a test number. Raises `NotFound` (TEST_NUMBER_NOT_FOUND)."""
        index = await self._index(application, parse_phone(number))
        await self.store.delete_test_number(application.application_id, index, caller, request)

    async def _index(self, application: Application, phone: PhoneNumber) -> bytes:
        """Return the index of the row that exists, under whatever key version, or the current."""
        versions = self.index.all_versions(application.account_id, phone.e164)
        for index in versions:
            if await self.store.test_number(application.application_id, index) is not None:
                return index
        return versions[0]

    def _sealed(
        self, application: Application, index: bytes, phone: PhoneNumber, code: Secret[str]
    ) -> TestNumber:
        row = TestNumber(
            application_id=application.application_id,
            phone_index=index,
            account_id=application.account_id,
            version=1,
            phone_sealed=b"",
            code_sealed=b"",
            create_time=0,
            expire_time=0,
        )
        return row._replace(
            phone_sealed=self._wrap(row, "phone", phone.e164),
            code_sealed=self._wrap(row, "code", code.reveal()),
        )

    def _wrap(self, row: TestNumber, column: str, text: str) -> bytes:
        place = aad("test_number", row.row_name, column, row.account_id)
        return wrap(self.provider, text.encode(), place, self.entropy)

    def _opened(self, row: TestNumber) -> str:
        place = aad("test_number", row.row_name, "phone", row.account_id)
        return unwrap(self.provider, row.phone_sealed, place).decode()
