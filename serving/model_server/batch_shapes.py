"""Requests as one batch and its outputs as their answers: what happens to the arrays, in a batch thread.

Concatenation, the padding of batches to allowed sizes and of inputs to one shape, the cutting of outputs, and the texts
of what cannot be batched are those of TF Serving's BatchingSession. Where it reads memory wrongly (requests whose
inputs differ in dtype, or in rank where shapes are padded), requests that are alike run together, others apart.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.servable import Feeds, Fetches, Session
from serving.model_server.signature import Array
from serving.status import Code, StatusError, from_exception

Outcome = list[Array] | StatusError  # of one request: its outputs in the order of the fetches, or why there are none


@dataclass(frozen=True)
class BatchRun:
    """One run of a batch, for the metrics.

    Attributes:
        rows: of the batch as the session saw it, padding included.
        padding: rows of those that nobody asked for.
        ran: False where the requests could not be merged, so that the session was not asked.
    """

    rows: int
    padding: int
    ran: bool


class UnlikeError(Exception):
    """Requests that no one batch can hold: their inputs differ in dtype, or in rank where shapes are padded."""


def row_count(feeds: Feeds) -> int:
    """Dimension 0, which the inputs of a request share.

    Raises:
        StatusError: INVALID_ARGUMENT, if there is no input, one is a scalar, or they disagree.
    """
    try:
        counts = set(map(len, feeds.values()))
    except TypeError:
        message = "Batching Run() input tensors must have at least one dimension"
        raise StatusError(Code.INVALID_ARGUMENT, message) from None
    if len(counts) == 1:
        return counts.pop()
    if counts:
        raise StatusError(Code.INVALID_ARGUMENT, "Batching Run() input tensors must have equal 0th-dimension size")
    raise StatusError(Code.INVALID_ARGUMENT, "Batching Run() must have at least one input tensor")


def slices(rows: Sequence[int]) -> list[slice]:
    """Where each of consecutive pieces of so many rows lies in their concatenation."""
    ends = list(accumulate(rows))
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def execute(
    session: Session, requests: Sequence[Feeds], rows: Sequence[int], fetches: Fetches, parameters: BatchingParameters
) -> tuple[list[Outcome], list[BatchRun]]:
    """Runs requests as one batch; does not raise.

    Args:
        session: what runs.
        requests: one or more, all with the same tensor names.
        rows: of each request.
        fetches: tensor names.
        parameters: the allowed batch sizes, and whether shapes are padded.

    Returns:
        the outcome of each request, and the runs: one, or as many as there are kinds of requests.
    """
    try:
        outcomes, run = _execute_alike(session, requests, rows, fetches, parameters)
        return outcomes, [run]
    except UnlikeError:
        apart: list[Outcome] = [StatusError(Code.INTERNAL, "not run")] * len(requests)
        runs = []
        for group in alike(requests):
            outcomes, run = _execute_alike(
                session, [requests[number] for number in group], [rows[number] for number in group], fetches, parameters
            )
            runs.append(run)
            for number, outcome in zip(group, outcomes, strict=True):
                apart[number] = outcome
        return apart, runs


def _execute_alike(
    session: Session, requests: Sequence[Feeds], rows: Sequence[int], fetches: Fetches, parameters: BatchingParameters
) -> tuple[list[Outcome], BatchRun]:
    asked = sum(rows)
    # Nothing can be repeated where there is no row.
    padding = allowed_rows(asked, parameters.allowed_batch_sizes) - asked if asked else 0
    ran = False
    outcomes: list[Outcome] = []
    try:
        feeds = merge(requests, padding, parameters.pad_variable_length_inputs)
        ran = True
        outcomes += split(session.run(feeds, fetches), rows, padding)
    except UnlikeError:
        raise
    except Exception as error:  # the runtime's refusal or a defect: either is the answer of each request
        failure = from_exception(error)
        failure.__cause__ = error if failure is not error else None
        outcomes = [failure] * len(requests)
    return outcomes, BatchRun(asked + padding, padding, ran)


def allowed_rows(rows: int, allowed: Sequence[int]) -> int:
    """The least of the ascending allowed sizes that holds so many rows; `rows` itself if there is none."""
    place = bisect.bisect_left(allowed, rows)
    return allowed[place] if place < len(allowed) else rows


def merge(requests: Sequence[Feeds], padding: int, pad_shapes: bool) -> Feeds:
    """The requests' inputs, concatenated on dimension 0.

    Args:
        requests: one or more, all with the same tensor names.
        padding: rows to add, as copies of the last request's first row; not 0 only if there is a row.
        pad_shapes: inputs whose other dimensions differ are filled up at their ends with their own first element.

    Raises:
        UnlikeError: dtypes differ, or ranks where shapes are to be padded.
        StatusError: FAILED_PRECONDITION, if shapes differ and are not to be padded; INVALID_ARGUMENT, if an input to be
            padded is empty.
    """
    if len(requests) == 1 and not padding:
        return requests[0]
    return {name: _concatenated(name, [feeds[name] for feeds in requests], padding, pad_shapes) for name in requests[0]}


def _concatenated(name: str, arrays: list[Array], padding: int, pad_shapes: bool) -> Array:
    try:
        # NumPy compares the shapes; in the usual case, where they agree, nothing else has to look at them.
        return np.concatenate(_with_rows(arrays, padding), casting="no")
    except TypeError as error:
        raise UnlikeError from error
    except ValueError:
        if not pad_shapes:
            message = (
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
                "have equal dimensions starting with the first dim."
            )  # blanks are missing upstream, too
            raise StatusError(Code.FAILED_PRECONDITION, message) from None
    if len({array.ndim for array in arrays}) > 1 or len({array.dtype for array in arrays}) > 1:
        raise UnlikeError
    shape = np.max([array.shape for array in arrays], axis=0)
    return np.concatenate(_with_rows([_padded(array, shape) for array in arrays], padding), casting="no")


def _with_rows(arrays: list[Array], padding: int) -> list[Array]:
    if not padding:
        return arrays
    row = next(array[:1] for array in reversed(arrays) if len(array))
    return [*arrays, np.broadcast_to(row, (padding, *row.shape[1:]))]


def _padded(array: Array, shape: Array) -> Array:
    missing = shape - array.shape
    missing[0] = 0
    if not missing.any():
        return array
    if not array.size:
        raise StatusError(Code.INVALID_ARGUMENT, "Got empty tensor in batch of non-empty tensors.")
    padded: Array = np.full(missing + array.shape, array.flat[0], array.dtype)
    padded[tuple(slice(size) for size in array.shape)] = array
    return padded


def split(outputs: Sequence[Array], rows: Sequence[int], padding: int) -> list[list[Array]]:
    """The outputs of a batch, cut into those of each request; rows of padding at the end are dropped.

    Raises:
        StatusError: FAILED_PRECONDITION, if an output is a scalar or has another dimension 0 than the batch.
    """
    expected = sum(rows) + padding
    for output in outputs:
        shape = np.shape(output)  # a string scalar comes out of the session as bytes
        if not shape:
            raise StatusError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if shape[0] != expected:
            message = (
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors"
            )
            raise StatusError(Code.FAILED_PRECONDITION, message)
    if len(rows) == 1 and not padding:
        return [list(outputs)]
    places = slices(rows)
    return [[output[place] for output in outputs] for place in places]


def alike(requests: Sequence[Feeds]) -> list[list[int]]:
    """The numbers of the requests in groups whose inputs have the same dtypes and ranks."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, feeds in enumerate(requests):
        kind = tuple((feeds[name].dtype, feeds[name].ndim) for name in requests[0])
        groups.setdefault(kind, []).append(number)
    return list(groups.values())
