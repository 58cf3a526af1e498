"""TF Serving's command line: the same names, forms and defaults, with one flag of ours.

A flag is `--name=value` and nothing else; a boolean also bare `--name`. What is no flag is reported and passed over,
as the real server does; a value that cannot be read, or `--help`, ends with 255. Nothing heavy is imported here.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TextIO

from serving.model_server import cpus
from serving.model_server.flag_values import READERS
from serving.status import Code, StatusError

EXIT_USAGE = 255  # -1 in TF Serving
CONTRACT = "Pressline embedded server (TensorFlow Serving 2.20 contract)"


def _flag(default: Any, meaning: str, *, bits: int = 32, acts_as: Any = None, why: str = "", ours: bool = False) -> Any:
    """One flag.

    Args:
        default: a value, or a function without arguments that gives it.
        meaning: for the usage text.
        bits: of an integer.
        acts_as: the value that this server has in effect where it cannot do what the flag says; None where it can.
        why: what is missing then.
        ours: not a flag of TF Serving's.
    """
    details = {"meaning": meaning, "bits": bits, "acts_as": acts_as, "why": why, "ours": ours}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=details)
    return dataclasses.field(default=default, metadata=details)


def _four_each_cpu() -> int:
    return 4 * cpus.schedulable()


@dataclass(frozen=True)
class Flags:
    """The flags, in TF Serving's order; `usage` says what each means."""

    port: int = _flag(8500, "TCP port for gRPC; 0 leaves it to --grpc_socket_path")
    grpc_socket_path: str = _flag("", "path of a UNIX socket for gRPC; empty for none")
    rest_api_port: int = _flag(0, "TCP port for REST, another than --port; 0 for none")
    rest_api_num_threads: int = _flag(_four_each_cpu, "REST requests that are worked on at a time")
    rest_api_timeout_in_ms: int = _flag(30000, "limit of one REST request, in milliseconds; 0 or less for none")
    rest_api_enable_cors_support: bool = _flag(False, "answer with CORS headers")
    enable_batching: bool = _flag(False, "put requests together into batches")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "let an unused label name a version that is not loaded; a config file with labels needs it to start"
    )
    batching_parameters_file: str = _flag("", "text BatchingParameters; needs --enable_batching")
    enable_per_model_batching_parameters: bool = _flag(
        False, "read batching_params.pbtxt from each version directory; thread pools stay those of the file above"
    )
    model_config_file: str = _flag("", "text ModelServerConfig; wins over --model_name and --model_base_path")
    model_config_file_poll_wait_seconds: int = _flag(0, "seconds between readings of the file above; 0 reads it once")
    model_name: str = _flag("default", "name of the only model")
    model_base_path: str = _flag("", "directory of the only model, which holds its version directories")
    num_load_threads: int = _flag(0, "threads that load versions; 0 loads one after the other")
    num_unload_threads: int = _flag(0, "threads that unload versions; 0 unloads one after the other")
    max_num_load_retries: int = _flag(5, "further tries after a load has failed")
    load_retry_interval_micros: int = _flag(60_000_000, "microseconds between these tries", bits=64)
    file_system_poll_wait_seconds: int = _flag(1, "seconds between looks for new versions; 0 looks once")
    flush_filesystem_caches: bool = _flag(
        True, "give file caches back after loading", acts_as=False, why="the page cache is left to the system"
    )
    tensorflow_session_parallelism: int = _flag(0, "threads of a session, both kinds; 0 lets it choose", bits=64)
    tensorflow_session_config_file: str = _flag("", "text ConfigProto of TensorFlow's sessions")
    tensorflow_intra_op_parallelism: int = _flag(0, "threads that share one operation; 0 lets it choose", bits=64)
    tensorflow_inter_op_parallelism: int = _flag(0, "operations that run at a time; 0 lets it choose", bits=64)
    use_alts_credentials: bool = _flag(
        False, "secure gRPC with ALTS", acts_as=False, why="there is no ALTS here and connections are NOT secured by it"
    )
    ssl_config_file: str = _flag("", "text SSLConfig: gRPC by TLS; REST stays plain")
    platform_config_file: str = _flag("", "text PlatformConfigMap; wins over the flags of sessions and batching")
    per_process_gpu_memory_fraction: float = _flag(0.0, "share of a GPU's memory to take; 0 lets TensorFlow choose")
    saved_model_tags: str = _flag("serve", "tags of the MetaGraphDef to load, with commas between")
    grpc_channel_arguments: str = _flag("", "arguments of the gRPC server: name=value, with commas between")
    grpc_max_threads: int = _flag(_four_each_cpu, "gRPC requests that are worked on at a time")
    enable_model_warmup: bool = _flag(True, "replay assets.extra/tf_serving_warmup_requests before a version is used")
    num_request_iterations_for_warmup: int = _flag(0, "times that each of these is replayed, where above 0; else once")
    version: bool = _flag(False, "print versions and end")
    monitoring_config_file: str = _flag("", "text MonitoringConfig: whether and where to publish metrics")
    remove_unused_fields_from_bundle_metagraph: bool = _flag(
        True, "free parts of the MetaGraphDef", acts_as=False, why="TensorFlow's Python loader keeps what it needs"
    )
    prefer_tflite_model: bool = _flag(
        False, "serve model.tflite where there is one", acts_as=False, why="only saved_model.pb is served"
    )
    num_tflite_pools: int = _flag(
        cpus.schedulable, "pools of LiteRT interpreters", acts_as=0, why="only saved_model.pb is served"
    )
    num_tflite_interpreters_per_pool: int = _flag(
        1, "LiteRT interpreters in each", acts_as=0, why="only saved_model.pb is served"
    )
    enable_signature_method_name_check: bool = _flag(False, "require a signature's method_name to fit the request")
    xla_cpu_compilation_enabled: bool = _flag(
        False,
        "compile for the CPU with XLA",
        acts_as=False,
        why="XLA is left as TensorFlow's wheel and TF_XLA_FLAGS say",
    )
    xla_gpu_compilation_enabled: bool = _flag(
        False, "compile for CPU and GPU with XLA", acts_as=False, why="XLA is left as its wheel and TF_XLA_FLAGS say"
    )
    enable_profiler: bool = _flag(True, "serve the profiler", acts_as=False, why="there is no ProfilerService here")
    thread_pool_factory_config_file: str = _flag(
        "", "text ThreadPoolConfig", acts_as="", why="the thread pools are this server's own"
    )
    mixed_precision: str = _flag("", "mixed precision mode", acts_as="", why="the graph runs as it was saved")
    skip_initialize_tpu: bool = _flag(False, "leave TPUs alone", acts_as=True, why="TPUs are not used")
    enable_grpc_healthcheck_service: bool = _flag(False, "serve grpc.health.v1.Health")
    enable_serialization_as_tensor_content: bool = _flag(False, "answer Predict with tensor_content")
    pressline_host: str = _flag(
        "127.0.0.1", "address to listen on; the real server has 0.0.0.0, which lets other hosts in", ours=True
    )


_FIELDS: Mapping[str, "dataclasses.Field[Any]"] = MappingProxyType({f.name: f for f in dataclasses.fields(Flags)})


def parse(argv: Sequence[str]) -> Flags:
    """The flags of a command line, without the program's name.

    Arguments that are no flags are printed with the usage to stdout and passed over. Of one given twice the last
    counts.

    Raises:
        SystemExit: 255 after the usage (a value cannot be read, `--help`), 0 after the versions (`--version`).
    """
    values, bad, unknown = read(argv)
    for name, value in bad:
        _print(f"Couldn't interpret value {value} for flag {name}.", sys.stderr)
    if bad or "--help" in unknown:
        print(usage())
        raise SystemExit(EXIT_USAGE)
    flags = Flags(**values)
    if flags.version:
        print(versions())
        raise SystemExit(0)
    for argument in unknown:
        _print(f"unknown argument: {argument}", sys.stdout)
    if unknown:
        print(usage(), flush=True)
    return flags


def read(argv: Sequence[str]) -> tuple[dict[str, Any], list[tuple[str, str]], list[str]]:
    """The values of flags by name, (name, text) of those that cannot be read, and the arguments that are no flags."""
    values: dict[str, Any] = {}
    bad: list[tuple[str, str]] = []
    unknown: list[str] = []
    for argument in argv:
        name, equals, text = argument.removeprefix("--").partition("=")
        field = _FIELDS.get(name) if argument.startswith("--") else None
        if field is None or not (equals or field.type is bool):
            unknown.append(argument)
            continue
        try:
            values[name] = READERS[field.type](text, field.metadata["bits"]) if equals else True
        except ValueError:
            bad.append((name, text))
    return values, bad, unknown


def check(flags: Flags) -> None:
    """
    Raises:
        StatusError: INVALID_ARGUMENT, where the real server would not start with these flags.
    """
    if flags.port == 0 and not flags.grpc_socket_path:
        raise _invalid("At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.")
    if flags.use_alts_credentials and flags.ssl_config_file:
        raise _invalid("Either use_alts_credentials must be false or ssl_config_file must be empty.")
    if not flags.model_base_path and not flags.model_config_file:
        raise _invalid("Both server_options.model_base_path and server_options.model_config_file are empty!")
    if flags.platform_config_file:  # it replaces what the flags below say
        return
    if flags.batching_parameters_file and not flags.enable_batching:
        raise _invalid(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
        )
    parallelism(flags)


def parallelism(flags: Flags) -> tuple[int, int]:
    """Threads (intra-op, inter-op) of a session; 0 lets TensorFlow choose.

    Raises:
        StatusError: INVALID_ARGUMENT when all three flags are set.
    """
    intra, inter = flags.tensorflow_intra_op_parallelism, flags.tensorflow_inter_op_parallelism
    both = flags.tensorflow_session_parallelism
    if intra > 0 and inter > 0 and both > 0:
        raise _invalid(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) "
            "separately. You cannot configure all."
        )
    return (intra, inter) if intra > 0 or inter > 0 else (both, both)


def warnings(flags: Flags) -> list[str]:
    """A sentence for each flag that asks for what this server does not do, or that has no effect without another."""
    found = [
        f"--{field.name}={_show(value)} is accepted and does nothing here: {field.metadata['why']}."
        for field, value in ((field, getattr(flags, name)) for name, field in _FIELDS.items())
        if field.metadata["why"] and value not in (_default(field), field.metadata["acts_as"])
    ]
    if flags.enable_per_model_batching_parameters and not flags.enable_batching:
        found.append("--enable_per_model_batching_parameters does nothing without --enable_batching.")
    return found


def usage() -> str:
    """What `--help` prints."""
    lines = ["usage: pressline model server, with the flags of tensorflow_model_server", "Flags:"]
    for field in _FIELDS.values():
        details = field.metadata
        kind = {bool: "bool", int: f"int{details['bits']}", float: "float", str: "string"}[_type(field)]
        note = f" [accepted, does nothing here: {details['why']}]" if details["why"] else ""
        note += " [ours, not of TensorFlow Serving]" if details["ours"] else ""
        form = f"--{field.name}={_show(_default(field), quote=True)}"
        lines.append(f"\t{form:<52}\t{kind:<6}\t{details['meaning']}{note}")
    return "\n".join(lines)


def versions() -> str:
    """What `--version` prints; TensorFlow's version comes from its package, since importing it takes seconds."""
    import importlib.metadata

    try:
        library = importlib.metadata.version("tensorflow")
    except importlib.metadata.PackageNotFoundError:
        library = "not installed"
    return f"TensorFlow ModelServer: {CONTRACT}\nTensorFlow Library: {library}"


def _print(text: str, stream: TextIO) -> None:
    """Prints what the user wrote, bytes that were no text included."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _type(field: "dataclasses.Field[Any]") -> type:
    kind = field.type
    assert isinstance(kind, type)
    return kind


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _show(value: Any, quote: bool = False) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if quote and isinstance(value, str) else str(value)


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
