"""The board, the rules and docs/metrics.md name metrics that exist, and all of them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from watchword.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
BOARD = ROOT / "deploy" / "grafana" / "watchword.json"
RULES = ROOT / "deploy" / "prometheus" / "rules" / "watchword.yml"
DOCS = ROOT / "docs" / "metrics.md"

_NAME = re.compile(r"\b(?:watchword|grpc_server|process)_[a-z_]+\b")
_RECORD = re.compile(r"\bwatchword:[a-z0-9_:]+")
_DOC_ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def exercised() -> Metrics:
    """Return metrics with one sample of each family."""
    metrics = Metrics(
        regions=["US"], carriers=["sandbox"], build={"world": "dev", "transport": "grpcio"}
    )
    metrics.method("s", "m", "unary").handled("OK", 0.1)
    metrics.limit_hit("SEND_COOLDOWN")
    metrics.auth_failed("wrong")
    metrics.start("SMS", "US", "created")
    metrics.check("SMS", "US", "approved")
    metrics.conversion("SMS", "US", 12.0)
    metrics.attempted("SMS", "US", "sandbox", "unreachable", 20)
    metrics.delivered("SMS", "US", "sandbox", "DELIVERED")
    metrics.outbox(1, 1000)
    metrics.committed(0.01, 3)
    metrics.store_queue(1)
    return metrics


def families() -> dict[str, tuple[str, frozenset[str]]]:
    """Return type and labels of every family by the name that it has on /metrics."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for family in exercised().registry.collect():
        kind = "gauge" if family.type == "info" else family.type
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = frozenset(
            label for sample in family.samples for label in sample.labels if label != "le"
        )
        found[family.name + suffix] = (kind, labels)
    return found


def series() -> set[str]:
    """Return every series name that a scrape may hold."""
    return {name + suffix for name, (kind, _) in families().items() for suffix in _SUFFIXES[kind]}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board_expressions() -> list[str]:
    board = json.loads(BOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def expressions() -> Iterator[str]:
    yield from board_expressions()
    yield from (rule["expr"] for rule in rules())


def test_board_is_what_its_code_makes() -> None:
    script = ROOT / "deploy" / "grafana" / "board.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False)
    assert done.returncode == 0, "run: python deploy/grafana/board.py"


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_name_exists(expression: str) -> None:
    names = set(_NAME.findall(expression))
    records = set(_RECORD.findall(expression))
    assert names or records or "up{" in expression
    assert names <= series()
    assert records <= {rule["record"] for rule in rules() if "record" in rule}


def test_every_metric_of_ours_is_looked_at() -> None:
    used = {name for expression in expressions() for name in _NAME.findall(expression)}
    seen = {
        name
        for name, (kind, _) in families().items()
        if used & {name + suffix for suffix in _SUFFIXES[kind]}
    }
    ours = {name for name in families() if not name.startswith("process_")}
    assert ours - seen == {"watchword_build_info"}


def test_docs_list_every_metric_with_its_labels() -> None:
    documented = {
        name: (kind, frozenset(re.findall(r"`([a-z_]+)`", labels)))
        for name, kind, labels in _DOC_ROW.findall(DOCS.read_text())
    }
    ours = {name: what for name, what in families().items() if not name.startswith("process_")}
    assert documented == ours


def test_board_grids_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(BOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + dx, place["y"] + dy)
            for dx in range(place["w"])
            for dy in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
