"""How this process opens the file: one way for the writer, one for readers."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

Connect = Callable[..., sqlite3.Connection]
"""`sqlite3.connect` or what stands in for it."""

# The log is copied into the file every so many pages (of 4 KiB, so 64 MiB). Rows come in
# random order and change a few times soon after: copied rarely, a page is copied once for
# many changes. A log that one burst made longer is cut back to that size.
_CHECKPOINT_PAGES = 16_000
_LOG_LIMIT = _CHECKPOINT_PAGES * 4_096
_CACHE_KIB = 64 * 1024
_CACHED_STATEMENTS = 256

_WRITER = (
    # FULL syncs the log at every commit: what was acknowledged survives a power cut.
    "PRAGMA synchronous = FULL",
    # FAST overwrites deleted content in pages that are written anyway; freed pages keep
    # theirs, which is sealed, until they are used again.
    "PRAGMA secure_delete = FAST",
    # Savepoints journal to memory, never to a temporary file.
    "PRAGMA temp_store = MEMORY",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {_LOG_LIMIT}",
    f"PRAGMA cache_size = -{_CACHE_KIB}",
)


def open_writer(path: Path, connect: Connect = sqlite3.connect) -> sqlite3.Connection:
    """Return the connection that writes; it waits for no lock (the engine does)."""
    db = _open(path, "rw", connect)
    mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        db.close()
        raise sqlite3.NotSupportedError("no write-ahead log on this file system")
    for pragma in _WRITER:
        db.execute(pragma)
    return db


def open_reader(path: Path, connect: Connect = sqlite3.connect) -> sqlite3.Connection:
    """Return a connection that only reads."""
    db = _open(path, "ro", connect)
    db.execute("PRAGMA query_only = ON")
    return db


def _open(path: Path, mode: str, connect: Connect) -> sqlite3.Connection:
    return connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=0.0,
        isolation_level=None,
        # The commit thread and the loop's take turns; the engine sees to it.
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
