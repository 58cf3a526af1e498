"""`python -m serving.gateway` as a user types it: help, mistakes, ports that are taken."""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from serving.gateway.settings import Settings, flag
from serving.home import PROJECT

HEAVY = ("tensorflow", "grpc", "uvloop", "numpy", "pyarrow", "prometheus_client", "google.protobuf")


def gateway(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """One that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "serving.gateway", *flags],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "PRESSLINE_HOME": str(folder)},
        timeout=60,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of what it said, having ended with 2."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_help_names_every_setting(tmp_path: Path) -> None:
    done = gateway(tmp_path, "--help")
    assert done.returncode == 0
    said = done.stdout.split()
    assert [flag(one.name) for one in dataclasses.fields(Settings) if flag(one.name) not in said] == []


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--rest-port", "many"], "--rest-port"),
        (["--rest-port", "70000"], "--rest-port"),
        (["--rest-por", "1"], "--rest-por"),
        (["--sampling-rate", "2"], "--sampling-rate"),
        (["--unheard-of"], "--unheard-of"),
        (["serve"], "serve"),
        (["--grpc-upstream", "a:1", "--grpc-upstream", "b"], "'b'"),
        (["--tls-cert", "a.pem"], "--tls-key"),
    ],
)
def test_a_wrong_flag_is_told_in_one_line_with_exit_code_2(tmp_path: Path, flags: list[str], named: str) -> None:
    assert named in complaint(gateway(tmp_path, *flags))


def test_help_and_mistakes_cost_no_heavy_import(tmp_path: Path) -> None:
    code = (
        "import sys; from serving.gateway.__main__ import main\n"
        "for arguments in (['--help'], ['--rest-port', 'x'], ['--rest-port', '-1']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_gateway_needs_neither_tensorflow_nor_grpc() -> None:
    heavy = ("tensorflow", "grpc", "pyarrow")
    code = f"import sys, serving.gateway.server; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["rest", "grpc"])
def test_a_port_that_is_taken_is_told_with_exit_code_2(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "grpc" if name == "rest" else "rest"
        said = complaint(gateway(tmp_path, f"--{name}-port={port}", f"--{other}-port=0"))
    assert str(port) in said


def test_a_host_that_does_not_exist_is_told_with_exit_code_2(tmp_path: Path) -> None:
    said = complaint(gateway(tmp_path, "--rest-host=no.such.host.invalid", "--rest-port=0", "--grpc-port=0"))
    assert "no.such.host.invalid" in said


@pytest.mark.parametrize(
    ("name", "content"), [("token-file", ""), ("token-file", "two words"), ("secret-file", "short")]
)
def test_a_file_that_holds_the_wrong_thing_is_told_with_exit_code_2(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / "given"
    path.write_text(content)
    assert str(path) in complaint(gateway(tmp_path, f"--{name}={path}", "--rest-port=0", "--grpc-port=0"))
