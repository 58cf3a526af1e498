"""The demonstration's versions do what they are there for."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.demo import variants
from serving.errors import InputError
from serving.model_server import signature
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signature import DEFAULT, Array

ModelWith = Callable[[str], Path]


def scores(directory: Path) -> Array:
    """Of three records."""
    session = SavedModelSession(str(directory), SessionOptions())
    one = signature.read(session.signature_definitions)[DEFAULT]
    columns = {
        "age": np.array([20, 40, 60], np.int64),
        "job": np.array([b"a", b"b", b"c"], object),
        "genres": np.array([[b"x"], [b"y"], [b""]], object),
        "weight": np.array([[0.5], [1.0], [-2.0]], np.float32),
    }
    feeds = {one.inputs[alias].tensor: value for alias, value in columns.items()}
    try:
        return session.run(feeds, [one.outputs["score"].tensor])[0]
    finally:
        session.close()


def test_the_good_version_answers_as_the_model_and_the_harmful_one_ranks_the_other_way_round(
    model_with: ModelWith, tmp_path: Path
) -> None:
    model = model_with("")
    for kind in ("good", "harmful"):
        variants.make(model, tmp_path / kind, kind)
    np.testing.assert_array_equal(scores(tmp_path / "good"), scores(model))
    np.testing.assert_allclose(scores(tmp_path / "harmful"), 1 - scores(model), rtol=1e-6)


def test_the_slow_version_gives_the_same_answers_a_quarter_of_a_second_later(
    model_with: ModelWith, tmp_path: Path
) -> None:
    variants.make(model_with(""), tmp_path / "slow", "slow")
    began = time.perf_counter()
    np.testing.assert_array_equal(scores(tmp_path / "slow"), scores(model_with("")))
    assert time.perf_counter() - began >= 0.25  # however quick the machine is


def test_the_broken_version_answers_nan(model_with: ModelWith, tmp_path: Path) -> None:
    variants.make(model_with(""), tmp_path / "broken", "broken")
    assert np.isnan(scores(tmp_path / "broken")).all()


def test_a_model_without_a_score_is_bad_input(model_with: ModelWith, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no output score in the signature serving_default"):
        variants.make(model_with("renamed"), tmp_path / "harmful", "harmful")
