"""The simulator can fail: a store that breaks a promise is caught within a few seeds."""

from pathlib import Path

import pytest
from tests.simulation.broken import BROKEN, Broken
from tests.simulation.findings import Violation
from tests.simulation.simulation import simulate
from tests.support.places import MemoryPlace

# A process that dies leaves work behind that was never begun.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

MOST_SEEDS = 40


def caught(broken: Broken, directory: Path) -> Violation | None:
    """Return the first violation that any seed shows."""
    for seed in range(MOST_SEEDS):
        try:
            simulate(seed, MemoryPlace, directory, breaks=broken.breaks)
        except Violation as violation:
            return violation
    return None


@pytest.mark.parametrize("broken", [pytest.param(b, id=name) for name, b in BROKEN.items()])
def test_a_broken_store_is_caught(broken: Broken, tmp_path: Path) -> None:
    violation = caught(broken, tmp_path)
    assert violation is not None, "nobody noticed"
    assert violation.invariant in broken.invariants, violation
