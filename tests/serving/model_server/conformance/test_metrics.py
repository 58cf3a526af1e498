"""The Prometheus page: which requests are counted, under which names and labels (contract 6)."""

import re
from collections.abc import Callable

import pytest

from tests.serving.model_server.conformance.clients import Grpc, Rest, predict_text

PAGE = "/monitoring/prometheus/metrics"
COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"
LINE = re.compile(r'([A-Za-z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')
BUCKETS = [10 * 1.8**step for step in range(33)]


def read(rest: Rest) -> dict[str, float]:
    """The samples of the page, by name and labels as they are written."""
    values = {}
    for line in rest.get(PAGE).body.decode().splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# TYPE [\w:]+ (counter|gauge|histogram)", line), line
            continue
        sample = LINE.fullmatch(line)
        assert sample, line
        values[line.rpartition(" ")[0]] = float(sample[3])
    return values


def more(rest: Rest, *asks: Callable[[], object]) -> dict[str, float]:
    """By how much each sample grew while these were asked; without those of the runtime and of the page."""
    before = read(rest)
    for ask in asks:
        ask()
    after = read(rest)
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def counted(growth: dict[str, float], metric: str) -> dict[frozenset[str], float]:
    """Labels -> growth of a metric."""
    found = {}
    for name, value in growth.items():
        series, _, labels = name.partition("{")
        if series == metric:
            found[frozenset(re.findall(r'\w+="[^"]*"', labels))] = value
    return found


def labels(**values: str) -> frozenset[str]:
    return frozenset(f'{name}="{value}"' for name, value in values.items())


def test_predictions_are_counted_by_model_and_status(rest: Rest, grpc: Grpc) -> None:
    growth = more(
        rest,
        lambda: grpc.call("Predict", predict_text("two")),
        lambda: grpc.call("Predict", predict_text("two", spec='version_label: "stable"')),
        lambda: grpc.refusal("Predict", predict_text("nobody")),
        lambda: grpc.refusal("Predict", predict_text("two", alias="z")),
        lambda: rest.predict("two", '{"instances": [2]}'),
        lambda: rest.predict("nobody", '{"instances": [2]}'),
        lambda: rest.predict("two", '{"instances": ["a"]}'),
    )
    assert counted(growth, COUNT) == {
        labels(model_name="two", status="OK"): 3,
        labels(model_name="two", status="INVALID_ARGUMENT"): 2,
        labels(model_name="nobody", status="NOT_FOUND"): 2,
    }
    assert counted(growth, LATENCY + "_count") == {
        labels(model_name="two", API="Predict", entrypoint="GRPC"): 2,
        labels(model_name="two", API="predict", entrypoint="REST"): 1,
    }
    assert counted(growth, RUNTIME + "_count") == {labels(model_name="two", API="Predict", runtime="TF1"): 3}


def test_examples_are_counted_by_method(rest: Rest, grpc: Grpc) -> None:
    one = 'input { example_list { examples { features { feature { key: "x" value { float_list { value: 2 } } } } } } }'
    spec = 'model_spec { name: "half_plus_two" signature_name: "%s" } '
    growth = more(
        rest,
        lambda: grpc.call("Regress", spec % "regress_x_to_y" + one),
        lambda: grpc.call("Classify", spec % "classify_x_to_y" + one),
        lambda: rest.post(
            "/v1/models/half_plus_two:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 2.5}]}'
        ),
    )
    name = "half_plus_two"
    assert counted(growth, COUNT) == {labels(model_name=name, status="OK"): 3}
    assert counted(growth, LATENCY + "_count") == {
        labels(model_name=name, API="Regress", entrypoint="GRPC"): 1,
        labels(model_name=name, API="Classify", entrypoint="GRPC"): 1,
        labels(model_name=name, API="regress", entrypoint="REST"): 1,
    }
    assert counted(growth, RUNTIME + "_count") == {
        labels(model_name=name, API="Regress", runtime="TF1"): 2,
        labels(model_name=name, API="Classify", runtime="TF1"): 1,
    }


def test_every_rest_request_is_counted_under_v1(rest: Rest) -> None:
    growth = more(
        rest,
        lambda: rest.get("/v1/models/two"),
        lambda: rest.get("/v1/models/two/metadata"),
        lambda: rest.get("/v1/nothing"),
        lambda: rest.get("/elsewhere"),
    )
    assert counted(growth, COUNT) == {
        labels(model_name="two", status="OK"): 2,
        labels(model_name="", status="INVALID_ARGUMENT"): 1,
    }
    assert counted(growth, LATENCY + "_count") == {labels(model_name="two", API="", entrypoint="REST"): 2}


def test_status_metadata_and_multi_inference_over_grpc_are_not_counted(rest: Rest, grpc: Grpc) -> None:
    one = 'input { example_list { examples { features { feature { key: "x" value { float_list { value: 2 } } } } } } }'
    task = 'model_spec { name: "half_plus_two" signature_name: "regress_x_to_y" } '
    growth = more(
        rest,
        lambda: grpc.call("GetModelStatus", 'model_spec { name: "two" }'),
        lambda: grpc.call("GetModelMetadata", 'model_spec { name: "two" } metadata_field: "signature_def"'),
        lambda: grpc.call("MultiInference", f'tasks {{ {task} method_name: "tensorflow/serving/regress" }} {one}'),
    )
    assert counted(growth, COUNT) == {}
    examples = ":tensorflow:serving:request_example_count"
    assert counted(growth, examples + "_total") == {labels(model="half_plus_two"): 1}
    assert counted(growth, examples + "s_count") == {labels(model="half_plus_two"): 1}


def test_latencies_have_upstreams_buckets(rest: Rest) -> None:
    rest.predict("two", '{"instances": [2]}')
    sought = [f"{LATENCY}_bucket{{", 'model_name="two"', 'API="predict"']
    lines = [line for line in rest.get(PAGE).body.decode().splitlines() if all(part in line for part in sought)]
    bounds = [match[1] for line in lines if (match := re.search(r'le="([^"]*)"', line))]
    assert bounds == [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]
    assert len(bounds) == 34
    counts = [float(line.rpartition(" ")[2]) for line in lines]
    assert counts == sorted(counts)
    page = read(rest)
    total = next(value for name, value in page.items() if name.startswith(LATENCY + "_count{") and sought[1] in name)
    assert counts[-1] >= total > 0


def test_the_page_is_plain_text_with_types_and_without_help(rest: Rest) -> None:
    came = rest.get(PAGE)
    assert (came.status, came.headers["content-type"].split(";")[0]) == (200, "text/plain")
    text = came.body.decode()
    assert "# HELP" not in text
    assert f"# TYPE {COUNT} counter" in text
    assert f"# TYPE {LATENCY} histogram" in text
    assert f"{COUNT}_total" not in text


@pytest.mark.parametrize(
    "series", [":tensorflow:cc:saved_model:load_attempt_count{", ":tensorflow:cc:saved_model:load_latency{"]
)
def test_loads_are_on_the_page(rest: Rest, series: str) -> None:
    lines = [line for line in rest.get(PAGE).body.decode().splitlines() if line.startswith(series)]
    assert lines
    if "attempt" in series:
        assert any('status="success"' in line and "/identity/1" in line for line in lines)


def test_a_query_on_the_page_is_refused(rest: Rest) -> None:
    assert rest.get(PAGE + "?name=x").status == 400
