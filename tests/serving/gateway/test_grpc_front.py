"""The gRPC door before a model server: who is asked for what, and what comes back."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.gateway.grpc_front import MODEL, PREDICTION
from tests.serving.gateway.grpc_stub import Door, Stub, door, failing, predict, stub

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Stub, Door]]:
    with stub() as server, door(server.target, key_field="user") as front:
        yield server, front


@pytest.fixture
def server(started: tuple[Stub, Door]) -> Stub:
    started[0].seen.clear()
    started[0].faults.clear()
    started[0].extra = b""
    return started[0]


@pytest.fixture
def front(started: tuple[Stub, Door], server: Stub) -> Door:
    started[1].recorded.clear()
    started[1].plan(0.0)
    return started[1]


def spec_of(content: bytes) -> Any:
    return predict_pb2.PredictRequest.FromString(content).model_spec


def test_a_request_without_version_and_label_gets_its_variants_label_and_stays_the_same_otherwise(
    server: Stub, front: Door
) -> None:
    answer = front.call(predict())
    assert (answer.code, answer.version) == (Code.OK, 1)
    (seen,) = server.seen
    wanted = predict_pb2.PredictRequest.FromString(predict())
    wanted.model_spec.version_label = "stable"
    assert predict_pb2.PredictRequest.FromString(seen.content) == wanted


@pytest.mark.parametrize(("share", "version"), [(0.0, 1), (1.0, 2)])
def test_shares_of_nothing_and_of_all_are_exact(server: Stub, front: Door, share: float, version: int) -> None:
    front.plan(share)
    assert {front.call(predict(), ("x-user-id", f"u{n}")).version for n in range(20)} == {version}


def test_a_user_stays_on_one_side_and_half_of_them_are_on_each(server: Stub, front: Door) -> None:
    front.plan(0.5)
    sides = [[front.call(predict(), ("x-user-id", f"u{n}")).version for n in range(40)] for _ in range(2)]
    assert sides[0] == sides[1]
    assert set(sides[0]) == {1, 2}


def test_while_labels_move_a_variant_is_asked_for_by_its_number(server: Stub, front: Door) -> None:
    front.plan(1.0, by="version")
    assert front.call(predict()).version == 2
    assert spec_of(server.seen[0].content).WhichOneof("version_choice") == "version"


@pytest.mark.parametrize(
    "request_", [predict(version=2), predict(version=0), predict(label="canary"), predict(label="")], ids=str
)
def test_a_request_that_names_version_or_label_passes_as_it_is(server: Stub, front: Door, request_: bytes) -> None:
    answer = front.call(request_, ("x-pressline-variant", "canary"))
    assert server.seen[0].content == request_
    assert "x-pressline-variant" not in answer.trailing
    assert answer.trailing["x-pressline-version"] == str(answer.version)
    (exchange,) = front.recorded
    assert (exchange.routed.model, exchange.routed.variant, exchange.routed.how) == ("m", "", "unplanned")


@pytest.mark.parametrize("request_", [predict("unheard of"), predict(""), b"", b"\x0a\x05ab", b"\xff" * 9], ids=repr)
def test_what_no_plan_is_for_passes_as_it_is_garbage_too(server: Stub, front: Door, request_: bytes) -> None:
    answer = front.call(request_)
    assert server.seen[0].content == request_
    garbage = request_.startswith((b"\x0a\x05ab", b"\xff"))
    assert answer.code == (Code.INTERNAL if garbage else Code.OK)
    assert "x-request-id" in answer.trailing


def test_a_tester_chooses_a_variant_and_sees_its_failures(server: Stub, front: Door) -> None:
    server.faults[2] = failing(Code.INTERNAL, "broken")
    assert front.call(predict(), ("x-pressline-variant", "stable")).version == 1
    answer = front.call(predict(), ("x-pressline-variant", "canary"))
    assert (answer.code, answer.details) == (Code.INTERNAL, "broken")
    assert answer.trailing["x-pressline-variant"] == "canary"
    assert [one.routed.how for one in front.recorded] == ["override", "override"]


def test_a_variant_that_does_not_exist_is_the_clients_mistake_and_asks_no_server(server: Stub, front: Door) -> None:
    answer = front.call(predict(), ("x-pressline-variant", "best"), ("x-request-id", "mine"))
    assert answer.code == Code.INVALID_ARGUMENT
    assert answer.trailing["x-request-id"] == "mine"
    assert not server.seen


def test_the_key_is_a_field_of_the_request_where_the_metadata_have_none(server: Stub, front: Door) -> None:
    front.plan(0.5)
    versions = {front.call(predict()).version for _ in range(12)}
    assert len(versions) == 1
    front.call(predict(), ("x-user-id", "42"))
    front.call(predict(), ("x-user-id", ""))
    assert len({one.routed.key_hash for one in front.recorded}) == 1
    assert {one.routed.how for one in front.recorded} == {"key"}


def test_an_answer_carries_request_id_version_and_variant(server: Stub, front: Door) -> None:
    front.plan(1.0)
    answer = front.call(predict(), ("x-request-id", "r-1"))
    assert answer.trailing == {"x-request-id": "r-1", "x-pressline-version": "2", "x-pressline-variant": "canary"}


def test_an_error_carries_them_as_well(server: Stub, front: Door) -> None:
    server.faults[1] = failing(Code.FAILED_PRECONDITION, 'Serving signature key "ü" not found.')
    answer = front.call(predict(), ("x-request-id", "r-2"))
    assert (answer.code, answer.details) == (Code.FAILED_PRECONDITION, 'Serving signature key "ü" not found.')
    assert answer.trailing == {"x-request-id": "r-2", "x-pressline-version": "1", "x-pressline-variant": "stable"}


def test_a_request_without_a_usable_id_gets_one_of_its_own(server: Stub, front: Door) -> None:
    ids = [
        front.call(predict()).trailing["x-request-id"],
        front.call(predict(), ("x-request-id", "a b")).trailing["x-request-id"],
    ]
    assert len(set(ids)) == 2
    assert "a b" not in ids
    assert [one.request_id for one in front.recorded] == ids


def test_what_is_recorded_is_the_request_as_it_came_and_the_answer(server: Stub, front: Door) -> None:
    front.plan(1.0)
    answer = front.call(predict(), ("x-user-id", "u1"))
    (exchange,) = front.recorded
    assert (exchange.protocol, exchange.api, exchange.code, exchange.version) == ("GRPC", "predict", "OK", 2)
    assert (exchange.request, exchange.response) == (predict(), answer.response)
    assert (exchange.routed.variant, exchange.routed.rollout, exchange.shadow, exchange.fell_back) == (
        "canary",
        7,
        False,
        False,
    )
    assert 0 < exchange.latency_s < 60


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("Classify", classification_pb2.ClassificationRequest()),
        ("Regress", regression_pb2.RegressionRequest()),
        ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])),
    ],
)
def test_every_method_with_a_model_spec_is_directed(server: Stub, front: Door, method: str, message: Any) -> None:
    message.model_spec.name = "m"
    answer = front.call(message.SerializeToString(), path=f"/{PREDICTION}/{method}")
    assert answer.response == f"answer to {method}".encode()
    assert type(message).FromString(server.seen[0].content).model_spec.version_label == "stable"


def test_a_multi_inference_is_directed_by_its_first_task(server: Stub, front: Door) -> None:
    message = inference_pb2.MultiInferenceRequest()
    for _ in range(2):
        message.tasks.add().model_spec.name = "m"
    front.call(message.SerializeToString(), path=f"/{PREDICTION}/MultiInference")
    tasks = inference_pb2.MultiInferenceRequest.FromString(server.seen[0].content).tasks
    assert [task.model_spec.version_label for task in tasks] == ["stable", ""]
    assert front.recorded[0].api == "multi_inference"


def test_metadata_are_those_of_stable_and_no_impression(server: Stub, front: Door) -> None:
    front.plan(1.0)
    message = get_model_metadata_pb2.GetModelMetadataRequest()
    message.model_spec.name = "m"
    front.call(message.SerializeToString(), ("x-user-id", "u1"), path=f"/{PREDICTION}/GetModelMetadata")
    seen = get_model_metadata_pb2.GetModelMetadataRequest.FromString(server.seen[0].content)
    assert seen.model_spec.version_label == "stable"
    assert not front.recorded


def test_a_models_status_is_that_of_all_its_versions(server: Stub, front: Door) -> None:
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "m"
    answer = front.call(message.SerializeToString(), path=f"/{MODEL}/GetModelStatus")
    assert answer.response == b"answer to GetModelStatus"
    assert server.seen[0].content == message.SerializeToString()


def test_nobody_reloads_model_servers_through_the_door(server: Stub, front: Door) -> None:
    answer = front.call(b"", path=f"/{MODEL}/HandleReloadConfigRequest")
    assert answer.code == Code.PERMISSION_DENIED
    assert "controller" in answer.details
    assert not server.seen


@pytest.mark.parametrize("path", [f"/{PREDICTION}/PredictStreamed", "/tensorflow.serving.SessionService/SessionRun"])
def test_what_tf_serving_does_not_serve_is_not_served(server: Stub, front: Door, path: str) -> None:
    assert front.call(predict(), path=path).code == Code.UNIMPLEMENTED
    assert not server.seen


def test_large_messages_pass_both_ways_and_too_large_ones_are_refused(server: Stub, front: Door) -> None:
    rest = b"\x1a" + b"\xa0\xf7\x36" + bytes(900_000)  # an output_filter of 900,000 bytes
    server.extra = rest * 8
    answer = front.call(predict() + rest)
    assert (answer.code, answer.version) == (Code.OK, 1)
    assert len(answer.response) > 8 * 900_000
    assert len(server.seen[0].content) > 900_000
    assert front.call(predict() + rest * 2).code == Code.RESOURCE_EXHAUSTED
    assert len(server.seen) == 1
