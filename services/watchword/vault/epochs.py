"""The code keys: one random key for each (account, epoch of one day), then gone."""

import asyncio

from watchword.core.ports import DAY, MINUTE, Millis
from watchword.vault.keystore import KeyStore

GRACE: Millis = 15 * MINUTE
"""How long a code key outlives its epoch: longer than any code that it made."""

_MOST_CACHED = 4_096


def epoch_expire_time(epoch: int) -> Millis:
    """Return when the code keys of `epoch` (days since 1970) are destroyed."""
    return (epoch + 1) * DAY + GRACE


class EpochKeys:
    """Code keys from the key store, kept in memory while they are used."""

    def __init__(self, keystore: KeyStore) -> None:
        """Read from `keystore`; nothing is cached yet."""
        self._keystore = keystore
        self._cache: dict[tuple[str, int], bytes] = {}
        # One miss at a time: a new day asks the key store once, not once a waiting call,
        # and nothing that is being destroyed comes back into the cache.
        self._lock = asyncio.Lock()

    def peek(self, account_id: str, epoch: int) -> bytes | None:
        """Return the key where it is in memory, without waiting."""
        return self._cache.get((account_id, epoch))

    async def create(self, account_id: str, epoch: int) -> bytes:
        """Return the key for a code that is being issued, made where there is none.

        Durable when returned. Raises `Unavailable` where the key store cannot answer.
        """
        async with self._lock:
            key = self.peek(account_id, epoch)
            if key is None:
                name = _name(account_id, epoch)
                key = await self._keystore.get_or_create(name, epoch_expire_time(epoch))
                self._remember(account_id, epoch, key)
            return key

    async def get(self, account_id: str, epoch: int) -> bytes | None:
        """Return the key of a code that was issued, or None where it is destroyed.

        Never makes one. Raises `Unavailable` where the key store cannot answer.
        """
        key = self.peek(account_id, epoch)
        if key is not None:
            return key
        async with self._lock:
            key = await self._keystore.get(_name(account_id, epoch))
            if key is not None:
                self._remember(account_id, epoch, key)
            return key

    async def destroy_expired(self, now: Millis) -> int:
        """Destroy the keys whose time is over, here and in the key store; return how many."""
        async with self._lock:
            for account_id, epoch in list(self._cache):
                if epoch_expire_time(epoch) <= now:
                    del self._cache[account_id, epoch]
            return await self._keystore.destroy_expired(now)

    def _remember(self, account_id: str, epoch: int, key: bytes) -> None:
        if len(self._cache) >= _MOST_CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[account_id, epoch] = key


def _name(account_id: str, epoch: int) -> str:
    return f"code/{account_id}/{epoch}"
