import pytest

from serving.model_server.rest.routes import Route, find

METRICS = "/monitoring/prometheus/metrics"


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("POST", "/v1/models/m:predict", Route("predict", "m", method="predict")),
        ("POST", "/v1/models/m:classify", Route("classify", "m", method="classify")),
        ("POST", "/v1/models/m:regress", Route("regress", "m", method="regress")),
        ("POST", "/V1/Models/m:predict", Route("predict", "m", method="predict")),
        ("POST", "/v1/models/m/versions/007:predict", Route("predict", "m", 7, method="predict")),
        ("POST", "/v1/models/m/versions/0:predict", Route("predict", "m", 0, method="predict")),
        ("POST", "/v1/models/m/VERSIONS/7:predict", Route("predict", "m", 7, method="predict")),
        ("POST", "/v1/models/m/labels/a%20b:predict", Route("predict", "m", None, "a b", "predict")),
        ("POST", "/v1/models/a%2Fb%3a%zz:predict", Route("predict", "a/b:%zz", method="predict")),
        ("POST", "/v1/models/%C3%A9%FF:predict", Route("predict", "é\ufffd", method="predict")),
        ("POST", "http://host:8501/v1/models/m:predict", Route("predict", "m", method="predict")),
        ("GET", "/v1/models/m", Route("status", "m")),
        ("GET", "/v1/models/m?x=1", Route("status", "m?x=1")),
        ("GET", "/v1/models/m/versions/7", Route("status", "m", 7)),
        ("GET", "/v1/models/m/labels/stable", Route("status", "m", None, "stable")),
        ("GET", "/v1/models/m/metadata", Route("metadata", "m")),
        ("GET", "/v1/models/m/METADATA", Route("status", "m")),
        ("GET", "/v1/models/metadata", Route("status", "metadata")),
        ("GET", "/v1/models/m/versions/7/metadata", Route("metadata", "m", 7)),
        ("GET", "/v1/models/m/labels/l/metadata", Route("metadata", "m", None, "l")),
        ("OPTIONS", "/v1/anything", Route("options")),
        ("GET", METRICS, Route("metrics")),
        ("POST", METRICS, Route("metrics")),
        ("GET", "/", Route("unknown")),
        ("GET", "", Route("unknown")),
        ("GET", "*", Route("unknown")),
        ("GET", "/v1", Route("unknown")),
        ("GET", "/v2/models/m", Route("unknown")),
        ("GET", "/metrics", Route("unknown")),
    ],
)
def test_a_path_says_what_is_asked_for(method: str, target: str, route: Route) -> None:
    assert find(method, target.encode(), METRICS) == route


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("POST", "/v1/models/m", ""),
        ("POST", "/v1/models/m:Predict", "m"),
        ("POST", "/v1/models/m:predict?x=1", ""),
        ("POST", "/v1/models/m/versions/1/labels/l:predict", ""),
        ("POST", "/v1/models/:predict", ""),
        ("POST", "/v1/models/m/versions/-1:predict", ""),
        ("POST", "/v1/models/m/versions/\u0661:predict", ""),
        ("GET", "/v1/", ""),
        ("GET", "/v1/models/", ""),
        ("GET", "/v1/models/m/versions/", ""),
        ("GET", "/v1/models/m:predict", ""),
        ("PUT", "/v1/models/m:predict", ""),
        ("DELETE", "/v1/models/m", ""),
        ("HEAD", "/v1/models/m", ""),
        ("PATCH", "/v1/models/m", ""),
    ],
)
def test_what_means_nothing_under_v1_is_malformed(method: str, target: str, name: str) -> None:
    route = find(method, target.encode(), METRICS)
    assert (route.action, route.name, route.message) == ("refused", name, f"Malformed request: {method} {target}")


@pytest.mark.parametrize("digits", ["9223372036854775808", "9" * 5000, "1" + "0" * 300])
@pytest.mark.parametrize("form", ["POST /v1/models/m/versions/{}:predict", "GET /v1/models/m/versions/{}"])
def test_a_version_beyond_int64_is_refused_with_its_digits(form: str, digits: str) -> None:
    method, target = form.format(digits).split(" ")
    route = find(method, target.encode())
    assert (route.action, route.name) == ("refused", "m")
    assert route.message == f"Failed to convert version: {digits} to numeric."


def test_the_largest_version_may_have_leading_zeros() -> None:
    assert find("GET", b"/v1/models/m/versions/" + b"0" * 100 + b"9223372036854775807").version == 2**63 - 1


@pytest.mark.parametrize("target", ["/v1/models", "/v1/models/versions/1", "/v1/models/labels/x/metadata"])
def test_a_get_without_a_model_is_told_so(target: str) -> None:
    route = find("GET", target.encode())
    # The last two read as a model `versions` or `labels` first, which leaves nothing for what follows.
    assert route.message == "Missing model name in request."


def test_metrics_take_no_query_and_go_before_v1() -> None:
    message = f"Unexpected path: {METRICS}?x. Should be {METRICS}"
    assert find("GET", f"{METRICS}?x".encode(), METRICS) == Route("metrics", message=message)
    assert find("GET", b"/v1/models/m", "/v1/models/m") == Route("metrics")
    assert find("GET", METRICS.encode(), None) == Route("unknown")


def test_a_long_target_is_routed_but_not_remembered() -> None:
    name = "n" * 10_000
    assert find("GET", f"/v1/models/{name}".encode()) == Route("status", name)
