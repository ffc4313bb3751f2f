"""The account tables: what is read and written, and how rows become objects and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from watchword.account.rows import StoredRequest, UsageCount, UsageKey
from watchword.audit.leaf import Leaf
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

Row = asyncpg.Record
Write = tuple[str, Sequence[Any]]
"""A statement and its arguments."""

_ACCOUNT = Account._fields
_APPLICATION = (
    *Application._fields[:9],
    *("code_length", "code_ttl", "code_max_checks", "code_resend", "custom_code_granted"),
    *("spiffe_scopes", "create_time", "update_time"),
)
_CREDENTIAL = Credential._fields
_TEST_NUMBER = TestNumber._fields
_REQUEST = ("scope", "method", "request_id", "mac", "object_id", "create_time")


def _select(table: str, columns: Iterable[str]) -> str:
    # Columns are named: a newer version may have added some while this one serves.
    return f"SELECT {', '.join(columns)} FROM watchword.{table}"  # noqa: S608


def _upsert(table: str, columns: Sequence[str], key: Sequence[str], fixed: Sequence[str]) -> str:
    places = ", ".join(f"${place}" for place, _ in enumerate(columns, 1))
    changes = (f"{name} = excluded.{name}" for name in columns if name not in {*key, *fixed})
    return (
        f"INSERT INTO watchword.{table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(changes)}"
    )


ACCOUNT = _select("account", _ACCOUNT)
APPLICATION = _select(
    "application AS a",
    (
        *_APPLICATION,
        (
            "ARRAY(SELECT spiffe_id FROM watchword.application_spiffe AS s"
            " WHERE s.application_id = a.application_id ORDER BY spiffe_id) AS spiffe_ids"
        ),
    ),
)
CREDENTIAL = _select("credential", _CREDENTIAL)
TEST_NUMBER = _select("test_number", _TEST_NUMBER)

SPIFFE_OWNER = "SELECT application_id FROM watchword.application_spiffe WHERE spiffe_id = $1"
REQUEST = (
    "SELECT mac, object_id, create_time FROM watchword.account_request"
    " WHERE scope = $1 AND method = $2 AND request_id = $3 AND create_time > $4"
)
DROP_STALE_REQUESTS = (
    "DELETE FROM watchword.account_request WHERE (scope, method, request_id) IN ("
    "SELECT scope, method, request_id FROM watchword.account_request WHERE create_time <= $1"
    " ORDER BY create_time LIMIT $2)"
)
LIST_USAGE = (
    "SELECT day, channel, region_code, carrier, sum(starts)::bigint, sum(sends)::bigint,"
    " sum(approvals)::bigint FROM watchword.usage_day"
    " WHERE account_id = $1 AND ($2 = '' OR application_id = $2) AND day >= $3 AND day < $4"
    " AND (day, channel, region_code, carrier) > ($5, $6, $7, $8)"
    " GROUP BY day, channel, region_code, carrier"
    " ORDER BY day, channel, region_code, carrier LIMIT $9"
)

_PUT_ACCOUNT = _upsert("account", _ACCOUNT, ["account_id"], ["create_time"])
_PUT_APPLICATION = _upsert(
    "application", _APPLICATION, ["application_id"], ["account_id", "create_time"]
)
_DROP_SPIFFE = "DELETE FROM watchword.application_spiffe WHERE application_id = $1"
_PUT_SPIFFE = (
    "INSERT INTO watchword.application_spiffe (spiffe_id, account_id, application_id)"
    " SELECT spiffe_id, $2, $3 FROM unnest($1::text[]) AS spiffe_id"
)
_PUT_CREDENTIAL = _upsert(
    "credential",
    _CREDENTIAL,
    ["credential_id"],
    [name for name in _CREDENTIAL if name not in {"version", "revoke_time"}],
)
_PUT_TEST_NUMBER = _upsert("test_number", _TEST_NUMBER, ["application_id", "phone_index"], [])
_PUT_REQUEST = _upsert("account_request", _REQUEST, _REQUEST[:3], [])
# Rows are locked in the order of the key, as by every other statement that adds usage.
_ADD_USAGE = (
    "INSERT INTO watchword.usage_day AS u (account_id, application_id, day, channel,"
    " region_code, carrier, starts, sends, approvals)"
    " SELECT account_id, application_id, day, channel, region_code, carrier, starts, sends,"
    " approvals FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[],"
    " $6::text[], $7::bigint[], $8::bigint[], $9::bigint[]) AS added (account_id,"
    " application_id, day, channel, region_code, carrier, starts, sends, approvals)"
    " JOIN watchword.application USING (account_id, application_id)"
    " ORDER BY account_id, day, channel, region_code, carrier, application_id"
    " ON CONFLICT (account_id, day, channel, region_code, carrier, application_id) DO UPDATE"
    " SET starts = u.starts + excluded.starts, sends = u.sends + excluded.sends,"
    " approvals = u.approvals + excluded.approvals"
)
_APPEND_LEAF = (
    "INSERT INTO watchword.audit_leaf"
    " (account_id, object_id, version, kind, time, mac, commitment)"
    " VALUES ($1,$2,$3,$4,$5,$6,$7)"
)


def to_account(row: Row) -> Account:
    """Return the account of a row."""
    read = {"state": AccountState(row["state"]), "regions": tuple(row["regions"])}
    return Account(**{**row, **read})


def to_application(row: Row) -> Application:
    """Return the application of a row of `APPLICATION`."""
    policy = CodePolicy(
        row["code_length"], row["code_ttl"], row["code_max_checks"], Resend(row["code_resend"])
    )
    read: dict[str, Any] = {
        "code_policy": policy,
        "spiffe_ids": tuple(row["spiffe_ids"]),
        "spiffe_scopes": frozenset(map(Scope, row["spiffe_scopes"])),
        **{name: frozenset(row[name]) for name in ("regions", "channels", "purposes")},
    }
    return Application._make(
        read[name] if name in read else row[name] for name in Application._fields
    )


def to_credential(row: Row) -> Credential:
    """Return the credential of a row."""
    owner = {name: row[name] or "" for name in ("account_id", "application_id")}
    scopes = frozenset(map(Scope, row["scopes"]))
    return Credential(**{**row, **owner, "scopes": scopes})


def to_test_number(row: Row) -> TestNumber:
    """Return the test number of a row."""
    return TestNumber(**row)


def put_account(row: Account) -> list[Write]:
    """Return what adds the row, or replaces the one of this id."""
    values = row._replace(state=row.state.value, regions=sorted(row.regions))  # type: ignore[arg-type]
    return [(_PUT_ACCOUNT, values)]


def put_application(row: Application) -> list[Write]:
    """Return what adds the row, or replaces the one of this id, with its SPIFFE ids."""
    values = (
        *row[:6],
        sorted(row.regions),
        sorted(row.channels),
        sorted(row.purposes),
        *row.code_policy[:3],
        row.code_policy.resend.value,
        row.custom_code_granted,
        sorted(row.spiffe_scopes),
        row.create_time,
        row.update_time,
    )
    owner = (row.account_id, row.application_id)
    return [
        (_PUT_APPLICATION, values),
        (_DROP_SPIFFE, owner[1:]),
        (_PUT_SPIFFE, (row.spiffe_ids, *owner)),
    ]


def put_credential(row: Credential) -> list[Write]:
    """Return what adds the row, or replaces what may change of the one of this id."""
    owner = (row.account_id or None, row.application_id or None)
    scopes = sorted(row.scopes)
    return [
        (_PUT_CREDENTIAL, (row.credential_id, *owner, *row[3:5], scopes, *row[6:])),
    ]


def put_test_number(row: TestNumber) -> list[Write]:
    """Return what adds the row, or replaces the one of this application and index."""
    return [(_PUT_TEST_NUMBER, row)]


def add_usage(counts: Mapping[UsageKey, UsageCount]) -> list[Write]:
    """Return what adds to the counters whose application the account has."""
    rows = [(*key, *count) for key, count in counts.items()]
    return [(_ADD_USAGE, list(zip(*rows, strict=True)))] if rows else []


def put_request(row: StoredRequest) -> list[Write]:
    """Return what keeps the answered request."""
    return [(_PUT_REQUEST, (*row.key, row.object_id, row.create_time))]


def append_leaf(leaf: Leaf) -> list[Write]:
    """Return what appends to the audit log."""
    return [(_APPEND_LEAF, leaf)]
