"""What every account store must do: subclass `AccountStoreContract`, give it a `bench`."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from watchword.account.model import (
    AccountPatch,
    ApplicationPatch,
    Lifetime,
)
from watchword.account.rows import UsageCount, UsageKey
from watchword.account.store import AccountStore, ListQuery, SetUp, UsageCell, UsageQuery
from watchword.audit.leaf import Leaf
from watchword.core.errors import (
    DomainError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Reason,
)
from watchword.core.ports import DAY, HOUR
from watchword.tenancy.directory import TENANCY_TOPIC
from watchword.tenancy.model import (
    TEST_NUMBER_TTL,
    AccountState,
    Caller,
    Scope,
)
from watchword.testing.account_cases import (
    OPERATOR,
    PA,
    PB,
    A,
    B,
    admin_of,
    application_of,
    credential_of,
    id_of,
    key_of,
    number_of,
)
from watchword.testing.clock import START, FakeClock


class AccountBench(NamedTuple):
    """An empty store, the clock that it reads, and what it has told and logged so far."""

    store: AccountStore
    clock: FakeClock
    published: Callable[[], list[str]]
    leaves: Callable[[], Awaitable[list[Leaf]]]


async def error_of(call: Awaitable[object]) -> DomainError:
    """Return the domain error that a call raises."""
    with pytest.raises(DomainError) as caught:
        await call
    return caught.value


class AccountStoreContract:
    """The suite behind the MUSTs of `AccountStore`; needs pytest-asyncio in auto mode."""

    @pytest.fixture
    def bench(self) -> AccountBench:
        """Return an empty store whose clock stands at `START`."""
        raise NotImplementedError("override the bench fixture")

    @pytest.fixture
    async def two(self, bench: AccountBench) -> AccountBench:
        """Return a store with accounts A and B, each with one application."""
        for account, application in ((A, PA), (B, PB)):
            await bench.store.create_account(account, OPERATOR, None)
            await bench.store.create_application(application, OPERATOR, None)
        return bench

    async def test_what_was_written_is_read(self, two: AccountBench) -> None:
        """Rows come back field by field, with the store's times."""
        account = A._replace(create_time=START, update_time=START)
        assert await two.store.account(A.account_id) == account
        application = PA._replace(create_time=START, update_time=START)
        assert await two.store.application(PA.application_id) == application
        draft = credential_of(A.account_id, PA.application_id, "c")
        await two.store.create_credential(draft, Lifetime(ttl=HOUR), OPERATOR, None)
        expected = draft._replace(create_time=START, expire_time=START + HOUR)
        assert await two.store.credential(draft.credential_id) == expected
        assert await two.store.account(id_of("AC", "f")) is None
        assert await two.store.application(id_of("AP", "f")) is None
        assert await two.store.credential(id_of("CR", "f")) is None
        assert await two.store.application_by_spiffe("spiffe://none/x") is None
        assert await two.store.test_number(PA.application_id, b"x" * 32) is None

    async def test_every_change_leaves_one_leaf_and_is_told(self, two: AccountBench) -> None:
        """One leaf a version; the bus hears the id and the topic; no change, neither."""
        told = len(two.published())
        patch = AccountPatch(display_name="New name")
        for _ in range(2):
            await two.store.update_account(A.account_id, patch, OPERATOR, None)
        ours = [leaf for leaf in await two.leaves() if leaf.object_id == A.account_id]
        assert [leaf.version for leaf in ours] == [1, 2]
        assert {leaf.account_id for leaf in ours} == {A.account_id}
        assert sorted(two.published()[told:]) == sorted([A.account_id, TENANCY_TOPIC])

    async def test_suspend_and_resume(self, two: AccountBench) -> None:
        """A suspended account makes nothing new until it is activated."""
        store, account_id = two.store, A.account_id
        written = await store.suspend_account(account_id, "unpaid", OPERATOR, None)
        assert written.row.state is AccountState.SUSPENDED
        draft = application_of(account_id, "3")
        error = await error_of(store.create_application(draft, OPERATOR, None))
        assert error.reason is Reason.ACCOUNT_SUSPENDED
        patch = AccountPatch(activate=True)
        resumed = await store.update_account(account_id, patch, OPERATOR, None)
        assert resumed.row.state is AccountState.ACTIVE
        await store.create_application(draft, OPERATOR, None)

    async def test_c044_anothers_is_like_unknown(self, two: AccountBench) -> None:
        """A foreign id and an unknown one raise the same; B's rows stay as they are."""
        caller, store = admin_of(A.account_id), two.store
        before = (await store.account(B.account_id), await store.application(PB.application_id))
        renamed = AccountPatch(display_name="stolen")
        moved = ApplicationPatch(display_name="stolen")
        for account_id, application_id in (
            (B.account_id, PB.application_id),
            (id_of("AC", "f"), id_of("AP", "f")),
        ):
            errors = [
                await error_of(store.update_account(account_id, renamed, caller, None)),
                await error_of(store.suspend_account(account_id, "x", caller, None)),
                await error_of(store.update_application(application_id, moved, caller, None)),
                await error_of(
                    store.create_test_number(
                        number_of(application_id, 1),
                        caller,
                        None,
                    )
                ),
            ]
            assert {type(error) for error in errors} == {NotFound}
            assert [error.reason for error in errors] == [
                Reason.ACCOUNT_NOT_FOUND,
                Reason.ACCOUNT_NOT_FOUND,
                Reason.APPLICATION_NOT_FOUND,
                Reason.APPLICATION_NOT_FOUND,
            ]
        after = (await store.account(B.account_id), await store.application(PB.application_id))
        assert after == before

    async def test_c046_no_credential_joins_two_accounts(self, two: AccountBench) -> None:
        """An account and another's application never meet, not even for an operator."""
        mixed = credential_of(A.account_id, PB.application_id, "c")
        for caller in (OPERATOR, admin_of(A.account_id)):
            error = await error_of(two.store.create_credential(mixed, Lifetime(), caller, None))
            assert error.reason is Reason.APPLICATION_NOT_FOUND
        assert await two.store.credential(mixed.credential_id) is None

    async def test_a_request_is_done_once(self, two: AccountBench) -> None:
        """Within 24 hours a repetition returns the row as it stands; another body is refused."""
        store, caller = two.store, admin_of(A.account_id)
        key = key_of("r")
        first = await store.create_application(application_of(A.account_id, "3"), caller, key)
        leaves = len(await two.leaves())
        again = await store.create_application(application_of(A.account_id, "4"), caller, key)
        assert (again.row, again.replayed) == (first.row, True)
        assert len(await two.leaves()) == leaves
        other = key_of("r", body=b"else")
        error = await error_of(
            store.create_application(application_of(A.account_id, "5"), caller, other)
        )
        assert error.reason is Reason.REQUEST_ID_MISMATCH
        elsewhere = await store.create_application(
            application_of(A.account_id, "5"), caller, key_of("r", scope="T")
        )
        assert not elsewhere.replayed
        two.clock.advance(DAY)
        later = await store.create_application(application_of(A.account_id, "6"), caller, other)
        assert not later.replayed

    async def test_what_is_refused_leaves_nothing(self, two: AccountBench) -> None:
        """No row, no leaf, no request id: the same request may succeed later."""
        taken = ("spiffe://mesh/ns/a/sa/web",)
        patch = ApplicationPatch(spiffe_ids=taken)
        await two.store.update_application(PA.application_id, patch, OPERATOR, None)
        leaves, told = len(await two.leaves()), len(two.published())
        draft = application_of(B.account_id, "3", spiffe_ids=taken)
        error = await error_of(two.store.create_application(draft, OPERATOR, key_of("r")))
        assert isinstance(error, InvalidArgument)
        assert error.field == "spiffe_ids"
        assert await two.store.application(draft.application_id) is None
        assert (len(await two.leaves()), len(two.published())) == (leaves, told)
        free = draft._replace(spiffe_ids=())
        written = await two.store.create_application(free, OPERATOR, key_of("r"))
        assert not written.replayed

    async def test_spiffe_ids_follow_their_application(self, two: AccountBench) -> None:
        """A certificate speaks for the application that maps it now."""
        first, second = "spiffe://mesh/ns/a/sa/web", "spiffe://mesh/ns/a/sa/api"
        for ids in ((first,), (first, second), (second,)):
            patch = ApplicationPatch(spiffe_ids=tuple(sorted(ids)))
            await two.store.update_application(PA.application_id, patch, OPERATOR, None)
        found = await two.store.application_by_spiffe(second)
        assert found is not None
        assert (found.application_id, found.spiffe_ids) == (PA.application_id, (second,))
        assert await two.store.application_by_spiffe(first) is None

    async def test_c051_nobody_maps_a_scope_that_they_lack(self, two: AccountBench) -> None:
        """A new certificate gets the application's scopes: its mapper must have them."""
        scopes = ApplicationPatch(spiffe_scopes=frozenset({Scope.VERIFICATION_ADMIN}))
        await two.store.update_application(PA.application_id, scopes, OPERATOR, None)
        weak = Caller(A.account_id, "", "CRweak", frozenset({Scope.ACCOUNT_ADMIN}))
        mapped = ApplicationPatch(spiffe_ids=("spiffe://mesh/ns/a/sa/web",))
        error = await error_of(two.store.update_application(PA.application_id, mapped, weak, None))
        assert isinstance(error, PermissionDenied)
        dropped = ApplicationPatch(spiffe_scopes=frozenset())
        written = await two.store.update_application(PA.application_id, dropped, weak, None)
        assert written.row.spiffe_scopes == frozenset()

    async def test_regions_stay_within_the_accounts(self, two: AccountBench) -> None:
        """A region that the account may not enable is REGION_DISABLED; `*` is all it may."""
        await two.store.update_account(
            A.account_id, AccountPatch(regions=("DE", "FR")), OPERATOR, None
        )
        for regions in ({"DE"}, {"*"}):
            patch = ApplicationPatch(regions=frozenset(regions))
            await two.store.update_application(PA.application_id, patch, OPERATOR, None)
        patch = ApplicationPatch(regions=frozenset({"DE", "US"}))
        error = await error_of(
            two.store.update_application(PA.application_id, patch, OPERATOR, None)
        )
        assert error.reason is Reason.REGION_DISABLED

    async def test_two_credentials_are_live_at_most(self, two: AccountBench) -> None:
        """Rotation: a third waits until one is revoked or has expired; owners do not share."""
        store, owner = two.store, (A.account_id, PA.application_id)
        await store.create_credential(credential_of(*owner, "1"), Lifetime(), OPERATOR, None)
        short = Lifetime(expire_time=START + HOUR)
        await store.create_credential(credential_of(*owner, "2"), short, OPERATOR, None)
        third = credential_of(*owner, "3")
        error = await error_of(store.create_credential(third, Lifetime(), OPERATOR, None))
        assert error.reason is Reason.CREDENTIAL_LIMIT
        own = credential_of(A.account_id, "", "4")
        await store.create_credential(own, Lifetime(), OPERATOR, None)
        two.clock.advance(HOUR)
        await store.create_credential(third, Lifetime(), OPERATOR, None)
        await store.revoke_credential(id_of("CR", "1"), OPERATOR, None)
        fifth = credential_of(*owner, "5")
        await store.create_credential(fifth, Lifetime(), OPERATOR, None)

    async def test_a_revocation_stays(self, two: AccountBench) -> None:
        """Revoking twice keeps the first time and writes one version."""
        draft = credential_of(A.account_id, PA.application_id, "1")
        await two.store.create_credential(draft, Lifetime(), OPERATOR, None)
        for _ in range(2):
            written = await two.store.revoke_credential(
                draft.credential_id, admin_of(A.account_id), None
            )
            two.clock.advance(HOUR)
        assert (written.row.revoke_time, written.row.version) == (START, 2)
        assert await two.store.credential(draft.credential_id) == written.row
        stranger = admin_of(B.account_id)
        error = await error_of(two.store.revoke_credential(draft.credential_id, stranger, None))
        assert error.reason is Reason.CREDENTIAL_NOT_FOUND

    async def test_no_credential_is_born_expired(self, two: AccountBench) -> None:
        """The store's clock judges `expire_time`."""
        draft = credential_of(A.account_id, PA.application_id, "1")
        over = Lifetime(expire_time=START)
        error = await error_of(two.store.create_credential(draft, over, OPERATOR, None))
        assert (error.reason, error.field) == (Reason.FIELD_INVALID, "expire_time")

    async def test_the_first_operator_is_made_once(self, bench: AccountBench) -> None:
        """Even a revoked one was the first; beside it two may be live."""
        store = bench.store
        drafts = [
            credential_of("", "", letter)._replace(scopes=frozenset({Scope.OPERATOR}))
            for letter in "1234"
        ]
        await store.create_operator(drafts[0], first=True)
        await store.revoke_credential(drafts[0].credential_id, OPERATOR, None)
        error = await error_of(store.create_operator(drafts[1], first=True))
        assert error.reason is Reason.CREDENTIAL_LIMIT
        await store.create_operator(drafts[1], first=False)
        await store.create_operator(drafts[2], first=False)
        error = await error_of(store.create_operator(drafts[3], first=False))
        assert error.reason is Reason.CREDENTIAL_LIMIT

    async def test_a_set_up_ends_earlier_operators(self, bench: AccountBench) -> None:
        """Account, application and both credentials are there; the old operator is not."""
        old = credential_of("", "", "1")
        await bench.store.create_operator(old, first=True)
        new = credential_of("", "", "2")
        own = credential_of(A.account_id, PA.application_id, "3")
        await bench.store.set_up(SetUp(A, PA, own, new))
        live = [await bench.store.credential(id_of("CR", letter)) for letter in "123"]
        assert [c is not None and c.live(START) for c in live] == [False, True, True]
        assert await bench.store.application(PA.application_id) is not None

    async def test_ten_test_numbers_at_most(self, two: AccountBench) -> None:
        """Renewing one is no eleventh; deleted and expired ones make room."""
        store, application_id = two.store, PA.application_id
        for number in range(10):
            await store.create_test_number(number_of(application_id, number), OPERATOR, None)
        eleventh = number_of(application_id, 10)
        error = await error_of(store.create_test_number(eleventh, OPERATOR, None))
        assert error.reason is Reason.TEST_NUMBER_LIMIT
        renewed = number_of(application_id, 3)._replace(code_sealed=b"other")
        written = await store.create_test_number(renewed, OPERATOR, None)
        assert (written.row.version, written.row.code_sealed) == (2, b"other")
        await store.delete_test_number(application_id, number_of("", 4).phone_index, OPERATOR, None)
        await store.create_test_number(eleventh, OPERATOR, None)
        two.clock.advance(TEST_NUMBER_TTL)
        listed = await store.list_test_numbers(ListQuery(A.account_id, application_id, "", 100))
        assert listed == []
        await store.create_test_number(number_of(application_id, 11), OPERATOR, None)

    async def test_a_deleted_test_number_is_empty_and_goes_on(self, two: AccountBench) -> None:
        """Its sealed values are gone, its versions never repeat, and it can be made anew."""
        draft = number_of(PA.application_id, 1)
        place = (draft.application_id, draft.phone_index)
        await two.store.create_test_number(draft, OPERATOR, None)
        await two.store.delete_test_number(*place, OPERATOR, None)
        gone = await two.store.test_number(*place)
        assert gone is not None
        assert not gone.live(START)
        assert (gone.phone_sealed, gone.code_sealed) == (b"", b"")
        error = await error_of(two.store.delete_test_number(*place, OPERATOR, None))
        assert error.reason is Reason.TEST_NUMBER_NOT_FOUND
        await two.store.create_test_number(draft, OPERATOR, None)
        versions = [leaf.version for leaf in await two.leaves() if leaf.object_id == draft.row_name]
        assert versions == [1, 2, 3]

    async def test_lists_go_newest_first_in_pages(self, two: AccountBench) -> None:
        """Pages join without gap or repetition and hold one owner's rows."""
        for letter in "3456":
            await two.store.create_application(application_of(A.account_id, letter), OPERATOR, None)
        seen: list[str] = []
        while True:
            query = ListQuery(A.account_id, "", seen[-1] if seen else "", 2)
            page = await two.store.list_applications(query)
            if not page:
                break
            seen += [row.application_id for row in page]
        assert seen == [id_of("AP", letter) for letter in "65431"]
        accounts = await two.store.list_accounts(ListQuery("", "", "", 10))
        assert [row.account_id for row in accounts] == [B.account_id, A.account_id]
        for letter, application_id in (("1", PA.application_id), ("2", "")):
            draft = credential_of(A.account_id, application_id, letter)
            await two.store.create_credential(draft, Lifetime(), OPERATOR, None)
        for application_id, letters in (("", "21"), (PA.application_id, "1")):
            found = await two.store.list_credentials(
                ListQuery(A.account_id, application_id, "", 10)
            )
            assert [c.credential_id for c in found] == [id_of("CR", x) for x in letters]

    async def test_usage_adds_up(self, two: AccountBench) -> None:
        """Counters add up by cell over an account's applications; strangers count nothing."""
        other = application_of(A.account_id, "3")
        await two.store.create_application(other, OPERATOR, None)
        a, pa = A.account_id, PA.application_id
        today = UsageKey(a, pa, 20_000, "SMS", "DE", "one")
        await two.store.add_usage(
            {
                today: UsageCount(1, 2, 1),
                today._replace(application_id=other.application_id): UsageCount(1, 1, 0),
                today._replace(day=20_001): UsageCount(5, 5, 5),
                today._replace(application_id=PB.application_id): UsageCount(9, 9, 9),
            }
        )
        await two.store.add_usage({today: UsageCount(1, 0, 0)})
        query = UsageQuery(a, "", 20_000, 20_002, None, 1)
        page = await two.store.list_usage(query)
        cell = UsageCell(20_000, "SMS", "DE", "one")
        assert [(row.cell, row.used) for row in page] == [(cell, UsageCount(3, 3, 1))]
        rest = await two.store.list_usage(query._replace(after=cell, limit=5))
        assert [row.cell.day for row in rest] == [20_001]
        mine = await two.store.list_usage(query._replace(application_id=pa, end_day=20_001))
        assert [row.used for row in mine] == [UsageCount(2, 2, 1)]
