"""The model on a small transform graph: its shapes, its learning, its answers to strangers."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.tasks.clicks import model as clicks_model
from pipeline.tasks.clicks.task import TASK
from tests.pipeline.tasks.clicks.conftest import RECORD, Records

PARAMETERS = replace(TASK.hyperparameters, model=TASK.hyperparameters.model | {"records": 400})
Transformed = Callable[[Records], dict[str, Any]]


@pytest.fixture
def batch(transformed: Transformed, training_records: Records) -> dict[str, Any]:
    """All transformed features of the training records."""
    return transformed(training_records)


@pytest.fixture
def policy() -> Iterator[Callable[[str], None]]:
    """Sets Keras's precision policy, and puts float32 back."""
    import keras

    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def build(transform_output: Any, seed: int = 20) -> Any:
    """A fresh model."""
    import keras

    keras.utils.set_random_seed(seed)
    return clicks_model.build_model(transform_output, replace(PARAMETERS, seed=seed))


def ask(model: Any, features: dict[str, Any]) -> Any:
    """The model's answers [batch, 1] to what of the features it takes."""
    return model({tensor.name: features[tensor.name] for tensor in model.inputs}, training=False)


def step(model: Any, features: dict[str, Any], times: int) -> list[float]:
    """Full-batch steps of Adam; the log loss before each."""
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(0.04)
    inputs = {tensor.name: features[tensor.name] for tensor in model.inputs}
    label = tf.cast(features["liked"], tf.float32)
    losses = []
    for _ in range(times):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(label, model(inputs, training=True)))
            total = loss + tf.add_n(model.losses)
        optimizer.apply(tape.gradient(total, model.trainable_variables), model.trainable_variables)
        losses.append(float(loss))
    return losses


def weights(model: Any, suffix: str) -> list[Any]:
    """The weights whose path ends so."""
    return [weight.numpy() for weight in model.trainable_variables if weight.path.endswith(suffix)]


def test_it_takes_transformed_features_only_and_never_the_label(transform_output: Any) -> None:
    taken = {tensor.name for tensor in build(transform_output).inputs}
    assert taken == {"user", "item", *clicks_model.ITEM_SIDE, *clicks_model.USER_SIDE}
    assert taken <= set(transform_output.transformed_feature_spec())
    assert TASK.label not in taken


def test_the_answer_is_one_probability_a_record(transform_output: Any, batch: dict[str, Any]) -> None:
    answer = ask(build(transform_output), batch).numpy()
    assert (answer.shape, answer.dtype) == ((400, 1), np.float32)
    assert ((answer > 0) & (answer < 1)).all()


def test_training_learns_what_is_liked_and_every_weight_takes_part(
    transform_output: Any, batch: dict[str, Any]
) -> None:
    model = build(transform_output)
    before = [weight.numpy() for weight in model.trainable_variables]
    losses = step(model, batch, times=30)
    # 0.80 and 0.30 of the two halves are liked: no answer does better than 0.56 on average.
    assert losses[0] == pytest.approx(np.log(2), abs=0.02)
    assert losses[-1] < 0.6
    moved = [
        np.abs(after.numpy() - first).max() for after, first in zip(model.trainable_variables, before, strict=True)
    ]
    assert min(moved) > 1e-4


def test_strangers_have_no_opinion_of_their_own_after_training(transform_output: Any, batch: dict[str, Any]) -> None:
    model = build(transform_output)
    step(model, batch, times=5)
    tables = weights(model, "embeddings")
    assert len(tables) == 4
    for table in tables:
        assert not table[0].any()
        assert table[1:].any()


def test_a_stranger_is_answered_by_the_description(
    transform_output: Any, batch: dict[str, Any], transformed: Transformed
) -> None:
    model = build(transform_output)
    step(model, batch, times=30)
    unknown = RECORD | {"user_id": b"new", "item_id": b"new", "release_year": None}
    comedy, drama = ask(model, transformed([unknown, unknown | {"genres": [b"Drama", b"War"]}])).numpy().ravel()
    assert comedy > drama  # only comedies are liked in the made-up records


def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    transform_output: Any, batch: dict[str, Any]
) -> None:
    answers = []
    for seed in (1, 1, 2):
        model = build(transform_output, seed)
        step(model, batch, times=3)
        answers.append(ask(model, batch).numpy())
    assert np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_the_weights_and_the_answer_in_float32(
    transform_output: Any, batch: dict[str, Any], policy: Callable[[str], None], precision: str
) -> None:
    exact = build(transform_output)
    policy(precision)
    model = build(transform_output)
    model.set_weights(exact.get_weights())
    answer = ask(model, batch).numpy()
    assert answer.dtype == np.float32
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    # bfloat16 has 8 bits of mantissa; the logits are below 1 in an untrained model.
    assert np.abs(answer - ask(exact, batch).numpy()).max() < 0.01
    assert step(model, batch, times=5)[-1] < np.log(2)
