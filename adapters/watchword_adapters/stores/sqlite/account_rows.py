"""Row access to the account tables: what `account.commands` reads and writes."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from watchword.account.model import REQUEST_TTL, RequestKey
from watchword.account.rows import StoredRequest, UsageCount, UsageKey
from watchword.audit.leaf import Leaf
from watchword.core.ports import Millis
from watchword.tenancy.model import (
    Account,
    AccountState,
    Application,
    CodePolicy,
    Credential,
    Resend,
    Scope,
    TestNumber,
)
from watchword_adapters.stores.sqlite.audit import append_leaf
from watchword_adapters.stores.sqlite.engine import Transaction

_STALE_REQUESTS = 100

ACCOUNT = (
    "SELECT account_id, version, display_name, company_name, contact_email, contact_hint,"
    " contact_index, state, sends_per_hour, sends_per_day, regions, create_time, update_time"
    " FROM account"
)
APPLICATION = (
    "SELECT application_id, account_id, version, display_name, brand_name, audience, regions,"
    " channels, purposes, code_length, code_ttl, code_max_checks, code_resend,"
    " custom_code_granted,"
    " (SELECT json_group_array(spiffe_id) FROM application_spiffe AS s"
    " WHERE s.application_id = application.application_id),"
    " spiffe_scopes, create_time, update_time FROM application"
)
CREDENTIAL = (
    "SELECT credential_id, account_id, application_id, version, display_name, scopes,"
    " secret_hash, create_time, expire_time, revoke_time FROM credential"
)
TEST_NUMBER = (
    "SELECT application_id, phone_index, account_id, version, phone_sealed, code_sealed,"
    " create_time, expire_time FROM test_number"
)


class AccountRows:
    """An open transaction, as `watchword.account.rows.Rows` says."""

    def __init__(self, tx: Transaction) -> None:
        """Work in `tx`."""
        self._db = tx.db
        self._tx = tx
        self.now: Millis = tx.now

    def account(self, account_id: str) -> Account | None:
        """Return the row or None."""
        return read_account(self._db, account_id)

    def put_account(self, row: Account) -> None:
        """Add the row, or replace the one of this id."""
        self._db.execute(
            "INSERT INTO account (account_id, version, display_name, company_name, contact_email,"
            " contact_hint, contact_index, state, sends_per_hour, sends_per_day, regions,"
            " create_time, update_time) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (account_id) DO UPDATE SET version = excluded.version,"
            " display_name = excluded.display_name, company_name = excluded.company_name,"
            " contact_email = excluded.contact_email, contact_hint = excluded.contact_hint,"
            " contact_index = excluded.contact_index, state = excluded.state,"
            " sends_per_hour = excluded.sends_per_hour, sends_per_day = excluded.sends_per_day,"
            " regions = excluded.regions, update_time = excluded.update_time",
            (*row[:7], row.state._value_, *row[8:10], _json(row.regions), *row[11:]),
        )

    def application(self, application_id: str) -> Application | None:
        """Return the row or None."""
        return read_application(self._db, application_id)

    def put_application(self, row: Application) -> None:
        """Add the row, or replace the one of this id, with its SPIFFE ids."""
        self._db.execute(
            "INSERT INTO application (application_id, account_id, version, display_name,"
            " brand_name, audience, regions, channels, purposes, code_length, code_ttl,"
            " code_max_checks, code_resend, custom_code_granted, spiffe_scopes, create_time,"
            " update_time) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (application_id) DO UPDATE SET version = excluded.version,"
            " display_name = excluded.display_name, brand_name = excluded.brand_name,"
            " audience = excluded.audience, regions = excluded.regions,"
            " channels = excluded.channels, purposes = excluded.purposes,"
            " code_length = excluded.code_length, code_ttl = excluded.code_ttl,"
            " code_max_checks = excluded.code_max_checks, code_resend = excluded.code_resend,"
            " custom_code_granted = excluded.custom_code_granted,"
            " spiffe_scopes = excluded.spiffe_scopes, update_time = excluded.update_time",
            _application_values(row),
        )
        owner = (row.account_id, row.application_id)
        self._db.execute("DELETE FROM application_spiffe WHERE application_id = ?", owner[1:])
        self._db.executemany(
            "INSERT INTO application_spiffe (spiffe_id, account_id, application_id)"
            " VALUES (?, ?, ?)",
            [(spiffe_id, *owner) for spiffe_id in row.spiffe_ids],
        )

    def spiffe_owner(self, spiffe_id: str) -> str:
        """Return the id of the application that this SPIFFE id is mapped to, or ""."""
        return read_spiffe_owner(self._db, spiffe_id)

    def credential(self, credential_id: str) -> Credential | None:
        """Return the row or None."""
        return read_credential(self._db, credential_id)

    def put_credential(self, row: Credential) -> None:
        """Add the row, or replace the one of this id."""
        self._db.execute(
            "INSERT INTO credential (credential_id, account_id, application_id, version,"
            " display_name, scopes, secret_hash, create_time, expire_time, revoke_time)"
            " VALUES (?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (credential_id) DO UPDATE SET version = excluded.version,"
            " revoke_time = excluded.revoke_time",
            (
                row.credential_id,
                row.account_id or None,
                row.application_id or None,
                row.version,
                row.display_name,
                _json(row.scopes),
                row.secret_hash,
                row.create_time,
                row.expire_time,
                row.revoke_time,
            ),
        )

    def unrevoked(self, account_id: str, application_id: str) -> list[Credential]:
        """Return the credentials of exactly this owner that were not revoked, expired or not."""
        found = self._db.execute(
            f"{CREDENTIAL} WHERE account_id IS ? AND application_id IS ? AND revoke_time = 0",
            (account_id or None, application_id or None),
        )
        return [to_credential(row) for row in found]

    def operators(self) -> list[Credential]:
        """Return every credential of an operator, revoked ones included."""
        return [
            to_credential(row) for row in self._db.execute(f"{CREDENTIAL} WHERE account_id IS NULL")
        ]

    def test_number(self, application_id: str, phone_index: bytes) -> TestNumber | None:
        """Return the row or None."""
        return read_test_number(self._db, application_id, phone_index)

    def live_test_numbers(self, application_id: str) -> int:
        """Return how many of the application's test numbers are live."""
        count: int = self._db.execute(
            "SELECT count(*) FROM test_number WHERE application_id = ? AND expire_time > ?",
            (application_id, self.now),
        ).fetchone()[0]
        return count

    def put_test_number(self, row: TestNumber) -> None:
        """Add the row, or replace the one of this application and index."""
        self._db.execute(
            "INSERT OR REPLACE INTO test_number (application_id, phone_index, account_id, version,"
            " phone_sealed, code_sealed, create_time, expire_time) VALUES (?,?,?,?,?,?,?,?)",
            row,
        )

    def add_usage(self, key: UsageKey, count: UsageCount) -> None:
        """Add to the counter; nothing for an application that the account does not have."""
        self._db.execute(
            "INSERT INTO usage_day (account_id, application_id, day, channel, region_code,"
            " carrier, starts, sends, approvals)"
            " SELECT account_id, application_id, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM application"
            " WHERE account_id = ?1 AND application_id = ?2"
            " ON CONFLICT DO UPDATE SET starts = starts + excluded.starts,"
            " sends = sends + excluded.sends, approvals = approvals + excluded.approvals",
            (*key, *count),
        )

    def request(self, scope: str, method: str, request_id: str) -> StoredRequest | None:
        """Return the stored request not older than 24 hours, or None."""
        found = self._db.execute(
            "SELECT mac, object_id, create_time FROM account_request"
            " WHERE scope = ? AND method = ? AND request_id = ? AND create_time > ?",
            (scope, method, request_id, self.now - REQUEST_TTL),
        ).fetchone()
        if found is None:
            return None
        mac, object_id, create_time = found
        return StoredRequest(RequestKey(scope, method, request_id, mac), object_id, create_time)

    def put_request(self, row: StoredRequest) -> None:
        """Add the stored request and drop those older than 24 hours."""
        self._db.execute(
            "DELETE FROM account_request WHERE (scope, method, request_id) IN ("
            "SELECT scope, method, request_id FROM account_request WHERE create_time <= ?"
            " ORDER BY create_time LIMIT ?)",
            (self.now - REQUEST_TTL, _STALE_REQUESTS),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO account_request (scope, method, request_id, mac, object_id,"
            " create_time) VALUES (?,?,?,?,?,?)",
            (*row.key, row.object_id, row.create_time),
        )

    def append_leaf(self, leaf: Leaf) -> None:
        """Append to the audit log."""
        append_leaf(self._db, leaf)

    def changed(self, object_id: str) -> None:
        """Note what the change bus is told once the transaction is durable."""
        self._tx.changed(object_id)


def read_account(db: sqlite3.Connection, account_id: str) -> Account | None:
    """Return the account or None."""
    row = db.execute(f"{ACCOUNT} WHERE account_id = ?", (account_id,)).fetchone()
    return None if row is None else to_account(row)


def read_application(db: sqlite3.Connection, application_id: str) -> Application | None:
    """Return the application or None."""
    row = db.execute(f"{APPLICATION} WHERE application_id = ?", (application_id,)).fetchone()
    return None if row is None else to_application(row)


def read_spiffe_owner(db: sqlite3.Connection, spiffe_id: str) -> str:
    """Return the id of the application that this SPIFFE id is mapped to, or ""."""
    row = db.execute(
        "SELECT application_id FROM application_spiffe WHERE spiffe_id = ?", (spiffe_id,)
    ).fetchone()
    return "" if row is None else str(row[0])


def read_credential(db: sqlite3.Connection, credential_id: str) -> Credential | None:
    """Return the credential or None."""
    row = db.execute(f"{CREDENTIAL} WHERE credential_id = ?", (credential_id,)).fetchone()
    return None if row is None else to_credential(row)


def read_test_number(
    db: sqlite3.Connection, application_id: str, phone_index: bytes
) -> TestNumber | None:
    """Return the test number or None."""
    row = db.execute(
        f"{TEST_NUMBER} WHERE application_id = ? AND phone_index = ?",
        (application_id, phone_index),
    ).fetchone()
    return None if row is None else TestNumber._make(row)


def to_account(row: Sequence[Any]) -> Account:
    """Return the account of a row of `ACCOUNT`."""
    return Account._make(
        (*row[:7], AccountState(row[7]), *row[8:10], tuple(json.loads(row[10])), *row[11:])
    )


def to_application(row: Sequence[Any]) -> Application:
    """Return the application of a row of `APPLICATION`."""
    return Application._make(
        (
            *row[:6],
            *(frozenset(json.loads(text)) for text in row[6:9]),
            CodePolicy._make((*row[9:12], Resend(row[12]))),
            row[13] == 1,
            tuple(sorted(json.loads(row[14]))),
            frozenset(map(Scope, json.loads(row[15]))),
            *row[16:],
        )
    )


def to_credential(row: Sequence[Any]) -> Credential:
    """Return the credential of a row of `CREDENTIAL`."""
    scopes = frozenset(map(Scope, json.loads(row[5])))
    return Credential._make((row[0], row[1] or "", row[2] or "", *row[3:5], scopes, *row[6:]))


def _application_values(row: Application) -> Sequence[Any]:
    policy = row.code_policy
    return (
        *row[:6],
        _json(row.regions),
        _json(row.channels),
        _json(row.purposes),
        *policy[:3],
        policy.resend._value_,
        int(row.custom_code_granted),
        _json(row.spiffe_scopes),
        row.create_time,
        row.update_time,
    )


def _json(texts: Iterable[str]) -> str:
    return json.dumps(sorted(str(text) for text in texts))
