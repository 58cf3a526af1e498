"""A task of the tests: eight features' worth of everything the line must carry, few enough to train in a second."""

from typing import Any

import numpy as np

SCHEMA = """
feature { name: "user" type: BYTES presence { min_fraction: 1.0 } shape { dim { size: 1 } } }
feature { name: "age" type: INT presence { min_fraction: 1.0 } shape { dim { size: 1 } } }
feature { name: "price" type: FLOAT presence { min_count: 1 } value_count { min: 0 max: 1 } }
feature { name: "tags" type: BYTES presence { min_count: 1 } value_count { min: 0 max: 4 } }
feature {
  name: "liked" type: INT presence { min_fraction: 1.0 } shape { dim { size: 1 } } not_in_environment: "SERVING"
}
default_environment: "TRAINING"
default_environment: "SERVING"
"""
LABEL = "liked"


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """One vocabulary, one z-score, one filled-in missing value, one multi-hot list."""
    import tensorflow as tf
    import tensorflow_transform as tft

    price = tft.sparse_tensor_to_dense_with_shape(inputs["price"], [None, 1], default_value=-1.0)
    tags = tf.strings.to_hash_bucket_fast(inputs["tags"].values, 8)
    tags = tf.SparseTensor(inputs["tags"].indices, tags, inputs["tags"].dense_shape)
    # Not reduce_max: of a batch in which every list is empty that is minus infinity.
    multi_hot = tf.minimum(tf.reduce_sum(tf.one_hot(tf.sparse.to_dense(tags, default_value=-1), 8), axis=1), 1.0)
    return {
        "user": tft.compute_and_apply_vocabulary(inputs["user"], num_oov_buckets=1, vocab_filename="user"),
        "age": tft.scale_to_z_score(tf.cast(inputs["age"], tf.float32)),
        "price": tf.reshape(price, [-1, 1]),
        "tags": multi_hot,
        "liked": inputs["liked"],
    }


def build_model(transform: Any, hyperparameters: Any) -> Any:
    """A logistic regression over an embedding of the user and the numbers."""
    import keras

    size = transform.vocabulary_size_by_name("user") + 1
    user = keras.Input((1,), dtype="int64", name="user")
    numbers = {name: keras.Input((width,), name=name) for name, width in (("age", 1), ("price", 1), ("tags", 8))}
    embedded = keras.layers.Flatten()(keras.layers.Embedding(size, 4)(user))
    hidden = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()([embedded, *numbers.values()]))
    score = keras.layers.Dense(1, "sigmoid", dtype="float32", name="score")(hidden)
    return keras.Model({"user": user, **numbers}, score)


def rows(count: int, seed: int) -> dict[str, list[Any]]:
    """Columns of `count` made-up records; the older and the rarer the tag, the more it is liked."""
    random = np.random.default_rng(seed)
    age = random.integers(0, 60, count)
    tags = [[f"t{tag}" for tag in random.integers(0, 6, size)] for size in random.integers(0, 4, count)]
    price = random.normal(size=count).astype(np.float32)
    liked = (age + 10 * np.array([len(one) for one in tags]) + random.normal(0, 10, count) > 45).astype(int)
    return {
        "user": [[f"u{user}".encode()] for user in random.integers(0, 200, count)],
        "age": [[int(one)] for one in age],
        "price": [[float(one)] if one > -1 else None for one in price],
        "tags": [[tag.encode() for tag in one] for one in tags],
        "liked": [[int(one)] for one in liked],
    }


def declare(schema_path: Any) -> Any:
    """The declaration, for a schema file that a test has written."""
    from pipeline.task import Gate, Hyperparameters, Task

    return Task(
        name="small",
        question="Does it like it?",
        label=LABEL,
        split_by="user",
        gates=(Gate("auc", at_least=0.6, not_below_baseline_by=0.05, slices=(("user",),), smallest_slice=50),),
        preprocessing_fn="tests.pipeline.small_task.preprocessing_fn",
        build_model="tests.pipeline.small_task.build_model",
        schema_path=schema_path,
        hyperparameters=Hyperparameters(batch_size=200, epochs=2, learning_rate=0.01),
    )
