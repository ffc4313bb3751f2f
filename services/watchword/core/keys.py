"""Root keys: what they are for, and the port to whoever holds them.

Every use has keys of its own, versioned from the first one on. Callers above the
audit floor import these names from `watchword.vault.keyring`.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from watchword.core.ports import Millis
from watchword.core.secret import Secret

KEY_BYTES = 32
"""The length of every root key: a full SHA-256 HMAC key, an AES-256 key, an Ed25519 seed."""


class KeyUse(StrEnum):
    """What a root key is used for; a key never serves two uses."""

    INDEX = "index"
    """Blind indexes of phone numbers, bindings and actions, per account."""
    WRAP = "wrap"
    """Data keys and code keys at rest in the key store."""
    AUDIT = "audit"
    """MACs and commitments of audit leaves."""
    LIMITS = "limits"
    """The index of counters that span accounts."""
    CREDENTIAL = "credential"
    """Hashes of credential secrets."""
    RECEIPT = "receipt"
    """Ed25519 seeds (RFC 8032) that sign receipts."""
    TOMBSTONE = "tombstone"
    """Marks of what was erased."""
    REQUEST = "request"
    """MACs of requests, ids and salts derived for receipts."""


class Key(NamedTuple):
    """One version of a root key: 32 uniform bytes, and when it was made."""

    use: KeyUse
    version: int
    secret: Secret[bytes]
    create_time: Millis = 0


class KeyProvider(Protocol):
    """Holds the root keys of one deployment.

    An implementation MUST
    - give the same bytes for the same (use, version) for ever, or fail;
    - number versions from 1 upwards and never give a number to a second key;
    - hold independent random keys, 32 bytes each, for each use and version;
    - answer from memory: these methods are called on the path of every request;
    - never make a key while serving: a missing key is an error, not an occasion;
    - never put key material in an error, a log or a repr.
    """

    def current(self, use: KeyUse) -> Key:
        """Return the newest version; raises `Unavailable` where there is none."""
        ...

    def version(self, use: KeyUse, version: int) -> Key:
        """Return one version; raises `Unavailable` where it is not held."""
        ...

    def all(self, use: KeyUse) -> Sequence[Key]:
        """Return every version held, newest first; raises `Unavailable` where there is none."""
        ...
