# ruff: noqa: INP001 - a script, not a package
"""Builds the Grafana board from code; `watchword.json` beside it is what this prints.

    python deploy/grafana/board.py          writes the file anew
    python deploy/grafana/board.py --check  exits 1 where the file is stale

Every query names metrics of `watchword.telemetry.metrics` or rules of
`deploy/prometheus/rules/watchword.yml`; a test holds the board to both.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

BOARD = Path(__file__).with_name("watchword.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_PANEL_HEIGHT, _STAT_HEIGHT, _HALF, _SIXTH = 8, 4, 12, 4
_RATE = "[$__rate_interval]"
_HERE = 'channel=~"$channel", region=~"$region"'
_FAULTS = 'grpc_code=~"UNKNOWN|INTERNAL|DATA_LOSS|UNAVAILABLE|DEADLINE_EXCEEDED"'


class Query(NamedTuple):
    """One expression and the name of its lines."""

    expr: str
    legend: str


class Spec(NamedTuple):
    """One panel: its title, unit (Grafana's name), queries and a line of explanation."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    text: str


class Fact(NamedTuple):
    """One number at the top; from `warn` on it is yellow, from `bad` on red (or the reverse)."""

    title: str
    unit: str
    expr: str
    warn: float
    bad: float


def _sum_rate(metric: str, by: str, matchers: str = "") -> str:
    """Return the per-second rate of a counter, summed by labels."""
    selector = f"{metric}{{{matchers}}}" if matchers else metric
    return f"sum by ({by}) (rate({selector}{_RATE}))"


def _quantile(q: float, metric: str, by: str, matchers: str = "") -> str:
    """Return a quantile of a histogram, apart for each value of the labels."""
    return f"histogram_quantile({q}, {_sum_rate(f'{metric}_bucket', f'le, {by}', matchers)})"


FACTS = (
    Fact("Servers up", "short", 'sum(up{job="watchword"})', 1, 0),
    Fact("Calls a second", "reqps", f"sum(rate(grpc_server_started_total{_RATE}))", 0, 0),
    Fact(
        "Calls that failed",
        "percentunit",
        f"sum(rate(grpc_server_handled_total{{{_FAULTS}}}{_RATE}))"
        f" / sum(rate(grpc_server_handled_total{_RATE}))",
        0.01,
        0.05,
    ),
    Fact("Conversion, last hour", "percentunit", "watchword:conversion:ratio1h", 0, 0),
    Fact("Oldest message due", "s", "max(watchword_outbox_oldest_age_seconds)", 15, 60),
    Fact("Commands waiting", "short", "sum(watchword_store_queue_waiting)", 200, 1000),
)

HEALTH = (
    Spec(
        "Calls by method",
        "reqps",
        (Query(_sum_rate("grpc_server_started_total", "grpc_method"), "{{grpc_method}}"),),
        "Calls begun a second. Watch calls last as long as their verification.",
    ),
    Spec(
        "Calls by status, other than OK",
        "reqps",
        (
            Query(
                _sum_rate("grpc_server_handled_total", "grpc_code", 'grpc_code!="OK"'),
                "{{grpc_code}}",
            ),
        ),
        "A wrong code is OK with a Rejection. UNKNOWN and INTERNAL are bugs.",
    ),
    Spec(
        "Time to answer, p50 and p99",
        "s",
        tuple(
            Query(
                _quantile(q, "grpc_server_handling_seconds", "grpc_method", 'grpc_type="unary"'),
                f"{{{{grpc_method}}}} {name}",
            )
            for q, name in ((0.5, "p50"), (0.99, "p99"))
        ),
        "Streams are left out: they end when their verification does.",
    ),
    Spec(
        "Callers refused",
        "reqps",
        (
            Query(_sum_rate("watchword_auth_failures_total", "cause"), "{{cause}}"),
            Query(_sum_rate("watchword_limits_hit_total", "reason"), "{{reason}}"),
        ),
        "Authentication failures by cause; limits, budgets and cool-downs by reason.",
    ),
)

FUNNEL = (
    Spec(
        "From start to approval",
        "ops",
        (
            Query(_sum_rate("watchword_starts_total", "outcome", _HERE), "start {{outcome}}"),
            Query(f"sum(rate(watchword_sends_total{{{_HERE}}}{_RATE}))", "handed to a carrier"),
            Query(f"sum(rate(watchword_checks_total{{{_HERE}}}{_RATE}))", "checked"),
            Query(f"sum(rate(watchword_conversions_total{{{_HERE}}}{_RATE}))", "approved"),
        ),
        "Each step of the funnel, per second.",
    ),
    Spec(
        "Conversion by region, one hour",
        "percentunit",
        (
            Query(
                f"watchword:conversion_by_region:ratio1h{{{_HERE}}}",
                "{{region}} {{channel}}",
            ),
        ),
        "Approved per verification begun. One region that falls alone is a carrier"
        " that lost it, or somebody who has messages sent that nobody reads.",
    ),
    Spec(
        "Checks by outcome",
        "ops",
        (Query(_sum_rate("watchword_checks_total", "outcome", _HERE), "{{outcome}}"),),
        "What people entered, judged.",
    ),
    Spec(
        "Time from start to approval",
        "s",
        tuple(
            Query(
                _quantile(q, "watchword_time_to_check_seconds", "channel", 'channel=~"$channel"'),
                f"{{{{channel}}}} {name}",
            )
            for q, name in ((0.5, "p50"), (0.95, "p95"))
        ),
        "Delivery and typing together.",
    ),
)

DELIVERY = (
    Spec(
        "Hand-overs by carrier and outcome",
        "ops",
        (
            Query(
                _sum_rate("watchword_sends_total", "carrier, outcome", _HERE),
                "{{carrier}} {{outcome}}",
            ),
        ),
        "Every attempt to give a message to a carrier.",
    ),
    Spec(
        "Delivery states",
        "ops",
        (
            Query(
                _sum_rate("watchword_deliveries_total", "carrier, state", _HERE),
                "{{carrier}} {{state}}",
            ),
        ),
        "DELIVERED and UNDELIVERED come from carriers that report back.",
    ),
    Spec(
        "Time that carriers take, p95",
        "s",
        (
            Query(
                _quantile(0.95, "watchword_carrier_latency_seconds", "carrier, channel"),
                "{{carrier}} {{channel}}",
            ),
        ),
        "One hand-over, time-outs included.",
    ),
    Spec(
        "Carrier errors by kind",
        "ops",
        (
            Query(
                _sum_rate("watchword_carrier_errors_total", "carrier, kind"),
                "{{carrier}} {{kind}}",
            ),
        ),
        "misconfigured needs a person; ambiguous may have been delivered.",
    ),
    Spec(
        "Messages that wait",
        "short",
        (Query("sum by (instance) (watchword_outbox_waiting)", "{{instance}}"),),
        "Queued and not yet taken by a carrier.",
    ),
    Spec(
        "Age of the oldest message due",
        "s",
        (Query("max by (instance) (watchword_outbox_oldest_age_seconds)", "{{instance}}"),),
        "Near zero when all is well.",
    ),
)

STORE = (
    Spec(
        "Time of a group commit",
        "s",
        tuple(
            Query(
                _quantile(q, "watchword_store_commit_seconds", "instance"), f"{{{{instance}}}} {n}"
            )
            for q, n in ((0.5, "p50"), (0.99, "p99"))
        ),
        "The disk's answer to one fsync.",
    ),
    Spec(
        "Commands in a commit",
        "short",
        (
            Query(
                f"sum by (instance) (rate(watchword_store_batch_commands_sum{_RATE}))"
                f" / sum by (instance) (rate(watchword_store_batch_commands_count{_RATE}))",
                "{{instance}}",
            ),
        ),
        "Grows with load: that is what keeps one fsync enough.",
    ),
    Spec(
        "Commands that wait for the writer",
        "short",
        (Query("sum by (instance) (watchword_store_queue_waiting)", "{{instance}}"),),
        "A queue that stays is a disk that is too slow.",
    ),
    Spec(
        "Memory and CPU",
        "short",
        (
            Query('process_resident_memory_bytes{job="watchword"} / 1048576', "MiB {{instance}}"),
            Query(
                f'rate(process_cpu_seconds_total{{job="watchword"}}{_RATE}) * 100',
                "CPU % {{instance}}",
            ),
        ),
        "Resident memory in MiB and per cent of one core.",
    ),
)

ROWS: tuple[tuple[str, tuple[Spec, ...]], ...] = (
    ("Service health", HEALTH),
    ("Verification funnel", FUNNEL),
    ("Delivery", DELIVERY),
    ("Store and process", STORE),
)


def _stat(fact: Fact) -> Stat:
    panel = (
        Stat()
        .title(fact.title)
        .unit(fact.unit)
        .datasource(SOURCE)
        .height(_STAT_HEIGHT)
        .span(_SIXTH)
        .with_target(Dataquery().expr(fact.expr).ref_id("A").instant())
    )
    if fact.bad > fact.warn:
        steps = [(None, "green"), (fact.warn, "yellow"), (fact.bad, "red")]
    elif fact.warn > fact.bad:
        steps = [(None, "red"), (fact.warn, "green")]
    else:
        steps = [(None, "blue")]
    thresholds = [Threshold(value=value, color=color) for value, color in steps]
    config = ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(thresholds)
    return panel.thresholds(config)


def _series(spec: Spec) -> TimeSeries:
    panel = (
        TimeSeries()
        .title(spec.title)
        .description(spec.text)
        .unit(spec.unit)
        .min(0)
        .datasource(SOURCE)
        .height(_PANEL_HEIGHT)
        .span(_HALF)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
    )
    for letter, query in zip("ABCDEFGH", spec.queries, strict=False):
        target = Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter).range()
        panel = panel.with_target(target)
    return panel


def _variable(name: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .datasource(SOURCE)
        .query(f"label_values(watchword_starts_total, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
    )


def board() -> Dashboard:
    """Return the whole board."""
    built = (
        Dashboard("Watchword")
        .uid("watchword")
        .description("Service health, the verification funnel, delivery and the store.")
        .tags(["watchword", "grpc"])
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("30s")
        .readonly()
        .with_variable(DatasourceVariable("datasource").type("prometheus"))
        .with_variable(_variable("channel"))
        .with_variable(_variable("region"))
    )
    for fact in FACTS:
        built = built.with_panel(_stat(fact))
    for title, specs in ROWS:
        built = built.with_row(Row(title))
        for spec in specs:
            built = built.with_panel(_series(spec))
    return built


def render() -> str:
    """Return the board as Grafana reads it, keys sorted so that a change shows as itself."""
    return json.dumps(board().build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> int:
    """Write or check `watchword.json`; return the exit code."""
    text = render()
    if "--check" in sys.argv[1:]:
        return int(not BOARD.exists() or BOARD.read_text() != text)
    BOARD.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
