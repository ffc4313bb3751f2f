"""What every store's upkeep must do: subclass, and give it a `bench` fixture."""

import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest

from watchword.core.keys import KeyProvider, KeyUse
from watchword.core.ports import MINUTE
from watchword.core.upkeep import Dump, Load, StoreUpkeep
from watchword.delivery.outbox import Outbox, SendKind, SendState
from watchword.testing import verification_cases as cases
from watchword.testing.clock import FakeClock
from watchword.testing.entropy import SeededEntropy
from watchword.testing.keys import MemoryKeyProvider
from watchword.testing.verification_cases import RIGHT, WRONG, Case, Harness, get, usage
from watchword.vault.keystore import KeyStore
from watchword.verification.model import RejectionReason, State
from watchword.verification.store import VerificationStore

WORLD = "sandbox"

APPROVED, LEFT, GUESSED, LATE = Case(phone=1), Case(phone=2), Case(phone=3), Case(phone=4)


class OpenStores(Protocol):
    """The ports of an open store that the suite looks at."""

    @property
    def verification(self) -> VerificationStore:
        """Return the port."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Return the port."""
        ...

    @property
    def keystore(self) -> KeyStore:
        """Return the port."""
        ...


class UpkeepBench(NamedTuple):
    """An upkeep under test: two places, both empty, and what opens a store at one of them.

    `open` makes a store of `WORLD` and of `MemoryKeyProvider(0)`'s keys at need, on `clock`.
    `refused` is the adapter's own refusal, `directory` an empty one for artefacts.
    """

    upkeep: StoreUpkeep[Any]
    place: Any
    other: Any
    open: Callable[[Any], AbstractAsyncContextManager[OpenStores]]
    clock: FakeClock
    refused: type[Exception]
    directory: Path

    @property
    def data(self) -> Path:
        """Where the data's artefact goes."""
        return self.directory / "data"

    @property
    def keys(self) -> Path:
        """Where the keys' artefact goes."""
        return self.directory / "keys"

    async def dump(self, world: str = WORLD) -> Dump:
        """Dump the first place."""
        for path in (self.data, self.keys):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
        return await self.upkeep.dump(
            self.place, self.data, self.keys, world=world, progress=_unheard
        )

    async def load(
        self, *, world: str = WORLD, provider: KeyProvider | None = None, keys: bool = True
    ) -> Load:
        """Load what was dumped into the other place."""
        return await self.upkeep.load(
            self.other,
            self.data,
            self.keys if keys else None,
            world=world,
            clock=self.clock,
            entropy=SeededEntropy(7),
            provider=provider or MemoryKeyProvider(),
            progress=_unheard,
        )


class UpkeepContract:
    """The suite behind the MUSTs of `StoreUpkeep`; needs pytest-asyncio in auto mode."""

    @pytest.fixture
    def bench(self) -> UpkeepBench:
        """Return an upkeep and two empty places."""
        raise NotImplementedError("override the bench fixture")

    @pytest.fixture
    async def dumped(self, bench: UpkeepBench) -> UpkeepBench:
        """Return the bench with a store in use at its first place, and its dump."""
        async with bench.open(bench.place) as stores:
            await fill(stores, bench.clock)
        await bench.dump()
        return bench

    async def test_what_was_approved_stays_approved(self, dumped: UpkeepBench) -> None:
        """Its row, its receipt's key, and the answer to a repeated request."""
        await dumped.load()
        async with restored(dumped) as harness:
            row = (await get(harness, 1, APPROVED)).verification
            assert (row.state, row.receipt_kid) == (State.APPROVED, "receipt-1")
            check = cases.check(1, case=APPROVED, request=cases.request(1, "check"))
            again = await harness.verification.check(check)
            assert (again.approved, again.replayed) == (True, True)
            once_more = await harness.verification.check(cases.check(1, case=APPROVED))
            assert once_more.rejection is RejectionReason.ALREADY_USED

    async def test_what_was_pending_can_never_be_approved(self, dumped: UpkeepBench) -> None:
        """Those in time are canceled, those over are expired; what is personal is gone."""
        load = await dumped.load()
        assert load.voided == 3
        async with restored(dumped) as harness:
            for number, case, state in (
                (2, LEFT, State.CANCELED),
                (3, GUESSED, State.CANCELED),
                (4, LATE, State.EXPIRED),
            ):
                row = (await get(harness, number, case)).verification
                assert row.state is state
                assert row.phone_sealed == row.limits_index == b""
                outcome = await harness.verification.check(cases.check(number, RIGHT, case))
                assert not outcome.approved
                assert outcome.rejection is RejectionReason[state]

    async def test_a_repeated_start_sends_nothing(self, dumped: UpkeepBench) -> None:
        """Its request id is known still: it shows what it made, which has ended."""
        await dumped.load()
        async with restored(dumped) as harness:
            start = cases.start(9, LEFT, request=cases.request(2, "start"))
            again = await harness.verification.start(start)
            assert (again.replayed, again.created) == (True, False)
            assert again.snapshot.verification.verification_id == cases.verification_id(2)

    async def test_no_code_is_sent_and_a_notice_is(self, dumped: UpkeepBench) -> None:
        """What was queued for a verification ends unsent; a notice is still due."""
        await dumped.load()
        async with restored(dumped) as harness:
            claimed = await harness.outbox.claim(10, cases.LEASE, cases.LIMITS)
            assert [claim.send.kind for claim in claimed.claims] == [SendKind.NOTICE]
            assert {send.state for send in claimed.ended} == {SendState.FAILED}

    async def test_limits_and_budgets_go_on(self, bench: UpkeepBench) -> None:
        """A restore refills nothing: neither guesses nor sends, nor the account's budget."""
        cases_of = (APPROVED, LEFT, GUESSED)
        async with bench.open(bench.place) as stores:
            await fill(stores, bench.clock)
            before = [await usage(_harness(stores, bench.clock), case) for case in cases_of]
        await bench.dump()
        await bench.load()
        async with restored(bench) as harness:
            assert [await usage(harness, case) for case in cases_of] == before
        assert len(before[2].guesses.wrong) == 2
        assert before[1].sends

    async def test_keys_come_back_but_those_whose_time_is_over(self, dumped: UpkeepBench) -> None:
        """A key that was to be destroyed after the dump is, before the store can be opened."""
        async with dumped.open(dumped.place) as stores:
            key = await stores.keystore.get("code/late")
        dumped.clock.advance(30 * MINUTE)
        await dumped.load()
        async with dumped.open(dumped.other) as stores:
            assert key is not None
            assert await stores.keystore.get("code/late") == key
            assert await stores.keystore.get("code/soon") is None

    async def test_without_keys_it_begins_with_none(self, dumped: UpkeepBench) -> None:
        """The rows are all there."""
        await dumped.load(keys=False)
        async with dumped.open(dumped.other) as stores:
            assert await stores.keystore.get("code/late") is None
            harness = _harness(stores, dumped.clock)
            assert (await get(harness, 1, APPROVED)).verification.state is State.APPROVED

    async def test_a_restored_store_serves_new_verifications(self, dumped: UpkeepBench) -> None:
        """From Start to approval."""
        await dumped.load()
        async with restored(dumped) as harness:
            case = Case(phone=50)
            await harness.verification.start(cases.start(50, case))
            assert (await harness.verification.check(cases.check(50, case=case))).approved

    @pytest.mark.parametrize("wrong", ["world", "keys"])
    async def test_what_does_not_belong_is_refused_whole(
        self, dumped: UpkeepBench, wrong: str
    ) -> None:
        """Another world's data or other root keys: one line, and nothing is made."""
        world = "production" if wrong == "world" else WORLD
        provider = MemoryKeyProvider(seed=1 if wrong == "keys" else 0)
        with pytest.raises(dumped.refused) as refusal:
            await dumped.load(world=world, provider=provider)
        assert "\n" not in str(refusal.value)
        assert not await dumped.upkeep.occupied(dumped.other)
        await dumped.load()

    async def test_nothing_is_overwritten(self, dumped: UpkeepBench) -> None:
        """A second load into the same place is refused."""
        await dumped.load()
        assert await dumped.upkeep.occupied(dumped.other)
        with pytest.raises(dumped.refused):
            await dumped.load()

    async def test_another_world_is_not_dumped(self, bench: UpkeepBench) -> None:
        """The configuration names the wrong store."""
        async with bench.open(bench.place):
            pass
        with pytest.raises(bench.refused, match="world"):
            await bench.dump("production")

    async def test_a_dump_says_what_it_holds_and_holds_no_root_key(
        self, dumped: UpkeepBench
    ) -> None:
        """Rows by table; the files stay private."""
        dump = await dumped.dump()
        assert dump.counts["verification"] == 4
        assert dump.schema > 0
        roots = [key.secret.reveal() for use in _USES for key in MemoryKeyProvider().all(use)]
        for path in (dumped.data, dumped.keys):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            content = path.read_bytes()
            assert content
            assert not [root for root in roots if root in content or root.hex().encode() in content]

    async def test_a_migrated_store_has_nothing_to_migrate(self, bench: UpkeepBench) -> None:
        """Not by a dry run, not by another; another world's is refused."""
        async with bench.open(bench.place):
            pass
        for dry_run in (True, False):
            change = await bench.upkeep.migrate(
                bench.place, world=WORLD, clock=bench.clock, dry_run=dry_run
            )
            assert change.before == change.after > 0
            assert change.steps == ()
        with pytest.raises(bench.refused, match="world"):
            await bench.upkeep.migrate(
                bench.place, world="production", clock=bench.clock, dry_run=False
            )


_USES = tuple(KeyUse)


async def fill(stores: OpenStores, clock: FakeClock) -> None:
    """Leave one verification approved, two pending, one overdue, a notice, and two keys."""
    verification, now = stores.verification, clock.now()
    await stores.keystore.get_or_create("code/soon", now + 20 * MINUTE)
    await stores.keystore.get_or_create("code/late", now + 200 * MINUTE)
    await verification.start(cases.start(4, LATE))
    clock.advance(11 * MINUTE)
    for number, case in ((1, APPROVED), (2, LEFT), (3, GUESSED)):
        request = cases.request(number, "start")
        await verification.start(cases.start(number, case, request=request))
    await verification.check(cases.check(1, case=APPROVED, request=cases.request(1, "check")))
    for _ in range(2):
        await verification.check(cases.check(3, WRONG, GUESSED))
    await verification.rebind(cases.rebind(LEFT, notice=70))


@asynccontextmanager
async def restored(bench: UpkeepBench) -> AsyncIterator[Harness]:
    """Open the other place."""
    async with bench.open(bench.other) as stores:
        yield _harness(stores, bench.clock)


def _harness(stores: OpenStores, clock: FakeClock) -> Harness:
    return Harness(stores.verification, stores.outbox, clock, [])


def _unheard(_work: str, _done: int, _total: int) -> None:
    """Hear nothing."""
