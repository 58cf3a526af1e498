from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serving.model_server.batch_shapes import UnlikeError, alike, allowed_rows, execute, merge, row_count, slices, split
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.servable import Feeds
from serving.model_server.signature import Array
from serving.status import Code, StatusError
from tests.serving.model_server.batching_fakes import Model

DIFFERENT_SHAPES = (
    "Tensors with name 'x:0' from different tasks have different shapes and padding is turned off.Set "
    "pad_variable_length_inputs to true, or ensure that all tensors with the same namehave equal dimensions starting "
    "with the first dim."
)


def feeds(**inputs: Any) -> Mapping[str, Array]:
    return {f"{name}:0": np.asarray(value) for name, value in inputs.items()}


def test_the_rows_of_a_request_are_the_first_dimension_of_its_inputs() -> None:
    assert row_count(feeds(a=[1, 2], b=[[1], [2]], c=[b"x", b"y"])) == 2
    assert row_count(feeds(a=np.zeros((0, 3)))) == 0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        ({"a": 1.0}, "Batching Run() input tensors must have at least one dimension"),
        ({"a": [1.0], "b": b"text"}, "Batching Run() input tensors must have at least one dimension"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "Batching Run() input tensors must have equal 0th-dimension size"),
    ],
)
def test_a_request_without_rows_in_common_is_refused(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(StatusError) as refused:
        row_count(feeds(**inputs))
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, message)


def test_batches_grow_to_the_next_allowed_size() -> None:
    assert [allowed_rows(rows, (2, 4, 8)) for rows in (1, 2, 3, 4, 5, 8)] == [2, 2, 4, 4, 8, 8]
    assert allowed_rows(5, ()) == 5
    assert allowed_rows(9, (2, 4, 8)) == 9


def test_one_request_is_its_own_batch_and_nothing_is_copied() -> None:
    request = feeds(x=[1, 2])
    assert merge([request], 0, False) is request
    outputs = [np.array([1, 2])]
    assert split(outputs, [2], 0)[0][0] is outputs[0]


def test_padding_repeats_the_first_row_of_the_last_request_that_has_one() -> None:
    merged = merge([feeds(x=[[1], [2]]), feeds(x=[[3], [4]]), feeds(x=np.zeros((0, 1), int))], 2, False)
    assert merged["x:0"].tolist() == [[1], [2], [3], [4], [3], [3]]


def test_strings_are_merged_as_objects() -> None:
    merged = merge([feeds(x=np.array([b"a", b"long"], object)), feeds(x=np.array([b"bc"], object))], 1, False)
    assert merged["x:0"].dtype == object
    assert merged["x:0"].tolist() == [b"a", b"long", b"bc", b"bc"]


@pytest.mark.parametrize("second", [[[1, 2, 3]], [1], [[[1, 2]]]])
def test_different_shapes_are_refused_without_padding(second: Any) -> None:
    with pytest.raises(StatusError) as refused:
        merge([feeds(x=[[1, 2]]), feeds(x=second)], 0, False)
    assert (refused.value.code, refused.value.message) == (Code.FAILED_PRECONDITION, DIFFERENT_SHAPES)


def test_shapes_are_padded_with_the_first_element_of_each_input() -> None:
    merged = merge([feeds(x=[[7, 8]]), feeds(x=[[1, 2, 3], [4, 5, 6]])], 1, True)
    assert merged["x:0"].tolist() == [[7, 8, 7], [1, 2, 3], [4, 5, 6], [1, 2, 3]]
    deep = merge([feeds(x=[[[b"a"], [b"b"]]]), feeds(x=[[[b"c", b"d"]]])], 0, True)
    assert deep["x:0"].tolist() == [[[b"a", b"a"], [b"b", b"a"]], [[b"c", b"d"], [b"c", b"c"]]]


def test_an_empty_input_cannot_be_padded() -> None:
    with pytest.raises(StatusError) as refused:
        merge([feeds(x=np.zeros((1, 0))), feeds(x=np.zeros((1, 2)))], 0, True)
    message = "Got empty tensor in batch of non-empty tensors."
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, message)


def test_requests_of_different_dtypes_do_not_merge() -> None:
    for one, other in ((np.float32, np.float64), (np.int32, np.int64), (object, np.int64), (bool, np.float32)):
        with pytest.raises(UnlikeError):
            merge([feeds(x=np.zeros(1, one)), feeds(x=np.zeros(1, other))], 0, False)


def test_requests_of_different_ranks_do_not_merge_even_padded() -> None:
    with pytest.raises(UnlikeError):
        merge([feeds(x=[[1, 2]]), feeds(x=[1])], 0, True)


def test_requests_group_by_the_dtypes_and_ranks_of_their_inputs() -> None:
    whole, real, deep = feeds(x=[1], y=[1]), feeds(x=[1], y=[1.0]), feeds(x=[[1]], y=[1])
    assert alike([whole, real, whole, deep, real]) == [[0, 2], [1, 4], [3]]


@pytest.mark.parametrize("output", [np.float32(3), b"text", np.array(3)])
def test_an_output_without_dimensions_is_refused(output: Any) -> None:
    with pytest.raises(StatusError) as refused:
        split([output], [1], 0)
    message = "Batched output tensor has 0 dimensions"
    assert (refused.value.code, refused.value.message) == (Code.FAILED_PRECONDITION, message)


def test_an_output_with_other_rows_than_the_batch_is_refused() -> None:
    with pytest.raises(StatusError) as refused:
        split([np.zeros(3), np.zeros(2)], [1, 1], 1)
    assert refused.value.code == Code.FAILED_PRECONDITION
    assert refused.value.message == (
        "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors"
    )


def test_a_signature_without_outputs_has_answers_without_outputs() -> None:
    assert split([], [1, 2], 0) == [[], []]


def test_a_request_of_another_dtype_fails_alone() -> None:
    def floats_only(fed: Feeds) -> dict[str, Array]:
        if fed["x:0"].dtype != np.float32:
            raise StatusError(Code.INVALID_ARGUMENT, "Expects arg[0] to be float but double is provided")
        return {"y:0": fed["x:0"] * 2}

    model = Model(floats_only)
    requests = [feeds(x=np.array(values, dtype)) for values, dtype in (([1], "f4"), ([2, 3], "f8"), ([4], "f4"))]
    parameters = BatchingParameters(max_batch_size=4, allowed_batch_sizes=(3, 4))
    (first, second, third), runs = execute(model, requests, [1, 2, 1], ("y:0",), parameters)
    assert isinstance(first, list)
    assert isinstance(third, list)
    assert isinstance(second, StatusError)
    assert (first[0].tolist(), third[0].tolist(), second.code) == ([2], [8], Code.INVALID_ARGUMENT)
    assert [(run.rows, run.padding, run.ran) for run in runs] == [(3, 1, True), (3, 1, True)]


def test_a_defect_is_an_internal_error_that_names_its_cause() -> None:
    def broken(fed: Feeds) -> dict[str, Array]:
        raise KeyError("oops")

    outcomes, (run,) = execute(Model(broken), [feeds(x=[1])] * 2, [1, 1], ("y:0",), BatchingParameters())
    assert run.ran
    for outcome in outcomes:
        assert isinstance(outcome, StatusError)
        assert outcome.code == Code.INTERNAL
        assert isinstance(outcome.__cause__, KeyError)


def test_what_cannot_be_merged_is_no_run_of_the_session() -> None:
    model = Model()
    outcomes, (run,) = execute(model, [feeds(x=[[1]]), feeds(x=[[1, 2]])], [1, 1], ("y:0",), BatchingParameters())
    assert [outcome.code for outcome in outcomes if isinstance(outcome, StatusError)] == [Code.FAILED_PRECONDITION] * 2
    assert not run.ran
    assert not model.batches


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_slices_cut_a_concatenation_into_its_pieces(rows: list[int]) -> None:
    pieces = [list(range(number, number + count)) for number, count in enumerate(rows)]
    whole = [item for piece in pieces for item in piece]
    assert [whole[place] for place in slices(rows)] == pieces


@given(st.data(), st.booleans())
def test_what_was_merged_is_split_into_what_it_was(data: st.DataObject, object_text: bool) -> None:
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=2, max_side=3))
    rows = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
    padding = data.draw(st.integers(0, 3)) if sum(rows) else 0
    start, requests = 0, []
    for count in rows:
        piece = np.arange(start, start + count * int(np.prod(shape))).reshape(count, *shape)
        requests.append({"x:0": piece.astype(str).astype(object) if object_text else piece, "z:0": piece * 2.0})
        start += piece.size
    merged = merge(requests, padding, False)
    answers = split([merged["z:0"], merged["x:0"]], rows, padding)
    for request, (z, x) in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(x, request["x:0"])
        np.testing.assert_array_equal(z, request["z:0"])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6))
def test_padded_inputs_begin_with_what_they_were(shapes: list[tuple[int, int, int]]) -> None:
    shapes = [(max(1, rows), *rest) for rows, *rest in shapes]  # type: ignore[misc]
    requests = [{"x:0": np.arange(np.prod(shape)).reshape(shape) + number} for number, shape in enumerate(shapes)]
    merged = merge(requests, 0, True)["x:0"]
    assert merged.shape[1:] == tuple(np.max([shape[1:] for shape in shapes], axis=0))
    for request, place in zip(requests, slices([shape[0] for shape in shapes]), strict=True):
        piece, padded = request["x:0"], merged[place]
        inside = tuple(slice(size) for size in piece.shape)
        np.testing.assert_array_equal(padded[inside], piece)
        outside = np.ones(padded.shape, bool)
        outside[inside] = False
        assert (padded[outside] == piece.flat[0]).all()
