from pathlib import Path

import pytest

from pipeline.environment import (
    FOLDER,
    PRECISIONS,
    STRATEGIES,
    Environment,
    IngestOptions,
    TrainingOptions,
    load_environment,
)
from serving.errors import InputError


def loaded(folder: Path, text: str) -> Environment:
    path = folder / "mine.yaml"
    path.write_text(text)
    return load_environment(str(path))


def message_of(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        loaded(folder, text)
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_environment_of_the_project_loads_under_its_own_name(name: str) -> None:
    assert load_environment(name).name == name


def test_local_runs_beam_in_process() -> None:
    assert "--runner=FnApiRunner" in load_environment("local").beam_args


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == Environment(name="mine")
    assert loaded(tmp_path, "training:\ningest:\n") == Environment(name="mine")


def test_every_setting_of_a_file_arrives(tmp_path: Path) -> None:
    text = """
    name: elsewhere
    beam_args: [--runner=FlinkRunner]
    ingest: {in_memory_mib: 0}
    training:
      strategy: mirrored
      local_workers: 2
      precision: mixed_float16
      xla: true
      memory_growth: false
      batch_size: 7
      epochs: 3
      seed: 0
      cache_mib: 1
    """
    assert loaded(tmp_path, text) == Environment(
        "elsewhere",
        ("--runner=FlinkRunner",),
        IngestOptions(0),
        TrainingOptions("mirrored", 2, "mixed_float16", True, False, 7, 3, 0, 1),
    )


def test_variables_are_put_into_beams_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLINK_MASTER", "flink:8081")
    monkeypatch.delenv("NOT_SET", raising=False)
    environment = loaded(tmp_path, "beam_args: ['--flink_master=$FLINK_MASTER', '${FLINK_MASTER}', '$NOT_SET']")
    assert environment.beam_args == ("--flink_master=flink:8081", "flink:8081", "$NOT_SET")


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("beam_arg: []", "'beam_arg'", "did you mean 'beam_args'?"),
        ("training: {batchsize: 3}", "training: unknown key 'batchsize'", "did you mean 'batch_size'?"),
        ("ingest: {memory_mib: 3}", "ingest: unknown key 'memory_mib'", "did you mean 'in_memory_mib'?"),
        ("7: 3", "unknown key 7.", "Known keys: beam_args, ingest, name, training"),
        ("training: {zzz: 3}", "unknown key 'zzz'.", "Known keys: batch_size, cache_mib, epochs"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_right_one(tmp_path: Path, text: str, key: str, near: str) -> None:
    message = message_of(tmp_path, text)
    assert message.startswith(str(tmp_path / "mine.yaml"))
    assert key in message
    assert near in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2]", "expected a mapping of settings, got list"),
        ("training: [1]", "training: expected a mapping of settings, got list"),
        ("ingest: false", "ingest: expected a mapping of settings, got bool"),
        ("beam_args: --runner=x", "beam_args: expected a list of texts, got '--runner=x'"),
        ("beam_args: [1]", "beam_args: expected a list of texts, got [1]"),
        ("training: {xla: 1}", "training: xla: expected bool, got 1"),
        ("training: {batch_size: true}", "batch_size: expected int, got True"),
        ("training: {batch_size: '8'}", "batch_size: expected int, got '8'"),
        ("training: {batch_size: 8.0}", "batch_size: expected int, got 8.0"),
        ("training: {strategy: }", "strategy: expected str, got None"),
        ("ingest: {in_memory_mib: }", "in_memory_mib: expected int, got None"),
        ("name: 3", "name: expected str, got 3"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in message_of(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training: {strategy: fast}", f"strategy is one of {', '.join(STRATEGIES)}; got 'fast'"),
        ("training: {precision: float16}", f"precision is one of {', '.join(PRECISIONS)}; got 'float16'"),
        ("training: {batch_size: 0}", "batch_size is at least 1; got 0"),
        ("training: {epochs: -1}", "epochs is at least 1; got -1"),
        ("training: {local_workers: 0}", "local_workers is at least 1; got 0"),
        ("training: {seed: -1}", "seed is at least 0; got -1"),
        ("ingest: {in_memory_mib: -1}", "in_memory_mib is at least 0; got -1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in message_of(tmp_path, text)


def test_an_unknown_environment_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no environment 'lokal': expected one of .*local.*, or the path of a"):
        load_environment("lokal")


def test_a_path_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no environment"):
        load_environment(str(tmp_path / "none.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(InputError, match="not a readable YAML file"):
        load_environment(str(tmp_path / "folder.yaml"))


@pytest.mark.parametrize("content", [b"training: {", b"\xff\xfe\x00"])
def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable YAML file"):
        load_environment(str(path))
