"""The gateway's page as Prometheus reads it."""

import threading
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.gateway.metrics import MOST_UNPLANNED, OTHER, GatewayMetrics
from serving.gateway.plan_watch import PlanWatch
from serving.traffic_plan import TrafficPlan

Labels = tuple[tuple[str, str], ...]


def read(metrics: GatewayMetrics) -> dict[tuple[str, Labels], float]:
    """The page's numbers by name, without the prefix that all have, and labels in order of their names."""
    found = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            key = (sample.name.removeprefix("pressline_gateway_"), tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def labels(**said: str) -> Labels:
    return tuple(sorted(said.items()))


def test_requests_are_counted_by_code_and_latency() -> None:
    metrics = GatewayMetrics()
    series = metrics.series("clicks", 3, "stable", "REST")
    for code, latency_s in (("OK", 0.001), ("OK", 0.0011), ("INTERNAL", 100.0)):
        series.count(code, latency_s)
    said = read(metrics)
    of = {"model": "clicks", "version": "3", "variant": "stable", "protocol": "REST"}
    assert said["requests_total", labels(**of, code="OK")] == 2
    assert said["requests_total", labels(**of, code="INTERNAL")] == 1
    below = {limit: said["latency_seconds_bucket", labels(**of, le=limit)] for limit in ("0.0005", "0.001", "0.002")}
    assert below == {"0.0005": 0, "0.001": 1, "0.002": 2}  # a limit itself is below it
    assert said["latency_seconds_bucket", labels(**of, le="30")] == 2
    assert said["latency_seconds_bucket", labels(**of, le="+Inf")] == said["latency_seconds_count", labels(**of)] == 3
    assert said["latency_seconds_sum", labels(**of)] == pytest.approx(100.0021)


def test_the_same_labels_are_the_same_series() -> None:
    metrics = GatewayMetrics()
    assert metrics.series("m", 1, "stable", "REST") is metrics.series("m", 1, "stable", "REST")
    assert metrics.series("m", 1, "stable", "REST") is not metrics.series("m", 1, "stable", "GRPC")
    assert metrics.predictions("m", None, "") is metrics.predictions("m", None, "")


def test_predictions_are_counted_negative_ones_too() -> None:
    metrics = GatewayMetrics()
    shown = metrics.predictions("m", 1, "canary")
    shown.count(np.array([-200.0, -0.5, 0.0, 0.3, 0.30001, 5000.0]))
    shown.count(np.array([]))
    said = read(metrics)
    of = {"model": "m", "version": "1", "variant": "canary"}
    below = {limit: said["prediction_bucket", labels(**of, le=limit)] for limit in ("-100", "0", "0.3", "0.4", "+Inf")}
    assert below == {"-100": 1, "0": 3, "0.3": 4, "0.4": 5, "+Inf": 6}
    assert said["prediction_count", labels(**of)] == 6
    assert said["prediction_sum", labels(**of)] == pytest.approx(4800.10001 - 0.0)


def test_numbers_too_large_to_be_added_up_do_no_harm() -> None:
    metrics = GatewayMetrics()
    metrics.predictions("m", 1, "stable").count(np.array([1.7e308, 1.7e308]))
    assert read(metrics)["prediction_sum", labels(model="m", version="1", variant="stable")] == float("inf")


def test_all_else_is_counted_by_its_reason() -> None:
    metrics = GatewayMetrics()
    metrics.shed()
    metrics.shed("bytes")
    metrics.shed("bytes")
    metrics.dropped_rows(5)
    metrics.dropped_rows(2, "disk")
    metrics.dropped_copy()
    metrics.assigned["key"] = 4
    metrics.series("m", 2, "canary", "GRPC").fell_back += 3
    said = read(metrics)
    assert said["shed_total", labels(reason="busy")] == 1
    assert said["shed_total", labels(reason="bytes")] == 2
    assert said["dropped_rows_total", labels(reason="queue")] == 5
    assert said["dropped_rows_total", labels(reason="disk")] == 2
    assert said["dropped_copies_total", ()] == 1
    assert said["assignments_total", labels(how="key")] == 4
    assert said["fallbacks_total", labels(model="m", version="2", variant="canary", protocol="GRPC")] == 3


def test_the_watchs_generation_and_refusals_are_shown_as_they_are_now() -> None:
    metrics, watch = GatewayMetrics(), PlanWatch(Path("nowhere"))
    assert "plan_generation" not in metrics.page().decode()
    metrics.watch(watch)
    assert read(metrics)["plan_generation", ()] == 0
    watch.plan, watch.refusals = TrafficPlan(12), 3
    said = read(metrics)
    assert (said["plan_generation", ()], said["plan_refusals_total", ()]) == (12, 3)


def test_what_counts_in_batches_is_asked_to_settle_before_a_page() -> None:
    metrics = GatewayMetrics()
    metrics.settle = lambda: metrics.assigned.update(key=9)
    assert read(metrics)["assignments_total", labels(how="key")] == 9


def test_models_that_clients_make_up_are_counted_together_past_a_limit() -> None:
    metrics = GatewayMetrics()
    for number in range(MOST_UNPLANNED + 50):
        metrics.series(f"model-{number}", None, "", "REST").count("NOT_FOUND", 0.001)
    metrics.series("clicks", 3, "stable", "REST").count("OK", 0.001)
    counts = {one: value for (name, one), value in read(metrics).items() if name == "requests_total"}
    assert len(counts) == MOST_UNPLANNED + 2
    said = {"version": "", "variant": "", "protocol": "REST", "code": "NOT_FOUND"}
    assert counts[labels(model=OTHER, **said)] == 50
    assert counts[labels(model="model-0", **said)] == 1
    assert counts[labels(model="clicks", version="3", variant="stable", protocol="REST", code="OK")] == 1


def test_a_name_that_would_fill_the_page_is_not_shown() -> None:
    metrics = GatewayMetrics()
    metrics.series("x" * 100_000, None, "", "REST").count("NOT_FOUND", 0.001)
    assert len(metrics.page()) < 20_000
    assert OTHER in metrics.page().decode()


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "模型", "\ud800", ""])
def test_any_name_can_be_shown(name: str) -> None:
    metrics = GatewayMetrics()
    metrics.series(name, 1, "stable", "REST").count("OK", 0.001)
    models = {dict(of)["model"] for (kind, of), _ in read(metrics).items() if kind == "requests_total"}
    assert models == {name.encode("utf-8", "replace").decode()}


def test_two_gateways_in_a_process_have_pages_of_their_own() -> None:
    one, other = GatewayMetrics(), GatewayMetrics()
    one.shed()
    assert "shed_total{" not in other.page().decode()


def test_threads_lose_no_count_and_pages_may_be_read_meanwhile() -> None:
    metrics = GatewayMetrics()

    def count() -> None:
        for number in range(500):
            metrics.shed()
            metrics.dropped_rows(2, f"reason-{number % 7}")
            metrics.series(f"m{number}", 1, "stable", "REST")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.page()
    said = read(metrics)
    assert said["shed_total", labels(reason="busy")] == 2000
    assert sum(value for (name, _), value in said.items() if name == "dropped_rows_total") == 4000
