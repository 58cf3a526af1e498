"""The taxi model."""

from typing import Any

from tests.e2e.taxi.preprocessing import AREA_COUNT, AREAS, BUCKETS, HOURS, NUMBERS, WORDS


def build_model(transform: Any, hyperparameters: Any) -> Any:
    """One hidden layer over the numbers and small embeddings of the ids."""
    import keras

    layers = keras.layers
    sizes = {f"{name}_id": transform.vocabulary_size_by_name(name) + 1 for name in WORDS}
    sizes |= dict.fromkeys(AREAS, AREA_COUNT) | {"hour": HOURS, "fare_bucket": BUCKETS}
    numbers = {name: keras.Input((1,), name=name) for name in NUMBERS}
    ids = {name: keras.Input((1,), dtype="int64", name=name) for name in sizes}
    embedded = [layers.Flatten()(layers.Embedding(sizes[name], 4)(given)) for name, given in ids.items()]
    hidden = layers.Dense(16, "relu")(layers.Concatenate()([*numbers.values(), *embedded]))
    score = layers.Dense(1, "sigmoid", dtype="float32", name="score")(hidden)
    return keras.Model({**numbers, **ids}, score)
