"""Keyed values that are computed again whenever they are needed, and never stored twice."""

import hmac
from typing import NamedTuple

from watchword.core.framing import frame
from watchword.core.keys import KeyProvider, KeyUse
from watchword.vault.keyring import active

_TIME = slice(2, 14)


class ReceiptSecrets(NamedTuple):
    """What a verification's receipt needs: two salts of 16 bytes and its `jti`, 32 hex digits."""

    phone_salt: bytes
    action_salt: bytes
    jti: str


def receipt_secrets(provider: KeyProvider, verification_id: str) -> ReceiptSecrets:
    """Return the salts and the `jti` (RFC 7519 §4.1.7), the same each time.

    A key rotation does not change them: the id's own time picks the key version, not the
    moment at which this is called.
    """
    key = active(provider.all(KeyUse.REQUEST), int(verification_id[_TIME], 16))
    derived = hmac.digest(key.secret.reveal(), frame("receipt", verification_id), "sha512")
    return ReceiptSecrets(derived[:16], derived[16:32], derived[32:48].hex())


def request_mac(provider: KeyProvider, data: bytes) -> bytes:
    """Return the MAC (32 bytes) by which a repeated request is known.

    Under the current REQUEST key: after a rotation an older request id reads as one with
    another body, and is refused rather than done twice.
    """
    key = provider.current(KeyUse.REQUEST).secret.reveal()
    return hmac.digest(key, frame("request", data), "sha256")


def credential_hash(provider: KeyProvider, credential_id: str, secret: str) -> bytes:
    """Return what is stored of a credential's secret, 32 bytes, under the current key.

    The secret is at least 128 random bits, so that one keyed hash is enough: no stretching.
    """
    key = provider.current(KeyUse.CREDENTIAL).secret.reveal()
    return _credential(key, credential_id, secret)


def credential_matches(
    provider: KeyProvider, credential_id: str, secret: str, stored: bytes
) -> bool:
    """Tell whether `secret` hashes to `stored` under any live key, in constant time."""
    matched = False
    for key in provider.all(KeyUse.CREDENTIAL):
        computed = _credential(key.secret.reveal(), credential_id, secret)
        matched |= hmac.compare_digest(computed, stored)
    return matched


def _credential(key: bytes, credential_id: str, secret: str) -> bytes:
    data = secret.encode("utf-8", "surrogatepass")
    return hmac.digest(key, frame(credential_id, data), "sha256")
