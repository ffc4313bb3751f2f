"""Blind indexes: equal for equals, and worth nothing without the key."""

import hashlib
import hmac

import pytest

from watchword.core.errors import Unavailable
from watchword.core.keys import KeyUse
from watchword.testing.keys import MemoryKeyProvider
from watchword.vault import index
from watchword.vault.index import BlindIndex

P = "+15551230100"
Q = "+15551230101"


def test_an_index_is_stable_across_processes() -> None:
    first, second = BlindIndex(MemoryKeyProvider()), BlindIndex(MemoryKeyProvider())
    assert first.phone("AC1", P) == second.phone("AC1", P)
    assert first.limits_index(P) == second.limits_index(P)
    assert first.value("AC1", "AP1", "binding", b"x") == second.value("AC1", "AP1", "binding", b"x")


def test_indexes_are_32_bytes_and_none_equals_another() -> None:
    blind = BlindIndex(MemoryKeyProvider())
    values = [
        blind.phone("AC1", P),
        blind.phone("AC1", Q),
        blind.phone("AC2", P),
        blind.limits_index(P),
        blind.limits_index(Q),
        blind.value("AC1", "AP1", "binding", P.encode()),
        blind.value("AC1", "AP1", "action", P.encode()),
        blind.value("AC1", "AP2", "binding", P.encode()),
        blind.value("AC2", "AP1", "binding", P.encode()),
        blind.value("AC1", "AP1b", "inding", P.encode()),
        blind.value("AC1", "AP1", "binding", b""),
    ]
    assert {len(value) for value in values} == {32}
    assert len(set(values)) == len(values)


def test_another_key_gives_other_indexes() -> None:
    first, second = BlindIndex(MemoryKeyProvider(1)), BlindIndex(MemoryKeyProvider(2))
    assert first.phone("AC1", P) != second.phone("AC1", P)
    assert first.limits_index(P) != second.limits_index(P)


def test_a_rotation_makes_a_new_index_and_keeps_the_old_one_readable() -> None:
    provider = MemoryKeyProvider()
    blind = BlindIndex(provider)
    old = blind.phone("AC1", P)
    provider.rotate(KeyUse.INDEX)
    new = blind.phone("AC1", P)
    assert new != old
    assert blind.all_versions("AC1", P) == [new, old]
    provider.retire(KeyUse.INDEX, 1)
    assert blind.all_versions("AC1", P) == [new]


def test_a_full_cache_changes_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_MOST_CACHED", 3)
    blind = BlindIndex(MemoryKeyProvider())
    first = blind.phone("AC1", P)
    for number in range(20):
        blind.phone(f"AC{number}", P)
    assert len(blind._sub_keys) <= 3
    assert blind.phone("AC1", P) == first


def test_a_missing_key_is_unavailable() -> None:
    provider = MemoryKeyProvider()
    provider.retire(KeyUse.INDEX, 1)
    provider.retire(KeyUse.LIMITS, 1)
    with pytest.raises(Unavailable):
        BlindIndex(provider).phone("AC1", P)
    with pytest.raises(Unavailable):
        BlindIndex(provider).limits_index(P)


def test_c131_no_index_is_what_a_thief_of_the_data_can_compute() -> None:
    blind = BlindIndex(MemoryKeyProvider())
    stored = {
        blind.phone("AC1", P),
        blind.limits_index(P),
        blind.value("AC1", "AP1", "binding", P.encode()),
    }
    known = [b"", b"AC1", b"AP1", b"AC1AP1", b"phone", bytes(32)]
    texts = [P.encode(), P[1:].encode(), P[2:].encode()]
    digests = ["md5", "sha1", "sha256", "sha512", "blake2b"]
    computed = {
        hashlib.new(name, salt + text).digest()[:32]
        for name in digests
        for salt in known
        for text in texts
    } | {hmac.digest(salt, text, "sha256") for salt in known for text in texts}
    assert not stored & computed
