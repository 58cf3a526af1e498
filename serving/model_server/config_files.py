"""TF Serving's configuration files: protobuf text, read into plain values.

Whatever a file holds, reading it ends in a value or in a StatusError: INVALID_ARGUMENT for its content, NOT_FOUND and
others, with the system's text, for the file itself.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from serving.model_server.batching_parameters import (
    THREAD_POOL_NAME,
    THREAD_POOL_NAME_WITHOUT_FILE,
    BatchingParameters,
)
from serving.status import Code, StatusError

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"
PLATFORM = "tensorflow"
LARGEST_BYTES = 64 << 20  # Python reads about 1 MB of text a second: what is larger is a mistake, not a configuration
_CODES: Mapping[int, Code] = MappingProxyType(
    {
        errno.ENOENT: Code.NOT_FOUND,
        errno.EACCES: Code.PERMISSION_DENIED,
        errno.EPERM: Code.PERMISSION_DENIED,
        errno.EISDIR: Code.FAILED_PRECONDITION,
        errno.ENOTDIR: Code.FAILED_PRECONDITION,
    }
)
LONGEST_DETAIL = 200  # characters of what the parser says, which may quote the file
M = TypeVar("M", bound=Any)


class ConfigError(StatusError):
    """A file whose text is not the message it should hold.

    Attributes:
        line: what the real server writes to stderr: `Error parsing text-format tensorflow.serving.X: 1:8: ...`.
    """

    def __init__(self, path: str, line: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, f"Invalid protobuf file: '{path}': {line}")
        self.line = line


class Monitoring(NamedTuple):
    """Whether metrics are published, and under which path of the REST port."""

    enabled: bool = False
    path: str = PROMETHEUS_PATH


@dataclass(frozen=True)
class Ssl:
    """TLS for gRPC, as PEM text.

    Attributes:
        server_key, server_cert: of the server.
        custom_ca: that signs clients' certificates; empty for the system's.
        client_verify: require a client certificate and verify it.
    """

    server_key: str
    server_cert: str
    custom_ca: str
    client_verify: bool


@dataclass(frozen=True)
class Platform:
    """What a platform config file says of TensorFlow's models; it replaces the flags of the same meaning.

    Attributes:
        session_config: a serialized tf.ConfigProto.
        batching: None runs each request by itself.
        tags: of the MetaGraphDef to load.
        warmup: whether warm-up requests are replayed.
        warmup_iterations: times each; 0 if not said.
    """

    session_config: bytes
    batching: BatchingParameters | None
    tags: frozenset[str]
    warmup: bool
    warmup_iterations: int


def read_model_config(path: str) -> Any:
    """The tensorflow.serving.ModelServerConfig in a file.

    Raises:
        StatusError: the file cannot be read, or asks for a custom model config, which ends the real server.
        ConfigError: its text is wrong.
    """
    from tensorflow_serving.config import model_server_config_pb2

    config = _read(path, model_server_config_pb2.ModelServerConfig())
    if config.WhichOneof("config") == "custom_model_config":
        raise StatusError(
            Code.INVALID_ARGUMENT, f"{path}: ModelServer does not support custom_model_config; use model_config_list"
        )
    return config


def single_model_config(name: str, base_path: str) -> Any:
    """The ModelServerConfig of one model with the default version policy."""
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    try:
        config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    except ValueError as error:  # bytes of the command line that are not UTF-8
        raise StatusError(Code.INVALID_ARGUMENT, f"Model name and base path must be UTF-8: {error}") from None
    return config


def read_monitoring(path: str) -> Monitoring:
    """What a MonitoringConfig says; no path means no file and no metrics.

    Raises:
        StatusError, ConfigError: as of `read_model_config`.
    """
    from serving.model_server.protos import monitoring_config_pb2

    if not path:
        return Monitoring()
    said = _read(path, monitoring_config_pb2.MonitoringConfig()).prometheus_config
    return Monitoring(said.enable, said.path or PROMETHEUS_PATH)


def read_ssl(path: str) -> Ssl | None:
    """What an SSLConfig says; None without a path.

    Raises:
        StatusError, ConfigError: as of `read_model_config`.
    """
    from serving.model_server.protos import ssl_config_pb2

    if not path:
        return None
    said = _read(path, ssl_config_pb2.SSLConfig(), secret=True)
    return Ssl(said.server_key, said.server_cert, said.custom_ca, said.client_verify)


def read_batching(path: str) -> BatchingParameters:
    """What a BatchingParameters file says, and the defaults for the rest; the defaults alone without a path.

    Raises:
        StatusError, ConfigError: as of `read_model_config`, or values that do not go together.
    """
    from serving.model_server.protos import batching_parameters_pb2

    if not path:
        return BatchingParameters(thread_pool_name=THREAD_POOL_NAME_WITHOUT_FILE)
    return _batching(_read(path, batching_parameters_pb2.BatchingParameters()))


def read_session_config(path: str, gpu_memory_fraction: float = 0.0) -> bytes:
    """A serialized tf.ConfigProto: the file's, with the share of a GPU's memory to take. Imports TensorFlow if needed.

    Raises:
        StatusError, ConfigError: as of `read_model_config`.
    """
    if not path and not gpu_memory_fraction:
        return b""
    from tensorflow.core.protobuf import config_pb2

    config = config_pb2.ConfigProto()
    if path:
        _read(path, config)
    if gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = gpu_memory_fraction
    serialized: bytes = config.SerializeToString()
    return serialized


def read_platform(path: str) -> Platform:
    """What a PlatformConfigMap says of the platform `tensorflow`. Imports TensorFlow.

    Raises:
        StatusError, ConfigError: as of `read_model_config`, or nothing usable is said of that platform.
    """
    from serving.model_server.protos import platform_config_pb2, session_bundle_config_pb2

    platforms = _read(path, platform_config_pb2.PlatformConfigMap()).platform_configs
    if PLATFORM not in platforms:
        raise StatusError(Code.INVALID_ARGUMENT, f"{path}: no platform_configs entry for {PLATFORM}")
    adapter = session_bundle_config_pb2.SavedModelBundleSourceAdapterConfig()
    packed = platforms[PLATFORM].source_adapter_config
    if not packed.Unpack(adapter):
        raise StatusError(
            Code.INVALID_ARGUMENT,
            f"{path}: the source_adapter_config of {PLATFORM} must be a {adapter.DESCRIPTOR.full_name}, "
            f"not {packed.type_url or 'unset'}",
        )
    said = adapter.legacy_config
    return Platform(
        session_config=said.session_config.SerializeToString(deterministic=True),
        batching=_batching(said.batching_parameters) if said.HasField("batching_parameters") else None,
        tags=frozenset(said.saved_model_tags) or frozenset({"serve"}),
        warmup=said.enable_model_warmup,
        warmup_iterations=said.model_warmup_options.num_request_iterations.value,
    )


def _batching(said: Any) -> BatchingParameters:
    wrapped = (
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
        "thread_pool_name",
        "enable_large_batch_splitting",
        "max_execution_batch_size",
    )
    values: dict[str, Any] = {name: getattr(said, name).value for name in wrapped if said.HasField(name)}
    return BatchingParameters(
        **{"thread_pool_name": THREAD_POOL_NAME, **values},
        allowed_batch_sizes=tuple(said.allowed_batch_sizes),
        pad_variable_length_inputs=said.pad_variable_length_inputs,
    )


def _read(path: str, message: M, secret: bool = False) -> M:
    """`message`, filled from the text of a file. The error of a secret one quotes nothing."""
    from google.protobuf import text_format

    kind = message.DESCRIPTOR.full_name
    text = _text(path, kind)
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise ConfigError(path, f"Error parsing text-format {kind}: {_place_and_detail(error, text, secret)}") from None
    except RecursionError:
        raise ConfigError(path, f"Error parsing text-format {kind}: nested too deeply") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # The Python reader passes on what setting a field raises, where its own checks are incomplete.
        detail = type(error).__name__ if secret else str(error)[:LONGEST_DETAIL]
        raise ConfigError(path, f"Error parsing text-format {kind}: {detail}") from None
    return message


def _text(path: str, kind: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        code = _CODES.get(error.errno or 0, Code.UNKNOWN)
        raise StatusError(code, f"{path}; {error.strerror}") from None
    except ValueError as error:  # a zero byte in the path
        raise StatusError(Code.INVALID_ARGUMENT, f"{path!r}; {error}") from None
    if len(content) > LARGEST_BYTES:
        raise ConfigError(path, f"Error parsing text-format {kind}: more than {LARGEST_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        detail = f"{line}:{column}: Byte 0x{content[error.start]:02x} is not UTF-8."
        raise ConfigError(path, f"Error parsing text-format {kind}: {detail}") from None


def _place_and_detail(error: Any, text: str, secret: bool) -> str:
    """`1:8: what is wrong`, as the C++ parser puts it; protobuf's Python one has `1:8 : 'the whole line': ...`."""
    number = error.GetLine()
    if number is None:
        return "a key or a certificate is not as expected" if secret else str(error)[:LONGEST_DETAIL]
    place = f"{number}:{error.GetColumn()}"
    if secret:
        return f"{place}: not as expected here (what stands there may be secret)"
    line = text.split("\n")[number - 1 : number]
    detail = str(error).removeprefix(f"{place} : ").removeprefix(f"'{''.join(line)}': ")
    return f"{place}: {detail[:LONGEST_DETAIL]}"
