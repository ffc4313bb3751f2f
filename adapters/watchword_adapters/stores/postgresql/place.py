"""Where the databases are, as the configuration's section says it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_SCHEMES = ("postgresql://", "postgres://")


class Place(NamedTuple):
    """What a process needs to reach its database; `keys_dsn` is "" where the keys are in it.

    A DSN may hold a password, so a place has no text that tells it.
    """

    dsn: str
    keys_dsn: str = ""
    pool: int = 10
    prepared_statements: bool = True

    def __repr__(self) -> str:
        """Return a text without the DSNs."""
        return f"Place(***, pool={self.pool}, prepared_statements={self.prepared_statements})"


def place_of(settings: Mapping[str, object]) -> Place:
    """Return the place that the section names; reads the files that hold DSNs.

    Raises `ValueError` with one line, which quotes neither a DSN nor what a file holds.
    """
    dsn = _dsn(settings, "dsn")
    if not dsn:
        raise ValueError("store: PostgreSQL needs dsn or dsn_file")
    pool, prepared = settings.get("pool", 10), settings.get("prepared_statements", True)
    if not isinstance(pool, int):
        raise ValueError("store.pool: must be a whole number")  # noqa: TRY004 - the port's
    return Place(dsn, _dsn(settings, "keys_dsn"), pool, prepared is True)


def _dsn(settings: Mapping[str, object], name: str) -> str:
    dsn, file = str(settings.get(name, "")), str(settings.get(f"{name}_file", ""))
    if dsn and file:
        raise ValueError(f"store: {name} or {name}_file, not both")
    if file:
        try:
            dsn = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ValueError(f"store.{name}_file: cannot be read") from None
    if dsn and not dsn.startswith(_SCHEMES):
        raise ValueError(f"store.{name}: must begin postgresql://")
    return dsn
