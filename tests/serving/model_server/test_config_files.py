import os
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.model_server import config_files
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.config_files import ConfigError, Ssl
from serving.model_server.status import Code, StatusError

TWO_MODELS = """
# models of the shop
model_config_list: {
  config {
    name: "clicks",
    base_path: '/models/clicks'
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1, versions: 2 } };
    version_labels { key: "stable" value: 1 }
    version_labels: { key: 'canary', value: 2 }
  },
  config: < name: "taxi" base_path: "/models" "/taxi" model_platform: "tensorflow" >
}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], str]:
    def write(content: str | bytes) -> str:
        path = tmp_path / "config"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


Written = Callable[[str | bytes], str]


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


READERS: list[Callable[[str], Any]] = [
    config_files.read_model_config,
    config_files.read_monitoring,
    config_files.read_ssl,
    config_files.read_batching,
]


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


def test_monitoring_is_off_unless_enabled_and_has_a_default_path(written: Written) -> None:
    enabled, path = config_files.read_monitoring(written("prometheus_config { enable: true }"))
    assert (enabled, path) == (True, "/monitoring/prometheus/metrics")
    text = 'prometheus_config: {\n enable: true,\n path: "/metrics"\n}'
    assert config_files.read_monitoring(written(text)) == (True, "/metrics")
    assert config_files.read_monitoring(written("prometheus_config {}")).enabled is False
    assert config_files.read_monitoring("") == (False, "/monitoring/prometheus/metrics")


def test_ssl_is_pem_text_inline(written: Written) -> None:
    text = 'server_key: "-----BEGIN\\nkey" server_cert: "cert" custom_ca: "ca" client_verify: true'
    assert config_files.read_ssl(written(text)) == Ssl("-----BEGIN\nkey", "cert", "ca", True)
    assert config_files.read_ssl(written("server_key: 'k'")) == Ssl("k", "", "", False)
    assert config_files.read_ssl("") is None


@pytest.mark.parametrize(
    "text", ["server_key: 'SECRET", "server_key: SECRET", "SECRET: 1", "server_key: 'SECRET\\xff'"]
)
def test_an_error_in_an_ssl_config_shows_its_place_and_nothing_of_the_key(written: Written, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config_files.read_ssl(written(text))
    assert "Error parsing text-format tensorflow.serving.SSLConfig: 1:" in refused.value.message
    assert "SECRET" not in refused.value.message


def test_batching_parameters_are_wrapped_values_and_keep_the_other_defaults(written: Written) -> None:
    text = """
    max_batch_size { value: 128 }
    batch_timeout_micros: { value: 5000 }
    max_enqueued_batches { value: 1000000 }
    num_batch_threads { value: 8 }
    thread_pool_name { value: "pool" }
    allowed_batch_sizes: 8 allowed_batch_sizes: 128
    pad_variable_length_inputs: true
    enable_large_batch_splitting { value: true }
    max_execution_batch_size { value: 32 }
    """
    expected = BatchingParameters(128, 5000, 1_000_000, 8, "pool", (8, 128), True, True, 32)
    assert config_files.read_batching(written(text)) == expected
    assert config_files.read_batching(written("")) == BatchingParameters()
    zero = config_files.read_batching(written("batch_timeout_micros {} allowed_batch_sizes: [500, 1000]"))
    assert zero == BatchingParameters(allowed_batch_sizes=(500, 1000))


def test_batching_without_a_file_has_another_thread_pool_name() -> None:
    assert config_files.read_batching("") == BatchingParameters(thread_pool_name="model_server_batch_threads")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "allowed_batch_sizes: 8 max_batch_size { value: 16 }",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 16",
        ),
        ("max_batch_size {}", "max_batch_size must be positive; was 0"),
        ("num_batch_threads {}", "num_batch_threads must be positive; was 0"),
    ],
)
def test_batching_parameters_that_do_not_go_together_are_refused(written: Written, text: str, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        config_files.read_batching(written(text))
    assert (refused.value.code, refused.value.message) == (Code.INVALID_ARGUMENT, message)


def test_a_bare_number_is_no_wrapped_value(written: Written) -> None:
    with pytest.raises(ConfigError, match="1:17: "):
        config_files.read_batching(written("max_batch_size: 128"))


def test_a_session_config_is_passed_on_serialized(written: Written) -> None:
    from tensorflow.core.protobuf import config_pb2

    path = written("intra_op_parallelism_threads: 3 gpu_options { allow_growth: true }")
    config = config_pb2.ConfigProto.FromString(config_files.read_session_config(path, 0.25))
    assert config.intra_op_parallelism_threads == 3
    assert config.gpu_options.allow_growth
    assert config.gpu_options.per_process_gpu_memory_fraction == 0.25
    assert config_files.read_session_config("") == b""
    with pytest.raises(ConfigError, match=r"text-format tensorflow\.ConfigProto: 1:1: "):
        config_files.read_session_config(written("nonsense: 1"))


PLATFORM = """
platform_configs {{
  key: "tensorflow"
  value {{
    source_adapter_config {{
      [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {{
        legacy_config {{ {} }}
      }}
    }}
  }}
}}
"""


def test_a_platform_config_replaces_the_flags_of_sessions_and_batching(written: Written) -> None:
    from tensorflow.core.protobuf import config_pb2

    text = PLATFORM.format(
        "session_config { intra_op_parallelism_threads: 2 } batching_parameters { max_batch_size { value: 4 } } "
        "saved_model_tags: 'serve' saved_model_tags: 'gpu' enable_model_warmup: true "
        "model_warmup_options { num_request_iterations { value: 3 } }"
    )
    found = config_files.read_platform(written(text))
    assert config_pb2.ConfigProto.FromString(found.session_config).intra_op_parallelism_threads == 2
    assert found.batching == BatchingParameters(max_batch_size=4)
    assert (found.tags, found.warmup, found.warmup_iterations) == (frozenset({"serve", "gpu"}), True, 3)
    least = config_files.read_platform(written(PLATFORM.format("")))
    assert least == config_files.Platform(b"", None, frozenset({"serve"}), False, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no platform_configs entry for tensorflow"),
        ("platform_configs { key: 'tensorflow' value {} }", "not unset"),
        (PLATFORM.format("x: 1"), "no field named"),
        (
            "platform_configs { key: 'tensorflow' value { source_adapter_config { "
            "[type.googleapis.com/tensorflow.serving.BatchingParameters] {} } } }",
            "must be a tensorflow.serving.SavedModelBundleSourceAdapterConfig",
        ),
    ],
)
def test_a_platform_config_that_says_nothing_usable_is_refused(written: Written, text: str, message: str) -> None:
    with pytest.raises(StatusError, match=message) as refused:
        config_files.read_platform(written(text))
    assert refused.value.code == Code.INVALID_ARGUMENT


WORDS = st.sampled_from(
    [
        *"{}<>[]:;,'\"#\\-.",
        *("model_config_list", "custom_model_config", "config", "name", "base_path", "version_labels", "key", "value"),
        *("model_version_policy", "specific", "versions", "latest", "all", "num_versions", "prometheus_config", "path"),
        *("enable", "true", "false", "max_batch_size", "allowed_batch_sizes", "server_key", "client_verify", "1", "-1"),
        *("99999999999999999999", "1e999", "nan", "inf", "0x", '"a"', "'\\377'", "'\\u0000'", "\\", "\n", "\0", " "),
        *("[type.googleapis.com/", "tensorflow.serving.ModelServerConfig", "google.protobuf.Any", "logging_config"),
        *("log_collector_config", "sampling_config", "sampling_rate", "0.1", "f", "model_platform", "tensorflow"),
    ]
)
LIKELY = st.lists(WORDS, max_size=40).map(" ".join).map(str.encode)
DAMAGED = st.tuples(st.integers(0, len(TWO_MODELS)), st.text(string.printable, max_size=4), st.integers(0, 4)).map(
    lambda cut: (TWO_MODELS[: cut[0]] + cut[1] + TWO_MODELS[cut[0] + cut[2] :]).encode()
)


@given(content=LIKELY | DAMAGED | st.binary())
@example(content=b"model_config_list { config { version_labels { key: 'a' value: 1e999 } } }")
@example(content=b"max_batch_size { value: " + b"9" * 5000 + b" }")
@example(content=b"model_config_list { config { model_type: 7 } }")
@example(content=b"model_config_list { config { version_labels { value: 1 } } }")
def test_whatever_a_file_holds_ends_in_a_value_or_a_status(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.config"
    path.write_bytes(content)
    for read in READERS:
        refused: StatusError | None = None
        try:
            read(str(path))
        except StatusError as error:
            refused = error
        assert refused is None or len(refused.message) < 1000
