"""Judges a model by what a fresh process answers: the same as the evaluation path, finite, within the budget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.serving_check.probe_process import ProbeError, probe
from serving.probe.measure import RAW, SERIALIZED
from serving.probe.request import Array, Records, Request, from_plain

TOLERANCE = 1e-6  # largest difference of two answers to one record, absolute; scores are probabilities
MOST_RECORDS = 1000
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Report:
    """Whether the model may be pushed, why not, and every number that was seen.

    Attributes:
        reasons: what is wrong, one sentence each; empty for a model that passed.
        numbers: see `check`; fewer where a step before could not be done.
    """

    reasons: tuple[str, ...]
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.reasons


def check(
    model_dir: str,
    records: Records,
    budget_p99_ms: Mapping[int, float],
    timeout_s: float = TIMEOUT_S,
    ask: Callable[[str, Request, float], dict[str, Any]] = probe,
) -> Report:
    """Load the model in a fresh process, ask it with the records, compare and judge. Never raises for a bad model.

    The evaluation path is what TFMA does: signature `serving_examples` of the model loaded by TF2 in this process, on
    the serialized records. With it are compared the fresh process's answers to raw columns and to serialized records.

    Args:
        model_dir: of a SavedModel.
        records: at least one.
        budget_p99_ms: batch size -> the largest p99 that passes, in milliseconds, for `serving_default`.
        timeout_s: for all that the fresh process does.
        ask: (model_dir, request, timeout_s) -> as `serving.probe.measure`; raises ProbeError.

    Returns:
        A Report whose numbers are: records, load_s, latency_ms (batch size -> p50, p99, calls, budget_p99), and for
        each signature and output largest_difference and not_finite (how many of the fresh process's answers).
    """
    numbers: dict[str, Any] = {"records": len(records.serialized), "tolerance": TOLERANCE}
    try:
        seen = ask(model_dir, Request(records, tuple(sorted(budget_p99_ms))), timeout_s)
    except ProbeError as error:
        return Report((f"the model could not be asked: {error}",), numbers)
    try:
        expected = evaluation_answers(model_dir, records.serialized)
    except Exception as error:  # any: it is the model that is judged here, not this code
        return Report((f"the model answers no evaluation: {type(error).__name__}: {error}",), numbers)
    answers = {
        name: {output: from_plain(array) for output, array in outputs.items()}
        for name, outputs in seen["answers"].items()
    }
    reasons, compared = compare(answers, expected)
    late, latency_ms = judge_latency(seen["latency_ms"], budget_p99_ms)
    numbers |= {"load_s": seen["load_s"], "signatures": compared, "latency_ms": latency_ms}
    return Report(tuple(reasons + late), numbers)


def evaluation_answers(model_dir: str, serialized: Array) -> dict[str, Array]:
    """Output name -> answers of `serving_examples`, as the evaluation asks it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(model_dir)
    answers = loaded.signatures[SERIALIZED](examples=tf.constant(serialized, tf.string))
    return {name: tensor.numpy() for name, tensor in answers.items()}


def compare(
    answers: Mapping[str, Mapping[str, Array]], expected: Mapping[str, Array]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """What is wrong with the answers of each signature, and the numbers: signature -> output -> its differences."""
    reasons, numbers = [], {}
    for signature in (RAW, SERIALIZED):
        got = answers[signature]
        if set(got) != set(expected):
            reasons.append(f"{signature} answers {sorted(got)}; the evaluation judged {sorted(expected)}")
        numbers[signature] = {name: _compared(got[name], expected[name]) for name in sorted(set(got) & set(expected))}
        for name, one in numbers[signature].items():
            reasons += _wrong(f"{signature}, {name}", one)
    return reasons, numbers


def judge_latency(
    measured: Mapping[str, Mapping[str, float]], budget_p99_ms: Mapping[int, float]
) -> tuple[list[str], dict[str, dict[str, float]]]:
    """What is too slow, and the numbers with their budgets: batch size (text) -> p50, p99, calls, budget_p99."""
    numbers = {str(size): {**measured[str(size)], "budget_p99": budget} for size, budget in budget_p99_ms.items()}
    return [
        f"p99 at batch {size} is {one['p99']:.3g} ms; the task's budget is {one['budget_p99']:g} ms"
        for size, one in numbers.items()
        if not one["p99"] <= one["budget_p99"]
    ], numbers


def _compared(got: Array, expected: Array) -> dict[str, Any]:
    if got.shape != expected.shape:
        return {"shape": list(got.shape), "expected_shape": list(expected.shape)}
    if got.dtype.kind != "f":
        return {"different": int(np.count_nonzero(got != expected)), "not_finite": 0}
    wide, other = got.astype(np.float64), expected.astype(np.float64)
    both = np.isfinite(wide) & np.isfinite(other)
    differences = np.abs(np.subtract(wide, other, where=both, out=np.zeros_like(wide)))
    return {
        "largest_difference": float(differences.max(initial=0.0)),
        "not_finite": int(np.count_nonzero(~np.isfinite(wide))),
        "not_finite_in_evaluation": int(np.count_nonzero(~np.isfinite(other))),
    }


def _wrong(where: str, one: Mapping[str, Any]) -> list[str]:
    if "shape" in one:
        return [f"{where}: shape {one['shape']}, the evaluation's is {one['expected_shape']}"]
    reasons = []
    if one["not_finite"] or one.get("not_finite_in_evaluation"):
        count, judged = one["not_finite"], one.get("not_finite_in_evaluation")
        reasons.append(f"{where}: {count} answers are NaN or infinite (in the evaluation {judged})")
    if one.get("different"):
        reasons.append(f"{where}: {one['different']} answers differ from the evaluation's")
    if one.get("largest_difference", 0.0) > TOLERANCE:
        largest = one["largest_difference"]
        reasons.append(
            f"{where}: answers differ from the evaluation's by up to {largest:.3g}; {TOLERANCE:g} is allowed"
        )
    return reasons
