"""What every key store must do: subclass `KeyStoreContract`, give it a `keystore` fixture."""

import asyncio

import pytest

from watchword.vault.keystore import KeyStore


class KeyStoreContract:
    """The suite behind the MUSTs of `KeyStore`; needs pytest-asyncio in auto mode."""

    @pytest.fixture
    def keystore(self) -> KeyStore:
        """Return an empty key store."""
        raise NotImplementedError("override the keystore fixture")

    async def test_a_key_is_32_bytes_and_stays(self, keystore: KeyStore) -> None:
        """A name keeps its key."""
        key = await keystore.get_or_create("a", None)
        assert len(key) == 32
        assert await keystore.get_or_create("a", None) == key
        assert await keystore.get("a") == key

    async def test_names_have_keys_of_their_own(self, keystore: KeyStore) -> None:
        """No two names share a key."""
        keys = [await keystore.get_or_create(f"name/{i}", None) for i in range(20)]
        assert len(set(keys)) == 20

    async def test_get_never_creates(self, keystore: KeyStore) -> None:
        """An unknown name reads as None, twice."""
        assert await keystore.get("unknown") is None
        assert await keystore.get("unknown") is None

    async def test_racing_creators_get_one_key(self, keystore: KeyStore) -> None:
        """Who comes second is given the first one's key."""
        keys = await asyncio.gather(*(keystore.get_or_create("race", None) for _ in range(20)))
        assert len(set(keys)) == 1
        assert await keystore.get("race") == keys[0]

    async def test_a_destroyed_key_is_gone_for_good(self, keystore: KeyStore) -> None:
        """The same name gives another key afterwards; its neighbours stay."""
        key = await keystore.get_or_create("a", None)
        neighbour = await keystore.get_or_create("b", None)
        await keystore.destroy("a")
        assert await keystore.get("a") is None
        assert await keystore.get("b") == neighbour
        assert await keystore.get_or_create("a", None) != key

    async def test_destroying_what_is_not_there_is_no_error(self, keystore: KeyStore) -> None:
        """Destroy can be repeated."""
        await keystore.get_or_create("a", None)
        await keystore.destroy("a")
        await keystore.destroy("a")
        assert await keystore.get("a") is None

    async def test_expired_keys_are_destroyed_at_their_time(self, keystore: KeyStore) -> None:
        """At `expire_time`, not a millisecond before; a key without one never."""
        await keystore.get_or_create("early", 1_000)
        await keystore.get_or_create("late", 2_000)
        await keystore.get_or_create("never", None)
        assert await keystore.destroy_expired(999) == 0
        assert await keystore.destroy_expired(1_000) == 1
        assert await keystore.get("early") is None
        assert await keystore.get("late") is not None
        assert await keystore.destroy_expired(10**15) == 1
        assert await keystore.get("never") is not None

    async def test_the_first_expire_time_holds(self, keystore: KeyStore) -> None:
        """A later caller moves nothing."""
        await keystore.get_or_create("a", 1_000)
        await keystore.get_or_create("a", 5_000)
        assert await keystore.destroy_expired(1_000) == 1

    async def test_any_text_is_a_name(self, keystore: KeyStore) -> None:
        """Names are compared as they are."""
        names = ["code/AC1/20000", "code/AC1/2000", "CODE/AC1/20000", "a'; --", "é", "e\u0301"]
        keys = {name: await keystore.get_or_create(name, None) for name in names}
        assert len(set(keys.values())) == len(names)
        for name, key in keys.items():
            assert await keystore.get(name) == key
