"""`python -m serving.example_request VERSION_DIR`: prints a REST body that the version can answer.

It is the first warm-up request of `serving_default` that the pusher wrote into the version, so it is a real record.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"


def main(arguments: list[str]) -> int:
    """The exit code: 0, 1 where the version has no such request (nothing is printed then), 2 for a wrong call."""
    if len(arguments) != 1:
        print("usage: python -m serving.example_request VERSION_DIR", file=sys.stderr)
        return 2
    body = example_body(Path(arguments[0]))
    if body is None:
        return 1
    print(json.dumps(body))
    return 0


def example_body(version: Path) -> dict[str, Any] | None:
    """`{"instances": [{input: value, ...}, ...]}` of the version's first warm-up request; None where it has none."""
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = version / WARMUP
    if not path.is_file():
        return None
    for record in tf.compat.v1.io.tf_record_iterator(str(path)):
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        if request.model_spec.signature_name in ("", "serving_default") and request.inputs:
            columns = {name: tf.make_ndarray(tensor) for name, tensor in sorted(request.inputs.items())}
            if any(np.ndim(column) == 0 for column in columns.values()):
                continue  # a scalar has no rows
            rows = zip(*(column.tolist() for column in columns.values()), strict=True)
            return {"instances": [{name: _plain(one) for name, one in zip(columns, row, strict=True)} for row in rows]}
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
