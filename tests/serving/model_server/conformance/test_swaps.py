"""Version after version under load, and what they leave behind in memory."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, Rest, predict_text
from tests.serving.model_server.conformance.nursery import FLAGS, Nursery
from tests.serving.model_server.conformance.shelf import Models, config, entry, specific
from tests.serving.model_server.models import push

SWAPS = 20
CLIENTS = 8
ROUNDS, AT_ONCE = 10, 5  # 50 swaps, five models at a time: the file system is polled once a second at most
SETTLED = 2  # rounds after which memory has reached its level
GROWTH = 0.10  # of the memory at that level


@pytest.fixture
def fresh(tmp_path: Path, models: Models) -> Iterator[Nursery]:
    """A server of its own, which has served nothing yet."""
    push(models("half_plus_two"), tmp_path / "anchor", 1)
    (tmp_path / "models.config").write_text(config(entry("anchor", tmp_path / "anchor")))
    with process.running(tmp_path / "log", f"--model_config_file={tmp_path / 'models.config'}", *FLAGS) as server:
        yield Nursery(server, tmp_path)


class Load:
    """Clients that ask without a pause, each over a connection of its own."""

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery
        self.answers = [0] * CLIENTS
        self.failures: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(at,), daemon=True) for at in range(CLIENTS)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, at: int) -> None:
        model = ("latest", "labelled")[at // 2 % 2]
        with Rest(self.nursery.server.rest_port) as rest:
            ask = over_rest(rest, model) if at % 2 else over_grpc(self.nursery, model)
            while not self._end.is_set():
                try:
                    value = ask()
                    assert value in (3.0, 4.0), value
                    self.answers[at] += 1
                except Exception as error:
                    self.failures.append(f"client {at}: {error}")


def over_rest(rest: Rest, model: str) -> Callable[[], float]:
    """What asks a model by REST: `labelled` by its label."""
    path = f"{model}/labels/stable" if model == "labelled" else model

    def ask() -> float:
        came = rest.predict(path, '{"instances": [2]}')
        assert came.status == 200, came.body
        return float(came.json["predictions"][0])

    return ask


def over_grpc(nursery: Nursery, model: str) -> Callable[[], float]:
    """What asks a model by gRPC, over a channel of its own."""
    from google.protobuf import text_format
    from tensorflow_serving.apis import predict_pb2

    grpc = Grpc(f"127.0.0.1:{nursery.server.port}")
    spec = 'version_label: "stable"' if model == "labelled" else ""
    request = text_format.Parse(predict_text(model, spec=spec), predict_pb2.PredictRequest())
    return lambda: float(grpc.call("Predict", request).outputs["y"].float_val[0])


def test_no_request_fails_while_versions_are_swapped(fresh: Nursery, models: Models) -> None:
    """`latest` follows the directory; `labelled` goes by the recipe: load, move the label, drop (contract 8)."""
    kinds = itertools.cycle(("half_plus_three", "half_plus_two"))
    latest, labelled = fresh.base("latest"), fresh.base("labelled")
    for base in (latest, labelled):
        push(models("half_plus_two"), base, 1)

    def reload(policy: str, label: int) -> None:
        fresh.reload(entry("latest", latest), entry("labelled", labelled, policy, {"stable": label} if label else None))

    reload(specific(1), 0)
    reload(specific(1), 1)
    load = Load(fresh)
    with load:
        for new in range(2, SWAPS + 2):
            kind = next(kinds)
            push(models(kind), labelled, new)
            push(models(kind), latest, new)
            reload(specific(new - 1, new), new - 1)
            fresh.serves("labelled", new)
            reload(specific(new), new)
            fresh.serves("latest", new)
    assert load.failures == []
    assert min(load.answers) > SWAPS
    ended = dict.fromkeys(range(1, SWAPS + 1), "END")
    for model in ("latest", "labelled"):
        fresh.reaches(model, {**ended, SWAPS + 1: "AVAILABLE"})


def test_fifty_swaps_leave_no_memory_behind(fresh: Nursery, models: Models) -> None:
    names = [f"house_{number}" for number in range(AT_ONCE)]
    for name in names:
        push(models("house"), fresh.base(name), 1)
    fresh.reload(*(entry(name, fresh.base(name)) for name in names))
    body = '{"instances": [{"age": 7, "job": "writer", "genres": ["noir"], "weight": [0.5]}]}'
    settled = 0
    for version in range(2, ROUNDS + 2):
        for name in names:
            push(models("house"), fresh.base(name), version)
        for name in names:
            fresh.reaches(name, {**dict.fromkeys(range(1, version), "END"), version: "AVAILABLE"})
            assert fresh.rest.predict(name, body).status == 200
        if version == SETTLED + 1:
            settled = fresh.server.rss_bytes
    grown = fresh.server.rss_bytes / settled - 1
    assert grown < GROWTH, f"from {settled >> 20} MiB by {grown:.1%}"
