"""Metrics: names that boards rely on, and labels that nobody outside can choose."""

from prometheus_client.parser import text_string_to_metric_families

from watchword.telemetry.metrics import Metrics

NAMES = {
    "grpc_server_started",
    "grpc_server_handled",
    "grpc_server_handling_seconds",
    "watchword_starts",
    "watchword_sends",
    "watchword_deliveries",
    "watchword_checks",
    "watchword_conversions",
    "watchword_time_to_check_seconds",
    "watchword_outbox_waiting",
    "watchword_outbox_oldest_age_seconds",
    "watchword_limits_hit",
    "watchword_carrier_latency_seconds",
    "watchword_carrier_errors",
    "watchword_auth_failures",
    "watchword_store_commit_seconds",
    "watchword_store_batch_commands",
    "watchword_store_queue_waiting",
    "watchword_build_info",
}


def made() -> Metrics:
    return Metrics({"US", "DE"}, {"console"}, {"version": "1"})


def families(metrics: Metrics) -> dict[str, list[dict[str, str]]]:
    text = metrics.text().decode()
    return {
        family.name: [sample.labels for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_the_names_are_a_promise() -> None:
    ours = {n for n in families(made()) if not n.startswith(("process_", "python_"))}
    assert ours == NAMES


def test_labels_from_outside_become_other() -> None:
    metrics = made()
    phone = "+14155550123"
    metrics.start(phone, phone, phone)
    metrics.check(phone, phone, phone)
    metrics.conversion(phone, phone, 3.0)
    metrics.attempted(phone, phone, phone, phone, 5)
    metrics.delivered(phone, phone, phone, phone)
    metrics.limit_hit(phone)
    metrics.auth_failed(phone)
    assert "4155550123" not in metrics.text().decode()
    assert families(metrics)["watchword_starts"] == [
        {"channel": "other", "region": "other", "outcome": "other"}
    ]


def test_events_are_counted_where_they_belong() -> None:
    metrics = made()
    metrics.start("SMS", "US", "created")
    metrics.attempted("SMS", "US", "console", "unreachable", 250)
    metrics.outbox(3, 1_500)
    metrics.committed(0.002, 7)
    text = metrics.text().decode()
    assert 'watchword_starts_total{channel="SMS",outcome="created",region="US"} 1.0' in text
    assert 'watchword_carrier_errors_total{carrier="console",kind="unreachable"} 1.0' in text
    assert 'watchword_carrier_latency_seconds_sum{carrier="console",channel="SMS"} 0.25' in text
    assert "watchword_outbox_oldest_age_seconds 1.5" in text
    assert "watchword_store_batch_commands_sum 7.0" in text


def test_a_method_is_there_before_its_first_call_and_counts_by_code() -> None:
    metrics = made()
    meter = metrics.method("a.B", "C", "unary")
    labels = 'grpc_method="C",grpc_service="a.B",grpc_type="unary"'
    assert f"grpc_server_started_total{{{labels}}} 0.0" in metrics.text().decode()
    meter.started()
    meter.handled("NOT_FOUND", 0.2)
    text = metrics.text().decode()
    assert f"grpc_server_started_total{{{labels}}} 1.0" in text
    assert 'grpc_code="NOT_FOUND",grpc_method="C"' in text
    assert metrics.method("a.B", "C", "unary") is meter


def test_two_of_them_share_nothing() -> None:
    first, second = made(), made()
    first.limit_hit("SEND_COOLDOWN")
    assert "SEND_COOLDOWN" not in second.text().decode()
