"""What a command reads and writes, while the command itself waits for nothing.

`account.commands` are plain functions, and PostgreSQL answers later. So a command asks
for what it lacks by an exception, the store reads that within the open transaction, and
the command runs again from its beginning, until it has asked for everything. Nothing is
written before it has come to its end.
"""

from collections.abc import Iterable
from typing import NamedTuple

from watchword.account.model import REQUEST_TTL, RequestKey
from watchword.account.rows import StoredRequest, UsageCount, UsageKey
from watchword.audit.leaf import Leaf
from watchword.core.ports import Millis
from watchword.tenancy.model import Account, Application, Credential, TestNumber
from watchword_adapters.stores.postgresql import account_sql as sql
from watchword_adapters.stores.postgresql.account_sql import Row, Write

_STALE_REQUESTS = 100


class Question(NamedTuple):
    """A statement and its arguments; the answer is the rows that it returns."""

    statement: str
    values: tuple[object, ...]


class Unanswered(Exception):
    """A command needs the answer to `question` before it can go on."""

    def __init__(self, question: Question) -> None:
        """Carry the question."""
        super().__init__()
        self.question = question


Answers = dict[Question, list[Row]]


class AccountRows:
    """An open transaction, as `watchword.account.rows.Rows` says, over what was answered.

    `writes` are to be done and `ids` told once the command has ended.
    """

    def __init__(self, now: Millis, answers: Answers) -> None:
        """Begin without a write, at one moment, knowing `answers`."""
        self.now = now
        self.writes: list[Write] = []
        self.ids: list[str] = []
        self._answers = answers
        self._accounts: dict[str, Account] = {}
        self._applications: dict[str, Application] = {}
        self._credentials: dict[str, Credential] = {}
        self._test_numbers: dict[tuple[str, bytes], TestNumber] = {}

    def account(self, account_id: str) -> Account | None:
        """Return the row or None."""
        written = self._accounts.get(account_id)
        found = [] if written else self._ask(f"{sql.ACCOUNT} WHERE account_id = $1", account_id)
        return sql.to_account(found[0]) if found else written

    def put_account(self, row: Account) -> None:
        """Add the row, or replace the one of this id."""
        self._accounts[row.account_id] = row
        self.writes += sql.put_account(row)

    def application(self, application_id: str) -> Application | None:
        """Return the row or None."""
        written = self._applications.get(application_id)
        statement = f"{sql.APPLICATION} WHERE application_id = $1"
        found = [] if written else self._ask(statement, application_id)
        return sql.to_application(found[0]) if found else written

    def put_application(self, row: Application) -> None:
        """Add the row, or replace the one of this id, with its SPIFFE ids."""
        self._applications[row.application_id] = row
        self.writes += sql.put_application(row)

    def spiffe_owner(self, spiffe_id: str) -> str:
        """Return the id of the application that this SPIFFE id is mapped to, or ""."""
        for written in self._applications.values():
            if spiffe_id in written.spiffe_ids:
                return written.application_id
        found = self._ask(sql.SPIFFE_OWNER, spiffe_id)
        owner = str(found[0]["application_id"]) if found else ""
        return "" if owner in self._applications else owner

    def credential(self, credential_id: str) -> Credential | None:
        """Return the row or None."""
        written = self._credentials.get(credential_id)
        statement = f"{sql.CREDENTIAL} WHERE credential_id = $1"
        found = [] if written else self._ask(statement, credential_id)
        return sql.to_credential(found[0]) if found else written

    def put_credential(self, row: Credential) -> None:
        """Add the row, or replace the one of this id."""
        self._credentials[row.credential_id] = row
        self.writes += sql.put_credential(row)

    def unrevoked(self, account_id: str, application_id: str) -> list[Credential]:
        """Return the credentials of exactly this owner that were not revoked, expired or not."""
        found = self._ask(
            f"{sql.CREDENTIAL} WHERE account_id IS NOT DISTINCT FROM $1"
            " AND application_id IS NOT DISTINCT FROM $2 AND revoke_time = 0",
            account_id or None,
            application_id or None,
        )
        owner = (account_id, application_id)
        rows = self._with_written(found)
        return [r for r in rows if (r.account_id, r.application_id) == owner and not r.revoke_time]

    def operators(self) -> list[Credential]:
        """Return every credential of an operator, revoked ones included."""
        found = self._ask(f"{sql.CREDENTIAL} WHERE account_id IS NULL")
        return [row for row in self._with_written(found) if not row.account_id]

    def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the row or None."""
        written = self._test_numbers.get((application_id, phone_index))
        statement = f"{sql.TEST_NUMBER} WHERE application_id = $1 AND phone_index = $2"
        found = [] if written else self._ask(statement, application_id, phone_index)
        return sql.to_test_number(found[0]) if found else written

    def live_test_numbers(self, application_id: str) -> int:
        """Return how many of the application's test numbers are live."""
        found = self._ask(
            f"{sql.TEST_NUMBER} WHERE application_id = $1 AND expire_time > $2",
            application_id,
            self.now,
        )
        rows = {row.phone_index: row for row in map(sql.to_test_number, found)}
        rows |= {i: r for (owner, i), r in self._test_numbers.items() if owner == application_id}
        return sum(row.live(self.now) for row in rows.values())

    def put_test_number(self, row: TestNumber) -> None:
        """Add the row, or replace the one of this application and index."""
        self._test_numbers[row.application_id, row.phone_index] = row
        self.writes += sql.put_test_number(row)

    def add_usage(self, key: UsageKey, count: UsageCount) -> None:
        """Add to the counter; nothing for an application that the account does not have."""
        self.writes += sql.add_usage({key: count})

    def request(self, scope: str, method: str, request_id: str) -> StoredRequest | None:
        """Return the stored request not older than 24 hours, or None."""
        key = (scope, method, request_id)
        found = self._ask(sql.REQUEST, *key, self.now - REQUEST_TTL)
        if not found:
            return None
        mac, object_id, create_time = found[0].values()
        return StoredRequest(RequestKey(*key, mac), object_id, create_time)

    def put_request(self, row: StoredRequest) -> None:
        """Add the stored request and drop those older than 24 hours."""
        self.writes.append((sql.DROP_STALE_REQUESTS, (self.now - REQUEST_TTL, _STALE_REQUESTS)))
        self.writes += sql.put_request(row)

    def append_leaf(self, leaf: Leaf) -> None:
        """Append to the audit log."""
        self.writes += sql.append_leaf(leaf)

    def changed(self, object_id: str) -> None:
        """Note what the change bus is told once the transaction is durable."""
        self.ids.append(object_id)

    def _ask(self, statement: str, *values: object) -> list[Row]:
        question = Question(statement, values)
        if not storable(values):
            return []
        if question not in self._answers:
            raise Unanswered(question)
        return self._answers[question]

    def _with_written(self, found: Iterable[Row]) -> Iterable[Credential]:
        rows = {row.credential_id: row for row in map(sql.to_credential, found)}
        return (rows | self._credentials).values()


def storable(values: Iterable[object]) -> bool:
    """Tell whether PostgreSQL can hold every text: NUL is the one character that it cannot.

    Nothing is stored under a text that it cannot hold.
    """
    return not any(isinstance(value, str) and "\0" in value for value in values)
