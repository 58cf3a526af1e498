"""Asks a loaded model: every record through both serving signatures, then the same batch again and again."""

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from serving.probe.model import Ask, LoadedModel
from serving.probe.request import Array, Records, Request, to_plain
from serving.probe.signature import EXAMPLES, UnfitError, fit

ROUNDS = 3
RAW, SERIALIZED = "serving_default", "serving_examples"


def measure(directory: str, request: Request) -> dict[str, Any]:
    """Load and ask. Returns what the probe prints:

    load_s: seconds; answers: signature -> output -> array (see request.to_plain), records in their order;
    latency_ms: batch size (text) -> {p50, p99, calls} of calls of serving_default, in the quickest of three rounds.

    Raises:
        UnfitError: the model lacks a signature, takes something else, or answers not one row a record.
        Exception: whatever TensorFlow says of a model that cannot be loaded or run.
    """
    began = time.perf_counter()
    model = LoadedModel(directory)
    load_s = time.perf_counter() - began
    raw, serialized = model.signature(RAW), model.signature(SERIALIZED)
    wanted = model.inputs(RAW)
    if set(model.inputs(SERIALIZED)) != {EXAMPLES}:
        raise UnfitError(f"signature {SERIALIZED} takes {sorted(model.inputs(SERIALIZED))}; expected only {EXAMPLES}")
    records = request.records
    answers = {
        RAW: _ask_groups(raw, records, model),
        SERIALIZED: _one_row_each(serialized({EXAMPLES: records.serialized}), len(records.serialized), SERIALIZED),
    }
    latency_ms = {}
    for size in request.batch_sizes:
        columns = fit(records.largest_group.batch(size), wanted, RAW)
        rounds = [
            timed(partial(raw, columns), request.calls, 0 if again else request.warm_up_calls)
            for again in range(ROUNDS)
        ]
        # What other processes of this machine did meanwhile is not the model's: the least disturbed round counts.
        latency_ms[str(size)] = min(rounds, key=lambda one: one["p99"])
    plain = {name: {key: to_plain(array) for key, array in output.items()} for name, output in answers.items()}
    return {"load_s": load_s, "answers": plain, "latency_ms": latency_ms}


def timed(call: Callable[[], object], calls: int, warm_up_calls: int) -> dict[str, float]:
    """p50 and p99 of `calls` calls in milliseconds, each a call that took place (no interpolation), after a warm-up."""
    for _ in range(warm_up_calls):
        call()
    gc.collect()
    gc.disable()  # the server that the budget is for has no collector
    try:
        marks = np.empty(calls + 1, np.int64)
        marks[0] = time.perf_counter_ns()
        for number in range(calls):
            call()
            marks[number + 1] = time.perf_counter_ns()
    finally:
        gc.enable()
    p50, p99 = np.percentile(np.diff(marks) / 1e6, [50, 99], method="higher")
    return {"p50": float(p50), "p99": float(p99), "calls": calls}


def _ask_groups(ask: Ask, records: Records, model: LoadedModel) -> dict[str, Array]:
    """The answers to the raw columns, one group of records a call, in the order of the records."""
    wanted = model.inputs(RAW)
    parts = [_one_row_each(ask(fit(group, wanted, RAW)), len(group.rows), RAW) for group in records.groups]
    order = np.argsort(np.concatenate([group.rows for group in records.groups]))
    try:
        return {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}
    except ValueError as error:
        raise UnfitError(f"signature {RAW} answers differently shaped rows to different records: {error}") from error


def _one_row_each(answer: dict[str, Array], rows: int, name: str) -> dict[str, Array]:
    for key, array in answer.items():
        if array.shape[:1] != (rows,):
            raise UnfitError(
                f"signature {name} answers {key} of shape {list(array.shape)} to {rows} records: expected a row each"
            )
    return answer
