"""The command, end to end and short: its structure and its checks, never its figures."""

import json
from pathlib import Path

import pytest
from tests.support import postgres
from typer.testing import CliRunner

from watchword.cli.bench import app, empty
from watchword.cli.bench.processes import BenchError
from watchword.cli.bench.run import Setup, rig
from watchword.server import run

pytestmark = pytest.mark.xdist_group("bench")


def test_a_short_run_measures_everything_and_checks_every_reply(tmp_path: Path) -> None:
    figures, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    ended = CliRunner().invoke(
        app, ["--seconds", "2", "--json", str(figures), "--plot", str(picture)]
    )
    assert ended.exit_code == 0, ended.output
    found = json.loads(figures.read_text())
    verifications, calls = found["verification"], found["empty_call"]
    assert len(verifications["slices"]) == len(calls["slices"]) >= 2
    assert verifications["cpu_us"] > calls["cpu_us"] > 0
    assert found["ratio"] == pytest.approx(verifications["cpu_us"] / (2 * calls["cpu_us"]))
    assert found["latency"]["start_ms"]["p99"] >= found["latency"]["start_ms"]["p50"] > 0
    assert found["latency"]["check_ms"]["calls"] > 0
    assert found["resident_bytes"] > 0
    # Two replies a verification, one an empty call, and those of the warm-up beside them.
    least = 2 * sum(each["done"] for each in verifications["slices"])
    least += sum(each["done"] for each in calls["slices"])
    assert found["replies_checked"] > least
    assert found["approved"] > sum(each["done"] for each in verifications["slices"])
    assert found["sent_before_check"] > 0
    assert picture.read_text().startswith("<?xml")
    assert "over two empty calls" in ended.output


def test_a_run_on_postgresql_tells_its_cpu_apart(postgres_server: postgres.Server) -> None:
    """The fixture skips where there is no PostgreSQL; the bench runs one of its own."""
    del postgres_server
    options = ["--seconds", "1", "--store", "postgresql", "--kept", "300", "--json", "-"]
    ended = CliRunner().invoke(app, options)
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert found["setup"] == {"store": "postgresql", "kept": 300}
    assert found["verification"]["database_us"] > 0
    assert found["approved"] > 0


def test_an_unknown_store_is_refused() -> None:
    ended = CliRunner().invoke(app, ["--store", "oracle"])
    assert ended.exit_code == 1
    assert "--store is sqlite" in ended.stderr


def test_a_long_run_watches_memory() -> None:
    ended = CliRunner().invoke(app, ["--long", "--count", "200", "--json", "-"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)
    assert found["samples"][-1]["done"] == 200
    assert found["highest_resident_bytes"] > 0
    assert found["approved"] == 200


def _silent(share: float, text: str) -> None:
    """Show nothing."""


def test_a_wrong_reply_ends_the_run() -> None:
    with rig(Setup(), _silent) as processes, pytest.raises(BenchError, match="a reply was wrong"):
        processes.order("nothing that there is")


def test_the_rig_leaves_nothing_behind() -> None:
    with rig(Setup(), _silent) as processes:
        directory, pids = processes.directory, (processes.server.pid, processes.empty.pid)
        assert directory.is_dir()
    assert not directory.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_empty_server_collects_like_the_real_one() -> None:
    assert empty.COLLECTOR == run._GC_THRESHOLD
