"""The key provider's contract on the fake, key-check values, and which version is active."""

import pytest

from watchword.core.keys import Key, KeyProvider, KeyUse
from watchword.core.secret import Secret
from watchword.testing.key_provider_contract import KeyProviderContract
from watchword.testing.keys import MemoryKeyProvider
from watchword.vault.keyring import (
    PUBLISH_LEAD,
    WrongKey,
    active,
    check_value,
    verify_check_values,
)


class TestMemoryKeyProvider(KeyProviderContract):
    @pytest.fixture
    def provider(self) -> KeyProvider:
        provider = MemoryKeyProvider()
        provider.rotate(KeyUse.INDEX)
        return provider

    @pytest.fixture
    def reloaded(self) -> KeyProvider:
        provider = MemoryKeyProvider()
        provider.rotate(KeyUse.INDEX)
        return provider


def _recorded(provider: MemoryKeyProvider) -> dict[tuple[KeyUse, int], bytes]:
    return verify_check_values(provider, {})


def test_the_right_keys_pass_and_leave_nothing_to_record() -> None:
    recorded = _recorded(MemoryKeyProvider())
    assert set(recorded) == {(use, 1) for use in KeyUse}
    assert verify_check_values(MemoryKeyProvider(), recorded) == {}


def test_a_new_version_is_returned_to_be_recorded() -> None:
    provider = MemoryKeyProvider()
    recorded = _recorded(provider)
    key = provider.rotate(KeyUse.WRAP)
    assert verify_check_values(provider, recorded) == {(KeyUse.WRAP, 2): check_value(key)}


@pytest.mark.parametrize("use", list(KeyUse))
def test_c137_a_wrong_key_of_any_use_refuses(use: KeyUse) -> None:
    right, wrong = MemoryKeyProvider(), MemoryKeyProvider(seed=9)
    recorded = {**_recorded(right), (use, 1): check_value(wrong.current(use))}
    with pytest.raises(WrongKey, match=f"the {use} key, version 1, is not the one") as caught:
        verify_check_values(right, recorded)
    for provider in (right, wrong):
        assert provider.current(use).secret.reveal().hex() not in str(caught.value)
    assert recorded[use, 1].hex() not in str(caught.value)


@pytest.mark.parametrize("use", list(KeyUse))
def test_c138_a_lost_key_refuses_and_none_is_made(use: KeyUse) -> None:
    provider = MemoryKeyProvider()
    recorded = _recorded(provider)
    provider.rotate(use)
    provider.retire(use, 1)
    with pytest.raises(WrongKey, match=f"the {use} key, version 1, is missing: restore"):
        verify_check_values(provider, recorded)
    assert [key.version for key in provider.all(use)] == [2]


def test_a_check_value_is_16_bytes_and_tied_to_use_and_version() -> None:
    secret = Secret(bytes(range(32)))
    values = {check_value(Key(use, version, secret)) for use in KeyUse for version in (1, 2)}
    assert len(values) == 2 * len(KeyUse)
    assert {len(value) for value in values} == {16}
    assert all(value not in secret.reveal() for value in values)


def test_a_new_key_is_active_only_after_its_lead() -> None:
    provider = MemoryKeyProvider()
    provider.rotate(KeyUse.RECEIPT, create_time=1_000)
    keys = provider.all(KeyUse.RECEIPT)
    assert active(keys, 1_000 + PUBLISH_LEAD - 1).version == 1
    assert active(keys, 1_000 + PUBLISH_LEAD).version == 2


def test_the_only_key_is_active_at_once() -> None:
    key = Key(KeyUse.RECEIPT, 1, Secret(bytes(32)), create_time=1_000)
    assert active([key], 1_000) is key
    assert active([key], 0) is key
