"""Runs a task's preprocessing_fn once on a few records, eagerly, before Beam: an error there shows the user's line."""

import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import schema_pb2

Raw = "dict[str, tf.Tensor | tf.SparseTensor]"


def check(preprocessing_fn: str, examples: "list[bytes]", schema: "schema_pb2.Schema", label: str) -> None:
    """Traces nothing and analyses nothing: every analyzer answers with a stand-in, all other code runs for real.

    Args:
        preprocessing_fn: dotted path of the function.
        examples: serialized raw tf.Examples.
        schema: of the raw records.
        label: the transformed label that must be among the outputs.

    Raises:
        InputError: the function failed, naming its line and the raw features it had; or an output is unfit; or the
            schema says of a feature what tf.Transform cannot use.
    """
    import tensorflow as tf
    from tensorflow_transform.tf_metadata import schema_utils

    from pipeline.task import load

    try:
        function = load(preprocessing_fn)
    except (ImportError, SyntaxError) as error:
        raise InputError(f"{preprocessing_fn} cannot be loaded: {error}") from error
    try:
        spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    except ValueError as error:
        raise InputError(f"the schema cannot be used for training: {' '.join(str(error).split())}") from error
    try:
        raw = _Watched(tf.io.parse_example(examples, spec))
    except tf.errors.InvalidArgumentError:
        return  # a required value is missing: the data gate says which, where and how often
    with _stand_ins():
        try:
            outputs = function(raw)
        except Exception as error:
            raise InputError(_explain(preprocessing_fn, function, error, raw)) from error
    _check_outputs(preprocessing_fn, outputs, label, len(examples))


class _Watched(dict[str, Any]):
    """The raw features, remembering which one was looked at last."""

    last: str | None = None

    def __getitem__(self, name: str) -> Any:
        self.last = name
        return super().__getitem__(name)


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Within it, tf.Transform's analyzers give plain values at once: ones, and a vocabulary of one word.

    `bind_future_as_tensor` is where every analyzer turns what Beam will compute into a tensor (checked in
    tensorflow-transform 1.21); with something to put in its place the library needs no graph.
    """
    import tensorflow as tf
    from tensorflow_transform import analyzer_nodes

    # Analyzers also leave notes in the default graph, which a later trace of the real thing would inherit.
    graph = tf.compat.v1.get_default_graph()
    before = {name: list(graph.get_collection_ref(name)) for name in graph.get_all_collection_keys()}
    original = analyzer_nodes.bind_future_as_tensor
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder, "vocabulary")
        vocabulary.write_text("a\n")
        analyzer_nodes.bind_future_as_tensor = lambda future, info, name=None: _stand_in(info, str(vocabulary))
        try:
            yield
        finally:
            analyzer_nodes.bind_future_as_tensor = original
            for name in graph.get_all_collection_keys():
                graph.get_collection_ref(name)[:] = before.get(name, [])


def _stand_in(info: Any, vocabulary: str) -> "tf.Tensor":
    import tensorflow as tf

    if info.temporary_asset_info is not None:
        return tf.constant(vocabulary)
    shape = [1 if size is None else size for size in (info.shape or [])]
    if info.dtype == tf.string:
        return tf.constant(np.full(shape, b"a"))
    return tf.ones(shape, info.dtype)


def _explain(dotted: str, function: Any, error: Exception, raw: _Watched) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _file_of(function)]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else dotted
    message = str(error).strip().splitlines()[0] if str(error).strip() else ""
    if isinstance(error, KeyError):
        message = f"there is no feature {error}; the schema has {', '.join(sorted(raw))}"
    feature = f" (the feature it read last: {raw.last!r})" if raw.last else ""
    what = f"preprocessing_fn failed on a sample of {_rows(raw)} records{feature}"
    return f"{what}\n  {where}\n  {type(error).__name__}: {message}"


def _rows(raw: _Watched) -> int:
    first = next(iter(raw.values()), None)
    return int(first.shape[0]) if first is not None else 0


def _file_of(function: Any) -> str:
    import inspect

    return inspect.getsourcefile(inspect.unwrap(function)) or ""


def _check_outputs(dotted: str, outputs: Any, label: str, rows: int) -> None:
    import tensorflow as tf

    if not isinstance(outputs, dict) or not outputs:
        raise InputError(f"{dotted} returns a dict of named tensors; got {type(outputs).__name__}")
    if label not in outputs:
        raise InputError(f"{dotted} must return the label {label!r}; it returned {', '.join(sorted(outputs))}")
    for name, tensor in outputs.items():
        if not isinstance(tensor, tf.Tensor):
            raise InputError(f"{dotted}: {name!r} is a {type(tensor).__name__}; expected a dense tensor [batch, ...]")
        if tensor.shape.rank == 0 or tensor.shape[0] != rows:
            raise InputError(f"{dotted}: {name!r} has shape {tensor.shape} for {rows} records; expected [{rows}, ...]")
