"""What GetModelMetadata answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.model_server import signature
from serving.model_server.metadata import signature_def_map
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signature import Signature


@pytest.fixture
def definitions(models: Callable[[str], Path]) -> Callable[[str], Any]:
    def loaded(kind: str) -> Any:
        session = SavedModelSession(str(models(kind)), SessionOptions())
        found = session.signature_definitions
        session.close()
        return found

    return loaded


def test_every_signature_is_listed_as_it_is_in_the_saved_model(definitions: Callable[[str], Any]) -> None:
    found = definitions("half_plus_two_tf1")
    answer = signature_def_map(signature.read(found)).signature_def
    assert set(answer) == {
        "serving_default",
        "regress_x_to_y",
        "regress_x_to_y2",
        "regress_x2_to_y3",
        "classify_x_to_y",
    }
    assert all(answer[name] == found[name] for name in answer)
    assert answer["classify_x_to_y"].method_name == "tensorflow/serving/classify"
    assert [size.size for size in answer["serving_default"].inputs["x"].tensor_shape.dim] == [-1, 1]


def test_defaults_are_passed_through(definitions: Callable[[str], Any]) -> None:
    answer = signature_def_map(signature.read(definitions("defaults"))).signature_def["serving_default"]
    assert {alias: list(value.float_val) for alias, value in answer.defaults.items()} == {"b": [2.0], "c": [3.0]}


def test_tf2s_own_signature_for_initialization_is_listed_as_upstream_lists_it(
    definitions: Callable[[str], Any],
) -> None:
    answer = signature_def_map(signature.read(definitions("half_plus_two")))
    assert set(answer.signature_def) == {"serving_default", "__saved_model_init_op"}


def test_what_has_no_definition_is_left_out() -> None:
    assert not signature_def_map({"s": Signature("s", "", {}, {})}).signature_def
