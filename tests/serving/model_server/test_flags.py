import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server import cpus, flags
from serving.model_server.flags import Flags
from serving.status import Code, StatusError

ROOT = Path(__file__).parents[3]
CONTRACT = """
port 8500; grpc_socket_path ""; rest_api_port 0; rest_api_num_threads 4x; rest_api_timeout_in_ms 30000;
rest_api_enable_cors_support false; enable_batching false; allow_version_labels_for_unavailable_models false;
batching_parameters_file ""; enable_per_model_batching_parameters false; model_config_file "";
model_config_file_poll_wait_seconds 0; model_name "default"; model_base_path ""; num_load_threads 0;
num_unload_threads 0; max_num_load_retries 5; load_retry_interval_micros 60000000; file_system_poll_wait_seconds 1;
flush_filesystem_caches true; tensorflow_session_parallelism 0; tensorflow_session_config_file "";
tensorflow_intra_op_parallelism 0; tensorflow_inter_op_parallelism 0; use_alts_credentials false; ssl_config_file "";
platform_config_file ""; per_process_gpu_memory_fraction 0; saved_model_tags "serve"; grpc_channel_arguments "";
grpc_max_threads 4x; enable_model_warmup true; num_request_iterations_for_warmup 0; version false;
monitoring_config_file ""; remove_unused_fields_from_bundle_metagraph true; prefer_tflite_model false;
num_tflite_pools 1x; num_tflite_interpreters_per_pool 1; enable_signature_method_name_check false;
xla_cpu_compilation_enabled false; xla_gpu_compilation_enabled false; enable_profiler true;
thread_pool_factory_config_file ""; mixed_precision ""; skip_initialize_tpu false;
enable_grpc_healthcheck_service false; enable_serialization_as_tensor_content false
"""
NAMES = [field.name for field in dataclasses.fields(Flags)]
WIDE = [
    "load_retry_interval_micros",
    "tensorflow_session_parallelism",
    "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism",
]


def of_kind(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(Flags) if field.type is kind]


def bad_value(*argv: str) -> bool:
    with pytest.raises(SystemExit) as ended:
        flags.parse(argv)
    return ended.value.code == 255


def test_names_order_and_defaults_are_those_of_tf_serving() -> None:
    cores = cpus.schedulable()
    words = {"true": True, "false": False, "4x": 4 * cores, "1x": cores}
    expected: dict[str, Any] = {}
    for entry in CONTRACT.split(";"):
        name, value = entry.split()
        expected[name] = value.strip('"') if '"' in value else words.get(value, value)
        expected[name] = int(value) if value.isdigit() else expected[name]
    found = dataclasses.asdict(flags.parse([]))
    assert found.pop("pressline_host") == "127.0.0.1", "ours; the others are TF Serving's"
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("name", of_kind(bool))
@pytest.mark.parametrize(
    ("form", "value"),
    [("", True), ("=true", True), ("=True", True), ("=TRUE", True), ("=false", False), ("=fAlSe", False)],
)
def test_a_boolean_is_bare_or_true_or_false_in_any_case(name: str, form: str, value: bool) -> None:
    values, bad, unknown = flags.read([f"--{name}{form}"])
    assert (values, bad, unknown) == ({name: value}, [], [])


@pytest.mark.parametrize("text", ["", "1", "0", "yes", "t", "true ", " true", "wahr", "trüe"])
def test_nothing_else_is_a_boolean_value(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bad_value(f"--enable_batching={text}")
    out, err = capsys.readouterr()
    assert "--enable_batching=false" in out, "the usage"
    assert f"Couldn't interpret value {text} for flag enable_batching." in err


@pytest.mark.parametrize("name", of_kind(int))
def test_integers_have_the_limits_of_their_c_type(name: str) -> None:
    bits = 64 if name in WIDE else 32
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    for value in (low, -1, 0, 7, high):
        assert flags.read([f"--{name}={value}"]) == ({name: value}, [], [])
    for value in (low - 1, high + 1):
        assert flags.read([f"--{name}={value}"]) == ({}, [(name, str(value))], [])


@pytest.mark.parametrize(("text", "value"), [("+5", 5), (" 5", 5), ("007", 7), ("-0", 0), ("\t-3", -3)])
def test_an_integer_may_have_a_sign_zeros_and_blanks_before_it(text: str, value: int) -> None:
    assert flags.parse([f"--port={text}"]).port == value


@pytest.mark.parametrize("text", ["", "x", "1.0", "1e3", "0x10", "5 ", "5x", "1_000", "٣", "--5", "9" * 5000])
def test_other_text_is_no_integer(text: str) -> None:
    assert bad_value(f"--port={text}")


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("1", 1.0), (".25", 0.25), ("1e-1", 0.1), (" 1", 1.0)])
def test_a_float_is_read_as_c_reads_it(text: str, value: float) -> None:
    assert flags.parse([f"--per_process_gpu_memory_fraction={text}"]).per_process_gpu_memory_fraction == value


@pytest.mark.parametrize("text", ["", "half", "0.5 ", "0_5", "0,5"])
def test_other_text_is_no_float(text: str) -> None:
    assert bad_value(f"--per_process_gpu_memory_fraction={text}")


@pytest.mark.parametrize("name", of_kind(str))
@pytest.mark.parametrize("text", ["", "a", "a=b,c=d", " /with blanks/ ", "größe"])
def test_text_is_taken_as_it_is(name: str, text: str) -> None:
    assert flags.read([f"--{name}={text}"]) == ({name: text}, [], [])


def test_the_last_of_two_counts() -> None:
    assert flags.parse(["--port=1", "--port=2", "--enable_batching", "--enable_batching=false"]) == Flags(port=2)


@pytest.mark.parametrize(
    "argument",
    [
        "--port",
        "-port=1",
        "port=1",
        "--Port=1",
        "--no_such=1",
        "--noenable_batching",
        "--enable_batchings",
        "--",
        "",
        "8500",
    ],
)
def test_what_is_no_flag_is_printed_with_the_usage_and_passed_over(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flags.parse([argument, "--rest_api_port=7"]) == Flags(rest_api_port=7)
    out, err = capsys.readouterr()
    assert out.startswith(f"unknown argument: {argument}\nusage: ")
    assert "\t--port=8500 " in out
    assert err == ""


def test_an_argument_that_is_no_text_is_reported_too() -> None:
    program = "import sys; from serving.model_server import flags; flags.parse(sys.argv[1:])"
    ended = subprocess.run([sys.executable, "-c", program, b"\xff"], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(b"unknown argument: \\udcff\nusage: ")


def test_a_space_does_not_separate_a_name_from_its_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert flags.parse(["--port", "9000"]).port == 8500
    assert capsys.readouterr().out.startswith("unknown argument: --port\nunknown argument: 9000\nusage: ")


@pytest.mark.parametrize(
    "argv", [["--help"], ["--port=1", "--help"], ["--help", "--version"], ["--version", "--port=x"]]
)
def test_help_or_a_bad_value_prints_the_usage_and_ends_with_255(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bad_value(*argv)
    assert capsys.readouterr().out == flags.usage() + "\n"


def test_the_usage_has_every_flag_with_its_default_and_marks_what_does_nothing_and_what_is_ours() -> None:
    lines = flags.usage().splitlines()[2:]
    assert [line.split("=")[0].strip() for line in lines] == [f"--{name}" for name in NAMES]
    marked = {line.split("=")[0].strip() for line in lines if "accepted, does nothing here" in line}
    assert {"--use_alts_credentials", "--enable_profiler", "--prefer_tflite_model", "--mixed_precision"} < marked
    assert "--port" not in marked
    assert [line.split("=")[0].strip() for line in lines if "[ours, " in line] == ["--pressline_host"]
    assert any('--model_name="default" ' in line for line in lines)


def test_version_prints_server_and_library_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags.parse(["--version", "--nonsense"])
    assert ended.value.code == 0
    server, library = capsys.readouterr().out.splitlines()
    assert server.startswith("TensorFlow ModelServer: ")
    assert library.startswith("TensorFlow Library: 2.")


def test_the_command_line_answers_without_tensorflow_or_grpc() -> None:
    program = (
        "import sys; from serving.model_server import config_files, flags, metrics\n"
        "try: flags.parse(['--version'])\n"
        "except SystemExit: pass\n"
        "flags.usage(); metrics.Metrics().exposition()\n"
        "sys.exit(sorted(sys.modules.keys() & {'tensorflow', 'grpc', 'numpy', 'google.protobuf'}) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@given(
    st.lists(st.text() | st.sampled_from(NAMES).flatmap(lambda name: st.text().map(lambda text: f"--{name}={text}")))
)
def test_any_command_line_is_read_without_an_exception(argv: list[str]) -> None:
    values, bad, unknown = flags.read(argv)
    assert len(values) + len(bad) + len(unknown) <= len(argv)
    assert isinstance(flags.warnings(Flags(**values)), list)


def refusal(**values: Any) -> str:
    with pytest.raises(StatusError) as refused:
        flags.check(Flags(**{"model_base_path": "/m", **values}))
    assert refused.value.code == Code.INVALID_ARGUMENT
    return refused.value.message


def test_flags_with_which_the_real_server_would_not_start_are_refused_in_its_words() -> None:
    neither = "Both server_options.model_base_path and server_options.model_config_file are empty!"
    assert refusal(model_base_path="") == neither
    assert "grpc_port or server_options.grpc_socket_path must be set" in refusal(port=0)
    assert refusal(batching_parameters_file="/b") == (
        "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
    )
    assert "use_alts_credentials must be false" in refusal(use_alts_credentials=True, ssl_config_file="/s")
    both = {"tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": 1}
    assert refusal(**both, tensorflow_session_parallelism=1).endswith("You cannot configure all.")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model_base_path": "", "model_config_file": "/c"},
        {"port": 0, "grpc_socket_path": "/s"},
        {"batching_parameters_file": "/b", "enable_batching": True},
        {"batching_parameters_file": "/b", "platform_config_file": "/p"},
        {"enable_per_model_batching_parameters": True},
        {"tensorflow_intra_op_parallelism": 1, "tensorflow_session_parallelism": 1},
    ],
)
def test_flags_that_go_together_are_accepted(values: dict[str, Any]) -> None:
    flags.check(Flags(**{"model_base_path": "/m", **values}))


@pytest.mark.parametrize(
    ("intra", "inter", "both", "expected"),
    [(0, 0, 0, (0, 0)), (0, 0, 3, (3, 3)), (2, 0, 0, (2, 0)), (0, 2, 5, (0, 2)), (1, 2, 0, (1, 2))],
)
def test_session_parallelism_counts_where_neither_kind_of_thread_is_given(
    intra: int, inter: int, both: int, expected: tuple[int, int]
) -> None:
    found = flags.parallelism(
        Flags(
            tensorflow_intra_op_parallelism=intra,
            tensorflow_inter_op_parallelism=inter,
            tensorflow_session_parallelism=both,
        )
    )
    assert found == expected


def test_a_warning_for_each_flag_that_asks_for_what_is_not_done() -> None:
    assert flags.warnings(Flags()) == []
    asked = Flags(use_alts_credentials=True, mixed_precision="bfloat16", xla_cpu_compilation_enabled=True)
    alts, xla, precision = flags.warnings(asked)
    assert alts.startswith("--use_alts_credentials=true is accepted and does nothing here: ")
    assert xla.startswith("--xla_cpu_compilation_enabled=true ")
    assert precision.startswith("--mixed_precision=bfloat16 ")
    (useless,) = flags.warnings(Flags(enable_per_model_batching_parameters=True))
    assert "without --enable_batching" in useless


def test_no_warning_for_turning_off_what_is_not_there() -> None:
    assert flags.warnings(Flags(enable_profiler=False, skip_initialize_tpu=True, flush_filesystem_caches=False)) == []
