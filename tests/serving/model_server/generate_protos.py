"""Generates the Python modules of serving/model_server/protos: `python -m tests.serving.model_server.generate_protos`.

With grpcio-tools, of the dev group. TensorFlow's wheel has no .proto files; where one of ours imports them, protoc gets
their descriptors from the Python modules.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PROTOS = Path("serving/model_server/protos")  # under ROOT: protoc writes the path into what it generates
WITH_TENSORFLOW = ("session_bundle_config",)
WITHOUT_TENSORFLOW = ("batching_parameters", "monitoring_config", "platform_config", "ssl_config")


def generate(names: tuple[str, ...], target: Path) -> None:
    """Writes `PROTOS/<name>_pb2.py` and `.pyi` of each name below `target`.

    Raises:
        subprocess.CalledProcessError: protoc refused; what it said is on stderr.
    """
    with tempfile.TemporaryDirectory() as scratch:
        options = [f"--proto_path={ROOT}", f"--python_out={target}", f"--pyi_out={target}"]
        if set(names) & set(WITH_TENSORFLOW):
            described = Path(scratch) / "tensorflow.binpb"
            described.write_bytes(_tensorflow_descriptors())
            options.append(f"--descriptor_set_in={described}")
        files = [str(PROTOS / f"{name}.proto") for name in names]
        # In a process of its own: beside TensorFlow, which has another protobuf inside, protoc crashes.
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, *files], check=True)


def _tensorflow_descriptors() -> bytes:
    """ConfigProto's file and all that it imports, as a serialized FileDescriptorSet."""
    from google.protobuf import descriptor_pb2
    from tensorflow.core.protobuf import config_pb2

    found: dict[str, Any] = {}

    def visit(file: Any) -> None:
        if file.name in found:
            return
        for needed in file.dependencies:
            visit(needed)
        found[file.name] = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(found[file.name])

    visit(config_pb2.DESCRIPTOR)
    return descriptor_pb2.FileDescriptorSet(file=found.values()).SerializeToString()


if __name__ == "__main__":
    generate(WITHOUT_TENSORFLOW, ROOT)
    generate(WITH_TENSORFLOW, ROOT)
