"""GetModelStatus and GetModelMetadata over gRPC (contract 3 and 3.1)."""

import pytest

from tests.serving.model_server.conformance.clients import Grpc, Text, fits, holding

FIELD = 'metadata_field: "signature_def"'


@pytest.mark.parametrize(
    ("spec", "versions"),
    [
        ('name: "two"', [2, 1]),
        ('name: "two" version { value: 1 }', [1]),
        ('name: "two" version { value: 2 }', [2]),
        ('name: "two" version_label: "stable"', [2, 1]),
        ('name: "two" version_label: "unknown"', [2, 1]),
        ('name: "half_plus_two"', [123]),
    ],
)
def test_status_lists_versions_highest_first_and_ignores_labels(grpc: Grpc, spec: str, versions: list[int]) -> None:
    response = grpc.call("GetModelStatus", f"model_spec {{ {spec} }}")
    assert [entry.version for entry in response.model_version_status] == versions
    for entry in response.model_version_status:
        assert entry.state == entry.AVAILABLE
        assert (entry.status.error_code, entry.status.error_message) == (0, "")


@pytest.mark.parametrize(
    ("method", "request_text", "code", "message"),
    [
        ("GetModelStatus", "", "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("GetModelStatus", "model_spec {}", "NOT_FOUND", "Could not find any versions of model "),
        (
            "GetModelStatus",
            'model_spec { name: "nobody" }',
            "NOT_FOUND",
            "Could not find any versions of model nobody",
        ),
        (
            "GetModelStatus",
            'model_spec { name: "two" version { value: 7 } }',
            "NOT_FOUND",
            "Could not find version 7 of model two",
        ),
        (
            "GetModelStatus",
            'model_spec { name: "nobody" version { value: 7 } }',
            "NOT_FOUND",
            "Could not find version 7 of model nobody",
        ),
        ("GetModelMetadata", FIELD, "INVALID_ARGUMENT", "Missing ModelSpec"),
        ("GetModelMetadata", "model_spec {} " + FIELD, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            "GetModelMetadata",
            'model_spec { name: "two" }',
            "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (
            "GetModelMetadata",
            'model_spec { name: "nobody" } metadata_field: "graph"',
            "INVALID_ARGUMENT",
            "Metadata field graph is not supported",
        ),
        (
            "GetModelMetadata",
            'model_spec { name: "two" } metadata_field: "signature_def" metadata_field: "graph"',
            "INVALID_ARGUMENT",
            "Metadata field graph is not supported",
        ),
        (
            "GetModelMetadata",
            'model_spec { name: "nobody" } ' + FIELD,
            "NOT_FOUND",
            "Servable not found for request: Latest(nobody)",
        ),
        (
            "GetModelMetadata",
            'model_spec { name: "two" version { value: 7 } } ' + FIELD,
            "NOT_FOUND",
            "Servable not found for request: Specific(two, 7)",
        ),
        (
            "GetModelMetadata",
            'model_spec { name: "two" version_label: "nil" } ' + FIELD,
            "INVALID_ARGUMENT",
            holding("Unrecognized servable version label: nil"),
        ),
    ],
)
def test_a_wrong_request_is_refused(grpc: Grpc, method: str, request_text: str, code: str, message: Text) -> None:
    came = grpc.refusal(method, request_text)
    assert came.code == code, came
    assert fits(came.message, message), came


@pytest.mark.parametrize(
    ("spec", "version"),
    [("", 2), ("version { value: 1 }", 1), ('version_label: "stable"', 1), ('signature_name: "nil"', 2)],
)
def test_metadata_is_the_signature_map_of_the_version_that_answers(grpc: Grpc, spec: str, version: int) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2

    response = grpc.call("GetModelMetadata", f'model_spec {{ name: "two" {spec} }} {FIELD}')
    assert (response.model_spec.name, response.model_spec.version.value) == ("two", version)
    assert response.model_spec.signature_name == ""
    assert set(response.metadata) == {"signature_def"}
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    default = signatures.signature_def["serving_default"]
    assert default.method_name == "tensorflow/serving/predict"
    assert set(default.inputs) == {"x"}
    assert set(default.outputs) == {"y"}


def test_metadata_carries_defaults(grpc: Grpc) -> None:
    from tensorflow_serving.apis import get_model_metadata_pb2

    response = grpc.call("GetModelMetadata", f'model_spec {{ name: "defaults" }} {FIELD}')
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def["serving_default"].defaults) == {"b", "c"}
