import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.serving.model_server import generate_protos
from tests.serving.model_server.generate_protos import PROTOS, ROOT


@pytest.mark.parametrize("names", [generate_protos.WITHOUT_TENSORFLOW, generate_protos.WITH_TENSORFLOW])
def test_the_generated_modules_are_what_grpcio_tools_makes_of_the_protos(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    generate_protos.generate(names, tmp_path)
    for name in names:
        for suffix in ("py", "pyi"):
            made = (tmp_path / PROTOS / f"{name}_pb2.{suffix}").read_text()
            kept = (ROOT / PROTOS / f"{name}_pb2.{suffix}").read_text()
            assert kept == made, "run python -m tests.serving.model_server.generate_protos"


def test_every_proto_is_generated() -> None:
    names = {path.stem for path in (ROOT / PROTOS).glob("*.proto")}
    assert names == {*generate_protos.WITHOUT_TENSORFLOW, *generate_protos.WITH_TENSORFLOW}


def test_the_generated_code_is_not_newer_than_the_protobuf_that_is_installed() -> None:
    installed = tuple(int(part) for part in metadata.version("protobuf").split("."))
    for path in (ROOT / PROTOS).glob("*_pb2.py"):
        version = re.search(r"# Protobuf Python Version: ([\d.]+)", path.read_text())
        assert version
        assert tuple(int(part) for part in version[1].split(".")) <= installed, path.name


def test_they_load_without_a_warning_beside_the_tensorflow_serving_wheel_in_either_order() -> None:
    ours = [f"serving.model_server.protos.{name}_pb2" for name in generate_protos.WITHOUT_TENSORFLOW]
    wheel = [f"tensorflow_serving.{name}_pb2" for name in ("config.model_server_config", "config.logging_config")]
    for modules in (ours + wheel, wheel + ours):
        program = f"import {', '.join(modules)}; import sys; sys.exit('tensorflow' in sys.modules)"
        command = [sys.executable, "-W", "error", "-c", program]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
