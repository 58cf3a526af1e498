"""What flags change about ports, connections and answers (contract 1, 2.3 and 7); TLS is in test_tls.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, Rest, predict_text
from tests.serving.model_server.conformance.process import Server
from tests.serving.model_server.conformance.shelf import Models, config, entry
from tests.serving.model_server.conformance.test_warmup import records, write
from tests.serving.model_server.models import push

KINDS = ("half_plus_two_tf1", "slow", "identity")
ALLOWED = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, GET",
    "access-control-allow-headers": "Content-Type",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Path:
    path = tmp_path_factory.mktemp("flags")
    for kind in KINDS:
        push(models(kind), path / kind, 1)
    write(path / "half_plus_two_tf1" / "1", records("predict", "regress"))  # which run three times each
    (path / "models.config").write_text(config(*(entry(kind, path / kind) for kind in KINDS)))
    (path / "monitoring.config").write_text('prometheus_config { enable: true path: "/numbers" }')
    return path


@pytest.fixture(scope="module")
def flagged(folder: Path) -> Iterator[Server]:
    flags = (
        f"--model_config_file={folder / 'models.config'}",
        f"--monitoring_config_file={folder / 'monitoring.config'}",
        f"--grpc_socket_path={folder / 'grpc.socket'}",
        "--grpc_channel_arguments=grpc.max_concurrent_streams=7,grpc.http2.max_frame_size=65536,grpc.x=text",
        "--grpc_max_threads=4",
        "--rest_api_num_threads=4",
        "--rest_api_enable_cors_support",
        "--rest_api_timeout_in_ms=400",
        "--enable_grpc_healthcheck_service=true",
        "--enable_serialization_as_tensor_content=True",
        "--enable_signature_method_name_check=true",
        "--num_request_iterations_for_warmup=3",
        "--tensorflow_intra_op_parallelism=1",
        "--tensorflow_inter_op_parallelism=2",
    )
    with process.running(folder / "log", *flags) as server:
        yield server


@pytest.fixture(scope="module")
def client(flagged: Server) -> Iterator[Grpc]:
    grpc = Grpc(f"127.0.0.1:{flagged.port}")
    yield grpc
    grpc.close()


def test_grpc_answers_on_a_unix_socket_as_well(flagged: Server, folder: Path) -> None:
    client = Grpc(f"unix:{folder / 'grpc.socket'}")
    assert list(client.call("Predict", predict_text("identity", spec='signature_name: "float"')).outputs) == ["y"]
    client.close()


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_health_is_told_for_three_names(client: Grpc, service: str) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    response = health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest(service=service))
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_other_names_is_not_found(client: Grpc) -> None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with pytest.raises(grpc.RpcError) as refused:
        health_pb2_grpc.HealthStub(client.channel).Check(health_pb2.HealthCheckRequest(service="Nothing"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_is_not_served_without_its_flag(grpc: Grpc) -> None:
    import grpc as library
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with pytest.raises(library.RpcError) as refused:
        health_pb2_grpc.HealthStub(grpc.channel).Check(health_pb2.HealthCheckRequest())
    assert refused.value.code() is library.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/half_plus_two_tf1:predict", 200),
        ("GET", "/v1/models/half_plus_two_tf1", 200),
        ("GET", "/v1/models/half_plus_two_tf1/metadata", 200),
        ("POST", "/v1/models/nobody:predict", 404),
        ("GET", "/v1/wrong", 400),
    ],
)
def test_cors_headers_are_on_every_answer_under_v1(flagged: Server, method: str, path: str, status: int) -> None:
    body = '{"instances": [2]}' if method == "POST" else None
    came = Rest(flagged.rest_port).send(method, path, body, {"Origin": "http://a.example"})
    assert came.status == status
    assert ALLOWED.items() <= came.headers.items()


@pytest.mark.parametrize(("origin", "status"), [("https://a.example", 200), ("null", 400), ("", 400)])
def test_a_preflight_is_answered(flagged: Server, origin: str, status: int) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"} if origin else {}
    came = Rest(flagged.rest_port).send("OPTIONS", "/v1/models/x:predict", headers=headers)
    assert (came.status, came.body) == (status, b"")
    if status == 200:
        assert ALLOWED.items() <= came.headers.items()


def test_a_rest_request_that_takes_too_long_is_given_up(flagged: Server) -> None:
    rest = Rest(flagged.rest_port)
    assert rest.predict("slow", '{"instances": [1.5]}').status == 504
    assert rest.predict("half_plus_two_tf1", '{"instances": [2]}').json == {"predictions": [3.0]}


def test_values_can_be_asked_for_as_content(client: Grpc) -> None:
    import numpy as np

    request = predict_text("identity", [1.5, 2.5], spec='signature_name: "float"')
    output = client.call("Predict", request).outputs["y"]
    assert not output.float_val
    assert np.frombuffer(output.tensor_content, np.float32).tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("method", "signature", "code"),
    [
        ("Classify", "regress_x_to_y", "INVALID_ARGUMENT"),
        ("Classify", "serving_default", "INVALID_ARGUMENT"),
        ("Regress", "classify_x_to_y", "INVALID_ARGUMENT"),
    ],
)
def test_the_method_of_a_signature_is_checked_with_the_flag(
    client: Grpc, method: str, signature: str, code: str
) -> None:
    one = 'examples { features { feature { key: "x" value { float_list { value: 2 } } } } }'
    spec = f'model_spec {{ name: "half_plus_two_tf1" signature_name: "{signature}" }}'
    assert client.refusal(method, f"{spec} input {{ example_list {{ {one} }} }}").code == code


@pytest.mark.parametrize("signature", ["", "serving_default"])
def test_predict_signatures_pass_the_check(client: Grpc, signature: str) -> None:
    request = predict_text("half_plus_two_tf1", [2.0], spec=f'signature_name: "{signature}"')
    assert len(client.call("Predict", request).outputs) == 1


def test_metrics_have_the_path_of_their_config(flagged: Server) -> None:
    rest = Rest(flagged.rest_port)
    came = rest.get("/numbers")
    assert came.status == 200
    assert came.headers["content-type"].startswith("text/plain")
    assert rest.get("/monitoring/prometheus/metrics").status == 404
    assert rest.get("/numbers?x=1").status == 400
