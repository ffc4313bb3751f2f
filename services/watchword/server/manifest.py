"""What a backup says of itself: a JSON file beside each of its artefacts."""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

from watchword.core.ports import SECOND, Millis
from watchword.core.upkeep import Progress

FILE_NAME = "manifest.json"

_FORMAT = 1
_BLOCK = 1 << 22
_PRIVATE = 0o600


class BackupRefused(Exception):
    """A backup cannot be made or used; the text is one line that says why."""


class Artefact(NamedTuple):
    """A file of a backup: its name in the directory, its size and SHA-256 in hexadecimal."""

    file: str
    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path, progress: Progress) -> Self:
        """Read the file at `path` through. Raises `OSError`."""
        digest, size, total = hashlib.sha256(), 0, path.stat().st_size
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
                progress(f"digest {path.name}", size, total)
        return cls(path.name, size, digest.hexdigest())


class Manifest(NamedTuple):
    """One backup. `store` is the adapter's name, `counts` are rows by table."""

    backup_id: str
    time: Millis
    store: str
    world: str
    schema: int
    data: Artefact
    keys: Artefact
    counts: Mapping[str, int]

    @property
    def plain(self) -> dict[str, object]:
        """Return the manifest as plain data."""
        time = datetime.fromtimestamp(self.time / SECOND, UTC).isoformat(timespec="milliseconds")
        return {
            "format": _FORMAT,
            **self._asdict(),
            "time": time.replace("+00:00", "Z"),
            "data": self.data._asdict(),
            "keys": self.keys._asdict(),
            "counts": dict(self.counts),
        }

    def write(self, directory: Path) -> None:
        """Write it, whole or not at all: a directory without one is no backup."""
        fresh = directory / f".{FILE_NAME}"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self.plain, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(directory / FILE_NAME)
        _sync(directory)

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the one of `directory`. Raises `BackupRefused`."""
        path = directory / FILE_NAME
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise BackupRefused(f"{path}: is not there; this is no whole backup") from None
        except (OSError, ValueError):
            raise BackupRefused(f"{path}: cannot be read") from None
        try:
            return cls._of(found)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BackupRefused(f"{path}: is not a manifest that this version knows") from None

    @classmethod
    def _of(cls, found: Mapping[str, object]) -> Self:
        if found["format"] != _FORMAT:
            raise ValueError("another format")
        made = cls(
            backup_id=_text(found["backup_id"]),
            time=round(datetime.fromisoformat(_text(found["time"])).timestamp() * SECOND),
            store=_text(found["store"]),
            world=_text(found["world"]),
            schema=_number(found["schema"]),
            data=_artefact(found["data"]),
            keys=_artefact(found["keys"]),
            counts={name: _number(count) for name, count in _table(found["counts"]).items()},
        )
        if made.plain != found:
            raise ValueError("not as it was written")
        return made


def _artefact(value: object) -> Artefact:
    found = _table(value)
    name = _text(found["file"])
    if Path(name).name != name or name.startswith("."):
        raise ValueError("a path")  # it would lead out of the directory
    return Artefact(name, _number(found["size"]), _text(found["sha256"]))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("no text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError("no count")
    return value


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("no table")
    return value


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
