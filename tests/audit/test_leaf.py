"""Audit leaves: nobody without the key makes, alters or opens one."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.audit.leaf import Leaf, LeafMaker
from watchword.core.keys import KeyUse
from watchword.testing.clock import START
from watchword.testing.keys import MemoryKeyProvider

CONTENT = b"state=APPROVED"


@pytest.fixture
def maker() -> LeafMaker:
    return LeafMaker(MemoryKeyProvider())


@pytest.fixture
def leaf(maker: LeafMaker) -> Leaf:
    return maker.make("AC1", "VE1", 3, "verification", START, CONTENT)


def test_a_leaf_says_what_it_is_of_and_verifies(maker: LeafMaker, leaf: Leaf) -> None:
    assert leaf[:5] == ("AC1", "VE1", 3, "verification", START)
    assert len(leaf.mac) == len(leaf.commitment) == 32
    assert maker.verify(leaf, CONTENT)


def test_equal_changes_leave_equal_leaves(maker: LeafMaker, leaf: Leaf) -> None:
    assert maker.make("AC1", "VE1", 3, "verification", START, CONTENT) == leaf


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": "AC2"},
        {"object_id": "VE2"},
        {"version": 4},
        {"kind": "send"},
        {"time": START + 1},
        {"mac": bytes(32)},
        {"commitment": bytes(32)},
        {"account_id": "AC1V", "object_id": "E1"},
    ],
)
def test_an_altered_leaf_does_not_verify(
    maker: LeafMaker, leaf: Leaf, change: dict[str, object]
) -> None:
    assert not maker.verify(Leaf(**{**leaf._asdict(), **change}), CONTENT)


def test_other_content_does_not_verify(maker: LeafMaker, leaf: Leaf) -> None:
    assert not maker.verify(leaf, b"state=EXPIRED")


def test_a_leaf_of_another_deployment_does_not_verify(leaf: Leaf) -> None:
    assert not LeafMaker(MemoryKeyProvider(seed=1)).verify(leaf, CONTENT)


def test_a_leaf_verifies_after_its_key_was_rotated_and_not_after_it_is_gone(leaf: Leaf) -> None:
    provider = MemoryKeyProvider()
    provider.rotate(KeyUse.AUDIT)
    maker = LeafMaker(provider)
    assert maker.verify(leaf, CONTENT)
    assert maker.make("AC1", "VE1", 3, "verification", START, CONTENT) != leaf
    provider.retire(KeyUse.AUDIT, 1)
    assert not LeafMaker(provider).verify(leaf, CONTENT)


def test_c131_a_commitment_is_no_bare_digest_of_its_content(leaf: Leaf) -> None:
    known = [b"", b"AC1", b"VE1", b"VE13", b"verification"]
    guesses = {hashlib.sha256(name + CONTENT).digest() for name in known}
    assert leaf.commitment not in guesses


def test_c131_equal_contents_of_two_objects_cannot_be_told(maker: LeafMaker, leaf: Leaf) -> None:
    for other in (
        maker.make("AC1", "VE2", 3, "verification", START, CONTENT),
        maker.make("AC1", "VE1", 4, "verification", START, CONTENT),
    ):
        assert other.commitment != leaf.commitment


@given(content=st.binary(max_size=200), version=st.integers(0, 2**31))
def test_any_content_can_be_opened_again(content: bytes, version: int) -> None:
    maker = LeafMaker(MemoryKeyProvider())
    leaf = maker.make("AC1", "VE1", version, "verification", START, content)
    assert maker.verify(leaf, content)
    assert not maker.verify(leaf, content + b"\x00")


def test_a_database_makes_leaves_with_a_key_of_their_nonce(maker: LeafMaker, leaf: Leaf) -> None:
    nonce = bytes(range(16))
    key = maker.delegate(nonce)
    framed = b"".join(
        len(part).to_bytes(4, "big") + part for part in (b"AC1", b"VE1", b"verification")
    )
    names = hashlib.sha256(framed + (3).to_bytes(8, "big") + START.to_bytes(8, "big")).digest()
    commitment = hashlib.sha256(hashlib.sha256(key + names + b"\0").digest() + CONTENT).digest()
    mac = nonce + hashlib.sha256(key + names + commitment).digest()
    delegated = leaf._replace(mac=mac, commitment=commitment)
    assert maker.verify(delegated, CONTENT)
    assert not maker.verify(delegated, b"state=FAILED")
    assert not maker.verify(delegated._replace(version=4), CONTENT)
    assert not maker.verify(delegated._replace(mac=bytes(16) + mac[16:]), CONTENT)
    assert not maker.verify(delegated._replace(mac=mac[16:]), CONTENT)
    assert maker.delegate(bytes(16)) != key
