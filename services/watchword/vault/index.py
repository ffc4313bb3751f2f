"""Blind indexes: keyed, one-way names for what must be found and not be read.

All are HMAC-SHA-256, 32 bytes. Without the key nobody can try numbers against them,
and two accounts' indexes of one number cannot be joined.
"""

import hmac

from watchword.core.framing import frame
from watchword.core.keys import KeyProvider, KeyUse
from watchword.vault.envelope import expand

_MOST_CACHED = 10_000


class BlindIndex:
    """Computes indexes under the provider's INDEX key, per account, and its LIMITS key."""

    def __init__(self, provider: KeyProvider) -> None:
        """Keep `provider`; sub-keys are derived when first used."""
        self._provider = provider
        self._sub_keys: dict[tuple[int, str, str], bytes] = {}

    def phone(self, account_id: str, e164: str) -> bytes:
        """Return the current index of a phone number (E.164) within one account."""
        return self._phone(self._provider.current(KeyUse.INDEX).version, account_id, e164)

    def all_versions(self, account_id: str, e164: str) -> list[bytes]:
        """Return the phone's index under every live key version, newest first."""
        keys = self._provider.all(KeyUse.INDEX)
        return [self._phone(key.version, account_id, e164) for key in keys]

    def limits_index(self, e164: str) -> bytes:
        """Return the index of a phone number for counters that span accounts."""
        key = self._provider.current(KeyUse.LIMITS).secret.reveal()
        return hmac.digest(key, frame("phone", e164), "sha256")

    def value(self, account_id: str, application_id: str, label: str, data: bytes) -> bytes:
        """Return a keyed name for `data`; equal only within account, application and label."""
        version = self._provider.current(KeyUse.INDEX).version
        key = self._sub_key(version, account_id, "value")
        return hmac.digest(key, frame(application_id, label, data), "sha256")

    def _phone(self, version: int, account_id: str, e164: str) -> bytes:
        return hmac.digest(self._sub_key(version, account_id, "phone"), e164.encode(), "sha256")

    def _sub_key(self, version: int, account_id: str, label: str) -> bytes:
        name = (version, account_id, label)
        key = self._sub_keys.get(name)
        if key is None:
            root = self._provider.version(KeyUse.INDEX, version).secret.reveal()
            if len(self._sub_keys) >= _MOST_CACHED:
                self._sub_keys.clear()
            key = self._sub_keys[name] = expand(root, label, account_id)
        return key
