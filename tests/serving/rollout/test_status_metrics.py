"""The rollouts' metrics, as Prometheus reads them."""

from pathlib import Path

import pytest

from serving.rollout.leadership import Lease
from serving.rollout.state import Phase
from serving.rollout.store import Store, open_store
from tests.serving.rollout.pages import ask, page
from tests.serving.rollout.stores import led, moved, promoted


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/var/ledger.sqlite", patience_s=0.3)


@pytest.fixture
def lease(store: Store) -> Lease:
    return led(store, "desk:1")


def test_metrics_are_what_prometheus_reads(store: Store, lease: Lease) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    promoted(store, lease, "clicks", 7)
    moved(store, lease, store.submit("clicks", 8, "pipeline"), Phase.CANARY, 2, elapsed_s=4.5)
    store.submit('od"d', 1, "pipeline")
    with page(store) as port:
        heard = ask(port, "/metrics")
    assert heard.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name.removeprefix("pressline_rollout_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(heard.body.decode())
        for sample in family.samples
    }
    wanted = {
        ("leader",): 1,
        ("database_up",): 1,
        ("stable_version", "clicks"): 7,
        ("version", "clicks"): 8,
        ("phase", "clicks", "canary"): 1,
        ("phase", "clicks", "staged"): 0,
        ("phase", 'od"d', "staged"): 1,
        ("step", "clicks"): 2,
        ("elapsed_seconds", "clicks"): 4.5,
        ("share", "clicks"): 0.25,
        ("shadow", "clicks"): 0.5,
        ("verdict", "clicks", "inconclusive"): 1,
        ("verdict", "clicks", "failure"): 0,
        ("replica_accepted", "clicks", "10.0.0.1:8500"): 0,
        ("transitions_total", "clicks", "staged"): 2,
        ("transitions_total", "clicks", "canary 2"): 1,
        ("transitions_total", "clicks", "done"): 1,
    }
    assert {key: samples.get(key) for key in wanted} == wanted
    assert ("share", 'od"d') not in samples
