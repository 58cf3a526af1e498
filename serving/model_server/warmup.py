"""Warm-up: requests that the model's author put beside it are run before the version is offered.

`assets.extra/tf_serving_warmup_requests` is a TFRecord file of PredictionLogs; their requests are replayed, by the
plans that serve them. The rules and texts are those of TF Serving's saved_model_warmup_util.cc.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from serving.model_server import classify, multi_inference, predict
from serving.model_server.examples import serialized_examples
from serving.model_server.servable import Session
from serving.model_server.signature import Signature
from serving.model_server.tensors import from_proto
from serving.status import Code, StatusError

FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000


def path_in(directory: str) -> str | None:
    """The warm-up file of a version, None where it has none."""
    import tensorflow as tf

    path = f"{directory.rstrip('/')}/{FILE}"
    return path if tf.io.gfile.exists(path) else None


def replay(
    path: str, session: Session, signatures: Mapping[str, Signature], iterations: int = 0, check_method: bool = False
) -> Iterator[int]:
    """Runs the records of a warm-up file; yields how many have been run after each.

    Args:
        iterations: how often each is run; 0 means once.
        check_method: `--enable_signature_method_name_check`.

    Raises:
        StatusError: DATA_LOSS: no TFRecord file. INVALID_ARGUMENT: too many records, or one that is no PredictionLog.
            UNIMPLEMENTED: a kind of log that cannot be replayed. Else what the request was refused with.
    """
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    for number, record in enumerate(_records(path), 1):
        try:
            log = prediction_log_pb2.PredictionLog.FromString(record)
        except DecodeError:
            text = record.decode("utf-8", "replace")
            raise StatusError(Code.INVALID_ARGUMENT, f"Failed to parse warmup record: {text} from {path}") from None
        for _ in range(iterations or 1):
            run(log, session, signatures, check_method)
        if number > MOST_RECORDS:
            raise StatusError(
                Code.INVALID_ARGUMENT, f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {path}"
            )
        yield number


def run(log: Any, session: Session, signatures: Mapping[str, Signature], check_method: bool = False) -> None:
    """Runs the request of a PredictionLog; its model and version are ignored, and so is a log of no kind.

    Raises:
        StatusError: UNIMPLEMENTED: a kind that cannot be replayed. Else what the request is refused with.
        tf.errors.OpError: the runtime's refusal.
    """
    kind = log.WhichOneof("log_type")
    if kind is None:
        return
    if kind == "predict_log":
        request = log.predict_log.request
        wanted = predict.plan(
            signatures,
            request.model_spec.signature_name,
            request.inputs,
            request.output_filter,
            check_method,
            from_proto,
        )
        session.run(wanted.feeds, wanted.fetches)
    elif kind == "classify_log":
        request = log.classify_log.request
        texts = serialized_examples(request.input)
        wanted = classify.plan_classify(signatures, request.model_spec.signature_name, texts, check_method)
        classify.classifications(wanted, session.run(wanted.feeds, wanted.fetches))
    elif kind == "regress_log":
        request = log.regress_log.request
        texts = serialized_examples(request.input)
        wanted = classify.plan_regress(signatures, request.model_spec.signature_name, texts, check_method)
        classify.regressions(wanted, session.run(wanted.feeds, wanted.fetches))
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        tasks = multi_inference.tasks_of(request)
        several = multi_inference.plan(signatures, tasks, serialized_examples(request.input), check_method)
        multi_inference.results(several, session.run(several.feeds, several.fetches))
    else:
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")


def _records(path: str) -> Iterator[bytes]:
    import tensorflow as tf

    try:
        for record in tf.data.TFRecordDataset(path):
            yield record.numpy()
    except tf.errors.DataLossError as error:
        reason = re.sub(r"^\{\{.*?\}\} | \[Op:.*", "", error.message)  # what Python's eager runtime adds
        raise StatusError(Code.DATA_LOSS, f"{reason}. Please verify your warmup data is in TFRecord format.") from None
