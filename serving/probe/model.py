"""A SavedModel in a session of its own: how the C++ server holds it, and unlike how Python's TF2 loader does.

Some exports load in TF2 and not in a session (Keras 3 models saved by `tf.saved_model.save`), so a model that answers
only through `tf.saved_model.load` may still fail in TF Serving.
"""

from collections.abc import Callable, Mapping
from typing import Any

from serving.probe.request import Array
from serving.probe.signature import Input, inputs_of

Ask = Callable[[Mapping[str, Array]], dict[str, Array]]


class LoadedModel:
    """The model of a directory, loaded with the tag `serve`; holds its session until the process ends."""

    def __init__(self, directory: str) -> None:
        import tensorflow as tf

        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            meta = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], directory)
        self._signatures: Mapping[str, Any] = meta.signature_def

    def inputs(self, name: str) -> dict[str, Input]:
        """What a signature takes. Raises serving.probe.signature.UnfitError where there is none of the name."""
        return inputs_of(self._signatures, name)

    def signature(self, name: str) -> Ask:
        """A signature as a function from {input: array} to {output: array}, compiled once."""
        inputs = sorted(self.inputs(name))
        definition = self._signatures[name]
        outputs = sorted(definition.outputs)
        call = self._session.make_callable(
            [definition.outputs[key].name for key in outputs], [definition.inputs[key].name for key in inputs]
        )

        def ask(columns: Mapping[str, Array]) -> dict[str, Array]:
            return dict(zip(outputs, call(*(columns[key] for key in inputs)), strict=True))

        return ask
