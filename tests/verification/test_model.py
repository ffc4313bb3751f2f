"""The life of a verification, decided without I/O."""

from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.core.errors import DomainError, Reason
from watchword.core.ports import MINUTE, SECOND
from watchword.fraud.budget import AccountBudget
from watchword.fraud.limits import GuessGuard
from watchword.tenancy.model import Resend
from watchword.testing import verification_cases as cases
from watchword.testing.verification_cases import CASE, Case
from watchword.verification import checking, model, starting
from watchword.verification.checking import CheckCommand, CheckDecision, CheckState
from watchword.verification.model import RejectionReason, State, Verification
from watchword.verification.starting import StartState

NOW = 1_800_000_000_000
UNGUESSED = GuessGuard()
EMPTY = StartState(None, (), (), GuessGuard(), AccountBudget())
ENDS = [state for state in State if state is not State.PENDING]


def pending(case: Case = CASE) -> Verification:
    return starting.start(EMPTY, cases.start(1, case), NOW).verification


def check(
    verification: Verification,
    matches: int = 1,
    case: Case = CASE,
    *,
    now: int = NOW,
    guesses: GuessGuard = UNGUESSED,
    **changes: Any,
) -> CheckDecision:
    command: CheckCommand = cases.check(1, matches, case)._replace(**changes)
    return checking.check(CheckState(verification, guesses, known_binding=True), command, now)


def refusal(state: StartState, now: int, case: Case = CASE) -> DomainError:
    with pytest.raises(DomainError) as refused:
        starting.start(state, cases.start(2, case), now)
    return refused.value


def test_a_right_code_in_time_is_approved() -> None:
    decision = check(pending(), now=NOW + 10 * MINUTE - 1)
    row = decision.verification
    assert (decision.approved, row.state, row.receipt_kid) == (True, State.APPROVED, "receipt-1")
    assert row.approve_time == row.update_time == NOW + 10 * MINUTE - 1
    assert decision.guesses is not None
    assert decision.guesses.approved


@pytest.mark.parametrize("late", [0, 1, 10 * MINUTE])
def test_c007_at_the_expire_time_it_is_over(late: int) -> None:
    decision = check(pending(), now=NOW + 10 * MINUTE + late)
    assert decision.rejection is RejectionReason.EXPIRED
    assert (decision.verification.state, decision.compared) == (State.EXPIRED, 0)


def test_c001_the_fifth_wrong_code_exhausts() -> None:
    row, guesses, seen = pending(), GuessGuard(), []
    for _ in range(6):
        decision = check(row, 0, guesses=guesses)
        row, guesses = decision.verification, decision.guesses or guesses
        seen.append((decision.rejection, decision.compared, row.checks_remaining))
    wrong = RejectionReason.WRONG_CODE
    assert seen[:5] == [(wrong, 1, left) for left in (4, 3, 2, 1, 0)]
    assert seen[5] == (RejectionReason.EXHAUSTED, 0, 0)
    assert check(row, 1).rejection is RejectionReason.EXHAUSTED


@pytest.mark.parametrize("state", ENDS)
def test_no_ended_verification_is_ever_approved(state: State) -> None:
    decision = check(model.closed(pending(), state, NOW))
    assert not decision.approved
    assert not decision.changed
    assert decision.rejection is not None


@pytest.mark.parametrize("state", ENDS)
def test_what_is_personal_leaves_with_the_last_state(state: State) -> None:
    row = model.closed(pending(CASE._replace(custom=1)), state, NOW)
    assert (row.phone_sealed, row.custom_sealed, row.limits_index) == (b"", b"", b"")


@pytest.mark.parametrize(
    "changes",
    [{"purpose": "pay"}, {"action_mac": b"other"}, {"binding_key": b"other"}],
    ids=["purpose", "action", "binding"],
)
@pytest.mark.parametrize("matches", [0, 1])
def test_c020_a_mismatch_never_tells_whether_the_code_was_right(
    changes: dict[str, Any], matches: int
) -> None:
    decision = check(pending(), matches, **changes)
    assert decision.rejection is RejectionReason.BINDING_MISMATCH
    assert decision.compared == 1
    assert decision == check(pending(), 1 - matches, **changes)


def test_a_spent_budget_refuses_before_any_comparison() -> None:
    spent = GuessGuard(wrong=(NOW,) * 10)
    decision = check(pending(), guesses=spent)
    assert decision.refusal is not None
    assert decision.refusal.reason is Reason.GUESS_BUDGET_EXHAUSTED
    assert (decision.compared, decision.changed) == (0, False)


@pytest.mark.parametrize(
    ("resend", "matches", "outcome", "compared"),
    [
        (Resend.SAME, 0b001, "approved", 1),
        (Resend.NEW, 0b100, "approved", 1),
        (Resend.NEW, 0b010, RejectionReason.SUPERSEDED, 1),
        (Resend.NEW, 0b000, RejectionReason.WRONG_CODE, 1),
        (Resend.NEW, 0b1000, RejectionReason.WRONG_CODE, 1),
        (Resend.LAST_TWO, 0b100, "approved", 2),
        (Resend.LAST_TWO, 0b010, "approved", 2),
        (Resend.LAST_TWO, 0b001, RejectionReason.SUPERSEDED, 2),
        (Resend.LAST_TWO, 0b000, RejectionReason.WRONG_CODE, 2),
    ],
)
def test_which_code_counts_after_two_resends(
    resend: Resend, matches: int, outcome: object, compared: int
) -> None:
    case = CASE._replace(resend=resend)
    row = pending(case)
    for _ in range(2):
        command = cases.start(1, case)
        row = starting.resent(EMPTY, row, command.sending, row.next_send_time).verification
    decision = check(row, matches, case, now=row.update_time)
    assert ("approved" if decision.approved else decision.rejection) == outcome
    assert decision.compared == compared


def test_last_two_compares_one_where_one_is_left() -> None:
    row = pending(CASE._replace(resend=Resend.LAST_TWO))._replace(generation=1, checks_used=4)
    decision = check(row, 0b01)
    assert (decision.approved, decision.compared) == (False, 1)
    assert decision.verification.state is State.EXHAUSTED


def test_a_callers_code_is_compared_by_its_mac() -> None:
    case = CASE._replace(custom=7)
    assert not check(pending(case), 0b111, case, custom_mac=b"wrong").approved
    assert check(pending(case), 1, case).approved
    assert not check(pending(), 0, custom_mac=b"").approved


def test_a_resend_moves_no_expiry_and_restores_no_checks() -> None:
    row = check(pending(), 0).verification
    again = starting.resent(EMPTY, row, cases.start(1).sending, NOW + 30 * SECOND).verification
    assert (again.expire_time, again.checks_remaining) == (row.expire_time, 4)
    assert again.send_count == 2


def test_sends_run_out_at_five() -> None:
    row = pending()
    for _ in range(4):
        row = starting.resent(EMPTY, row, cases.start(1).sending, row.next_send_time).verification
    assert (row.send_count, row.sends_remaining) == (5, 0)
    with pytest.raises(DomainError) as refused:
        starting.resent(EMPTY, row, cases.start(1).sending, row.next_send_time)
    assert refused.value.reason is Reason.SEND_BUDGET_EXHAUSTED


def test_a_start_of_an_expired_one_begins_anew() -> None:
    old = pending()
    now = old.expire_time
    decision = starting.start(EMPTY._replace(pending=old), cases.start(2), now)
    assert decision.created
    assert decision.closed is not None
    assert decision.closed.state is State.EXPIRED


def test_a_stopped_phone_gets_no_new_verification() -> None:
    stopped = GuessGuard(in_a_row=100, approved=True)
    error = refusal(EMPTY._replace(guesses=stopped), NOW)
    assert (error.reason, error.retry_after) == (Reason.GUESS_BUDGET_EXHAUSTED, None)


def test_what_stops_across_accounts_is_told_to_nobody() -> None:
    used = EMPTY._replace(global_sends=(NOW,) * 5)
    decision = starting.start(used, cases.start(1), NOW)
    assert decision.send is not None
    assert decision.send.withheld
    assert decision.global_sends == used.global_sends
    open_one = starting.start(EMPTY, cases.start(1), NOW)
    assert decision.verification == open_one.verification


def test_a_test_number_is_sent_nothing_and_charged_nothing() -> None:
    case = CASE._replace(test=True, custom=1)
    full = EMPTY._replace(account_sends=(NOW,) * 10)
    decision = starting.start(full, cases.start(1, case), NOW)
    assert (decision.send, decision.budget) == (None, AccountBudget())
    assert check(decision.verification, 1, case).approved


@pytest.mark.parametrize("state", ENDS)
def test_no_state_moves_on_from_an_end(state: State) -> None:
    row = model.closed(pending(), state, NOW)
    after, error = model.cancel(row, NOW)
    assert after == row
    assert (error is None) == (state is State.CANCELED)
    assert model.failed(row, NOW) == row
    assert model.expired(row, NOW + 10**9) == row


def test_a_cancel_after_the_time_is_an_expiry() -> None:
    row, error = model.cancel(pending(), NOW + 10 * MINUTE)
    assert row.state is State.EXPIRED
    assert error is not None
    assert error.reason is Reason.VERIFICATION_CLOSED


@given(
    st.sampled_from(Resend),
    st.lists(
        st.tuples(
            st.sampled_from(["check", "resend", "cancel"]),
            st.integers(0, 15),
            st.integers(0, 5 * MINUTE),
        ),
        max_size=30,
    ),
)
def test_no_history_breaks_the_invariants(
    resend: Resend, history: list[tuple[str, int, int]]
) -> None:
    case = CASE._replace(resend=resend)
    row, guesses, now, compared, approvals = pending(case), GuessGuard(), NOW, 0, 0
    for command, number, gap in history:
        now += gap
        before = row
        if command == "check":
            decision = check(row, number, case, now=now, guesses=guesses)
            row, guesses = decision.verification, decision.guesses or guesses
            compared += decision.compared
            approvals += decision.approved
        elif command == "cancel":
            row, _ = model.cancel(row, now)
        elif row.state is State.PENDING and now < row.expire_time:
            try:
                row = starting.resent(EMPTY, row, cases.start(1, case).sending, now).verification
            except DomainError:
                row = before
        assert row.version == before.version + (row != before)
        assert row.generation <= 5
        assert before.state in (State.PENDING, row.state)
        assert row.expire_time == before.expire_time
    assert compared <= 5
    assert approvals <= 1
    assert (row.state is State.APPROVED) == bool(approvals)


def test_audit_content_changes_with_what_matters_and_holds_nothing_personal() -> None:
    row = pending(CASE._replace(custom=1))
    contents = {
        model.leaf_content(version)
        for version in (
            row,
            row._replace(checks_used=1),
            row._replace(send_count=2),
            row._replace(generation=1),
            model.closed(row, State.CANCELED, NOW),
        )
    }
    assert len(contents) == 5
    for value in (row.phone_sealed, row.custom_sealed, row.phone_index):
        assert not any(value in content for content in contents)
    for text in (row.hint, row.tags, row.message):
        assert not any(text.encode() in content for content in contents)


def test_the_columns_are_plain_values() -> None:
    plain = {str, int, bytes, bool}
    hints = get_type_hints(Verification)
    assert all(kind in plain or issubclass(kind, str) for kind in hints.values())
