"""Derived values: the same each time, under keys of their own."""

import hashlib

import pytest

from watchword.core.ids import new_verification_id
from watchword.core.keys import KeyUse
from watchword.testing.clock import START
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.vault.derive import (
    credential_hash,
    credential_matches,
    receipt_secrets,
    request_mac,
)
from watchword.vault.keyring import PUBLISH_LEAD

ENTROPY = SeededEntropy()
ONE = new_verification_id(START, 6, ENTROPY)
OTHER = new_verification_id(START, 6, ENTROPY)


@pytest.fixture
def provider() -> MemoryKeyProvider:
    return MemoryKeyProvider()


def test_a_receipts_salts_and_id_repeat_and_differ(provider: MemoryKeyProvider) -> None:
    def derived() -> list[bytes]:
        made = (receipt_secrets(provider, ONE), receipt_secrets(provider, OTHER))
        return [
            value
            for one in made
            for value in (one.phone_salt, one.action_salt, bytes.fromhex(one.jti))
        ]

    assert derived() == derived()
    assert len(set(derived())) == 6
    assert {len(value) for value in derived()} == {16}


def test_a_rotation_changes_no_receipt_of_an_older_verification(
    provider: MemoryKeyProvider,
) -> None:
    before = receipt_secrets(provider, ONE)
    provider.rotate(KeyUse.REQUEST, create_time=START + 1)
    assert receipt_secrets(provider, ONE) == before
    later = new_verification_id(START + 1 + PUBLISH_LEAD, 6, ENTROPY)
    assert receipt_secrets(provider, later) != before
    provider.retire(KeyUse.REQUEST, 1)
    assert receipt_secrets(provider, ONE) != before


def test_a_request_mac_tells_bodies_apart(provider: MemoryKeyProvider) -> None:
    assert request_mac(provider, b"body") == request_mac(MemoryKeyProvider(), b"body")
    assert request_mac(provider, b"body") != request_mac(provider, b"other")
    assert request_mac(provider, b"body") != request_mac(MemoryKeyProvider(1), b"body")
    assert len(request_mac(provider, b"")) == 32


def test_a_credential_matches_its_own_hash_only(provider: MemoryKeyProvider) -> None:
    stored = credential_hash(provider, "CR1", "secret")
    assert len(stored) == 32
    assert credential_matches(provider, "CR1", "secret", stored)
    assert not credential_matches(provider, "CR2", "secret", stored)
    assert not credential_matches(provider, "CR1", "Secret", stored)
    assert not credential_matches(provider, "CR1", "", stored)
    assert not credential_matches(provider, "CR1", "sécret\ud800", stored)
    assert not credential_matches(MemoryKeyProvider(1), "CR1", "secret", stored)


def test_a_credential_survives_a_key_rotation(provider: MemoryKeyProvider) -> None:
    stored = credential_hash(provider, "CR1", "secret")
    provider.rotate(KeyUse.CREDENTIAL)
    assert credential_matches(provider, "CR1", "secret", stored)
    assert credential_hash(provider, "CR1", "secret") != stored
    provider.retire(KeyUse.CREDENTIAL, 1)
    assert not credential_matches(provider, "CR1", "secret", stored)


def test_c131_no_derived_value_is_a_bare_digest(provider: MemoryKeyProvider) -> None:
    stored = {credential_hash(provider, "CR1", "secret"), request_mac(provider, b"body")}
    texts = [b"secret", b"CR1secret", b"body", b"requestbody"]
    assert not stored & {hashlib.sha256(text).digest() for text in texts}
    assert hashlib.sha256(ONE.encode()).digest()[:16] != receipt_secrets(provider, ONE).phone_salt
