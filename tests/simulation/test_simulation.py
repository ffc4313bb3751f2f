"""Seeds of the simulator, on every store: no order and no trouble breaks a promise.

    pytest tests/simulation --seed 42        makes one run again, on each store

A failing seed says how to make it again.
"""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.simulation.simulation import Run, simulate
from tests.support.places import PLACES, SqlitePlace

pytestmark = [
    # A process that dies leaves work behind that was never begun.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

FEW = {"memory": 150, "sqlite": 15}
MANY = {"memory": 20_000, "sqlite": 1_000}
_ANYTHING = {
    ("started",),
    ("approved",),
    ("canceled",),
    ("rejected", "WRONG_CODE"),
    ("rejected", "ALREADY_USED"),
    ("rejected", "EXHAUSTED"),
    ("rejected", "EXPIRED"),
    ("error", "SEND_COOLDOWN"),
    ("error", "VERIFICATION_NOT_FOUND"),
}


def runs(store: str, seeds: range, directory: Path) -> Counter[tuple[object, ...]]:
    """Make all these runs; returns in how many of them each outcome came up."""
    counted: Counter[tuple[object, ...]] = Counter()
    for seed in seeds:
        made = simulate(seed, PLACES[store], directory / str(seed))
        counted.update(made.outcomes)
    return counted


def chosen(config: pytest.Config) -> int | None:
    seed: int | None = config.getoption("--seed")
    return seed


@pytest.mark.parametrize("store", PLACES)
def test_no_order_and_no_trouble_breaks_a_promise(
    store: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    seed = chosen(pytestconfig)
    if seed is not None:
        simulate(seed, PLACES[store], tmp_path / store)
        return
    counted = runs(store, range(FEW[store]), tmp_path)
    if store == "memory":
        # Runs in which nothing happens would prove nothing.
        assert counted.keys() >= _ANYTHING


@pytest.mark.long
@pytest.mark.parametrize("store", PLACES)
def test_many_seeds_break_no_promise(store: str, tmp_path: Path) -> None:
    first = random.SystemRandom().randrange(2**32)
    counted = runs(store, range(first, first + MANY[store]), tmp_path)
    assert counted.keys() >= _ANYTHING


@pytest.mark.parametrize("store", PLACES)
def test_a_seed_is_one_run(store: str, tmp_path: Path) -> None:
    made = [simulate(11, PLACES[store], tmp_path / str(n)) for n in range(2)]
    assert made[0] == made[1]
    assert simulate(12, PLACES[store], tmp_path / "2").trace != made[0].trace


def test_a_seed_is_one_run_in_every_process(tmp_path: Path) -> None:
    """Sets and hashes differ from process to process; the run must not."""
    here: Run = simulate(11, SqlitePlace, tmp_path / "here")
    program = (
        "import pathlib, sys\n"
        "from tests.simulation.simulation import simulate\n"
        "from tests.support.places import SqlitePlace\n"
        "print(simulate(11, SqlitePlace, pathlib.Path(sys.argv[1])).trace)\n"
    )
    root = Path(__file__).resolve().parents[2]
    there = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == [here.trace]
