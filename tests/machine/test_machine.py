"""Callers, carriers, clocks, faults and crashes in any order; a plain oracle says what is so."""

from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.machine.callers import Callers
from tests.machine.oracle import APPROVED, STARTED, Outcome
from tests.support.places import PLACES


def machine(name: str) -> type[Callers]:
    """Return the machine over the store of this name, which has gone nowhere yet."""

    class Machine(Callers):
        store = name
        outcomes: ClassVar[Counter[Outcome]] = Counter()

    return Machine


SHORT = settings(
    max_examples=20,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(
    SHORT,
    derandomize=False,
    max_examples=400,
    stateful_step_count=80,
    print_blob=True,
    phases=(Phase.generate, Phase.shrink),
)


@pytest.mark.parametrize("store", PLACES)
def test_any_order_of_calls_faults_and_crashes_keeps_every_promise(store: str) -> None:
    made = machine(store)
    run_state_machine_as_test(made, settings=SHORT)
    # A machine that goes nowhere would prove nothing.
    assert set(made.outcomes) >= {STARTED, APPROVED, ("rejected", "WRONG_CODE")}


@pytest.mark.long
@pytest.mark.parametrize("store", PLACES)
def test_any_order_at_length_keeps_every_promise(store: str) -> None:
    run_state_machine_as_test(machine(store), settings=LONG)
