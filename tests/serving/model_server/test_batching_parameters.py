from typing import Any

import pytest

from serving.model_server import cpus
from serving.model_server.batching_parameters import BatchingParameters
from serving.status import Code, StatusError


def refusal(**values: Any) -> str:
    with pytest.raises(StatusError) as refused:
        BatchingParameters(**values)
    assert refused.value.code == Code.INVALID_ARGUMENT
    return refused.value.message


def test_the_defaults_are_the_librarys() -> None:
    parameters = BatchingParameters()
    assert parameters == BatchingParameters(1000, 0, 10, cpus.schedulable(), "batch_threads", (), False, False, None)
    assert parameters.execution_batch_size == 1000


def test_the_last_allowed_batch_size_is_the_largest_batch() -> None:
    assert refusal(max_batch_size=64, allowed_batch_sizes=(8, 32)) == (
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 32; expected 64"
    )
    assert refusal(allowed_batch_sizes=(8,)).endswith("last entry was 8; expected 1000")


@pytest.mark.parametrize("sizes", [(4, 2, 8), (8, 8), (0, 8), (-1, 8)])
def test_allowed_batch_sizes_ascend_from_above_0(sizes: tuple[int, ...]) -> None:
    assert "monotonically increasing" in refusal(max_batch_size=8, allowed_batch_sizes=sizes)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be positive; was 0"),
        ({"max_batch_size": -5}, "max_batch_size must be positive; was -5"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative; was -1"),
        ({"max_enqueued_batches": -1}, "max_enqueued_batches must be non-negative; was -1"),
        (
            {"max_enqueued_batches": 0, "enable_large_batch_splitting": True},
            "max_enqueued_batches must be positive; was 0",
        ),
        ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0"),
        ({"max_execution_batch_size": 0}, "max_execution_batch_size must be positive; was 0"),
    ],
)
def test_numbers_out_of_range_are_refused_in_tensorflows_words(values: dict[str, Any], text: str) -> None:
    assert refusal(**values) == text


def test_a_queue_holds_at_least_one_batch() -> None:
    assert BatchingParameters(max_enqueued_batches=0).max_enqueued_batches == 1


def test_batches_are_smaller_than_requests_only_where_requests_are_split() -> None:
    assert BatchingParameters(max_batch_size=100, max_execution_batch_size=10).execution_batch_size == 100
    split = BatchingParameters(max_batch_size=100, max_execution_batch_size=10, enable_large_batch_splitting=True)
    assert split.execution_batch_size == 10
    assert "max_execution_batch_size" in refusal(
        max_batch_size=10, max_execution_batch_size=11, enable_large_batch_splitting=True
    )
    assert BatchingParameters(max_batch_size=10, max_execution_batch_size=11).execution_batch_size == 10
