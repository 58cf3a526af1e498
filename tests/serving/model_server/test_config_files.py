import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.model_server import config_files
from serving.model_server.config_files import ConfigError
from serving.status import Code, StatusError
from tests.serving.model_server.config_texts import READERS, TWO_MODELS, Written


def test_a_model_config_is_text_of_a_model_server_config(written: Written) -> None:
    clicks, taxi = config_files.read_model_config(written(TWO_MODELS)).model_config_list.config
    assert (clicks.name, clicks.base_path, clicks.model_platform) == ("clicks", "/models/clicks", "tensorflow")
    assert list(clicks.model_version_policy.specific.versions) == [1, 2]
    assert dict(clicks.version_labels) == {"stable": 1, "canary": 2}
    assert taxi.base_path == "/models/taxi"


def test_an_empty_file_is_a_config_that_says_nothing(written: Written) -> None:
    assert config_files.read_model_config(written("")).WhichOneof("config") is None
    assert not config_files.read_monitoring(written("# nothing")).enabled


@pytest.mark.parametrize(
    ("text", "place", "detail"),
    [
        ("model_config_list { confg {} }", "1:21", 'Message type "tensorflow.serving.ModelConfigList" has no field'),
        ("model_config_list {\n  config { name: 3 }\n}", "2:18", "Expected string but found: '3'"),
        ("this is no config", "1:1", "Message type"),
        ("model_config_list {", "1:19", 'Expected "}"'),
        ("model_config_list { config { name: 'a' name: 'b' } }", "1:46", "Message type"),
        ('model_config_list { config { name: "\n" } }', "1:36", "String missing ending quote"),
        ("model_config_list {\n config { name: 'ä\\xff' } }", "2:25", "Couldn't parse string"),
        (b"model_config_list {\n # \xff", "2:4", "Byte 0xff is not UTF-8."),
    ],
)
def test_a_parse_error_has_a_line_of_the_real_servers_form_with_its_place(
    written: Written, text: str | bytes, place: str, detail: str
) -> None:
    path = written(text)
    with pytest.raises(ConfigError) as refused:
        config_files.read_model_config(path)
    error = refused.value
    assert error.code == Code.INVALID_ARGUMENT
    assert error.line.startswith(f"Error parsing text-format tensorflow.serving.ModelServerConfig: {place}: {detail}")
    assert error.message == f"Invalid protobuf file: '{path}': {error.line}"


def test_the_line_of_a_parse_error_is_short_however_long_that_of_the_file_is(written: Written) -> None:
    with pytest.raises(ConfigError) as refused:
        config_files.read_model_config(written("x: '" + "y" * 100_000))
    assert len(refused.value.line) < 400


@pytest.mark.parametrize("packed", ["", "[type.googleapis.com/google.protobuf.Int64Value] { value: 1 }"])
def test_a_custom_model_config_is_refused(written: Written, packed: str) -> None:
    import google.protobuf.wrappers_pb2  # noqa: F401  (a type must be known to be packed)

    with pytest.raises(StatusError, match="does not support custom_model_config") as refused:
        config_files.read_model_config(written(f"custom_model_config {{ {packed} }}"))
    assert refused.value.code == Code.INVALID_ARGUMENT


def test_a_custom_model_config_of_an_unknown_type_is_a_parse_error(written: Written) -> None:
    with pytest.raises(ConfigError, match=r"foo\.Bar"):
        config_files.read_model_config(written("custom_model_config { [type.googleapis.com/foo.Bar] { } }"))


def test_one_model_is_a_config_with_the_default_policy() -> None:
    (model,) = config_files.single_model_config("m", "relative/path").model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("m", "relative/path", "tensorflow")
    assert not model.HasField("model_version_policy")
    with pytest.raises(StatusError, match="UTF-8"):
        config_files.single_model_config("\udcff", "/m")


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_is_not_found(tmp_path: Path, read: Callable[[str], Any]) -> None:
    path = f"{tmp_path}/none/such"
    with pytest.raises(StatusError) as refused:
        read(path)
    assert str(refused.value) == f"NOT_FOUND: {path}; No such file or directory"


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_readable_file_is_an_error_with_the_systems_text(tmp_path: Path, read: Callable[[str], Any]) -> None:
    (tmp_path / "file").touch()
    for path, text in (
        (str(tmp_path), "FAILED_PRECONDITION: {}; Is a directory"),
        (f"{tmp_path}/file/below", "FAILED_PRECONDITION: {}; Not a directory"),
        ("x" * 300, "UNKNOWN: {}; File name too long"),
    ):
        with pytest.raises(StatusError) as refused:
            read(path)
        assert str(refused.value) == text.format(path)
    with pytest.raises(StatusError, match="null byte"):
        read("a\0b")


def test_a_relative_path_is_read_from_the_working_directory(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(written("prometheus_config { enable: true }"))
    monkeypatch.chdir(path.parent)
    assert config_files.read_monitoring("config").enabled


def test_a_file_without_end_or_too_large_is_refused_without_reading_it_all(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_files, "LARGEST_BYTES", 1000)
    with pytest.raises(ConfigError, match="more than 1000 bytes"):
        config_files.read_model_config("/dev/zero")
    path = written("#" * 1000)
    assert os.path.getsize(path) == 1000  # noqa: PTH202
    config_files.read_model_config(path)


def test_deep_nesting_is_refused(written: Written) -> None:
    import google.protobuf.struct_pb2  # noqa: F401  (a type with itself inside, for the Any)

    deep = "list_value { values { " * 5000
    text = f"custom_model_config {{ [type.googleapis.com/google.protobuf.Value] {{ {deep}"
    with pytest.raises(ConfigError, match="nested too deeply"):
        config_files.read_model_config(written(text))
