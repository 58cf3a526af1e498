"""The limit that servers are measured against: the model called in a loop. And the models and requests themselves.

`python -m tests.benchmarks.bare_model CLICKS_VERSION OUTPUT SECONDS` makes half-plus-two and a model of one large
tensor below OUTPUT, writes the inputs of the requests and their answers to OUTPUT/work.pickle, and calls per second to
OUTPUT/limits.json. The calls go through the session of the embedded server, which is the quickest way there is here.
"""

import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from serving.model_server import signature
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signature import Array

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"
SIDE = 224
MANY = 32
WORK = ("half", "clicks", "clicks32", "tensor")


def make_half(directory: Path) -> None:
    """y = x / 2 + 2: what is left is the server."""
    import tensorflow as tf

    module = tf.Module()
    module.half, module.two = tf.Variable(0.5), tf.Variable(2.0)
    spec = tf.TensorSpec([None], tf.float32, name="x")
    module.answer = tf.function(lambda x: {"y": module.half * x + module.two}, input_signature=[spec])
    tf.saved_model.save(module, str(directory), signatures=module.answer)


def make_tensor(directory: Path) -> None:
    """The mean of a picture: what is left is carrying 150,528 floats."""
    import tensorflow as tf

    module = tf.Module()
    spec = tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, name="image")
    module.answer = tf.function(lambda image: {"mean": tf.reduce_mean(image, [1, 2, 3])}, input_signature=[spec])
    tf.saved_model.save(module, str(directory), signatures=module.answer)


def records(version: Path) -> dict[str, Array]:
    """The real records that the pusher wrote into a version for its warm-up: columns of [n] or [n, k].

    Raises:
        ValueError: it has none of MANY rows.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(version / WARMUP)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        columns = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        rows = min(len(column) if np.ndim(column) else 0 for column in columns.values()) if columns else 0
        if request.model_spec.signature_name in ("", "serving_default") and rows >= MANY:
            return columns
    raise ValueError(f"{version / WARMUP} has no request of {MANY} rows or more")


def requests(columns: dict[str, Array]) -> dict[str, tuple[str, list[dict[str, Array]]]]:
    """Work -> the model, and the inputs of each of its different requests."""
    rows = len(next(iter(columns.values())))
    random = np.random.default_rng(0)
    return {
        "half": ("half", [{"x": np.asarray([one], np.float32)} for one in range(8)]),
        "clicks": ("clicks", [_rows(columns, row, row + 1) for row in range(rows)]),
        "clicks32": ("clicks", [_rows(columns, at, at + MANY) for at in range(0, rows - MANY + 1, MANY)]),
        # Three decimals, as a person or a picture's pixels have them: not the longest JSON there could be.
        "tensor": (
            "tensor",
            [{"image": random.random((1, SIDE, SIDE, 3), np.float32).round(3)} for _ in range(2)],
        ),
    }


def _rows(columns: dict[str, Array], begin: int, end: int) -> dict[str, Array]:
    return {name: column[begin:end] for name, column in columns.items()}


def main(version: Path, output: Path, seconds: float) -> None:
    """Writes everything."""
    import tensorflow as tf

    directories = {"half": output / "models" / "half" / "1", "tensor": output / "models" / "tensor" / "1"}
    if not all(directory.exists() for directory in directories.values()):
        make_half(directories["half"])
        make_tensor(directories["tensor"])
    work, limits = {}, {}
    for name, (model, inputs) in requests(records(version)).items():
        session = SavedModelSession(str({**directories, "clicks": version}[model]), SessionOptions())
        described = signature.read(session.signature_definitions)[signature.DEFAULT]
        fetches = [info.tensor for info in described.outputs.values()]
        feeds = [{described.inputs[alias].tensor: value for alias, value in one.items()} for one in inputs]
        answers = [np.ravel(session.run(one, fetches)[0]).astype(np.float32) for one in feeds]
        work[name] = {"model": model, "inputs": inputs, "answers": answers}
        limits[name] = _calls_per_s(session, feeds, fetches, seconds)
        session.close()
    (output / "work.pickle").write_bytes(pickle.dumps(work))
    (output / "limits.json").write_text(json.dumps({"calls_per_s": limits, "tensorflow": tf.__version__}))


def _calls_per_s(
    session: SavedModelSession, feeds: list[dict[str, Array]], fetches: list[str], seconds: float
) -> float:
    for number in range(100):
        session.run(feeds[number % len(feeds)], fetches)
    calls, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        session.run(feeds[calls % len(feeds)], fetches)
        calls += 1
    return calls / (time.perf_counter() - began)


if __name__ == "__main__":
    arguments: list[Any] = sys.argv[1:]
    main(Path(arguments[0]), Path(arguments[1]), float(arguments[2]))
