import math
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server import metrics
from serving.model_server.metrics import Counter, Gauge, Histogram, Metrics, page

CONTRACT = {  # TensorFlow's name -> type
    ":tensorflow:cc:saved_model:load_attempt_count": "counter",
    ":tensorflow:cc:saved_model:load_latency": "counter",
    ":tensorflow:cc:saved_model:load_latency_by_stage": "histogram",
    ":tensorflow:serving:batching_session:input_batch_size": "histogram",
    ":tensorflow:serving:batching_session:padding_size": "histogram",
    ":tensorflow:serving:batching_session:processed_batch_size": "histogram",
    ":tensorflow:serving:batching_session:queuing_latency": "histogram",
    ":tensorflow:serving:batching_session:wrapped_run_count": "counter",
    ":tensorflow:serving:mlmd_map": "gauge",
    ":tensorflow:serving:model_warmup_latency": "histogram",
    ":tensorflow:serving:model_warmup_records_read": "counter",
    ":tensorflow:serving:request_count": "counter",
    ":tensorflow:serving:request_example_count_total": "counter",
    ":tensorflow:serving:request_example_counts": "histogram",
    ":tensorflow:serving:request_latency": "histogram",
    ":tensorflow:serving:request_log_count": "counter",
    ":tensorflow:serving:runtime_latency": "histogram",
}
LATENCY_LIMITS = (
    "10 18 32.4 58.32 104.976 188.957 340.122 612.22 1102 1983.59 3570.47 6426.84 11568.3 20823 37481.3 67466.4 121440 "
    "218591 393464 708235 1.27482e+06 2.29468e+06 4.13043e+06 7.43477e+06 1.33826e+07 2.40887e+07 4.33596e+07 "
    "7.80473e+07 1.40485e+08 2.52873e+08 4.55172e+08 8.19309e+08 1.47476e+09 +Inf"
)


def series(text: str, name: str) -> dict[str, str]:
    """Label text -> value of the lines of one name."""
    return dict(re.findall(rf"^{re.escape(name)}{{(.*)}} (\S+)$", text, re.MULTILINE))


def test_before_the_first_use_the_page_has_types_and_no_series() -> None:
    lines = Metrics().exposition().decode().splitlines()
    assert lines == [f"# TYPE {name} {kind}" for name, kind in CONTRACT.items()]


def test_a_counter_is_a_type_line_and_a_line_for_each_combination_of_labels() -> None:
    counter = Counter("/tensorflow/serving/request_count", "model_name", "status")
    counter.add("taxi", "OK")
    counter.add("clicks", "NOT_FOUND")
    counter.add("clicks", "OK", by=2)
    counter.add("clicks", "OK")
    assert page([counter]).decode() == (
        "# TYPE :tensorflow:serving:request_count counter\n"
        ':tensorflow:serving:request_count{model_name="clicks",status="NOT_FOUND"} 1\n'
        ':tensorflow:serving:request_count{model_name="clicks",status="OK"} 3\n'
        ':tensorflow:serving:request_count{model_name="taxi",status="OK"} 1\n'
    )


def test_a_counter_without_labels_keeps_its_braces() -> None:
    counter = Counter("/a/b")
    counter.add()
    assert page([counter]) == b"# TYPE :a:b counter\n:a:b{} 1\n"


def test_a_histogram_is_cumulative_and_ends_with_sum_and_count() -> None:
    histogram = Histogram("/test/path/histogram", metrics.exponential(1, 2, 3), "status")
    for value in (1.5, 3, 100, 0):
        histogram.observe("good", value=value)
    assert page([histogram]).decode() == (
        "# TYPE :test:path:histogram histogram\n"
        ':test:path:histogram_bucket{status="good",le="1"} 1\n'
        ':test:path:histogram_bucket{status="good",le="2"} 2\n'
        ':test:path:histogram_bucket{status="good",le="4"} 3\n'
        ':test:path:histogram_bucket{status="good",le="+Inf"} 4\n'
        ':test:path:histogram_sum{status="good"} 104.5\n'
        ':test:path:histogram_count{status="good"} 4\n'
    )


def test_a_histogram_without_labels_has_its_limits_alone_in_braces() -> None:
    histogram = Histogram("/h", (1.0,))
    histogram.observe(value=7)
    assert page([histogram]) == (
        b'# TYPE :h histogram\n:h_bucket{le="1"} 0\n:h_bucket{le="+Inf"} 1\n:h_sum{} 7\n:h_count{} 1\n'
    )


def test_a_limit_itself_is_counted_in_the_bucket_above_as_tensorflow_does() -> None:
    histogram = Histogram("/h", metrics.exponential(1, 2, 4))
    for value in (2, 20, 200):
        histogram.observe(value=value)
    found = series(page([histogram]).decode(), ":h_bucket")
    assert found == {'le="1"': "0", 'le="2"': "0", 'le="4"': "1", 'le="8"': "1", 'le="+Inf"': "3"}


def test_latency_limits_are_those_measured_with_tensorflow() -> None:
    measured = Metrics()
    measured.request_latency.observe("m", "Predict", "GRPC", value=0)
    limits = re.findall(r'le="([^"]*)"', measured.exposition().decode())
    assert " ".join(limits) == LATENCY_LIMITS
    assert len(limits) == 34


def test_limits_of_the_other_histograms() -> None:
    used = Metrics()
    used.queuing_latency.observe("batch_threads", value=0)
    used.padding_size.observe("8", value=0)
    used.input_batch_size.observe(value=0)
    used.processed_batch_size.observe(value=0)
    used.request_example_counts.observe("m", value=0)
    text = used.exposition().decode()

    def limits(name: str) -> list[str]:
        found = series(text, f":tensorflow:serving:{name}_bucket")
        return [labels.rpartition("le=")[2].strip('"') for labels in found]

    assert (len(limits("batching_session:queuing_latency")), limits("batching_session:queuing_latency")[:3]) == (
        53,
        ["100", "120", "144"],
    )
    for name in ("padding_size", "input_batch_size", "processed_batch_size"):
        assert limits(f"batching_session:{name}") == [*(f"{2**i}" for i in range(14)), "+Inf"]
    assert limits("request_example_counts") == [*(f"{2**i}" for i in range(15)), "+Inf"]


def test_labels_have_tf_servings_names() -> None:
    used = Metrics()
    used.request_count.add("m", "OK")
    used.request_latency.observe("m", "predict", "REST", value=1)
    used.runtime_latency.observe("m", "Predict", "TF1", value=1)
    used.request_example_counts.observe("m", value=1)
    used.request_example_count_total.add("m", by=3)
    used.request_log_count.add("m", "OK")
    used.model_warmup_latency.observe("/m/1", "OK", value=1)
    used.model_warmup_records_read.add("/m/1", "OK", by=2)
    used.queuing_latency.observe("pool", value=1)
    used.wrapped_run_count.add()
    used.padding_size.observe("8", value=1)
    used.input_batch_size.observe(value=1)
    used.processed_batch_size.observe(value=1)
    used.mlmd_map.set("m", "1", value="b6c7")
    used.load_attempt_count.add("/m/1", "success")
    used.load_latency.add("/m/1", by=1500)
    used.load_latency_by_stage.observe("/m/1", "init_graph", value=1)
    text = used.exposition().decode()
    assert {
        name: re.sub('"[^"]*"', '""', next(iter(series(text, name + ("_sum" if kind == "histogram" else "")))))
        for name, kind in CONTRACT.items()
    } == {
        ":tensorflow:cc:saved_model:load_attempt_count": 'model_path="",status=""',
        ":tensorflow:cc:saved_model:load_latency": 'model_path=""',
        ":tensorflow:cc:saved_model:load_latency_by_stage": 'model_path="",stage=""',
        ":tensorflow:serving:batching_session:input_batch_size": "",
        ":tensorflow:serving:batching_session:padding_size": 'execution_batch_size=""',
        ":tensorflow:serving:batching_session:processed_batch_size": "",
        ":tensorflow:serving:batching_session:queuing_latency": 'thread_pool_name=""',
        ":tensorflow:serving:batching_session:wrapped_run_count": "",
        ":tensorflow:serving:mlmd_map": 'model_name="",version=""',
        ":tensorflow:serving:model_warmup_latency": 'model_path="",status=""',
        ":tensorflow:serving:model_warmup_records_read": 'model_path="",status=""',
        ":tensorflow:serving:request_count": 'model_name="",status=""',
        ":tensorflow:serving:request_example_count_total": 'model=""',
        ":tensorflow:serving:request_example_counts": 'model=""',
        ":tensorflow:serving:request_latency": 'model_name="",API="",entrypoint=""',
        ":tensorflow:serving:request_log_count": 'model_name="",status_code=""',
        ":tensorflow:serving:runtime_latency": 'model_name="",API="",runtime=""',
    }


def test_a_gauge_shows_the_last_number_and_texts_as_0() -> None:
    gauge = Gauge("/g", "x")
    gauge.set("text", value="b6c7")
    gauge.set("number", value=1)
    gauge.set("number", value=5)
    assert page([gauge]) == b'# TYPE :g gauge\n:g{x="number"} 5\n:g{x="text"} 0\n'
    assert (gauge.value("text"), gauge.value("number"), gauge.value("none")) == ("b6c7", 5, None)


def test_names_are_made_fit_for_prometheus() -> None:
    counter = Counter("0/path-total_count", "my-name+1", "1st")
    counter.add("abc", "x")
    assert page([counter]) == b'# TYPE _0:path:total_count counter\n_0:path:total_count{my_name_1="abc",_1st="x"} 1\n'


def test_label_values_are_escaped() -> None:
    counter = Counter("/c", "name")
    counter.add('"abc\\"\nd')
    counter.add("\udcff é")
    assert page([counter]).decode().splitlines()[1:] == [':c{name="\\"abc\\\\\\"\\nd"} 1', ':c{name="? é"} 1']


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.25, 0.5], "0.75"),
        ([1_234_567_890_123], "1234567890123"),
        ([-3], "-3"),
        ([math.inf], "inf"),
        ([math.nan], "nan"),
        ([1e300], "1e+300"),
    ],
)
def test_sums_keep_all_their_digits(values: list[float], text: str) -> None:
    histogram = Histogram("/h", (1.0,))
    for value in values:
        histogram.observe(value=value)
    assert series(page([histogram]).decode(), ":h_sum") == {"": text}


def test_a_wrong_number_of_labels_is_a_defect_that_shows() -> None:
    used = Metrics()
    with pytest.raises(ValueError, match="request_count has the labels"):
        used.request_count.add("m")
    with pytest.raises(ValueError, match="request_latency has the labels"):
        used.request_latency.observe("m", "Predict", value=1)
    with pytest.raises(ValueError, match="mlmd_map has the labels"):
        used.mlmd_map.set(value=1)
    assert used.exposition() == Metrics().exposition()


def test_names_that_clients_make_up_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 3)
    counter, histogram, gauge = Counter("/c", "x"), Histogram("/h", (1.0,), "x"), Gauge("/g", "x")
    for number in range(10):
        counter.add(f"{number}")
        histogram.observe(f"{number}", value=0)
        gauge.set(f"{number}", value=number)
    counter.add("0")
    text = page([counter, histogram, gauge]).decode()
    assert series(text, ":c") == {'x="(other)"': "7", 'x="0"': "2", 'x="1"': "1", 'x="2"': "1"}
    assert series(text, ":h_count") == {'x="(other)"': "7", 'x="0"': "1", 'x="1"': "1", 'x="2"': "1"}
    assert series(text, ":g") == {'x="(other)"': "9", 'x="0"': "0", 'x="1"': "1", 'x="2"': "2"}


def test_no_count_is_lost_between_threads_and_every_page_is_consistent() -> None:
    used = Metrics()
    begin = threading.Barrier(5)

    def count() -> None:
        begin.wait()
        for number in range(2000):
            used.request_count.add(f"m{number % 3}", "OK")
            used.request_latency.observe("m", "predict", "REST", value=number)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin.wait()
    for _ in range(20):
        text = used.exposition().decode()
        total = series(text, ":tensorflow:serving:request_latency_count").values()
        last = [line for line in text.splitlines() if "request_latency_bucket" in line and '"+Inf"' in line]
        assert [line.split()[-1] for line in last] == list(total)
    for thread in threads:
        thread.join()
    text = used.exposition().decode()
    assert sum(int(value) for value in series(text, ":tensorflow:serving:request_count").values()) == 8000
    sums = series(text, ":tensorflow:serving:request_latency_sum")
    assert list(sums.values()) == [str(4 * sum(range(2000)))]


@given(st.lists(st.tuples(st.text(), st.floats()), max_size=20))
def test_any_label_and_any_value_gives_a_page_of_well_formed_lines(observed: list[tuple[str, float]]) -> None:
    histogram, counter = Histogram("/h", metrics.MICROSECONDS, "x"), Counter("/c", "x")
    for label, value in observed:
        histogram.observe(label, value=value)
        counter.add(label)
    for line in page([histogram, counter]).decode().removesuffix("\n").split("\n"):
        assert re.fullmatch(r'# TYPE :\w \w+|:\w\w*\{x="(?:[^"\\\n]|\\.)*"(?:,le="[^"]+")?\} \S+', line), line
