"""The serving check: what a model must show in a fresh process, and what each fault is called."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.serving_check.check import check, compare, judge_latency
from components.serving_check.probe_process import ProbeError, probe
from components.serving_check.raw_records import columns
from serving.probe.measure import measure
from serving.probe.request import Records, Request
from tests.serving import small_model

AMPLE = {1: 60_000.0, 64: 60_000.0}  # milliseconds: where the speed is not what is tested


@pytest.fixture(scope="module")
def records() -> Records:
    serialized = small_model.examples(80)
    return Records(serialized, columns(serialized, small_model.schema()))


def test_a_whole_model_passes_with_every_number(model_with: Callable[[str], Path], records: Records) -> None:
    report = check(str(model_with("")), records, AMPLE)
    assert report.passed, report.reasons
    assert report.numbers["records"] == 80
    for signature in ("serving_default", "serving_examples"):
        score = report.numbers["signatures"][signature]["score"]
        assert score["largest_difference"] <= 1e-6
        assert score["not_finite"] == 0
    assert report.numbers["latency_ms"]["64"]["calls"] >= 200
    assert report.numbers["latency_ms"]["1"]["budget_p99"] == 60_000.0


def test_a_model_that_cannot_be_loaded_is_a_failed_check_with_the_last_words(
    model_with: Callable[[str], Path], records: Records
) -> None:
    (reason,) = check(str(model_with("truncated")), records, AMPLE).reasons
    assert reason.startswith("the model could not be asked: the fresh process ended with exit code 1; its last words: ")
    assert "variables" in reason


def in_this_process(model_dir: str, request: Request, timeout_s: float) -> dict[str, Any]:
    """Saves the start of a process where the process is not what is tested."""
    return measure(model_dir, request)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("drifts", None),
        ("differs", "serving_default, score: answers differ from the evaluation's by up to 0.001; 1e-06 is allowed"),
        ("nan", r"serving_default, score: \d+ answers are NaN or infinite"),
        ("infinite", r"serving_examples, score: \d+ answers are NaN or infinite"),
        ("renamed", r"serving_default answers \['probability'\]; the evaluation judged \['score'\]"),
    ],
)
def test_wrong_answers_fail_the_check_and_say_how(
    model_with: Callable[[str], Path], records: Records, fault: str, reason: str | None
) -> None:
    report = check(str(model_with(fault)), records, AMPLE, ask=in_this_process)
    assert report.passed == (reason is None)
    assert re.search(reason or "", "\n".join(report.reasons)), report.reasons
    json.dumps(report.numbers, allow_nan=False)


def test_a_model_over_its_latency_budget_fails_and_only_for_that(
    model_with: Callable[[str], Path], records: Records
) -> None:
    budget = {1: 0.5, 64: 60_000.0}  # milliseconds; 20 products of 256 x 256 take longer than the first
    report = check(str(model_with("slow")), records, budget, ask=in_this_process)
    (reason,) = report.reasons
    assert re.fullmatch(r"p99 at batch 1 is [\d.]+ ms; the task's budget is 0\.5 ms", reason)
    assert report.numbers["latency_ms"]["1"]["p50"] > 0.5


def scores(*values: float) -> dict[str, Any]:
    return {"score": np.array(values, np.float32)[:, None]}


def reasons_of(raw: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    return compare({"serving_default": raw, "serving_examples": expected}, expected)[0]


def test_answers_within_the_tolerance_are_the_same_and_those_beyond_are_not() -> None:
    assert reasons_of(scores(0.5, 0.25), scores(0.5 + 9e-7, 0.25)) == []
    assert reasons_of(scores(0.5, 0.25), scores(0.5 + 2e-6, 0.25)) != []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails_even_where_both_sides_say_it(bad: float) -> None:
    both = reasons_of(scores(bad, 0.5), scores(bad, 0.5))
    assert both[0] == "serving_default, score: 1 answers are NaN or infinite (in the evaluation 1)"
    assert reasons_of(scores(0.5, 0.5), scores(bad, 0.5)) != []
    assert reasons_of(scores(bad, 0.5), scores(0.5, 0.5)) != []


def test_another_output_or_another_shape_fails() -> None:
    (reason,) = reasons_of({"probability": scores(0.5)["score"]}, scores(0.5))
    assert reason == "serving_default answers ['probability']; the evaluation judged ['score']"
    (reason,) = reasons_of({"score": np.zeros(2, np.float32)}, scores(0.0, 0.0))
    assert reason == "serving_default, score: shape [2], the evaluation's is [2, 1]"


def test_outputs_that_are_no_numbers_must_be_equal() -> None:
    words = {"classes": np.array([b"a", b"b"], object)}
    assert reasons_of(words, words) == []
    (reason,) = reasons_of({"classes": np.array([b"a", b"c"], object)}, words)
    assert reason == "serving_default, classes: 1 answers differ from the evaluation's"


def test_a_latency_on_the_budget_passes_and_one_above_does_not() -> None:
    measured = {"1": {"p50": 1.0, "p99": 2.0, "calls": 200}}
    assert judge_latency(measured, {1: 2.0})[0] == []
    reasons, numbers = judge_latency(measured, {1: 1.9})
    assert reasons == ["p99 at batch 1 is 2 ms; the task's budget is 1.9 ms"]
    assert numbers == {"1": {"p50": 1.0, "p99": 2.0, "calls": 200, "budget_p99": 1.9}}


def asked(records: Records, program: str, timeout_s: float) -> str:
    with pytest.raises(ProbeError) as caught:
        probe("model", Request(records), timeout_s, (sys.executable, "-c", program))
    return str(caught.value)


def test_a_probe_that_is_killed_is_a_failure_with_its_last_words(records: Records) -> None:
    program = "import os, sys; print('the last thing I saw', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    assert (
        asked(records, program, 60) == "the fresh process was killed by SIGKILL; its last words: the last thing I saw"
    )


def test_a_probe_that_hangs_is_ended_with_its_children(records: Records, tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '600'])\n"
        f"print(child.pid, file=open({str(tmp_path / 'pid')!r}, 'w'), flush=True)\n"
        "print('waiting', file=sys.stderr, flush=True); child.wait()"
    )
    began = time.monotonic()
    assert asked(records, program, 3) == "no answer within 3 s; its last words: waiting"
    assert time.monotonic() - began < 60
    state = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_a_probe_that_answers_nonsense_is_a_failure(records: Records) -> None:
    assert (
        asked(records, "print('hello')", 60) == "the fresh process ended well and answered 'hello\\n'; it said nothing"
    )
    assert "answered ''" in asked(records, "pass", 60)


def test_the_probe_finds_the_project_wherever_it_is_started(
    model_with: Callable[[str], Path], records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "PYTHONPATH", "")
    program = "import json, os, serving.probe; print(json.dumps({'path': os.environ['PYTHONPATH']}))"
    answer = probe("model", Request(records), 60, (sys.executable, "-S", "-c", program))
    assert Path(answer["path"]).joinpath("serving", "probe").is_dir()
