"""The audit log in SQLite: leaves are appended and never changed."""

import sqlite3

from watchword.audit.leaf import Leaf

_APPEND = (
    "INSERT INTO audit_leaf (account_id, object_id, version, kind, time, mac, commitment)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def append_leaf(db: sqlite3.Connection, leaf: Leaf) -> None:
    """Append `leaf` in the open transaction of `db`."""
    db.execute(_APPEND, leaf)
