"""Receipts: what proves something, and everything that must not."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from watchword.client import (
    Receipt,
    ReceiptError,
    Salts,
    commitment,
    encode_action,
    encode_phone_number,
    verify_receipt,
)

NOW = 1_800_000_000
PHONE = "+14155550100"
ACTION = {"amount": "10.00", "to": "Zoë"}
SALTS = Salts(phone_salt=b"p" * 32, action_salt=b"a" * 32)
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
HEADER = {"typ": "watchword-receipt+jwt", "kid": "key-1"}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def jwk(key: Ed25519PrivateKey, kid: str, **more: object) -> dict[str, object]:
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(public(key))} | more


JWKS: dict[str, Any] = {"keys": [jwk(KEY, "key-1", use="sig", alg="EdDSA")]}


def claims(**changes: object) -> dict[str, Any]:
    base = {
        "iss": "https://watchword.example",
        "aud": "AP1",
        "sub": "US1",
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "J1",
        "verification_id": "VE1",
        "purpose": "pay",
        "method": "sms",
        "code_origin": "derived",
        "carrier_trust": "operator",
        "test": False,
        "phone_commitment": commitment(SALTS.phone_salt, encode_phone_number(PHONE)),
        "action_commitment": commitment(SALTS.action_salt, encode_action(ACTION)),
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


def signed(payload: dict[str, Any] | None = None, **header: object) -> str:
    fields = {name: value for name, value in (HEADER | header).items() if value is not None}
    return jwt.encode(payload or claims(), KEY, algorithm="EdDSA", headers=fields)


def forged(header: Mapping[str, object], signature: bytes = b"") -> str:
    head = b64(json.dumps(dict(header)).encode())
    return f"{head}.{b64(json.dumps(claims()).encode())}.{b64(signature)}"


def verify(receipt: str, **changes: Any) -> Receipt:
    asked: dict[str, Any] = {
        "jwks": JWKS,
        "audience": "AP1",
        "purpose": "pay",
        "action": ACTION,
        "salts": SALTS,
        "now": lambda: NOW + 1,
        "leeway": 0,
    }
    return verify_receipt(receipt, **(asked | changes))


DEEP = b64(b"[" * 2_500) + ".e30.AA"


def refused(receipt: str, match: str, **changes: Any) -> None:
    with pytest.raises(ReceiptError, match=match):
        verify(receipt, **changes)


def test_a_receipt_says_what_was_proven() -> None:
    assert verify(signed(), phone_number=PHONE, issuer="https://watchword.example") == Receipt(
        issuer="https://watchword.example",
        audience="AP1",
        subject="US1",
        receipt_id="J1",
        verification_id="VE1",
        purpose="pay",
        method="sms",
        code_origin="derived",
        carrier_trust="operator",
        test=False,
        issue_time=NOW,
        expire_time=NOW + 300,
    )


@pytest.mark.parametrize("encode", [json.dumps, lambda keys: json.dumps(keys).encode()])
def test_keys_may_come_as_json(encode: Callable[[object], str | bytes]) -> None:
    assert verify(signed(), jwks=encode(JWKS)).receipt_id == "J1"


def test_the_named_key_is_taken_among_several() -> None:
    keys = {"keys": [jwk(OTHER_KEY, "key-0"), {"kty": "RSA", "kid": "key-1"}, jwk(KEY, "key-1")]}
    assert verify(signed(), jwks=keys).receipt_id == "J1"


def test_c022_alg_none_is_refused() -> None:
    for alg in ("none", "None", "NONE"):
        refused(forged(HEADER | {"alg": alg}), "EdDSA")


def test_c022_the_public_key_is_no_hmac_secret() -> None:
    for secret in (public(KEY), b64(public(KEY)).encode(), json.dumps(JWKS).encode()):
        header = HEADER | {"alg": "HS256"}
        unsigned = forged(header).rpartition(".")[0]
        mac = hmac.digest(secret, unsigned.encode(), hashlib.sha256)
        refused(forged(header, mac), "EdDSA")


def test_c022_rsa_is_refused_even_when_its_key_is_in_the_set() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    receipt = jwt.encode(claims(), private, algorithm="RS256", headers=HEADER)
    numbers = private.public_key().public_numbers()
    key = {"kty": "RSA", "kid": "key-1", "n": b64(numbers.n.to_bytes(256)), "e": "AQAB"}
    refused(receipt, "EdDSA", jwks={"keys": [key]})


def test_c022_a_header_that_lies_about_its_algorithm_is_refused() -> None:
    unsigned = forged(HEADER | {"alg": "EdDSA"}).rpartition(".")[0]
    mac = hmac.digest(public(KEY), unsigned.encode(), hashlib.sha256)
    refused(forged(HEADER | {"alg": "EdDSA"}, mac), "signature")


@pytest.mark.parametrize("kid", ["key-2", "", None, "KEY-1"])
def test_c022_another_kid_is_refused(kid: str | None) -> None:
    refused(signed(kid=kid), "not in the set")


def test_c022_a_kid_that_is_no_text_is_refused() -> None:
    for kid in (1, ["key-1"], {"a": 1}):
        refused(forged(HEADER | {"alg": "EdDSA", "kid": kid}), "malformed|not in the set")


def test_c022_a_key_in_the_token_is_never_used() -> None:
    receipt = jwt.encode(
        claims(), OTHER_KEY, algorithm="EdDSA", headers=HEADER | {"jwk": jwk(OTHER_KEY, "key-1")}
    )
    refused(receipt, "signature")


def test_c022_a_changed_amount_is_refused() -> None:
    refused(signed(), "another action", action=ACTION | {"amount": "1000.00"})
    refused(signed(), "another action", action={})
    refused(signed(), "another action", action=ACTION | {"more": ""})


def test_c022_a_changed_claim_breaks_the_signature() -> None:
    head, _, signature = signed().split(".")
    payload = b64(json.dumps(claims(purpose="login")).encode())
    refused(f"{head}.{payload}.{signature}", "signature", purpose="login")


def test_c022_another_audience_is_refused() -> None:
    refused(signed(), "another audience", audience="AP2")
    refused(signed(claims(aud=["AP1", "AP2"])), "claim")


def test_c022_an_expired_receipt_is_refused() -> None:
    assert verify(signed(), now=lambda: NOW + 299.9).receipt_id
    refused(signed(), "expired", now=lambda: NOW + 300)
    assert verify(signed(), now=lambda: NOW + 304.9, leeway=5).receipt_id
    refused(signed(), "expired", now=lambda: NOW + 305, leeway=5)


def test_a_receipt_of_the_future_is_refused() -> None:
    refused(signed(), "not valid yet", now=lambda: NOW - 1)
    assert verify(signed(), now=lambda: NOW - 1, leeway=5).receipt_id


@pytest.mark.parametrize("exp", [NOW + 301, NOW + 86_400, NOW, NOW - 1])
def test_no_receipt_lives_longer_than_five_minutes(exp: int) -> None:
    refused(signed(claims(exp=exp)), "lives longer")


@pytest.mark.parametrize("leeway", [-1, 61, float("nan")])
def test_leeway_is_bounded(leeway: float) -> None:
    with pytest.raises(ValueError, match="leeway"):
        verify(signed(), leeway=leeway)


def test_another_purpose_is_refused() -> None:
    refused(signed(), "another purpose", purpose="login")
    refused(signed(), "another purpose", purpose="")


def test_another_issuer_is_refused() -> None:
    refused(signed(), "another issuer", issuer="https://other.example")


@pytest.mark.parametrize(
    "phone", ["+14155550101", "14155550100", " +14155550100", "+\uff114155550100"]
)
def test_another_phone_number_is_refused(phone: str) -> None:
    refused(signed(), "another phone number", phone_number=phone)


def test_wrong_salts_open_nothing() -> None:
    swapped = Salts(phone_salt=SALTS.action_salt, action_salt=SALTS.phone_salt)
    refused(signed(), "another action", salts=swapped)


def test_an_action_cannot_be_judged_without_its_salt() -> None:
    refused(signed(), "salts", salts=None)
    refused(signed(), "salts", salts=None, action={})


def test_a_receipt_that_commits_to_no_action_proves_none() -> None:
    bare = signed(claims(action_commitment=None))
    assert verify(bare, action={}, salts=None).receipt_id == "J1"
    refused(bare, "another action")
    refused(bare, "salts", action={}, salts=None, phone_number=PHONE)


def test_a_receipt_without_phone_commitment_proves_no_phone() -> None:
    refused(signed(claims(phone_commitment=None)), "another phone", phone_number=PHONE)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "watchword-dev"},
        {"iss": "watchword-sandbox"},
        {"carrier_trust": "sandbox"},
        {"test": True},
    ],
)
def test_tests_prove_nothing_unless_allowed(change: dict[str, object]) -> None:
    refused(signed(claims(**change)), "test")
    assert verify(signed(claims(**change)), allow_test=True).receipt_id == "J1"


@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "WATCHWORD-RECEIPT+JWT"])
def test_another_type_of_token_is_refused(typ: str | None) -> None:
    refused(signed(typ=typ), "no Watchword receipt")


@pytest.mark.parametrize("name", [name for name in claims() if "commitment" not in name])
def test_every_claim_is_needed(name: str) -> None:
    refused(signed(claims(**{name: None})), "claim")


@pytest.mark.parametrize(
    "change",
    [
        {"test": "false"},
        {"test": 0},
        {"iat": float(NOW)},
        {"exp": True},
        {"purpose": 1},
        {"code_origin": "guessed"},
        {"carrier_trust": "OPERATOR"},
        {"verification_id": ["VE1"]},
    ],
)
def test_a_malformed_claim_is_refused(change: dict[str, object]) -> None:
    refused(signed(claims(**change)), "claim")


@pytest.mark.parametrize(
    "receipt", ["", "a", "a.b", "a.b.c", "..", "a.b.c.d", "é.é.é", "\ud800", "a" * 5000, DEEP]
)
def test_what_is_no_token_is_refused(receipt: str) -> None:
    refused(receipt, "malformed|too long")


@pytest.mark.parametrize(
    "jwks",
    ["", "{}", "[]", "null", b"\xff", '{"keys": 1}', '{"keys": [1]}', {"keys": [{"kid": 1}]}],
)
def test_a_malformed_key_set_is_refused(jwks: object) -> None:
    refused(signed(), "key set is malformed|not in the set", jwks=jwks)


@pytest.mark.parametrize("x", ["", "AAAA", 5, None, "é"])
def test_a_malformed_key_is_refused(x: object) -> None:
    keys = {"keys": [jwk(KEY, "key-1") | {"x": x}]}
    refused(signed(), "key set is malformed", jwks=keys)


@pytest.mark.parametrize("change", [{"use": "enc"}, {"alg": "RS256"}, {"crv": "Ed448"}])
def test_a_key_for_something_else_is_never_used(change: dict[str, str]) -> None:
    refused(signed(), "not in the set", jwks={"keys": [jwk(KEY, "key-1") | change]})


def test_errors_hold_no_value() -> None:
    with pytest.raises(ReceiptError) as caught:
        verify(signed(), phone_number="+14155550199")
    assert "0199" not in str(caught.value)
