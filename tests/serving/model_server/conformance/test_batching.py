"""Requests that are put together before they run (contract 4)."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, Rest, predict_text
from tests.serving.model_server.conformance.process import Server
from tests.serving.model_server.conformance.shelf import Models, config, entry
from tests.serving.model_server.models import push

STRICT = """
max_batch_size { value: 4 } batch_timeout_micros { value: 300000 } max_enqueued_batches { value: 1 }
num_batch_threads { value: 1 } thread_pool_name { value: "strict" } allowed_batch_sizes: 2 allowed_batch_sizes: 4
"""
LENIENT = """
max_batch_size { value: 64 } batch_timeout_micros { value: 20000 } max_enqueued_batches { value: 100 }
num_batch_threads { value: 2 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 }
pad_variable_length_inputs: true
"""
OF_THE_MODEL = "max_batch_size { value: 2 } batch_timeout_micros { value: 0 }"
KINDS = ("half_plus_two", "identity", "defaults", "slow", "half_plus_two_tf1")


def batching(folder: Path, models: Models, parameters: str, *flags: str) -> Iterator[Server]:
    """A server of these models, and of `small`, whose version has parameters of its own."""
    for kind in KINDS:
        push(models(kind), folder / kind, 1)
    own = push(models("half_plus_two"), folder / "small", 1)
    (own / "batching_params.pbtxt").write_text(OF_THE_MODEL)
    (folder / "models.config").write_text(config(*(entry(kind, folder / kind) for kind in (*KINDS, "small"))))
    (folder / "batching.config").write_text(parameters)
    (folder / "monitoring.config").write_text('prometheus_config { enable: true path: "/metrics" }')
    files = (
        f"--model_config_file={folder / 'models.config'}",
        f"--batching_parameters_file={folder / 'batching.config'}",
        f"--monitoring_config_file={folder / 'monitoring.config'}",
    )
    with process.running(folder / "log", *files, "--enable_batching", *flags) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Server]:
    yield from batching(tmp_path_factory.mktemp("strict"), models, STRICT)


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lenient")
    yield from batching(folder, models, LENIENT, "--enable_per_model_batching_parameters=true")


def at_once(asks: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each gives, or the name of the code with which it is refused; all asked at the same time."""
    import grpc

    def outcome(ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except grpc.RpcError as error:
            return error.code().name, error.details()

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(outcome, asks))


def rows(grpc: Grpc, model: str, x: Sequence[float], alias: str = "x") -> list[float]:
    return list(grpc.call("Predict", predict_text(model, x, alias)).outputs["y"].float_val)


def wide(grpc: Grpc, width: int) -> list[float]:
    """One row of ones through the identity."""
    tensor = f"dtype: DT_FLOAT tensor_shape {{ dim {{ size: 1 }} dim {{ size: {width} }} }} float_val: 1"
    spec = 'model_spec { name: "identity" signature_name: "float" }'
    return list(grpc.call("Predict", f'{spec} inputs {{ key: "x" value {{ {tensor} }} }}').outputs["y"].float_val)


@pytest.mark.parametrize("kind", ["strict", "lenient"])
def test_each_request_gets_its_own_rows_back(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    clients = [Grpc(f"127.0.0.1:{server.port}") for _ in range(3)]
    for _ in range(3):
        three = [lambda at=at: rows(clients[at], "half_plus_two", [float(at)]) for at in range(3)]
        assert at_once(three) == [[2.0], [2.5], [3.0]]
    rest = Rest(server.rest_port)
    over_rest = at_once([lambda: rest.predict("half_plus_two", '{"instances": [2]}').json] * 2)
    assert over_rest == [{"predictions": [3.0]}] * 2
    examples = '{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": 4.0}]}'
    assert rest.post("/v1/models/half_plus_two_tf1:regress", examples).json == {"results": [3.0, 4.0]}


def test_a_request_over_the_size_is_refused_without_splitting(strict: Server) -> None:
    grpc = Grpc(f"127.0.0.1:{strict.port}")
    assert rows(grpc, "half_plus_two", [0.0] * 4) == [2.0] * 4
    assert grpc.refusal("Predict", predict_text("half_plus_two", [0.0] * 5)).code == "INVALID_ARGUMENT"


def test_inputs_of_different_lengths_are_refused(strict: Server) -> None:
    def tensor(name: str, size: int) -> str:
        value = f"dtype: DT_FLOAT tensor_shape {{ dim {{ size: {size} }} }} float_val: 1"
        return f'inputs {{ key: "{name}" value {{ {value} }} }}'

    grpc = Grpc(f"127.0.0.1:{strict.port}")
    request = f'model_spec {{ name: "defaults" }} {tensor("a", 2)} {tensor("b", 2)} {tensor("c", 3)}'
    assert grpc.refusal("Predict", request).code == "INVALID_ARGUMENT"


def test_rows_of_different_widths_are_refused_without_padding(strict: Server) -> None:
    grpc = Grpc(f"127.0.0.1:{strict.port}")
    assert at_once([lambda: wide(grpc, 2), lambda: wide(grpc, 2)]) == [[1.0, 1.0]] * 2
    outcomes = at_once([lambda: wide(grpc, 2), lambda: wide(grpc, 3)])
    assert {outcome[0] for outcome in outcomes} == {"FAILED_PRECONDITION"}
    for _, message in outcomes:
        assert "from different tasks have different shapes and padding is turned off" in message


def test_a_full_queue_refuses_with_unavailable(strict: Server) -> None:
    grpc = Grpc(f"127.0.0.1:{strict.port}")
    outcomes = at_once([lambda: rows(grpc, "slow", [0.4] * 4, "seconds")] * 10)
    codes = [outcome[0] for outcome in outcomes if isinstance(outcome, tuple)]
    assert set(codes) == {"UNAVAILABLE"}
    assert len(codes) < 10
    assert rows(grpc, "half_plus_two", [2.0]) == [3.0]


def test_a_large_request_is_split(lenient: Server) -> None:
    grpc = Grpc(f"127.0.0.1:{lenient.port}")
    x = [float(number) for number in range(37)]
    assert rows(grpc, "half_plus_two", x) == [number / 2 + 2 for number in x]
    assert grpc.refusal("Predict", predict_text("half_plus_two", [0.0] * 65)).code == "INVALID_ARGUMENT"


def test_rows_of_different_widths_are_padded(lenient: Server) -> None:
    grpc = Grpc(f"127.0.0.1:{lenient.port}")
    for _ in range(5):
        two, three = at_once([lambda: wide(grpc, 2), lambda: wide(grpc, 3)])
        assert (two[:2], three) == ([1.0] * 2, [1.0] * 3)


def test_a_version_may_bring_its_own_parameters(lenient: Server) -> None:
    grpc = Grpc(f"127.0.0.1:{lenient.port}")
    assert rows(grpc, "small", [2.0, 2.0]) == [3.0, 3.0]
    assert grpc.refusal("Predict", predict_text("small", [2.0] * 3)).code == "INVALID_ARGUMENT"


def test_batches_are_counted(strict: Server) -> None:
    grpc = Grpc(f"127.0.0.1:{strict.port}")
    rows(grpc, "half_plus_two", [1.0, 2.0, 3.0])
    text = Rest(strict.rest_port).get("/metrics").body.decode()
    prefix = ":tensorflow:serving:batching_session:"
    for line in (
        prefix + 'queuing_latency_count{thread_pool_name="strict"}',
        prefix + "wrapped_run_count",
        prefix + 'padding_size_count{execution_batch_size="',
        prefix + "input_batch_size_count",
        prefix + "processed_batch_size_count",
    ):
        assert line in text, line
