"""Executor of the span window: copies files, reads none of them."""

import posixpath
from typing import Any

from tfx.components.example_gen import utils as example_gen_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as keys

__all__ = ["INPUT_PREFIX", "Executor", "by_span"]

INPUT_PREFIX = "examples_"


def by_span(input_dict: dict[str, list[Artifact]], prefix: str) -> dict[int, Artifact]:
    """The inputs named `<prefix><span>`, by span, the oldest first.

    Raises:
        ValueError: one of them is not exactly one artifact.
    """
    spans = sorted(int(key.removeprefix(prefix)) for key in input_dict if key.startswith(prefix))
    return {span: artifact_utils.get_single_instance(input_dict[f"{prefix}{span}"]) for span in spans}


class Executor(base_executor.BaseExecutor):
    """Split `train` is that of every span, oldest first; split `eval` is that of the newest span alone.

    Every span is split by the same hash of the same feature, so no value of that feature is on both sides.
    """

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copy the splits' files under names that count them: data_tfrecord-XXXXX-of-YYYYY.gz."""
        spans = by_span(input_dict, INPUT_PREFIX)
        newest = spans[exec_properties["newest"]]
        window = artifact_utils.get_single_instance(output_dict[keys.EXAMPLES_KEY])
        window.split_names = artifact_utils.encode_split_names(["train", "eval"])
        window.span = newest.span
        _same_formats(window, spans)
        _copy_split(window, "train", list(spans.values()))
        _copy_split(window, "eval", [newest])


def _same_formats(window: Artifact, spans: dict[int, Artifact]) -> None:
    for name in (example_gen_utils.PAYLOAD_FORMAT_PROPERTY_NAME, example_gen_utils.FILE_FORMAT_PROPERTY_NAME):
        values = {span: artifact.get_string_custom_property(name) for span, artifact in spans.items()}
        if len(set(values.values())) > 1:
            raise ValueError(f"the spans of a window must share one {name}; they have {values}")
        window.set_string_custom_property(name, next(iter(values.values())))


def _copy_split(window: Artifact, split: str, sources: list[Artifact]) -> None:
    files = [
        path
        for source in sources
        for path in sorted(fileio.glob(posixpath.join(artifact_utils.get_split_uri([source], split), "*")))
    ]
    target = artifact_utils.get_split_uri([window], split)
    fileio.makedirs(target)
    for index, path in enumerate(files):
        fileio.copy(path, posixpath.join(target, f"data_tfrecord-{index:05d}-of-{len(files):05d}.gz"))
