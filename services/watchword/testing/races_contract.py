"""What must come of commands that meet: subclass, and give it a `harness` fixture."""

from collections import Counter
from collections.abc import Awaitable

import pytest

from watchword.core.errors import DomainError, FailedPrecondition, Reason
from watchword.core.ports import DAY
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import (
    CASE,
    RIGHT,
    WRONG,
    Harness,
    get,
    outcomes,
    usage,
)
from watchword.verification.model import RejectionReason, State
from watchword.verification.store import CheckOutcome, Snapshot


class RacesContract:
    """Races, boundaries and repetitions; needs pytest-asyncio in auto mode.

    The harness begins empty; its clock stands still unless a test moves it.
    """

    @pytest.fixture
    def harness(self) -> Harness:
        """Return an empty store and its clock."""
        raise NotImplementedError("override the harness fixture")

    async def test_c021_an_approved_code_is_used_up(self, harness: Harness) -> None:
        """A second right code, without a request id, is ALREADY_USED."""
        store = harness.verification
        await store.start(cases.start(1))
        assert (await store.check(cases.check(1))).approved
        again = await store.check(cases.check(1))
        assert (again.approved, again.rejection) == (False, RejectionReason.ALREADY_USED)

    async def test_c025_one_of_many_right_codes_is_approved(self, harness: Harness) -> None:
        """64 right codes at once: one approval, 63 rejections, one change published."""
        store = harness.verification
        await store.start(cases.start(1))
        harness.published.clear()
        made = await outcomes(store.check(cases.check(1)) for _ in range(64))
        checks = [o for o in made if isinstance(o, CheckOutcome)]
        assert len(checks) == 64
        assert Counter(o.rejection for o in checks if not o.approved) == {
            RejectionReason.ALREADY_USED: 63
        }
        assert harness.published == [cases.verification_id(1)]
        row = (await get(harness, 1)).verification
        assert (row.version, row.checks_used) == (2, 1)

    async def test_c026_of_many_wrong_codes_five_are_compared(self, harness: Harness) -> None:
        """64 wrong codes at once: five comparisons, the rest refused before any."""
        store = harness.verification
        await store.start(cases.start(1))
        made = await outcomes(store.check(cases.check(1, WRONG)) for _ in range(64))
        assert sum(o.compared for o in made if isinstance(o, CheckOutcome)) == 5
        row = (await get(harness, 1)).verification
        assert (row.state, row.checks_used) == (State.EXHAUSTED, 5)
        assert len((await usage(harness)).guesses.wrong) == 5

    @pytest.mark.parametrize("place", [0, 1, 31, 63])
    async def test_c027_at_the_boundary_the_first_one_decides(
        self, harness: Harness, place: int
    ) -> None:
        """With one attempt left, a right code among wrong ones wins or all is exhausted."""
        store = harness.verification
        await store.start(cases.start(1))
        for _ in range(4):
            await store.check(cases.check(1, WRONG))
        codes = [WRONG] * 63
        codes.insert(place, RIGHT)
        made = await outcomes(store.check(cases.check(1, code)) for code in codes)
        checks = [o for o in made if isinstance(o, CheckOutcome)]
        assert sum(o.compared for o in checks) == 1
        approvals = sum(o.approved for o in checks)
        row = (await get(harness, 1)).verification
        assert (row.state, approvals) in ((State.APPROVED, 1), (State.EXHAUSTED, 0))
        assert row.checks_used == 5

    @pytest.mark.parametrize("check_first", [True, False])
    async def test_c028_check_and_cancel_never_both_win(
        self, harness: Harness, *, check_first: bool
    ) -> None:
        """Whichever comes second meets the first one's terminal state."""
        store = harness.verification
        case = [CASE._replace(phone=n) for n in range(40)]
        for number in range(40):
            await store.start(cases.start(number, case[number]))
        for number in range(40):
            calls: list[Awaitable[object]] = [
                store.check(cases.check(number, RIGHT, case[number])),
                store.cancel(cases.cancel(number, case[number])),
            ]
            made = await outcomes(calls if check_first else calls[::-1])
            approved = any(isinstance(o, CheckOutcome) and o.approved for o in made)
            canceled = any(isinstance(o, Snapshot) for o in made)
            assert approved != canceled
            row = (await get(harness, number)).verification
            assert row.state is (State.APPROVED if approved else State.CANCELED)

    async def test_c030_a_storm_of_starts_makes_one(self, harness: Harness) -> None:
        """50 starts at once: one verification, one send, the rest told to wait."""
        store = harness.verification
        made = await outcomes(store.start(cases.start(n)) for n in range(50))
        refused = [o for o in made if isinstance(o, DomainError)]
        assert Counter(o.reason for o in refused) == {Reason.SEND_COOLDOWN: 49}
        (only,) = await store.list(cases.page())
        assert only.verification.send_count == 1
        assert (await harness.outbox.depth()).waiting == 1
        assert len((await usage(harness)).sends) == 1

    async def test_c034_one_request_id_has_one_effect(self, harness: Harness) -> None:
        """20 starts of one request id: one effect, 20 equal answers."""
        store = harness.verification
        made = await outcomes(
            store.start(cases.start(n, request=cases.request(1, "start"))) for n in range(20)
        )
        snapshots = {repr(o.snapshot) for o in made if not isinstance(o, DomainError)}  # type: ignore[attr-defined]
        assert len(made) == 20
        assert len(snapshots) == 1
        assert len(await store.list(cases.page())) == 1

    async def test_c034_a_request_id_belongs_to_its_body(self, harness: Harness) -> None:
        """Another body under a known id is refused; another method or application is not."""
        store, clock = harness.verification, harness.clock
        await store.start(cases.start(1, request=cases.request(1, "start")))
        with pytest.raises(FailedPrecondition) as mismatch:
            await store.start(cases.start(2, request=cases.request(1, "start", body=2)))
        assert mismatch.value.reason is Reason.REQUEST_ID_MISMATCH
        await store.check(cases.check(1, WRONG, request=cases.request(1, "check")))
        other = CASE._replace(application_id=cases.OTHER_APPLICATION, phone=7)
        made = await store.start(
            cases.start(3, other, request=cases.request(1, "start", case=other))
        )
        assert made.created
        clock.advance(DAY)
        again = await store.start(cases.start(4, request=cases.request(1, "start", body=2)))
        assert again.created

    async def test_c034_a_check_replays_its_own_outcome(self, harness: Harness) -> None:
        """A repeated check answers as it did, charges nothing, and stays true after approval."""
        store = harness.verification
        await store.start(cases.start(1))
        wrong = cases.check(1, WRONG, request=cases.request(1, "check"))
        right = cases.check(1, RIGHT, request=cases.request(2, "check"))
        first = [await store.check(wrong), await store.check(right)]
        again = [await store.check(wrong), await store.check(right)]
        assert [(o.approved, o.rejection, o.checks_remaining) for o in first] == [
            (o.approved, o.rejection, o.checks_remaining) for o in again
        ]
        assert [(o.replayed, o.compared) for o in again] == [(True, 0), (True, 0)]
        assert (await get(harness, 1)).verification.checks_used == 2
