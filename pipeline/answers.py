"""Asks a pushed version with the very records that warm it up."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.signatures import SCORE, SERVING_DEFAULT

WARMUP = Path("assets.extra", "tf_serving_warmup_requests")


def three_answers(version: Path) -> list[tuple[dict[str, Any], float]]:
    """Up to three (raw record, score), as a client of `serving_default` would get them."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    signature = tf.saved_model.load(str(version)).signatures[SERVING_DEFAULT]
    logs = tf.data.TFRecordDataset(str(version / WARMUP)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(log).predict_log.request for log in logs]
    asked = [
        {name: tf.make_ndarray(tensor)[:3] for name, tensor in request.inputs.items()}
        for request in requests
        if request.model_spec.signature_name == SERVING_DEFAULT
    ]
    columns = max(asked, key=lambda one: len(next(iter(one.values()))))
    scores = signature(**{name: tf.constant(column) for name, column in columns.items()})[SCORE].numpy()
    records = [{name: _plain(column[row]) for name, column in sorted(columns.items())} for row in range(len(scores))]
    return [(record, float(score)) for record, score in zip(records, scores[:, 0], strict=True)]


def _plain(value: Any) -> Any:
    """Bytes as text; the padding of lists dropped, one value out of its list."""
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value if one != b""]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value
