"""Reads a carrier's table of the configuration; every complaint is one line that helps."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from watchword.core.secret import Secret

_MAX_SECRET_BYTES = 4096


class Settings:
    """Takes settings out of a table by name and type; `finish` refuses what is left.

    Each method raises `ValueError` with one line that names the setting, never its value.
    """

    def __init__(self, carrier: str, table: Mapping[str, object]) -> None:
        """Read `table`, the settings of the carrier named."""
        self._carrier = carrier
        self._table = dict(table)

    def error(self, name: str, text: str) -> ValueError:
        """Return the complaint about one setting."""
        return ValueError(f"carriers.{self._carrier}.{name} {text}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; without a default it must be there."""
        value = self._table.pop(name, default)
        if value is None:
            raise self.error(name, "is missing")
        if not isinstance(value, str):
            raise self.error(name, "must be a string")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self._table.pop(name, default)
        if not isinstance(value, bool):
            raise self.error(name, "must be true or false")
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Return an integer between `low` and `high`."""
        value = self._table.pop(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(name, f"must be a whole number between {low} and {high}")
        return value

    def tables(self, name: str) -> list["Settings"]:
        """Return an array of tables, each to be finished by itself."""
        value = self._table.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
            raise self.error(name, "must be an array of tables")
        return [Settings(f"{self._carrier}.{name}", row) for row in value]

    def secret(self, name: str) -> Secret[str] | None:
        """Return a secret from `<name>`, already wrapped, or the file `<name>_file`; or None.

        The file must be readable by its owner alone (0600).
        """
        wrapped = self._table.pop(name, None)
        path = self.text(f"{name}_file", "")
        if wrapped is not None and path:
            raise self.error(name, f"and {name}_file exclude each other")
        if path:
            return self._read(f"{name}_file", Path(path))
        if wrapped is not None and not isinstance(wrapped, Secret):
            raise self.error(name, f"does not belong into the configuration: use {name}_file")
        return wrapped

    def finish(self) -> None:
        """Raise for settings that nobody asked for."""
        for name in self._table:
            raise self.error(name, "is unknown")

    def _read(self, name: str, path: Path) -> Secret[str]:
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(_MAX_SECRET_BYTES)
        except OSError:
            raise self.error(name, "cannot be read") from None
        if stat.S_IMODE(mode) & 0o077:
            raise self.error(name, "must be readable by its owner alone: chmod 600")
        text = content.decode("ascii", "replace").strip()
        if not text or not text.isascii() or not text.isprintable() or "\n" in text:
            raise self.error(name, "must hold one line of printable ASCII")
        return Secret(text)
