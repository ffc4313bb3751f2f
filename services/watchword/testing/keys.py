"""Fakes of the two key ports, in memory."""

import hashlib
from collections.abc import Sequence

from watchword.core.errors import Unavailable
from watchword.core.ports import Entropy, Millis
from watchword.core.secret import Secret
from watchword.testing.entropy import SeededEntropy
from watchword.vault.keyring import KEY_BYTES, Key, KeyUse


class MemoryKeyProvider:
    """A `KeyProvider` whose keys follow from its seed; begins with version 1 of each use."""

    def __init__(self, seed: int = 0) -> None:
        """Make the first versions, created at time 0."""
        self._seed = seed
        self._keys: dict[KeyUse, list[Key]] = {use: [] for use in KeyUse}
        for use in KeyUse:
            self.rotate(use)

    def rotate(self, use: KeyUse, create_time: Millis = 0) -> Key:
        """Add the next version of `use` and return it."""
        version = max((key.version for key in self._keys[use]), default=0) + 1
        text = f"watchword test key {self._seed}/{use}/{version}"
        key = Key(use, version, Secret(hashlib.sha256(text.encode()).digest()), create_time)
        self._keys[use].insert(0, key)
        return key

    def retire(self, use: KeyUse, version: int) -> None:
        """Lose one version, as an operator does who deletes its file."""
        self._keys[use] = [key for key in self._keys[use] if key.version != version]

    def current(self, use: KeyUse) -> Key:
        """Return the newest version; raises `Unavailable` where there is none."""
        return self.all(use)[0]

    def version(self, use: KeyUse, version: int) -> Key:
        """Return one version; raises `Unavailable` where it is not held."""
        for key in self._keys[use]:
            if key.version == version:
                return key
        raise Unavailable("a root key is not held")

    def all(self, use: KeyUse) -> Sequence[Key]:
        """Return every version held, newest first; raises `Unavailable` where there is none."""
        if not self._keys[use]:
            raise Unavailable("a root key is not held")
        return tuple(self._keys[use])


class MemoryKeyStore:
    """A `KeyStore` without durability and without wrapping, for tests alone."""

    def __init__(self, entropy: Entropy | None = None) -> None:
        """Begin empty."""
        self._entropy = entropy or SeededEntropy()
        self._keys: dict[str, tuple[bytes, Millis | None]] = {}

    async def get_or_create(self, name: str, expire_time: Millis | None) -> bytes:
        """Return the key of that name, made now where there is none."""
        if name not in self._keys:
            self._keys[name] = (self._entropy.token(KEY_BYTES), expire_time)
        return self._keys[name][0]

    async def get(self, name: str) -> bytes | None:
        """Return the key of that name, or None."""
        key, _ = self._keys.get(name, (None, None))
        return key

    async def destroy(self, name: str) -> None:
        """Forget the key of that name."""
        self._keys.pop(name, None)

    async def destroy_expired(self, now: Millis) -> int:
        """Forget every key whose time is over; return how many."""
        expired = [
            name for name, (_, time) in self._keys.items() if time is not None and time <= now
        ]
        for name in expired:
            del self._keys[name]
        return len(expired)
