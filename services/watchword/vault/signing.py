"""Receipts' signatures: JWS with Ed25519 (RFC 7515, RFC 8037), and the published keys.

A key is published as soon as it is loaded, and signs only `PUBLISH_LEAD` after it was
made, longer than a verifier may keep the published set (`JWKS_MAX_AGE`), so that nobody
meets a signature by a key they cannot have. The first key of a deployment signs at once.
"""

import base64
import hashlib
from collections.abc import Mapping

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from watchword.core.errors import Unavailable
from watchword.core.keys import Key, KeyProvider, KeyUse
from watchword.core.ports import MINUTE, SECOND, Clock, Millis
from watchword.vault.keyring import PUBLISH_LEAD, active

RECEIPT_TYPE = "watchword-receipt+jwt"
JWKS_MAX_AGE = 5 * MINUTE // SECOND
"""For how many seconds a verifier may keep the published keys (Cache-Control max-age)."""

_KID_BYTES = 16


class ReceiptSigner:
    """Signs receipts with the provider's RECEIPT keys, which are Ed25519 seeds.

    Keys are loaded once: restart every replica within `publish_lead` of adding one.
    """

    def __init__(
        self,
        provider: KeyProvider,
        issuer: str,
        clock: Clock,
        publish_lead: Millis = PUBLISH_LEAD,
    ) -> None:
        """Load every key; `issuer` is the `iss` of this deployment's receipts."""
        self.issuer = issuer
        self._clock = clock
        self._lead = publish_lead
        self._keys = tuple(provider.all(KeyUse.RECEIPT))
        self._signing = [_SigningKey(key) for key in self._keys]
        self._by_kid = {key.kid: key for key in self._signing}
        self._kid_of_version = {key.version: key.kid for key in self._signing}

    def current_kid(self) -> str:
        """Return the id of the key that signs now."""
        return self._kid_of_version[active(self._keys, self._clock.now(), self._lead).version]

    def sign(self, kid: str, claims: Mapping[str, object]) -> str:
        """Return the receipt (JWS compact form) of `claims`; equal claims, equal bytes.

        Raises `Unavailable` where the key of that id is no longer held.
        """
        key = self._by_kid.get(kid)
        if key is None:
            raise Unavailable("the receipt key is not held any more")
        return key.sign(claims)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return every key, newest first, as a JSON Web Key Set (RFC 7517 §5)."""
        return {"keys": [dict(key.jwk) for key in self._signing]}


class _SigningKey:
    """A private key with its public form and its header, which never change."""

    def __init__(self, key: Key) -> None:
        self.version = key.version
        self._private = Ed25519PrivateKey.from_private_bytes(key.secret.reveal())
        point = _base64url(self._private.public_key().public_bytes_raw()).decode()
        self.kid = _thumbprint(point)
        self.jwk = {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": point,
            "kid": self.kid,
            "use": "sig",
            "alg": "EdDSA",
        }
        header = {"alg": "EdDSA", "kid": self.kid, "typ": RECEIPT_TYPE}
        self._header = _base64url(orjson.dumps(header)) + b"."

    def sign(self, claims: Mapping[str, object]) -> str:
        payload = _base64url(orjson.dumps(claims, option=orjson.OPT_SORT_KEYS))
        message = self._header + payload
        return (message + b"." + _base64url(self._private.sign(message))).decode()


def _thumbprint(point: str) -> str:
    """Return the JWK thumbprint (RFC 7638 §3, RFC 8037 §2), cut to 128 bits."""
    jwk = f'{{"crv":"Ed25519","kty":"OKP","x":"{point}"}}'
    return _base64url(hashlib.sha256(jwk.encode()).digest()[:_KID_BYTES]).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
