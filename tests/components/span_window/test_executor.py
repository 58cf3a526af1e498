from pathlib import Path

import pytest
from tfx.types import artifact_utils, standard_artifacts

from components.span_window.component import SpanWindowExamples
from components.span_window.executor import Executor, by_span


def _examples(folder: Path, span: int, payload: str = "FORMAT_TF_EXAMPLE") -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder / f"examples-{span}")
    artifact.span = span
    artifact.split_names = artifact_utils.encode_split_names(["train", "eval"])
    artifact.set_string_custom_property("payload_format", payload)
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    for split in ("train", "eval"):
        for shard in range(2):
            file = Path(artifact.uri, f"Split-{split}", f"data_tfrecord-0000{shard}-of-00002.gz")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{span} {split} {shard}")
    return artifact


def _window(folder: Path) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder / "window")
    return artifact


def _contents(artifact: standard_artifacts.Examples, split: str) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(Path(artifact.uri, f"Split-{split}").iterdir())}


def test_spans_are_ordered_by_number_not_by_name(tmp_path: Path) -> None:
    inputs = {f"examples_{span}": [_examples(tmp_path, span)] for span in (10, 9, 11)}
    assert list(by_span({**inputs, "other": []}, "examples_")) == [9, 10, 11]


def test_every_shard_of_every_span_has_a_name_of_its_own(tmp_path: Path) -> None:
    inputs = {f"examples_{span}": [_examples(tmp_path, span)] for span in (9, 10)}
    window = _window(tmp_path)
    Executor().Do(inputs, {"examples": [window]}, {"newest": 10})
    assert _contents(window, "train") == {
        "data_tfrecord-00000-of-00004.gz": "9 train 0",
        "data_tfrecord-00001-of-00004.gz": "9 train 1",
        "data_tfrecord-00002-of-00004.gz": "10 train 0",
        "data_tfrecord-00003-of-00004.gz": "10 train 1",
    }
    assert _contents(window, "eval") == {
        "data_tfrecord-00000-of-00002.gz": "10 eval 0",
        "data_tfrecord-00001-of-00002.gz": "10 eval 1",
    }
    assert window.span == 10
    assert window.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    assert artifact_utils.decode_split_names(window.split_names) == ["train", "eval"]


def test_spans_of_different_payloads_are_no_window(tmp_path: Path) -> None:
    inputs = {"examples_1": [_examples(tmp_path, 1)], "examples_2": [_examples(tmp_path, 2, "FORMAT_PROTO")]}
    with pytest.raises(ValueError, match="share one payload_format"):
        Executor().Do(inputs, {"examples": [_window(tmp_path)]}, {"newest": 2})


def test_a_window_of_no_span_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one span"):
        SpanWindowExamples({})
