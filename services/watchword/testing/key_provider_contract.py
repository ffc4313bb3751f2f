"""What every key provider must do: subclass `KeyProviderContract`, give it the fixtures."""

import pytest

from watchword.core.errors import Unavailable
from watchword.vault.keyring import KEY_BYTES, KeyProvider, KeyUse


class KeyProviderContract:
    """The suite behind the MUSTs of `KeyProvider`.

    `provider` holds version 1 of every use and version 2 of INDEX.
    """

    @pytest.fixture
    def provider(self) -> KeyProvider:
        """Return the provider under test."""
        raise NotImplementedError("override the provider fixture")

    @pytest.fixture
    def reloaded(self, provider: KeyProvider) -> KeyProvider:
        """Return the same keys as another process sees them; override where they persist."""
        return provider

    def test_every_use_has_a_key(self, provider: KeyProvider) -> None:
        """Current, newest first, 32 bytes, numbered from 1."""
        for use in KeyUse:
            key = provider.current(use)
            assert key.use is use
            assert len(key.secret.reveal()) == KEY_BYTES
            versions = [each.version for each in provider.all(use)]
            assert versions == sorted(versions, reverse=True)
            assert versions[0] == key.version
            assert versions[-1] == 1

    def test_a_newer_version_is_current_and_the_older_stays(self, provider: KeyProvider) -> None:
        """A rotation loses nothing."""
        assert provider.current(KeyUse.INDEX).version == 2
        assert [key.version for key in provider.all(KeyUse.INDEX)] == [2, 1]
        assert provider.version(KeyUse.INDEX, 1).version == 1

    def test_no_two_keys_are_equal(self, provider: KeyProvider) -> None:
        """Across uses and versions."""
        keys = [key.secret.reveal() for use in KeyUse for key in provider.all(use)]
        assert len(set(keys)) == len(keys)

    def test_a_key_is_the_same_each_time(
        self, provider: KeyProvider, reloaded: KeyProvider
    ) -> None:
        """To every caller, in every process."""
        for use in KeyUse:
            for key in provider.all(use):
                assert reloaded.version(use, key.version) == key

    def test_an_unknown_version_is_unavailable(self, provider: KeyProvider) -> None:
        """And never made."""
        for version in (0, 3, -1):
            with pytest.raises(Unavailable):
                provider.version(KeyUse.INDEX, version)

    def test_c143_a_key_is_masked(self, provider: KeyProvider) -> None:
        """Neither the provider's repr nor a key's shows a secret."""
        for use in KeyUse:
            key = provider.current(use)
            shown = f"{key!r} {provider!r} {provider}"
            assert key.secret.reveal().hex() not in shown
            assert repr(key.secret.reveal()) not in shown
