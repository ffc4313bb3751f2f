"""Callers, carriers, clocks, faults and crashes in any order; a plain oracle says what is so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)
from tests.machine.callers import Callers
from tests.machine.oracle import (
    APPROVED,
    STARTED,
)
from tests.machine.world import (
    make_deployment,
)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("machine") / "var"
    make_deployment(place)
    Callers.deployment = place
    yield place
    del Callers.deployment


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


def test_any_order_of_calls_faults_and_crashes_keeps_every_promise(deployment: Path) -> None:
    Callers.outcomes.clear()
    run_state_machine_as_test(Callers, settings=SHORT)
    # A machine that goes nowhere would prove nothing.
    assert set(Callers.outcomes) >= {STARTED, APPROVED, ("rejected", "WRONG_CODE")}


@pytest.mark.long
def test_any_order_at_length_keeps_every_promise(deployment: Path) -> None:
    run_state_machine_as_test(Callers, settings=LONG)
