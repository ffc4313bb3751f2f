"""Verifies receipts offline: the server's published keys are all that is needed.

A receipt is a JWT (RFC 7519) of type `watchword-receipt+jwt`, signed with Ed25519 (RFC
8037). The type and the algorithm are fixed here and the key is chosen by `kid` from the
set given here, so nothing in a token can choose how it is verified (RFC 8725).
"""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from watchword.client.commitments import commitment, encode_action, encode_phone_number
from watchword.client.errors import ReceiptError

RECEIPT_TYPE = "watchword-receipt+jwt"
"""The `typ` of every receipt."""

TEST_ISSUERS = frozenset({"watchword-dev", "watchword-sandbox"})
"""Issuers whose receipts prove nothing outside a test."""

MAX_LIFETIME = 300
"""Seconds from `iat` to `exp`, at most."""

MAX_LEEWAY = 60.0
"""Seconds by which clocks may be taken to differ, at most."""

_MAX_LENGTH = 4096
_TEXT_CLAIMS = ("iss", "aud", "sub", "jti", "verification_id", "purpose", "method")
_TRUSTS = frozenset({"operator", "tenant", "sandbox"})
_ORIGINS = frozenset({"derived", "caller"})


class HasSalts(Protocol):
    """What opens the commitments: `Salts`, or the API's `ReceiptSalts`."""

    @property
    def phone_salt(self) -> bytes:
        """The salt of the phone number's commitment."""

    @property
    def action_salt(self) -> bytes:
        """The salt of the action's commitment."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a verified receipt says.

    Times are seconds of the Unix epoch. `receipt_id` (jti) serves once: who acts on a
    receipt keeps it until `expire_time` and refuses it when it comes again.
    `code_origin` is derived | caller (the application chose the code), `carrier_trust`
    operator | tenant | sandbox, `method` sms | voice.
    """

    issuer: str
    audience: str
    subject: str
    receipt_id: str
    verification_id: str
    purpose: str
    method: str
    code_origin: str
    carrier_trust: str
    test: bool
    issue_time: int
    expire_time: int


def verify_receipt(
    receipt: str,
    jwks: str | bytes | Mapping[str, Any],
    *,
    audience: str,
    purpose: str,
    action: Mapping[str, str],
    salts: HasSalts | None = None,
    phone_number: str | None = None,
    issuer: str | None = None,
    allow_test: bool = False,
    leeway: float = 5.0,
    now: Callable[[], float] = time.time,
) -> Receipt:
    """Return what `receipt` says, if it proves what is asked of it.

    `jwks` is the published key set (`Client.receipt_keys`, or `/.well-known/jwks.json`).
    `audience`, `purpose` and `action` (`{}` for none) must be what the receipt was made
    for, `phone_number` (E.164) too when given, and `issuer` when given; `salts` open the
    commitments. `leeway` is seconds that clocks may differ, 0 to 60.
    Raises `ReceiptError` for whatever fails, and `ValueError` for a `leeway` out of range.
    """
    if not 0 <= leeway <= MAX_LEEWAY:
        raise ValueError(f"leeway is 0 to {MAX_LEEWAY:.0f} seconds")
    claims = _signed_claims(receipt, jwks)
    found = _read(claims)
    _check_time(found, now(), leeway)
    if not allow_test and (
        found.test or found.carrier_trust == "sandbox" or found.issuer in TEST_ISSUERS
    ):
        raise ReceiptError("the receipt comes from a test; allow_test would accept it")
    _check_equal(found.audience, audience, "audience")
    _check_equal(found.purpose, purpose, "purpose")
    if issuer is not None:
        _check_equal(found.issuer, issuer, "issuer")
    _check_action(claims, action, salts)
    if phone_number is not None:
        _check_phone_number(claims, phone_number, salts)
    return found


def _signed_claims(receipt: str, jwks: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    header = _parse(jwt.get_unverified_header, receipt)
    if header.get("typ") != RECEIPT_TYPE:
        raise ReceiptError("the token is no Watchword receipt")
    if header.get("alg") != "EdDSA":
        raise ReceiptError("the receipt is not signed with EdDSA")
    key = _find_key(jwks, header.get("kid"))
    # Time and claims are checked here, by one clock and one set of rules.
    return _parse(jwt.decode, receipt, key, algorithms=["EdDSA"], options=_SIGNATURE_ONLY)


def _parse(
    decode: Callable[..., dict[str, Any]],
    receipt: str,
    *args: object,
    **settings: object,
) -> dict[str, Any]:
    if not receipt.isascii() or len(receipt) > _MAX_LENGTH:
        raise ReceiptError("the receipt is malformed: no receipt has that length or alphabet")
    try:
        return decode(receipt, *args, **settings)
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise ReceiptError("the receipt is malformed or its signature is wrong") from None


_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _find_key(jwks: str | bytes | Mapping[str, Any], kid: object) -> Ed25519PublicKey:
    try:
        parsed = json.loads(jwks) if isinstance(jwks, str | bytes) else jwks
        keys = [key for key in parsed["keys"] if _is_usable(key)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ReceiptError("the key set is malformed") from None
    for key in keys:
        if isinstance(kid, str) and key.get("kid") == kid:
            return _public_key(key)
    raise ReceiptError("the receipt names a key that is not in the set; fetch the set again")


def _is_usable(key: object) -> bool:
    return (
        isinstance(key, Mapping)
        and key.get("kty") == "OKP"
        and key.get("crv") == "Ed25519"
        and key.get("use", "sig") == "sig"
        and key.get("alg", "EdDSA") in {"EdDSA", "Ed25519"}
    )


def _public_key(key: Mapping[str, Any]) -> Ed25519PublicKey:
    try:
        encoded = str(key["x"])
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        return Ed25519PublicKey.from_public_bytes(raw)
    except (KeyError, ValueError, binascii.Error):
        raise ReceiptError("the key set is malformed") from None


def _read(claims: Mapping[str, Any]) -> Receipt:
    texts = [claims.get(name) for name in _TEXT_CLAIMS]
    times = (claims.get("iat"), claims.get("exp"))
    origin, trust, test = (claims.get(n) for n in ("code_origin", "carrier_trust", "test"))
    if (
        not all(isinstance(text, str) for text in texts)
        or not all(type(moment) is int for moment in times)
        or origin not in _ORIGINS
        or trust not in _TRUSTS
        or not isinstance(test, bool)
    ):
        raise ReceiptError("a claim of the receipt is absent or malformed")
    return Receipt(
        issuer=claims["iss"],
        audience=claims["aud"],
        subject=claims["sub"],
        receipt_id=claims["jti"],
        verification_id=claims["verification_id"],
        purpose=claims["purpose"],
        method=claims["method"],
        code_origin=origin,
        carrier_trust=trust,
        test=test,
        issue_time=claims["iat"],
        expire_time=claims["exp"],
    )


def _check_time(receipt: Receipt, now: float, leeway: float) -> None:
    if not 0 < receipt.expire_time - receipt.issue_time <= MAX_LIFETIME:
        raise ReceiptError("the receipt lives longer than a receipt may")
    if now >= receipt.expire_time + leeway:
        raise ReceiptError("the receipt has expired")
    if now < receipt.issue_time - leeway:
        raise ReceiptError("the receipt is not valid yet; compare the clocks")


def _check_equal(found: str, wanted: str, name: str) -> None:
    if not hmac.compare_digest(_bytes(found), _bytes(wanted)):
        raise ReceiptError(f"the receipt was made for another {name}")


def _check_action(
    claims: Mapping[str, Any], action: Mapping[str, str], salts: HasSalts | None
) -> None:
    if not action and "action_commitment" not in claims:
        return
    if salts is None:
        raise ReceiptError("the salts that came beside the receipt are needed for its action")
    opened = commitment(salts.action_salt, encode_action(action))
    _check_equal(str(claims.get("action_commitment", "")), opened, "action")


def _check_phone_number(
    claims: Mapping[str, Any], phone_number: str, salts: HasSalts | None
) -> None:
    if salts is None:
        raise ReceiptError("the salts that came beside the receipt are needed for its phone number")
    opened = commitment(salts.phone_salt, encode_phone_number(phone_number))
    _check_equal(str(claims.get("phone_commitment", "")), opened, "phone number")


def _bytes(text: str) -> bytes:
    # hmac.compare_digest refuses non-ASCII str.
    return text.encode("utf-8", "surrogatepass")
