"""Receipts: the signed statement that a verification was approved (RFC 7519, RFC 8037)."""

import base64
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from watchword.core.action import encode_action
from watchword.core.ports import MINUTE, SECOND, Millis
from watchword.vault.derive import receipt_secrets
from watchword.vault.index import BlindIndex
from watchword.vault.keyring import KeyProvider
from watchword.vault.signing import ReceiptSigner
from watchword.verification.model import Verification

RECEIPT_TTL: Millis = 5 * MINUTE


class Receipt(NamedTuple):
    """A receipt and the salts of its commitments, which only the checker may see."""

    token: str
    phone_salt: bytes
    action_salt: bytes


class ReceiptMaker:
    """Makes the receipt of an approved verification from its committed row.

    Everything is derived or kept in the row, so that a repetition is byte-equal.
    """

    def __init__(self, provider: KeyProvider, index: BlindIndex, signer: ReceiptSigner) -> None:
        """Sign with `signer`; derive salts and ids from `provider`'s keys."""
        self._provider = provider
        self._index = index
        self._signer = signer

    def phone_commitment(self, verification_id: str, e164: str) -> bytes:
        """Return the commitment to the phone number that the row keeps, 32 bytes."""
        secrets = receipt_secrets(self._provider, verification_id)
        return _commitment(secrets.phone_salt, e164.encode())

    def make(self, row: Verification, audience: str, action: Mapping[str, str]) -> Receipt:
        """Return the receipt of `row`; `action` is the one that its Check was for."""
        phone_salt, action_salt, jti = receipt_secrets(self._provider, row.verification_id)
        claims = {
            "iss": self._signer.issuer,
            "aud": audience,
            "sub": self._pairwise(row),
            "iat": row.approve_time // SECOND,
            "exp": (row.approve_time + RECEIPT_TTL) // SECOND,
            "jti": jti,
            "verification_id": row.verification_id,
            "purpose": row.purpose,
            "method": row.channel.lower(),
            "code_origin": str(row.code_origin),
            "carrier_trust": row.carrier_trust,
            "test": row.test,
            "phone_commitment": _text(row.phone_commitment),
            "action_commitment": _text(_commitment(action_salt, encode_action(action))),
        }
        return Receipt(self._signer.sign(row.receipt_kid, claims), phone_salt, action_salt)

    def _pairwise(self, row: Verification) -> str:
        """Return a name for the person that only this application can recognise."""
        key = self._index.value(row.account_id, row.application_id, "subject", row.phone_index)
        return _text(key[:16])


def _commitment(salt: bytes, value: bytes) -> bytes:
    return hashlib.sha256(salt + value).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
