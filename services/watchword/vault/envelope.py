"""Sealing of values (AES-256-GCM, NIST SP 800-38D) and wrapping of the keys that seal.

A sealed value is `version (1 byte, 1) ‖ nonce (12) ‖ ciphertext and tag`; a wrapped key
is `version (1 byte, 1) ‖ root key version (4, big-endian) ‖ nonce (12) ‖ ciphertext and
tag`. The header is authenticated with the associated data. Nonces are random: a key
seals far fewer than the 2^32 values at which SP 800-38D §8.3 ends.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.core.errors import Unavailable
from watchword.core.framing import frame
from watchword.core.keys import KeyProvider, KeyUse
from watchword.core.ports import Entropy

_VERSION = b"\x01"
_NONCE_BYTES = 12
_SEALED_START = 1 + _NONCE_BYTES
_WRAPPED_START = 5 + _NONCE_BYTES


class SealBroken(Unavailable):
    """A sealed value cannot be opened: altered, moved, or of a newer format.

    The cause is not told apart, and the text holds no value.
    """

    def __init__(self) -> None:
        """Carry a fixed text."""
        super().__init__("a stored value cannot be opened")


def expand(key: bytes, *info: str | bytes) -> bytes:
    """Return a sub-key of 32 bytes: HKDF-Expand with SHA-256 (RFC 5869 §2.3).

    `key` must be uniform, 32 bytes; `info` is framed, so its parts cannot run together.
    """
    return hmac.digest(key, frame(*info) + b"\x01", "sha256")


def aad(table: str, row: str, column: str, account: str) -> bytes:
    """Return the associated data that ties a sealed value to its place."""
    return frame(table, row, column, account)


def seal(key: bytes, plaintext: bytes, aad: bytes, entropy: Entropy) -> bytes:
    """Return `plaintext` sealed under `key` (32 bytes) for the place that `aad` names.

    Raises `Unavailable` where the random source is broken.
    """
    nonce = entropy.token(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, plaintext, _VERSION + aad)


def unseal(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return what was sealed; raises `SealBroken` for any other key, place or byte."""
    if sealed[:1] != _VERSION:
        raise SealBroken
    return _open(key, sealed[1:_SEALED_START], sealed[_SEALED_START:], _VERSION + aad)


def wrap(provider: KeyProvider, data_key: bytes, aad: bytes, entropy: Entropy) -> bytes:
    """Return `data_key` wrapped under the current version of the provider's WRAP key."""
    key = provider.current(KeyUse.WRAP)
    header = _VERSION + key.version.to_bytes(4, "big")
    nonce = entropy.token(_NONCE_BYTES)
    cipher = AESGCM(key.secret.reveal())
    return header + nonce + cipher.encrypt(nonce, data_key, header + aad)


def unwrap(provider: KeyProvider, wrapped: bytes, aad: bytes) -> bytes:
    """Return a wrapped data key.

    Raises `SealBroken` where it was altered, moved or has an unknown format, and
    `Unavailable` where the provider lacks the version that wrapped it.
    """
    key = provider.version(KeyUse.WRAP, wrapped_version(wrapped))
    nonce, body = wrapped[5:_WRAPPED_START], wrapped[_WRAPPED_START:]
    return _open(key.secret.reveal(), nonce, body, wrapped[:5] + aad)


def wrapped_version(wrapped: bytes) -> int:
    """Return which version of the WRAP key wrapped this; raises `SealBroken` if none did."""
    if wrapped[:1] != _VERSION or len(wrapped) < _WRAPPED_START:
        raise SealBroken
    return int.from_bytes(wrapped[1:5], "big")


def _open(key: bytes, nonce: bytes, body: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, body, aad)
    except (InvalidTag, ValueError):
        raise SealBroken from None
