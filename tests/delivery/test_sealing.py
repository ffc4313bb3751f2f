"""Sealing: what is sealed for one place opens there and nowhere else."""

import pytest

from watchword.core.secret import Secret
from watchword.delivery.sealing import (
    custom_code_mac,
    open_custom_code,
    open_recipient,
    seal_custom_code,
    seal_recipient,
)
from watchword.testing.entropy import SeededEntropy
from watchword.vault.envelope import SealBroken, aad, expand, seal

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
ID, OTHER_ID = "VE" + "1" * 40, "VE" + "2" * 40
ACCOUNT, OTHER_ACCOUNT = "AC" + "1" * 32, "AC" + "2" * 32
PHONE = "+12025550100"
CODE = Secret("493817")


@pytest.mark.parametrize("subject", [ID, "SN" + "3" * 32])
def test_a_recipient_comes_back(subject: str) -> None:
    sealed = seal_recipient(KEY, subject, ACCOUNT, PHONE, SeededEntropy())
    assert PHONE.encode() not in sealed
    assert open_recipient(KEY, subject, ACCOUNT, sealed).reveal() == PHONE


def test_a_custom_code_comes_back() -> None:
    sealed = seal_custom_code(KEY, ID, ACCOUNT, CODE, SeededEntropy())
    assert open_custom_code(KEY, ID, ACCOUNT, sealed) == CODE


@pytest.mark.parametrize(
    ("key", "subject", "account"),
    [(OTHER_KEY, ID, ACCOUNT), (KEY, OTHER_ID, ACCOUNT), (KEY, ID, OTHER_ACCOUNT)],
)
def test_it_opens_nowhere_else(key: bytes, subject: str, account: str) -> None:
    sealed = seal_recipient(KEY, ID, ACCOUNT, PHONE, SeededEntropy())
    with pytest.raises(SealBroken):
        open_recipient(key, subject, account, sealed)


def test_a_column_cannot_be_taken_for_another() -> None:
    sealed = seal_recipient(KEY, ID, ACCOUNT, "493817", SeededEntropy())
    with pytest.raises(SealBroken):
        open_custom_code(KEY, ID, ACCOUNT, sealed)


def test_the_place_is_authenticated_beside_the_key() -> None:
    key = expand(KEY, "recipient", ID)
    for place in (
        aad("send", ID, "recipient", ACCOUNT),
        aad("verification", ID, "custom-code", ACCOUNT),
        aad("verification", OTHER_ID, "recipient", ACCOUNT),
    ):
        sealed = seal(key, PHONE.encode(), place, SeededEntropy())
        with pytest.raises(SealBroken):
            open_recipient(KEY, ID, ACCOUNT, sealed)


def test_every_column_has_a_key_of_its_own() -> None:
    place = aad("verification", ID, "recipient", ACCOUNT)
    sealed = seal(expand(KEY, "recipient", ID), PHONE.encode(), place, SeededEntropy())
    assert open_recipient(KEY, ID, ACCOUNT, sealed).reveal() == PHONE


@pytest.mark.parametrize("cut", [0, 1, 12, 28])
def test_a_damaged_value_is_broken(cut: int) -> None:
    sealed = seal_recipient(KEY, ID, ACCOUNT, PHONE, SeededEntropy())
    with pytest.raises(SealBroken):
        open_recipient(KEY, ID, ACCOUNT, sealed[:cut])


def test_the_same_value_never_seals_to_the_same_bytes() -> None:
    entropy = SeededEntropy()
    assert len({seal_recipient(KEY, ID, ACCOUNT, PHONE, entropy) for _ in range(10)}) == 10


def test_a_mac_belongs_to_key_subject_and_code() -> None:
    macs = {
        custom_code_mac(KEY, ID, CODE),
        custom_code_mac(OTHER_KEY, ID, CODE),
        custom_code_mac(KEY, OTHER_ID, CODE),
        custom_code_mac(KEY, ID, Secret("493818")),
        custom_code_mac(KEY, ID, Secret("\udcff")),
    }
    assert len(macs) == 5
    assert {len(mac) for mac in macs} == {32}
    assert custom_code_mac(KEY, ID, Secret("493817")) in macs
