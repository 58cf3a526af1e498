"""What each kind of configuration file says."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.model_server import config_files
from serving.model_server.batching_parameters import BatchingParameters
from serving.model_server.config_files import ConfigError, Ssl
from serving.status import Code, StatusError
from tests.serving.model_server.config_texts import READERS, TWO_MODELS, Written


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
