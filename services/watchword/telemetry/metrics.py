"""Every metric of Watchword, and the only place where one is named.

The `grpc_server_*` names are those that existing dashboards know; ours begin with
`watchword_`. Label values come from closed sets alone: what is not in the set that the
`Metrics` was made with is counted as "other", so that neither a phone number nor a
tenant can ever become a series. Children are cached, since `labels()` costs four times
what `inc()` does.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from watchword.core.errors import Reason
from watchword.core.ports import Millis

# A second series beside each counter doubles what is scraped and tells nothing here.
disable_created_metrics()  # type: ignore[no-untyped-call]

OTHER = "other"
CHANNELS = frozenset({"SMS", "VOICE", "EMAIL", "AUTO"})
START_OUTCOMES = frozenset({"created", "resent", "replayed", "refused"})
CHECK_OUTCOMES = frozenset(
    {
        "approved",
        "replayed",
        "refused",
        "wrong_code",
        "superseded",
        "binding_mismatch",
        "expired",
        "exhausted",
        "canceled",
        "already_used",
        "failed",
    }
)
ATTEMPT_OUTCOMES = frozenset(
    {"submitted", "rejected", "throttled", "unreachable", "misconfigured", "ambiguous"}
)
DELIVERY_STATES = frozenset({"SUBMITTED", "DELIVERED", "UNDELIVERED", "FAILED"})
AUTH_CAUSES = frozenset(
    {
        "absent",
        "malformed",
        "duplicate",
        "unknown",
        "wrong",
        "revoked",
        "expired",
        "certificate",
        "account_mismatch",
        "throttled",
        "scope",
    }
)
REASONS = frozenset(str(reason) for reason in Reason)

_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CARRIER_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CHECK_BUCKETS = (2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0)
_COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SECOND = 1000.0


class MethodMeter:
    """The standard `grpc_server_*` metrics of one method, children at hand."""

    __slots__ = ("_handled", "_handled_codes", "_labels", "_seconds", "_started")

    def __init__(
        self, started: Counter, handled: Counter, seconds: Histogram, labels: tuple[str, str, str]
    ) -> None:
        """Create the children, so that a method shows up before its first call."""
        self._labels = labels
        self._started = started.labels(*labels)
        self._seconds = seconds.labels(*labels)
        self._handled = handled
        self._handled_codes: dict[str, Counter] = {"OK": handled.labels(*labels, "OK")}

    def started(self) -> None:
        """Count a call that began."""
        self._started.inc()

    def handled(self, code: str, seconds: float) -> None:
        """Count a call that ended with this status code after so many seconds."""
        child = self._handled_codes.get(code)
        if child is None:
            child = self._handled.labels(*self._labels, code)
            self._handled_codes[code] = child
        child.inc()
        self._seconds.observe(seconds)


class Labels(NamedTuple):
    """The closed sets of what differs from one deployment to the next."""

    regions: frozenset[str] = frozenset()
    carriers: frozenset[str] = frozenset()


class Metrics:
    """Counts what happens; one method an event, so that callers know no metric's name."""

    def __init__(
        self,
        regions: Iterable[str] = (),
        carriers: Iterable[str] = (),
        build: Mapping[str, str] | None = None,
    ) -> None:
        """Register every metric in a registry of its own.

        `regions` are ISO 3166 codes, `carriers` configured names, `build` constant facts.
        """
        self.registry = CollectorRegistry()
        self._labels = Labels(frozenset(regions), frozenset(carriers))
        self._children: dict[tuple[str, ...], Counter] = {}
        self._waits: dict[tuple[str, ...], Histogram] = {}
        self._methods: dict[str, MethodMeter] = {}
        self._grpc()
        self._funnel()
        self._carriers()
        self._stores()
        Info("watchword_build", "What is running.", registry=self.registry).info(dict(build or {}))
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self.registry)

    # ------------------------------------------------------------------ calls

    def method(self, service: str, method: str, kind: str) -> MethodMeter:
        """Return the meter of a method; `kind` is `unary` or `server_stream`."""
        name = f"{service}/{method}"
        if name not in self._methods:
            self._methods[name] = MethodMeter(
                self._started, self._handled, self._seconds, (kind, service, method)
            )
        return self._methods[name]

    def limit_hit(self, reason: str) -> None:
        """Count a call that a limit, a budget or a cool-down refused."""
        self._count(self._limits, _known(reason, REASONS))

    def auth_failed(self, cause: str) -> None:
        """Count a call whose caller could not be established or may not do this."""
        self._count(self._auth, _known(cause, AUTH_CAUSES))

    # ----------------------------------------------------------------- funnel

    def start(self, channel: str, region: str, outcome: str) -> None:
        """Count a Start or Resend; see `START_OUTCOMES`."""
        self._count(
            self._starts,
            _known(channel, CHANNELS),
            _known(region, self._labels.regions),
            _known(outcome, START_OUTCOMES),
        )

    def check(self, channel: str, region: str, outcome: str) -> None:
        """Count a Check; see `CHECK_OUTCOMES`."""
        self._count(
            self._checks,
            _known(channel, CHANNELS),
            _known(region, self._labels.regions),
            _known(outcome, CHECK_OUTCOMES),
        )

    def conversion(self, channel: str, region: str, seconds: float) -> None:
        """Count a verification that was approved so many seconds after its creation."""
        channel = _known(channel, CHANNELS)
        self._count(self._conversions, channel, _known(region, self._labels.regions))
        self._wait(self._time_to_check, seconds, channel)

    # --------------------------------------------------------------- delivery

    def attempted(
        self, channel: str, region: str, carrier: str, outcome: str, latency: Millis
    ) -> None:
        """Count one hand-over to a carrier and how long it took; see `ATTEMPT_OUTCOMES`."""
        channel = _known(channel, CHANNELS)
        carrier = _known(carrier, self._labels.carriers)
        outcome = _known(outcome, ATTEMPT_OUTCOMES)
        region = _known(region, self._labels.regions)
        self._count(self._sends, channel, region, carrier, outcome)
        self._wait(self._latency, latency / _SECOND, carrier, channel)
        if outcome != "submitted":
            self._count(self._errors, carrier, outcome)

    def delivered(self, channel: str, region: str, carrier: str, state: str) -> None:
        """Count a send that came to this state; see `DELIVERY_STATES`."""
        self._count(
            self._deliveries,
            _known(channel, CHANNELS),
            _known(region, self._labels.regions),
            _known(carrier, self._labels.carriers),
            _known(state, DELIVERY_STATES),
        )

    def outbox(self, waiting: int, oldest_age: Millis) -> None:
        """Set how many sends wait, and for how long the oldest has been due."""
        self._waiting.set(waiting)
        self._oldest.set(oldest_age / _SECOND)

    # ------------------------------------------------------------------ store

    def committed(self, seconds: float, commands: int) -> None:
        """Record one group commit: how long it took and how many commands shared it."""
        self._commit.observe(seconds)
        self._batch.observe(commands)

    def store_queue(self, waiting: int) -> None:
        """Set how many commands wait for the writer."""
        self._queue.set(waiting)

    # --------------------------------------------------------------- plumbing

    def _count(self, counter: Counter, *labels: str) -> None:
        key = (counter._name, *labels)  # noqa: SLF001 - the name has no public reader
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = counter.labels(*labels)
        child.inc()

    def _wait(self, histogram: Histogram, seconds: float, *labels: str) -> None:
        key = (histogram._name, *labels)  # noqa: SLF001 - the name has no public reader
        child = self._waits.get(key)
        if child is None:
            child = self._waits[key] = histogram.labels(*labels)
        child.observe(seconds)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _grpc(self) -> None:
        method = ("grpc_type", "grpc_service", "grpc_method")
        self._started = self._counter("grpc_server_started_total", "RPCs started.", *method)
        self._handled = self._counter(
            "grpc_server_handled_total", "RPCs completed, by status code.", *method, "grpc_code"
        )
        self._seconds = self._histogram(
            "grpc_server_handling_seconds", "Time to handle an RPC.", _CALL_BUCKETS, *method
        )
        self._limits = self._counter(
            "watchword_limits_hit_total", "Calls refused by a limit.", "reason"
        )
        self._auth = self._counter(
            "watchword_auth_failures_total", "Calls without a caller who may make them.", "cause"
        )

    def _funnel(self) -> None:
        where = ("channel", "region")
        self._starts = self._counter(
            "watchword_starts_total", "Starts and resends, by outcome.", *where, "outcome"
        )
        self._checks = self._counter(
            "watchword_checks_total", "Checks, by outcome.", *where, "outcome"
        )
        self._conversions = self._counter(
            "watchword_conversions_total", "Verifications approved.", *where
        )
        self._time_to_check = self._histogram(
            "watchword_time_to_check_seconds",
            "Time from a verification's creation to its approval.",
            _CHECK_BUCKETS,
            "channel",
        )

    def _carriers(self) -> None:
        route = ("channel", "region", "carrier")
        self._sends = self._counter(
            "watchword_sends_total", "Hand-overs to a carrier, by outcome.", *route, "outcome"
        )
        self._deliveries = self._counter(
            "watchword_deliveries_total", "Sends that reached a state.", *route, "state"
        )
        self._latency = self._histogram(
            "watchword_carrier_latency_seconds",
            "Time that a carrier took to answer.",
            _CARRIER_BUCKETS,
            "carrier",
            "channel",
        )
        self._errors = self._counter(
            "watchword_carrier_errors_total", "Hand-overs that failed.", "carrier", "kind"
        )
        self._waiting = self._gauge("watchword_outbox_waiting", "Sends that wait.")
        self._oldest = self._gauge(
            "watchword_outbox_oldest_age_seconds", "How long the oldest waiting send is due."
        )

    def _stores(self) -> None:
        self._commit = self._histogram(
            "watchword_store_commit_seconds", "Time of one group commit.", _COMMIT_BUCKETS
        )
        self._batch = self._histogram(
            "watchword_store_batch_commands", "Commands that shared a commit.", _BATCH_BUCKETS
        )
        self._queue = self._gauge(
            "watchword_store_queue_waiting", "Commands that wait for the writer."
        )


def _known(value: str, values: frozenset[str]) -> str:
    return value if value in values else OTHER
