"""One small story, told again with each single call of the store failing in each way."""

from pathlib import Path

import pytest
from tests.simulation.simulation import Run, simulate
from tests.simulation.trouble import Fault, OneCall, Plan
from tests.support.places import PLACES

from watchword.testing.clock import START

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

STORY = Plan(
    clients=2,
    actions=3,
    store_faults=0.0,
    carrier_faults=0.0,
    crashes=0,
    jumps=(),
    skews=(0, 0),
    siege=False,
    start=START,
)
SEED = 5


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
@pytest.mark.parametrize("store", PLACES)
def test_c147_a_call_that_fails_breaks_no_promise(store: str, fault: Fault, tmp_path: Path) -> None:
    # Every call on memory; on a slower store each eighth, which are others for each fault.
    first, step = (1, 1) if store == "memory" else (list(Fault).index(fault), 8)
    methods: set[str] = set()
    number = first
    while True:
        trouble = OneCall(number, fault)
        made: Run = simulate(
            SEED, PLACES[store], tmp_path / str(number), plan=STORY, trouble=trouble
        )
        if not trouble.fired or number > 400:
            break
        assert made.messages
        methods.add(trouble.method)
        number += step
    assert len(methods) > 5
    if store == "memory":
        assert methods >= {"start", "check", "settle", "claim", "get_or_create"}
