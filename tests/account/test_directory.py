import asyncio

from tests.account.room import Room

from watchword.account.model import AccountPatch
from watchword.tenancy.directory import Directory, follow
from watchword.testing.account_cases import OPERATOR


async def test_another_process_forgets_when_the_bus_tells(room: Room) -> None:
    account_id, _ = await room.account("Old")
    elsewhere = Directory(room.store)
    task = asyncio.create_task(follow(elsewhere, room.bus))
    await asyncio.sleep(0)
    assert (await elsewhere.account(account_id)) is not None
    patch = AccountPatch(display_name="New")
    await room.store.update_account(account_id, patch, OPERATOR, None)
    for _ in range(3):
        await asyncio.sleep(0)
    seen = await elsewhere.account(account_id)
    task.cancel()
    assert seen is not None
    assert seen.display_name == "New"


async def test_what_another_revision_showed_is_read_again(room: Room) -> None:
    revision: int | None = 1

    class Reader(type(room.store)):  # type: ignore[misc]
        def revision(self) -> int | None:
            return revision

    room.store.__class__ = Reader
    account_id, _ = await room.account("Old")
    directory = Directory(room.store)

    async def name_after(change: str) -> str:
        await room.store.update_account(
            account_id, AccountPatch(display_name=change), OPERATOR, None
        )
        found = await directory.account(account_id)
        assert found is not None
        return found.display_name

    assert await name_after("first") == "first"
    assert await name_after("unnoticed") == "first"
    revision = 2
    assert await name_after("second") == "second"
    revision = None
    assert [await name_after(name) for name in ("third", "fourth")] == ["third", "fourth"]
    revision = 2
    assert await name_after("fifth") == "fifth"


async def test_the_directory_starts_anew_when_it_is_full(room: Room) -> None:
    ids = [(await room.account(name))[0] for name in "abcd"]
    directory = Directory(room.store, capacity=2)
    for account_id in ids:
        found = await directory.account(account_id)
        assert found is not None
    assert len(directory._cache) <= 2


async def test_a_change_during_a_read_is_not_overwritten(room: Room) -> None:
    account_id, _ = await room.account("Old")
    old = await room.store.account(account_id)
    gate = asyncio.Event()

    class Slow(type(room.store)):  # type: ignore[misc]
        async def account(self, account_id: str) -> object:
            await gate.wait()
            return old

    slow = Slow.__new__(Slow)
    directory = Directory(slow)
    reading = asyncio.create_task(directory.account(account_id))
    await asyncio.sleep(0)
    directory.forget(account_id)
    gate.set()
    assert await reading == old
    assert account_id not in directory._cache
