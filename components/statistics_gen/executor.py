"""Statistics executor: the stock StatisticsGen's artifact, computed in this process for spans that fit in memory."""

import logging
import posixpath
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx.components.statistics_gen import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.types import standard_component_specs as keys
from tfx.utils import io_utils, json_utils
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

__all__ = ["IN_MEMORY_MIB", "Executor", "records_of", "split_files", "statistics_of"]

LOG = logging.getLogger(__name__)
IN_MEMORY_MIB = "in_memory_mib"
MIB = 1 << 20
ONLY_STOCK = (keys.STATS_OPTIONS_JSON_KEY, keys.SAMPLE_RATE_BY_SPLIT_KEY, keys.SHARDED_STATS_OUTPUT_KEY)


def split_files(examples: Artifact, split: str) -> list[str]:
    """The TFRecord files of one split, in the order of their names."""
    return sorted(fileio.glob(posixpath.join(artifact_utils.get_split_uri([examples], split), "*")))


def records_of(files: list[str]) -> pa.RecordBatch:
    """All tf.Examples in gzip TFRecord files: one list column a feature, null where the value is missing."""
    gzip = tf.io.TFRecordOptions(compression_type="GZIP")
    # Deprecated for eager code, but tf.data traces a graph for every file, which takes 10 times as long as the reading.
    readers = [tf.compat.v1.io.tf_record_iterator(file, gzip) for file in files]
    return ExamplesToRecordBatchDecoder().DecodeBatch(list(chain.from_iterable(readers)))


def statistics_of(files: list[str], options: tfdv.StatsOptions) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Statistics of the tf.Examples in gzip TFRecord files, with TFDV's own generators.

    All records are one batch, so memory holds them all. No records give a dataset without features and 0 examples.
    Means of columns with NaN or infinite numbers are NaN, as they are in Beam.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return stats_impl.generate_statistics_in_memory(records_of(files), options)


class Executor(stock.Executor):
    """StatisticsGen's executor, without Beam where the Examples' files are small."""

    def __init__(self, context: base_beam_executor.BaseBeamExecutor.Context | None = None) -> None:
        """Beam is made ready only when used: TFX packs all its own sources for Beam's workers, which takes 3 s."""
        base_executor.BaseExecutor.__init__(self, context)

    def Do(  # noqa: N802 - the name is TFX's
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Write `FeatureStats.pb` of each split and describe them in the `statistics` artifact."""
        examples = artifact_utils.get_single_instance(input_dict[keys.EXAMPLES_KEY])
        in_memory_mib = exec_properties.get(IN_MEMORY_MIB, 0)
        if _needs_stock(examples, exec_properties) or _size_bytes(examples) > in_memory_mib * MIB:
            LOG.info("Examples too large for memory, or options that only Beam knows: statistics in Beam")
            super().__init__(self._context)
            super().Do(input_dict, output_dict, exec_properties)
            return
        excluded = json_utils.loads(exec_properties.get(keys.EXCLUDE_SPLITS_KEY, "null")) or []
        splits = [split for split in artifact_utils.decode_split_names(examples.split_names) if split not in excluded]
        options = tfdv.StatsOptions(schema=_schema(input_dict))
        statistics = artifact_utils.get_single_instance(output_dict[keys.STATISTICS_KEY])
        _describe(statistics, examples, splits)
        for split in splits:
            uri = artifact_utils.get_split_uri([statistics], split)
            fileio.makedirs(uri)
            with fileio.open(posixpath.join(uri, stock.DEFAULT_FILE_NAME), "wb") as file:
                file.write(statistics_of(split_files(examples, split), options).SerializeToString(deterministic=True))


def _needs_stock(examples: Artifact, exec_properties: dict[str, Any]) -> bool:
    asked = any(exec_properties.get(key) not in (None, "", "null", "{}", 0) for key in ONLY_STOCK)
    return asked or examples.has_custom_property(examples_utils.CUSTOM_SPLIT_PATTERN_PROPERTY_NAME)


def _size_bytes(examples: Artifact) -> int:
    splits = artifact_utils.decode_split_names(examples.split_names)
    return sum(tf.io.gfile.stat(path).length for split in splits for path in split_files(examples, split))


def _schema(input_dict: dict[str, list[Artifact]]) -> schema_pb2.Schema | None:
    if not input_dict.get(keys.SCHEMA_KEY):
        return None
    folder = artifact_utils.get_single_uri(input_dict[keys.SCHEMA_KEY])
    return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))


def _describe(statistics: Artifact, examples: Artifact, splits: list[str]) -> None:
    """The properties that the stock executor sets."""
    statistics.split_names = artifact_utils.encode_split_names(splits)
    statistics.span = examples.span
    statistics.set_string_custom_property(stock.STATS_DASHBOARD_LINK, "")
    every_record = json_utils.dumps(dict.fromkeys(splits, 1.0))
    statistics.set_json_value_custom_property(stock.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME, every_record)
