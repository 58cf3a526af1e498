"""Warm-up requests: TF Serving replays them before a version is AVAILABLE, so that no user pays for the first call."""

import tempfile
from pathlib import Path
from typing import Any

from components.rollout_pusher import WARMUP_FILE
from serving.probe.measure import RAW, SERIALIZED
from serving.probe.request import Array, Records
from serving.probe.signature import EXAMPLES, fit, inputs_of

BATCH_SIZES = (1, 64)


def warmup_requests(model_dir: str, records: Records, task: str) -> bytes:
    """A TFRecord file of PredictionLogs: for each serving signature and batch size, one Predict request.

    Args:
        model_dir: of the SavedModel that will be warmed up; its signatures say how a request looks.
        records: at least one; they are repeated where a batch needs more.
        task: the model's name in the requests; servers ignore it.

    Raises:
        serving.probe.signature.UnfitError: the model lacks a signature, or takes what the records have not; a server
            would fail to load a version with such requests.
    """
    import tensorflow as tf

    signatures = read_signatures(model_dir)
    raw, group = inputs_of(signatures, RAW), records.largest_group
    inputs_of(signatures, SERIALIZED)
    logs = []
    for size in BATCH_SIZES:
        batch = group.batch(size)
        logs.append(_log(task, RAW, fit(batch, raw, RAW)))
        logs.append(_log(task, SERIALIZED, {EXAMPLES: records.serialized[batch.rows]}))
    with tempfile.TemporaryDirectory(prefix="pressline-warmup-") as folder:
        path = Path(folder) / WARMUP_FILE
        with tf.io.TFRecordWriter(str(path)) as writer:
            for log in logs:
                writer.write(log)
        return path.read_bytes()


def read_signatures(model_dir: str) -> Any:
    """Name -> SignatureDef of the MetaGraph with the tag `serve`, without loading the model."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    with tf.io.gfile.GFile(f"{model_dir}/saved_model.pb", "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    return next(one for one in saved.meta_graphs if tf.saved_model.SERVING in one.meta_info_def.tags).signature_def


def _log(task: str, signature: str, inputs: dict[str, Array]) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name=task, signature_name=signature),
        inputs={name: tf.make_tensor_proto(array) for name, array in inputs.items()},
    )
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    serialized: bytes = log.SerializeToString()
    return serialized
