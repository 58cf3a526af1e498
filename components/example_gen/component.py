"""The ingest node of one span."""

import re

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.example_gen.executor import Executor
from components.example_gen.settings import IngestSettings, typing_of

__all__ = ["SpanExampleGen", "span_examples", "span_pattern"]


class SpanExampleGen(FileBasedExampleGen):
    """FileBasedExampleGen with the executor of `components.example_gen.executor`; driver and artifacts are stock."""

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)


def span_pattern(directory: str) -> str:
    """The stock file pattern of a span's directory: `span-7` -> `span-{SPAN}/*`, `span-07` -> `span-{SPAN:2}/*`.

    Stock resolves `{SPAN}` to the bare number, so the width of a zero-padded one has to be named.

    Raises:
        ValueError: the name has no number at its end.
    """
    match = re.fullmatch(r"(.*?)(\d+)", directory)
    if not match:
        raise ValueError(f"a span's directory ends in its number, such as span-7; got {directory!r}")
    prefix, digits = match.groups()
    return f"{prefix}{{SPAN:{len(digits)}}}/*" if digits.startswith("0") and len(digits) > 1 else f"{prefix}{{SPAN}}/*"


def span_examples(
    input_base: str,
    span: int,
    schema_text: str,
    split_by: str,
    holdout: int,
    in_memory_mib: int = 256,
    files_pattern: str = "span-{SPAN}/*",
) -> SpanExampleGen:
    """The node `ExampleGen-span-<span>`; its `examples` has splits `train` and `eval`.

    Args:
        input_base: the folder of the spans.
        span: the number of the span.
        schema_text: pbtxt of the curated schema; only names, types and shapes of features are kept, and cached by.
        split_by: the feature whose values are kept together; whole numbers or strings.
        holdout: one value in this many goes to `eval` (at least 2).
        in_memory_mib: larger spans (MiB of raw files) are ingested in Beam.
        files_pattern: where the span's files are under `input_base`; `span_pattern` gives it for a directory's name.
    """
    splits = example_gen_pb2.SplitConfig(
        splits=[
            example_gen_pb2.SplitConfig.Split(name="train", hash_buckets=holdout - 1),
            example_gen_pb2.SplitConfig.Split(name="eval", hash_buckets=1),
        ],
        partition_feature_name=split_by,
    )
    node = SpanExampleGen(
        input_base=input_base,
        input_config=example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name="span", pattern=files_pattern)],
        ),
        output_config=example_gen_pb2.Output(split_config=splits),
        range_config=range_config_pb2.RangeConfig(
            static_range=range_config_pb2.StaticRange(start_span_number=span, end_span_number=span)
        ),
        custom_config=IngestSettings(typing_of(schema_text), in_memory_mib).custom_config(),
    )
    node.with_id(f"ExampleGen-span-{span}")
    return node
