"""A SavedModel in a session, fed as the C++ server feeds it: the one file that touches TensorFlow's internals.

`Session.run` and the functions of `tf.saved_model.load` compare what they are fed with the placeholder's static shape
and dtype in Python and refuse what TF Serving accepts (a vector for a placeholder of shape [-1, 1], say), with texts of
their own. `_call_tf_sessionrun` is what is below them: it hands NumPy arrays to the runtime, whose checks and texts are
those of TF Serving. It is private, so TensorFlow is pinned (2.21.0 here) and nothing else calls it.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.model_server.signature import Array

# ConfigProto: run a graph's operations in the thread that asks. Requests are what runs in parallel; handing each
# operation of a small graph to TensorFlow's pool takes twice the CPU (measured: 515 against 250 us for the clicks
# model, 60 against 8 us for half-plus-two). Operations still split their own work over the intra-op threads.
IN_CALLING_THREAD = -1


@dataclass(frozen=True)
class SessionOptions:
    """How sessions are made.

    Attributes:
        tags: of the MetaGraphDef to load.
        intra_op_threads: threads an operation may split its work over; 0 lets TensorFlow choose.
        inter_op_threads: threads a graph's operations are spread over; 0 runs them in the thread that asks.
        config: a serialized tf.ConfigProto to start from.
    """

    tags: frozenset[str] = frozenset({"serve"})
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    config: bytes = b""


class SavedModelSession:
    """One loaded SavedModel. `run` may be called from many threads; `close` only when no run is under way."""

    def __init__(self, directory: str, options: SessionOptions) -> None:
        """Loads it: variables restored, tables and assets initialised.

        Raises:
            tf.errors.OpError, or what TensorFlow's loader raises: it cannot be loaded.
        """
        import tensorflow as tf

        config = tf.compat.v1.ConfigProto.FromString(options.config)
        config.allow_soft_placement = True
        config.intra_op_parallelism_threads = config.intra_op_parallelism_threads or options.intra_op_threads
        config.inter_op_parallelism_threads = (
            config.inter_op_parallelism_threads or options.inter_op_threads or IN_CALLING_THREAD
        )
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default():
                meta = tf.compat.v1.saved_model.load(self._session, sorted(options.tags), directory)
            self.signature_definitions: Mapping[str, Any] = dict(meta.signature_def)
            self._session._extend_graph()
        except BaseException:
            self.close()
            raise
        self._outputs: dict[str, Any] = {}

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> list[Array]:
        """The values of the tensors `fetches`, in their order, fed with {tensor name: array} as they are.

        Raises:
            tf.errors.OpError: the runtime's own refusal.
        """
        handles = self._outputs
        try:
            feed = {handles[name]: array for name, array in feeds.items()}
            fetch = [handles[name] for name in fetches]
        except KeyError:
            for name in (*feeds, *fetches):
                handles[name] = self._graph.get_tensor_by_name(name)._as_tf_output()
            return self.run(feeds, fetches)
        answer: list[Any] = self._session._call_tf_sessionrun(None, feed, fetch, [], None)
        return [output if type(output) is np.ndarray else _scalar(output) for output in answer]

    def close(self) -> None:
        """Frees the model's memory. Python's graph is full of cycles, so the collector has to be asked."""
        self._session.close()
        self._outputs = {}
        del self._session, self._graph
        gc.collect()


def _scalar(output: Any) -> Array:
    """A tensor of rank 0, which TensorFlow gives as a NumPy scalar, or a text's bytes."""
    return np.array(output, object) if isinstance(output, bytes) else np.asarray(output)
