"""A SavedModel as TensorFlow's guide tells a server's author to ask it; what every peer shares.

The environment says what to serve: PEER_MODELS, JSON {name: version folder}; a name that ends in `-batched` asks for
the server's own batching. PEER_PORT and PEER_GRPC_PORT are where.
"""

import json
import os
from typing import Any

BATCHED = "-batched"
MOST_ROWS = 32  # of a batch: as many as are ever asked at a time
LONGEST_WAIT_S = 0.002


class Model:
    """The signature `serving_default` of one SavedModel, which has one output.

    Attributes:
        types: input -> its TensorFlow dtype.
        output: its name.
    """

    def __init__(self, directory: str) -> None:
        import tensorflow as tf

        self._constant = tf.constant
        self._loaded = tf.saved_model.load(directory)  # the signature does not keep its variables alive
        self._function = self._loaded.signatures["serving_default"]
        self.types = {name: spec.dtype for name, spec in self._function.structured_input_signature[1].items()}
        (self.output,) = self._function.structured_outputs

    def ask(self, columns: dict[str, Any]) -> Any:
        """The output as an array, asked with {input: nested lists or an array}."""
        fed = {name: self._constant(columns[name], dtype) for name, dtype in self.types.items()}
        return self._function(**fed)[self.output].numpy()

    def predictions(self, instances: list[Any]) -> list[Any]:
        """TF Serving's row format: an object a row, or the bare value where there is one input."""
        if isinstance(instances[0], dict):
            columns = {name: [row[name] for row in instances] for name in self.types}
        else:
            columns = {next(iter(self.types)): instances}
        answer: list[Any] = self.ask(columns).tolist()
        return answer


def wanted() -> dict[str, str]:
    """What to serve: name -> version folder."""
    models: dict[str, str] = json.loads(os.environ["PEER_MODELS"])
    return models


def ports() -> tuple[int, int]:
    """Of REST and of gRPC."""
    return int(os.environ["PEER_PORT"]), int(os.environ["PEER_GRPC_PORT"])
