"""The Input of Classify, Regress and MultiInference requests: serialized tf.Examples."""

from typing import Any

import numpy as np

from serving.model_server.signature import Array


def serialized_examples(message: Any) -> Array:
    """The tf.Examples of an Input, serialized: object [n] of bytes; the context's bytes come first in each.

    Two messages one after the other are one message to a protobuf parser: later features replace earlier ones of the
    same name, so an example's own feature wins over the context's. n is 0 for an Input of no kind; the plans refuse
    that, after they have looked at the signature, as the C++ server does.
    """
    kind = message.WhichOneof("kind")
    if kind == "example_list":
        return np.array([example.SerializeToString() for example in message.example_list.examples], object)
    if kind == "example_list_with_context":
        part = message.example_list_with_context
        context = part.context.SerializeToString()
        return np.array([context + example.SerializeToString() for example in part.examples], object)
    return np.empty(0, object)
