"""Status and metadata over REST (contract 2.8)."""

from urllib.parse import quote

import pytest

from tests.serving.model_server.conformance.clients import Rest
from tests.serving.model_server.conformance.shelf import ODD

OK = {"error_code": "OK", "error_message": ""}
ONE, TWO = ({"version": version, "state": "AVAILABLE", "status": OK} for version in ("1", "2"))
X = {
    "dtype": "DT_FLOAT",
    "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}], "unknown_rank": False},
    "name": "x:0",
}


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("two", [TWO, ONE]),
        ("two/versions/1", [ONE]),
        ("two/versions/2", [TWO]),
        ("two/labels/stable", [TWO, ONE]),
        ("two/labels/nothing", [TWO, ONE]),
        (quote(ODD), [ONE]),
        ("half_plus_two", [{**ONE, "version": "123"}]),
        ("half_plus_two/versions/000123", [{**ONE, "version": "123"}]),
    ],
)
def test_status_lists_versions_highest_first_and_ignores_labels(
    rest: Rest, path: str, statuses: list[dict[str, object]]
) -> None:
    came = rest.get(f"/v1/models/{path}")
    assert (came.status, came.json) == (200, {"model_version_status": statuses})
    assert came.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("nobody", 404, "Could not find any versions of model nobody"),
        ("two/versions/3", 404, "Could not find version 3 of model two"),
        ("nobody/versions/3", 404, "Could not find version 3 of model nobody"),
        ("nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
        ("two/versions/3/metadata", 404, "Servable not found for request: Specific(two, 3)"),
        ("two/labels/nil/metadata", 400, "Unrecognized servable version label: nil"),
    ],
)
def test_what_is_unknown_has_no_status_and_no_metadata(rest: Rest, path: str, status: int, message: str) -> None:
    came = rest.get(f"/v1/models/{path}")
    assert (came.status, came.error) == (status, message)


@pytest.mark.parametrize(
    ("path", "version"), [("two", "2"), ("two/versions/1", "1"), ("two/labels/stable", "1"), ("half_plus_two", "123")]
)
def test_metadata_names_the_version_that_answers(rest: Rest, path: str, version: str) -> None:
    came = rest.get(f"/v1/models/{path}/metadata")
    assert came.status == 200
    assert came.json["model_spec"] == {"name": path.split("/", maxsplit=1)[0], "signature_name": "", "version": version}


def test_metadata_holds_the_signatures_with_defaults_printed(rest: Rest) -> None:
    signatures = rest.get("/v1/models/half_plus_two/metadata").json["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {
        "serving_default", "regress_x_to_y", "regress_x_to_y2", "regress_x2_to_y3", "classify_x_to_y",
    }  # fmt: skip
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["defaults"] == {}
    assert default["inputs"] == {"x": X}
    assert default["outputs"] == {"y": {**X, "name": "y:0"}}
    assert signatures["classify_x_to_y"]["method_name"] == "tensorflow/serving/classify"


def test_metadata_passes_signature_defaults_through(rest: Rest) -> None:
    signatures = rest.get("/v1/models/defaults/metadata").json["metadata"]["signature_def"]["signature_def"]
    defaults = signatures["serving_default"]["defaults"]
    assert set(defaults) == {"b", "c"}
    assert defaults["b"]["dtype"] == "DT_FLOAT"
    assert defaults["b"]["float_val"] == [2.0]
