"""The port to the store of random keys, kept apart from the data that they open."""

from typing import Protocol

from watchword.core.ports import Millis


class KeyStore(Protocol):
    """Keeps named random keys of 32 bytes until they are destroyed.

    An implementation MUST
    - have a new key durable before `get_or_create` returns it;
    - return the same key to all callers that race to create one name, across processes;
    - keep keys only wrapped under the provider's WRAP key, with its version beside them;
    - after `destroy` returns, neither return nor keep the key, free pages included;
    - keep the `expire_time` that a key was created with;
    - raise `Unavailable` where it cannot answer: never make a second key for a name whose
      first one it cannot read.
    """

    async def get_or_create(self, name: str, expire_time: Millis | None) -> bytes:
        """Return the key of that name, made now where there is none; None never expires."""
        ...

    async def get(self, name: str) -> bytes | None:
        """Return the key of that name, or None where it never was or is destroyed."""
        ...

    async def destroy(self, name: str) -> None:
        """Destroy the key of that name; no error where there is none."""
        ...

    async def destroy_expired(self, now: Millis) -> int:
        """Destroy every key whose `expire_time` is `now` or before; return how many."""
        ...
