"""The arithmetic of the report."""

import pytest

from watchword.cli.bench.statistics import Slice, latency, percentile, ratio, summary


def _slice(done: int, server: float, seconds: float = 1.0) -> Slice:
    return Slice(done=done, seconds=seconds, server=server, generator=seconds / 4)


def test_a_summary_is_the_median_of_slices() -> None:
    found = summary([_slice(1000, 0.5), _slice(1000, 0.9), _slice(500, 0.3)])
    assert found.cpu_us == pytest.approx(600)
    assert (found.lowest_us, found.highest_us) == pytest.approx((500, 900))
    assert found.per_second == pytest.approx(1000)
    assert found.server_cores == pytest.approx(0.5)
    assert found.generator_cores == pytest.approx(0.25)


def test_a_slice_counts_by_its_own_length() -> None:
    found = summary([_slice(1000, 0.5, seconds=2.0)])
    assert found.per_second == pytest.approx(500)
    assert found.server_cores == pytest.approx(0.25)


def test_slices_without_work_are_left_out() -> None:
    assert summary([_slice(0, 0.1), _slice(100, 0.1)]).cpu_us == pytest.approx(1000)
    with pytest.raises(ValueError, match="no slice"):
        summary([_slice(0, 0.1)])


def test_a_verification_is_compared_with_two_calls() -> None:
    verification, empty = summary([_slice(1000, 0.8)]), summary([_slice(1000, 0.25)])
    assert ratio(verification, empty) == pytest.approx(1.6)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (1.0, 100)]
)
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_percentile_of_one_is_that_one() -> None:
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_latencies_are_sorted_and_in_milliseconds() -> None:
    found = latency([0.003, 0.001, 0.002, 0.010])
    assert found.calls == 4
    assert found.p50 == pytest.approx(2)
    assert found.p99 == found.highest == pytest.approx(10)
