"""Sealing and wrapping: what is sealed opens in its place, under its key, and nowhere else."""

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.errors import Unavailable
from watchword.core.framing import frame
from watchword.core.keys import KeyUse
from watchword.core.system import SystemEntropy
from watchword.testing.entropy import ConstantEntropy, FailingEntropy, SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.vault.envelope import (
    SealBroken,
    aad,
    expand,
    seal,
    unseal,
    unwrap,
    wrap,
    wrapped_version,
)

ENTROPY = SeededEntropy()
KEY = ENTROPY.token(32)
PLACE = aad("verifications", "VE1", "phone_sealed", "AC1")
TEXTS = st.one_of(st.text(max_size=5), st.binary(max_size=5))


@given(left=st.lists(TEXTS, max_size=4), right=st.lists(TEXTS, max_size=4))
def test_framing_is_unambiguous(left: list[str | bytes], right: list[str | bytes]) -> None:
    def plain(parts: list[str | bytes]) -> list[bytes]:
        return [part.encode() if isinstance(part, str) else part for part in parts]

    assert (frame(*left) == frame(*right)) == (plain(left) == plain(right))


def test_expand_is_hkdf_expand() -> None:
    assert expand(KEY, "a", b"b") == HKDFExpand(SHA256(), 32, frame("a", b"b")).derive(KEY)


@given(plaintext=st.binary(max_size=300))
def test_what_is_sealed_opens_again(plaintext: bytes) -> None:
    sealed = seal(KEY, plaintext, PLACE, ENTROPY)
    assert len(sealed) == 1 + 12 + len(plaintext) + 16
    assert unseal(KEY, sealed, PLACE) == plaintext
    assert plaintext not in sealed or len(plaintext) < 4


@given(data=st.data())
def test_any_altered_bit_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, b"+15551230100", PLACE, ENTROPY))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        unseal(KEY, bytes(sealed), PLACE)


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28, 40])
def test_a_truncated_value_is_refused(length: int) -> None:
    with pytest.raises(SealBroken):
        unseal(KEY, seal(KEY, b"+15551230100", PLACE, ENTROPY)[:length], PLACE)


@pytest.mark.parametrize(
    "place",
    [
        ("sends", "VE1", "phone_sealed", "AC1"),
        ("verifications", "VE2", "phone_sealed", "AC1"),
        ("verifications", "VE1", "custom_sealed", "AC1"),
        ("verifications", "VE1", "phone_sealed", "AC2"),
        ("verifications", "VE1p", "hone_sealed", "AC1"),
    ],
)
def test_a_value_moved_elsewhere_is_refused(place: tuple[str, str, str, str]) -> None:
    with pytest.raises(SealBroken):
        unseal(KEY, seal(KEY, b"+15551230100", PLACE, ENTROPY), aad(*place))


def test_another_key_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        unseal(ENTROPY.token(32), seal(KEY, b"x", PLACE, ENTROPY), PLACE)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_c144_an_unknown_version_is_refused(version: int) -> None:
    sealed = seal(KEY, b"x", PLACE, ENTROPY)
    wrapped = wrap(MemoryKeyProvider(), KEY, PLACE, ENTROPY)
    with pytest.raises(SealBroken):
        unseal(KEY, bytes([version]) + sealed[1:], PLACE)
    with pytest.raises(SealBroken):
        unwrap(MemoryKeyProvider(), bytes([version]) + wrapped[1:], PLACE)


def test_c144_the_version_is_authenticated() -> None:
    # A later format sealed by the same cipher, relabelled as this one.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce = ENTROPY.token(12)
    later = AESGCM(KEY).encrypt(nonce, b"x", b"\x02" + PLACE)
    with pytest.raises(SealBroken):
        unseal(KEY, b"\x01" + nonce + later, PLACE)


def test_c140_no_nonce_repeats() -> None:
    entropy = SystemEntropy()
    nonces = {seal(KEY, b"x", PLACE, entropy)[1:13] for _ in range(50_000)}
    assert len(nonces) == 50_000


def test_c140_a_stuck_source_cannot_make_two_values_under_one_nonce() -> None:
    draws = iter(range(100))
    stuck = ConstantEntropy().token
    entropy = SystemEntropy(lambda size: SeededEntropy(next(draws)).token(size))
    entropy._source = stuck
    seal(KEY, b"first", PLACE, entropy)
    with pytest.raises(Unavailable):
        seal(KEY, b"second", PLACE, entropy)


def test_c142_nothing_is_sealed_without_entropy() -> None:
    with pytest.raises(Unavailable):
        seal(KEY, b"x", PLACE, FailingEntropy())
    with pytest.raises(Unavailable):
        wrap(MemoryKeyProvider(), KEY, PLACE, FailingEntropy())


def test_a_wrapped_key_says_its_version_and_opens_after_a_rotation() -> None:
    provider = MemoryKeyProvider()
    first = wrap(provider, KEY, PLACE, ENTROPY)
    provider.rotate(KeyUse.WRAP)
    second = wrap(provider, KEY, PLACE, ENTROPY)
    assert (wrapped_version(first), wrapped_version(second)) == (1, 2)
    assert unwrap(provider, first, PLACE) == unwrap(provider, second, PLACE) == KEY


def test_a_key_wrapped_by_a_lost_key_is_unavailable() -> None:
    provider = MemoryKeyProvider()
    wrapped = wrap(provider, KEY, PLACE, ENTROPY)
    provider.rotate(KeyUse.WRAP)
    provider.retire(KeyUse.WRAP, 1)
    with pytest.raises(Unavailable):
        unwrap(provider, wrapped, PLACE)


def test_a_wrapped_key_relabelled_to_another_version_is_refused() -> None:
    provider = MemoryKeyProvider()
    wrapped = wrap(provider, KEY, PLACE, ENTROPY)
    provider.rotate(KeyUse.WRAP)
    with pytest.raises(SealBroken):
        unwrap(provider, wrapped[:1] + (2).to_bytes(4, "big") + wrapped[5:], PLACE)


@pytest.mark.parametrize("length", [0, 1, 5, 16])
def test_a_truncated_wrapped_key_is_refused(length: int) -> None:
    with pytest.raises(SealBroken):
        unwrap(MemoryKeyProvider(), wrap(MemoryKeyProvider(), KEY, PLACE, ENTROPY)[:length], PLACE)


def test_c143_errors_show_neither_key_nor_value() -> None:
    with pytest.raises(SealBroken) as caught:
        unseal(KEY, seal(KEY, b"+15551230100", PLACE, ENTROPY)[:-1], PLACE)
    shown = f"{caught.value!r} {caught.value}"
    assert KEY.hex() not in shown
    assert "555" not in shown
