"""Seals what a message needs until it is sent: the recipient and a caller's own code.

Every key is HKDF-Expand (RFC 5869 §2.3) of the account's epoch key over a label and the
subject's id, so that no key is kept per verification and all die with the epoch. The
subject is a verification, or the send itself for a notice; the associated data tie a
sealed value to its table, row, column and account.
"""

import hmac
from typing import NamedTuple

from watchword.core.ports import Entropy
from watchword.core.secret import Secret
from watchword.vault.envelope import aad, expand, seal, unseal

_RECIPIENT = "recipient"
_CUSTOM_CODE = "custom-code"
_CUSTOM_MAC = "custom-code-mac"


class _Place(NamedTuple):
    """Where a sealed value stands: what its key and its associated data follow from."""

    column: str
    subject_id: str
    account_id: str

    def key(self, epoch_key: bytes) -> bytes:
        """Return the key of this value alone."""
        return expand(epoch_key, self.column, self.subject_id)

    def aad(self) -> bytes:
        """Return the associated data."""
        table = "verification" if self.subject_id.startswith("VE") else "send"
        return aad(table, self.subject_id, self.column, self.account_id)


def seal_recipient(
    epoch_key: bytes, subject_id: str, account_id: str, e164: str, entropy: Entropy
) -> bytes:
    """Return the number sealed. Raises `Unavailable` where the random source is broken."""
    place = _Place(_RECIPIENT, subject_id, account_id)
    return seal(place.key(epoch_key), e164.encode(), place.aad(), entropy)


def open_recipient(
    epoch_key: bytes, subject_id: str, account_id: str, sealed: bytes
) -> Secret[str]:
    """Return the number (E.164). Raises `SealBroken` for any other key, place or byte."""
    place = _Place(_RECIPIENT, subject_id, account_id)
    return Secret(unseal(place.key(epoch_key), sealed, place.aad()).decode())


def seal_custom_code(
    epoch_key: bytes, subject_id: str, account_id: str, code: Secret[str], entropy: Entropy
) -> bytes:
    """Return a caller's own code sealed. Raises `Unavailable` without randomness."""
    place = _Place(_CUSTOM_CODE, subject_id, account_id)
    return seal(place.key(epoch_key), code.reveal().encode(), place.aad(), entropy)


def open_custom_code(
    epoch_key: bytes, subject_id: str, account_id: str, sealed: bytes
) -> Secret[str]:
    """Return a caller's own code. Raises `SealBroken` for any other key, place or byte."""
    place = _Place(_CUSTOM_CODE, subject_id, account_id)
    return Secret(unseal(place.key(epoch_key), sealed, place.aad()).decode())


def custom_code_mac(epoch_key: bytes, subject_id: str, code: Secret[str]) -> bytes:
    """Return what a submitted code is compared with, HMAC-SHA-256, 32 bytes.

    Without the epoch key nobody can try the few codes that there are.
    """
    key = expand(epoch_key, _CUSTOM_MAC, subject_id)
    return hmac.digest(key, code.reveal().encode("utf-8", "surrogatepass"), "sha256")
