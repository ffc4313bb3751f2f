"""Root keys from a directory of small files, one for each use and version.

A file is called `<use>.v<version>.key` and holds four lines, `name = value`:

    use = wrap
    version = 1
    create_time = 1800000000000
    key = <64 hexadecimal digits>

The directory is 0700 and each file 0600, both the server's own. Back the directory up
apart from the data; without it nothing that is stored can be opened.
"""

import os
import re
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from watchword.core.errors import Unavailable
from watchword.core.keys import KEY_BYTES, Key, KeyUse
from watchword.core.ports import Clock, Entropy
from watchword.core.secret import Secret
from watchword.core.system import SystemClock, SystemEntropy

_NAME = re.compile(r"([a-z]+)\.v([1-9][0-9]{0,8})\.key")
_TEXT = re.compile(
    r"use = (?P<use>[a-z]+)\n"
    r"version = (?P<version>[1-9][0-9]{0,8})\n"
    r"create_time = (?P<create_time>[0-9]{1,15})\n"
    r"key = (?P<key>[0-9a-f]{64})\n?"
)
_MOST_BYTES = 1_024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(Exception):
    """The key files cannot be used; one line that says which and what to do."""


class FileKeyProvider:
    """A `KeyProvider` over a directory of key files, read once."""

    def __init__(self, directory: Path, uses: Iterable[KeyUse] = KeyUse) -> None:
        """Load every key of `uses`.

        Raises `KeyFileError` where the directory or a file is missing, malformed or
        open to others, or where a use has no key.
        """
        self._keys = _load(Path(directory), frozenset(uses))

    @classmethod
    def create(
        cls, directory: Path, *, clock: Clock | None = None, entropy: Entropy | None = None
    ) -> Self:
        """Make the first key of every use in a new or empty directory, and load them.

        All files are durable before the directory appears under its name, at once.
        Raises `KeyFileError` where it holds anything: keys are never made over others.
        """
        directory = Path(directory)
        now = (clock or SystemClock()).now()
        source = entropy or SystemEntropy()
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            making = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
            for use in KeyUse:
                _write(making, Key(use, 1, Secret(source.token(KEY_BYTES)), now))
            _sync(making)
            _publish(making, directory)
        except OSError as error:
            raise KeyFileError(f"{directory}: the keys cannot be made ({error.strerror})") from None
        return cls(directory)

    @classmethod
    def add(
        cls,
        directory: Path,
        use: KeyUse,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
    ) -> Self:
        """Add the next version of one use, and load all keys anew.

        Raises `KeyFileError` like loading does, or where the version exists by now.
        """
        directory = Path(directory)
        version = cls(directory).current(use).version + 1
        secret = Secret((entropy or SystemEntropy()).token(KEY_BYTES))
        try:
            _write(directory, Key(use, version, secret, (clock or SystemClock()).now()))
            _sync(directory)
        except OSError as error:
            raise KeyFileError(f"{directory}: no key can be added ({error.strerror})") from None
        return cls(directory)

    def current(self, use: KeyUse) -> Key:
        """Return the newest version; raises `Unavailable` where there is none."""
        return self.all(use)[0]

    def version(self, use: KeyUse, version: int) -> Key:
        """Return one version; raises `Unavailable` where it is not held."""
        for key in self.all(use):
            if key.version == version:
                return key
        raise Unavailable("a root key is not held")

    def all(self, use: KeyUse) -> Sequence[Key]:
        """Return every version held, newest first; raises `Unavailable` where there is none."""
        keys = self._keys.get(use)
        if keys is None:
            raise Unavailable("a root key is not held")
        return keys


def _load(directory: Path, uses: frozenset[KeyUse]) -> dict[KeyUse, tuple[Key, ...]]:
    try:
        _refuse_open(directory, directory.stat(), "700")
        keys = [_read(path) for path in sorted(directory.glob("*.key"))]
    except OSError as error:
        raise KeyFileError(
            f"{directory}: the keys cannot be read ({error.strerror}): restore them from their"
            " backup, or make the first ones with `watchword init`"
        ) from None
    held: dict[KeyUse, tuple[Key, ...]] = {}
    for use in KeyUse:
        if use in uses:
            held[use] = tuple(
                sorted((key for key in keys if key.use is use), key=lambda key: -key.version)
            )
    missing = [use for use, found in held.items() if not found]
    if missing:
        raise KeyFileError(
            f"{directory}: there is no {missing[0]} key: restore {missing[0]}.v1.key from its"
            " backup; a new key would not open what is stored"
        )
    return held


def _read(path: Path) -> Key:
    with path.open("rb") as file:
        _refuse_open(path, os.fstat(file.fileno()), "600")
        data = file.read(_MOST_BYTES)
    name = _NAME.fullmatch(path.name)
    text = _TEXT.fullmatch(data.decode("latin-1"))
    if name is None or text is None or name.groups() != (text["use"], text["version"]):
        raise _malformed(path)
    if text["use"] not in frozenset(KeyUse):
        raise _malformed(path)
    return Key(
        KeyUse(text["use"]),
        int(text["version"]),
        Secret(bytes.fromhex(text["key"])),
        int(text["create_time"]),
    )


def _malformed(path: Path) -> KeyFileError:
    return KeyFileError(f"{path}: this is no key file of ours: restore it from its backup")


def _refuse_open(path: Path, status: os.stat_result, mode: str) -> None:
    if status.st_mode & _OTHERS:
        raise KeyFileError(f"{path}: others than its owner may use it: chmod {mode} it")


def _write(directory: Path, key: Key) -> None:
    """Write one key file, durable when this returns; an existing one is never touched."""
    path = directory / f"{key.use}.v{key.version}.key"
    text = (
        f"use = {key.use}\nversion = {key.version}\ncreate_time = {key.create_time}\n"
        f"key = {key.secret.reveal().hex()}\n"
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _publish(making: Path, directory: Path) -> None:
    """Give the finished directory its name; the kernel refuses where that one holds anything."""
    try:
        making.rename(directory)
    except OSError:
        for path in making.iterdir():
            path.unlink()
        making.rmdir()
        raise
    _sync(directory.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
