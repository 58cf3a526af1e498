"""Examples of classify and regress; needs TensorFlow's protos."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server.metrics import Metrics
from serving.model_server.rest.features import read
from serving.model_server.rest.handler import Handler, Options
from serving.model_server.signature import Signature
from serving.status import StatusError
from tests.serving.http.ports import listening
from tests.serving.model_server.rest import fakes
from tests.serving.model_server.rest.fakes import infos
from tests.serving.model_server.rest.handling import error_of, send

Features = dict[str, tuple[str, list[Any]]]


def features(serialized: bytes) -> Features:
    """A serialized tf.Example's features: name -> (kind, values)."""
    from tensorflow.core.example import example_pb2

    found = {}
    for name, feature in example_pb2.Example.FromString(serialized).features.feature.items():
        kind = feature.WhichOneof("kind") or ""
        found[name] = (kind, list(getattr(feature, kind).value) if kind else [])
    return found


@pytest.mark.parametrize(
    ("value", "feature"),
    [
        (1, ("int64_list", [1])),
        ([1, 2], ("int64_list", [1, 2])),
        (True, ("int64_list", [1])),
        ([1, True, False], ("int64_list", [1, 1, 0])),
        ([-(2**63), 2**63 - 1], ("int64_list", [-(2**63), 2**63 - 1])),
        (1.5, ("float_list", [1.5])),
        ([1.0, float("inf"), 1e300], ("float_list", [1.0, float("inf"), float("inf")])),
        ("é", ("bytes_list", ["é".encode()])),
        (["a", {"b64": "/w=="}], ("bytes_list", [b"a", b"\xff"])),
        ({"b64": ""}, ("bytes_list", [b""])),
        ([], ("", [])),
    ],
)
def test_the_kind_follows_from_the_values(value: Any, feature: tuple[str, list[Any]]) -> None:
    (serialized,) = read({"examples": [{"f": value}]})
    assert features(serialized) == {"f": feature}


def test_an_example_has_its_own_features_and_those_of_the_context() -> None:
    serialized = read({"examples": [{"a": 1}, {"b": "x"}, {}], "context": {"c": 1.5, "b": "y"}, "signature_name": "s"})
    assert serialized.dtype == object
    context: Features = {"c": ("float_list", [1.5]), "b": ("bytes_list", [b"y"])}
    assert [features(one) for one in serialized] == [
        {**context, "a": ("int64_list", [1])},
        {**context, "b": ("bytes_list", [b"x"])},
        context,
    ]


MIXED = "Unexpected element type in feature: f expecting type: "
UNEXPECTED = "Feature: f has element with unexpected JSON type: "


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 1.5], MIXED + "int64"),
        ([1.5, 1], MIXED + "float"),
        ([1.5, True], MIXED + "float"),
        (["a", 1], MIXED + "bytes"),
        ([{"b64": "AA=="}, 1.5], MIXED + "bytes"),
        ([1, {"b64": "AA=="}], MIXED + "int64"),
        (None, UNEXPECTED + "Null"),
        ([1, None], UNEXPECTED + "Null"),
        ({"a": 1}, UNEXPECTED + "Object"),
        ([[1]], UNEXPECTED + "Array"),
        (2**63, "Feature: f has uint64_t element. Only int64_t is supported."),
        ([1, 2**64 - 1], "Feature: f has uint64_t element. Only int64_t is supported."),
        ({"b64": "?"}, "Unable to base64 decode"),
    ],
)
def test_values_that_make_no_feature_are_refused(value: Any, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        read({"examples": [{"f": value}]})
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [[]]}, "Example must be JSON object but got JSON Array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"context": [], "examples": []}, "Example must be JSON object but got JSON Array"),
        ({"context": None}, "Example must be JSON object but got JSON Null"),
    ],
)
def test_what_is_no_list_of_examples_is_refused(document: Any, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        read(document)
    assert caught.value.message.endswith(message)


VALUES = (
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.booleans(), min_size=1)
    | st.lists(st.floats(width=32), min_size=1)
    | st.lists(st.text(), min_size=1)
)


@given(st.dictionaries(st.text(), VALUES))
def test_values_come_back_from_the_example(example: dict[str, list[Any]]) -> None:
    (serialized,) = read({"examples": [example]})
    found = features(serialized)
    assert found.keys() == example.keys()
    for name, values in example.items():
        expected = [value.encode() if isinstance(value, str) else value for value in values]
        assert str(found[name][1]) == str([int(value) if isinstance(value, bool) else value for value in expected])


def handler(metrics: Metrics) -> Handler:
    """A classifier with labels, one without, and a regressor; the first example scores 0.5, the next 1.5."""

    def score(feeds: Any) -> Any:
        count = len(feeds["inputs"])
        scores = np.arange(count, dtype=np.float32)[:, None] + np.array([[0.5, 0.1]], np.float32)
        classes = np.array([[b"a", b"b"]] * count, object)
        return {"scores": scores, "classes": classes, "outputs": scores[:, :1]}

    examples = infos(inputs="string")
    unlabelled = Signature("unlabelled", fakes.PREDICT, examples, infos(scores="float"))
    regressor = Signature("regressor", fakes.PREDICT, examples, infos(outputs="float"))
    outputs = infos(scores="float", classes="string")
    version = fakes.servable(score, examples, outputs, more=[unlabelled, regressor])
    return Handler(fakes.models(version), metrics, Options())


@pytest.mark.parametrize(
    ("verb", "signature", "body"),
    [
        ("classify", "", '[[["a", 0.5], ["b", 0.1]], [["a", 1.5], ["b", 1.1]]\n    ]'),
        ("classify", "unlabelled", '[[["", 0.5], ["", 0.1]], [["", 1.5], ["", 1.1]]\n    ]'),
        ("regress", "regressor", "[0.5, 1.5]"),
    ],
)
def test_examples_are_classified_and_regressed(verb: str, signature: str, body: str) -> None:
    metrics = Metrics()
    request = json.dumps({"signature_name": signature, "examples": [{"x": 1.0}, {"x": 2.0}]})
    with listening(handler(metrics).answer) as port:
        heard = send(port, "POST", f"/v1/models/m:{verb}", request)
    assert (heard.status, heard.body.decode()) == (200, '{\n    "results": ' + body + "\n}")
    runtime = f':tensorflow:serving:runtime_latency_count{{model_name="m",API="{verb.capitalize()}",runtime="TF1"}} 1\n'
    assert runtime in metrics.exposition().decode()


@pytest.mark.parametrize(
    ("target", "body", "status", "message"),
    [
        ("/v1/models/nobody:classify", {"examples": []}, 400, "'examples' value is an empty array"),
        ("/v1/models/nobody:classify", {"examples": [{}]}, 404, "Servable not found for request: Latest(nobody)"),
        ("/v1/models/m:classify", {"examples": [{}], "signature_name": 1}, 400, "key must be a string value."),
        (
            "/v1/models/m:classify",
            {"examples": [{}], "signature_name": "s"},
            400,
            "No signature was found with the name: s",
        ),
        ("/v1/models/m:regress", {"examples": [{}]}, 400, "Expected one output Tensor."),
    ],
)
def test_what_cannot_be_classified_is_refused(target: str, body: Any, status: int, message: str) -> None:
    with listening(handler(Metrics()).answer) as port:
        heard = send(port, "POST", target, json.dumps(body))
    assert heard.status == status
    assert error_of(heard).endswith(message)


def test_metadata_is_the_signatures_in_protobufs_json() -> None:
    from tensorflow.core.protobuf import meta_graph_pb2

    definition = meta_graph_pb2.SignatureDef(method_name=fakes.PREDICT)
    definition.inputs["x"].name = "x:0"
    definition.inputs["x"].dtype = 1
    definition.inputs["x"].tensor_shape.dim.add().size = -1
    signature = Signature("s", fakes.PREDICT, infos(x="float"), infos(y="float"), definition=definition)
    with listening(Handler(fakes.models(fakes.half_plus_two(more=[signature])), Metrics(), Options()).answer) as port:
        heard = send(port, "GET", "/v1/models/m/versions/1/metadata")
    assert heard.status == 200
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    x = {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "x:0"}
    signatures = {"s": {"inputs": {"x": x}, "outputs": {}, "method_name": fakes.PREDICT, "defaults": {}}}
    assert json.loads(heard.body) == {
        "model_spec": {"name": "m", "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }
