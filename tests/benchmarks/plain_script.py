"""The yardstick: what one writes who only wants the model. The same records, features, model and passes as the line.

No statistics, no gates, no bootstrap, no versions, no check of what a server answers: its time is what learning costs.
`python -m tests.benchmarks.plain_script SPANS HELD_OUT_USERS.json OUTPUT`
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import layers

from pipeline.tasks.clicks.preprocessing import AGE_EDGES, GENDERS, GENRES, OCCUPATIONS, POPULARITY_EDGES, YEAR_EDGES
from pipeline.tasks.clicks.task import TASK

MOST_GENRES = 6
NO_YEAR = -1


def read(spans: Path, held_out_users: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training records of every span; held-out users' records of the newest."""
    folders = sorted(spans.glob("span-*"), key=lambda folder: int(folder.name.removeprefix("span-")))
    frames = [pd.read_parquet(folder).assign(newest=folder == folders[-1]) for folder in folders]
    everything = pd.concat(frames, ignore_index=True)
    held_out = everything["user_id"].isin(held_out_users)
    return everything[~held_out], everything[held_out & everything["newest"]]


def columns(records: pd.DataFrame) -> dict[str, Any]:
    """Model inputs, each [n, 1] but for genres [n, MOST_GENRES], padded with empty texts."""
    genres = [(list(one) + [""] * MOST_GENRES)[:MOST_GENRES] for one in records["genres"]]
    texts = {name: records[name].to_numpy(str)[:, None] for name in ("user_id", "item_id", "gender", "occupation")}
    years = records["release_year"].map(lambda one: one if np.isscalar(one) else (one[0] if len(one) else np.nan))
    numbers = {
        "age": records["age"].to_numpy(np.float32)[:, None],
        "release_year": years.astype("float32").fillna(NO_YEAR).to_numpy(np.float32)[:, None],
    }
    return {**{name: tf.constant(value) for name, value in texts.items()}, **numbers, "genres": tf.constant(genres)}


def make_features(raw: dict[str, Any]) -> keras.Model:
    """Raw inputs to transformed features, learnt from the training records."""
    inputs = {name: keras.Input((1,), dtype="string", name=name) for name in ("user_id", "item_id", "gender")}
    inputs["occupation"] = keras.Input((1,), dtype="string", name="occupation")
    inputs["genres"] = keras.Input((MOST_GENRES,), dtype="string", name="genres")
    inputs |= {name: keras.Input((1,), name=name) for name in ("age", "release_year")}
    users, items = layers.StringLookup(), layers.StringLookup()
    users.adapt(raw["user_id"])
    items.adapt(raw["item_id"])
    age_z, year_z = layers.Normalization(axis=None), layers.Normalization(axis=None)
    age_z.adapt(raw["age"])
    year_z.adapt(raw["release_year"][raw["release_year"] != NO_YEAR])

    def listed(name: str, words: tuple[str, ...], mode: str) -> Any:
        return layers.StringLookup(vocabulary=list(words), mask_token="", output_mode=mode)(inputs[name])

    def band(value: Any, edges: tuple[int, ...]) -> Any:
        return layers.Discretization(bin_boundaries=list(edges), output_mode="one_hot")(value)

    item, year = items(inputs["item_id"]), inputs["release_year"]
    place = keras.ops.where(item > 0, item, POPULARITY_EDGES[-1])
    outputs = {
        "user": users(inputs["user_id"]),
        "item": item,
        "gender_hot": listed("gender", GENDERS, "multi_hot"),
        "occupation_hot": listed("occupation", tuple(OCCUPATIONS), "multi_hot"),
        "genres_hot": listed("genres", GENRES, "multi_hot"),
        "age_band": band(inputs["age"], AGE_EDGES),
        "year_band": band(year, (0, *YEAR_EDGES)),
        "popularity_band": band(keras.ops.cast(place, "float32"), POPULARITY_EDGES),
        "age_z": age_z(inputs["age"]),
        "year_z": keras.ops.where(year < 0, 0.0, year_z(year)),
    }
    return keras.Model(inputs, outputs)


def make_model(features: keras.Model, users: int, items: int) -> keras.Model:
    """The factorisation machine of two sides of the clicks task, on transformed features."""
    chosen = TASK.hyperparameters.model
    inputs = {name: keras.Input(one.shape[1:], dtype=one.dtype, name=name) for name, one in features.output.items()}
    item_side = layers.Concatenate()([inputs[one] for one in ("genres_hot", "year_band", "year_z", "popularity_band")])
    user_side = layers.Concatenate()([inputs[one] for one in ("gender_hot", "age_band", "age_z", "occupation_hot")])

    def prior(sd: str) -> Any:
        return keras.regularizers.L2(1 / (2 * chosen["records"] * chosen[sd] ** 2))

    def of_id(name: str, size: int, width: int, sd: str) -> Any:
        table = layers.Embedding(size, width, embeddings_initializer="zeros", embeddings_regularizer=prior(sd))
        return layers.Flatten()(table(inputs[name]))

    def linear(side: Any, width: int, sd: str, start: Any = "zeros") -> Any:
        return layers.Dense(width, use_bias=False, kernel_initializer=start, kernel_regularizer=prior(sd))(side)

    k, start = int(chosen["factors"]), keras.initializers.RandomNormal(stddev=0.1, seed=TASK.hyperparameters.seed)
    item_tastes = of_id("item", items, k, "item_factor_sd") + linear(item_side, k, "side_factor_sd")
    user_tastes = of_id("user", users, k, "user_factor_sd") + linear(user_side, k, "side_factor_sd", start)
    own = of_id("item", items, 1, "item_sd") + of_id("user", users, 1, "user_sd")
    sides = linear(item_side, 1, "item_side_sd") + linear(user_side, 1, "user_side_sd")
    logit = own + sides + layers.Dot(axes=-1)([item_tastes, user_tastes])
    return keras.Model(inputs, layers.Activation("sigmoid", name="score")(logit))


def main(spans: Path, held_out_users: Path, output: Path) -> None:
    """Learns, measures and saves."""
    parameters = TASK.hyperparameters
    keras.utils.set_random_seed(parameters.seed)
    train, held_out = read(spans, set(json.loads(held_out_users.read_text())))
    raw = columns(train)
    features = make_features(raw)
    model = make_model(features, train["user_id"].nunique() + 1, train["item_id"].nunique() + 1)

    def batches(raw: dict[str, Any], records: pd.DataFrame, shuffled: bool) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices((raw, records["liked"].to_numpy(np.float32)[:, None]))
        rows = rows.shuffle(len(records), seed=parameters.seed) if shuffled else rows
        batched = rows.batch(parameters.batch_size, drop_remainder=shuffled)
        return batched.map(lambda x, y: (features(x), y), num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)

    validation = batches(columns(held_out), held_out, False)
    steps = parameters.epochs * (len(train) // parameters.batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(parameters.learning_rate, steps, alpha=0.1)
    model.compile(keras.optimizers.Adam(schedule), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    best = keras.callbacks.EarlyStopping(patience=parameters.patience, restore_best_weights=True)
    model.fit(
        batches(raw, train, True), epochs=parameters.epochs, validation_data=validation, callbacks=[best], verbose=2
    )
    auc = model.evaluate(validation, return_dict=True, verbose=2)["auc"]
    whole = keras.Model(features.input, model(features.output))
    whole.export(output / "model", verbose=False)
    (output / "result.json").write_text(json.dumps({"auc": auc, "records": len(train), "held_out": len(held_out)}))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
