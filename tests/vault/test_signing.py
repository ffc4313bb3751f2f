"""Receipts' signatures, with PyJWT as the independent verifier."""

import base64
import json

import jwt
import pytest

from watchword.core.errors import Unavailable
from watchword.core.keys import KeyUse
from watchword.testing.clock import START, FakeClock
from watchword.testing.keys import MemoryKeyProvider
from watchword.vault.keyring import PUBLISH_LEAD
from watchword.vault.signing import JWKS_MAX_AGE, ReceiptSigner

CLAIMS = {"iss": "watchword", "aud": "AP1", "jti": "J1", "exp": START, "test": False, "p": "é"}


@pytest.fixture
def provider() -> MemoryKeyProvider:
    return MemoryKeyProvider()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _signer(provider: MemoryKeyProvider, clock: FakeClock) -> ReceiptSigner:
    return ReceiptSigner(provider, "watchword", clock)


def _verified(token: str, signer: ReceiptSigner) -> dict[str, object]:
    keys = jwt.PyJWKSet.from_dict(signer.jwks())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, object] = jwt.decode(token, key, algorithms=["EdDSA"], audience="AP1")
    return claims


def test_a_receipt_verifies_with_the_published_keys(
    provider: MemoryKeyProvider, clock: FakeClock
) -> None:
    signer = _signer(provider, clock)
    token = signer.sign(signer.current_kid(), CLAIMS)
    assert _verified(token, signer) == CLAIMS
    assert jwt.get_unverified_header(token) == {
        "alg": "EdDSA",
        "kid": signer.current_kid(),
        "typ": "watchword-receipt+jwt",
    }


def test_equal_claims_give_equal_bytes_whatever_their_order(
    provider: MemoryKeyProvider, clock: FakeClock
) -> None:
    kid = _signer(provider, clock).current_kid()
    turned = dict(reversed(CLAIMS.items()))
    assert _signer(provider, clock).sign(kid, CLAIMS) == _signer(provider, clock).sign(kid, turned)


def test_an_altered_receipt_does_not_verify(provider: MemoryKeyProvider, clock: FakeClock) -> None:
    signer = _signer(provider, clock)
    header, _, signature = signer.sign(signer.current_kid(), CLAIMS).split(".")
    forged = base64.urlsafe_b64encode(json.dumps({**CLAIMS, "aud": "AP1", "test": True}).encode())
    with pytest.raises(jwt.InvalidSignatureError):
        _verified(f"{header}.{forged.rstrip(b'=').decode()}.{signature}", signer)


def test_the_published_set_is_public_and_complete(
    provider: MemoryKeyProvider, clock: FakeClock
) -> None:
    provider.rotate(KeyUse.RECEIPT, create_time=START)
    signer = _signer(provider, clock)
    keys = signer.jwks()["keys"]
    assert len(keys) == 2
    for key in keys:
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == (
            "OKP",
            "Ed25519",
            "sig",
            "EdDSA",
        )
    assert len({key["kid"] for key in keys}) == 2
    for key_version in provider.all(KeyUse.RECEIPT):
        assert key_version.secret.reveal().hex() not in json.dumps(keys)


def test_the_published_set_cannot_be_altered_by_its_reader(
    provider: MemoryKeyProvider, clock: FakeClock
) -> None:
    signer = _signer(provider, clock)
    signer.jwks()["keys"][0].clear()
    assert signer.jwks()["keys"][0]["kty"] == "OKP"


def test_a_key_is_published_before_it_signs(provider: MemoryKeyProvider, clock: FakeClock) -> None:
    before = _signer(provider, clock).current_kid()
    provider.rotate(KeyUse.RECEIPT, create_time=clock.now())
    signer = _signer(provider, clock)
    newest = signer.jwks()["keys"][0]["kid"]
    assert newest != before
    clock.advance(PUBLISH_LEAD - 1)
    assert signer.current_kid() == before
    clock.advance(1)
    assert signer.current_kid() == newest
    assert PUBLISH_LEAD > JWKS_MAX_AGE * 1_000


def test_an_older_key_still_signs_what_it_was_chosen_for(
    provider: MemoryKeyProvider, clock: FakeClock
) -> None:
    signer = _signer(provider, clock)
    kid, token = signer.current_kid(), signer.sign(signer.current_kid(), CLAIMS)
    provider.rotate(KeyUse.RECEIPT, create_time=clock.now())
    clock.advance(PUBLISH_LEAD)
    assert _signer(provider, clock).sign(kid, CLAIMS) == token


def test_the_first_key_signs_at_once(clock: FakeClock) -> None:
    provider = MemoryKeyProvider()
    provider.rotate(KeyUse.RECEIPT, create_time=clock.now())
    provider.retire(KeyUse.RECEIPT, 1)
    signer = _signer(provider, clock)
    assert signer.current_kid() == signer.jwks()["keys"][0]["kid"]


def test_a_key_that_is_gone_is_unavailable(provider: MemoryKeyProvider, clock: FakeClock) -> None:
    with pytest.raises(Unavailable):
        _signer(provider, clock).sign("unknown", CLAIMS)


def test_the_kid_is_a_thumbprint_by_rfc_7638_cut_to_16_bytes(
    provider: MemoryKeyProvider, clock: FakeClock
) -> None:
    import hashlib  # noqa: PLC0415

    key = _signer(provider, clock).jwks()["keys"][0]
    required = {name: key[name] for name in ("crv", "kty", "x")}
    text = json.dumps(required, separators=(",", ":"), sort_keys=True)
    whole = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16])
    assert key["kid"] == whole.rstrip(b"=").decode()
