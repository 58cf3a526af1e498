from typing import Any

import numpy as np
import pytest

from pipeline import training_input
from tests.pipeline.conftest import SmallLine

WANTED = ["user", "age", "price", "tags"]


def passes(line: SmallLine, cache: bool, shuffle_seed: int | None, batch_size: int, count: int) -> list[Any]:
    """The batches of `count` passes, as numpy."""
    import tensorflow_transform as tft

    files = training_input.find([str(line.held_out)])
    transform = tft.TFTransformOutput(str(line.transform_output))
    data = training_input.batches(files, transform, WANTED, "liked", batch_size, shuffle_seed, cache)
    return [list(data.as_numpy_iterator()) for _ in range(count)]


def test_the_examples_are_counted(small_line: SmallLine) -> None:
    files = training_input.find([str(small_line.folder / "*.gz")])
    assert files.count == 5000
    assert files.paths == (str(small_line.held_out), str(small_line.train))


def test_no_examples_are_an_error_that_names_the_pattern(small_line: SmallLine) -> None:
    with pytest.raises(ValueError, match=r"nothing-here"):
        training_input.find([str(small_line.folder / "nothing-here*")])


@pytest.mark.parametrize("shuffle_seed", [None, 3])
def test_what_is_kept_in_memory_is_what_would_be_read_again(small_line: SmallLine, shuffle_seed: int | None) -> None:
    kept, read = (passes(small_line, cache, shuffle_seed, batch_size=300, count=2) for cache in (True, False))
    for ours, theirs in zip(kept, read, strict=True):
        assert len(ours) == len(theirs) == (4 if shuffle_seed is None else 3)  # 1,000 examples; a rest is dropped
        for (features, label), (their_features, their_label) in zip(ours, theirs, strict=True):
            assert set(features) == set(WANTED)
            np.testing.assert_array_equal(label, their_label)
            assert all(features[name].tobytes() == their_features[name].tobytes() for name in WANTED)


def test_every_pass_has_an_order_of_its_own_and_the_same_seed_the_same_ones(small_line: SmallLine) -> None:
    first, again = (passes(small_line, True, 3, batch_size=1000, count=2) for _ in range(2))
    ages = [[batches[0][0]["age"].ravel() for batches in run] for run in (first, again)]
    assert not np.array_equal(ages[0][0], ages[0][1])
    np.testing.assert_array_equal(np.sort(ages[0][0]), np.sort(ages[0][1]))
    np.testing.assert_array_equal(ages[0], ages[1])
