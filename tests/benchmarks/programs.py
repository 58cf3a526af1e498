"""The servers that are compared, and how each is started."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import environments
from tests.benchmarks.dialects import TF_GRPC, TF_REST, V2_GRPC, V2_REST, Dialect
from tests.benchmarks.peers.saved_model import BATCHED
from tests.benchmarks.places import PROJECT, free_ports
from tests.benchmarks.server_process import Server

OURS = "Pressline"
# One core: one batch at a time is enough, and while it runs the next one fills; nobody is kept waiting for a full one.
BATCHING_PARAMETERS = """\
max_batch_size { value: 64 }
batch_timeout_micros { value: 0 }
max_enqueued_batches { value: 1000 }
num_batch_threads { value: 1 }
"""
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Program:
    """A server.

    Attributes:
        name: in the report.
        peer: its module below `peers` and its environment's name; "" for our own.
        dialects: it answers.
        batching: it can collect requests into batches: ours as a server of its own, a peer by model.
    """

    name: str
    peer: str
    dialects: tuple[Dialect, ...]
    batching: bool = False


PRESSLINE = Program(OURS, "", (TF_REST, TF_GRPC))
PRESSLINE_BATCHING = Program(f"{OURS}, batching", "", (TF_REST, TF_GRPC), batching=True)
PEERS = (
    Program("FastAPI", "fastapi", (TF_REST,)),
    Program("MLServer", "mlserver", (V2_REST, V2_GRPC), batching=True),
    Program("BentoML", "bentoml", (TF_REST,), batching=True),
    Program("LitServe", "litserve", (TF_REST,), batching=True),
    Program("Ray Serve", "ray_serve", (TF_REST,), batching=True),
    Program("KServe", "kserve", (TF_REST, V2_GRPC)),
)


@dataclass(frozen=True)
class Started:
    """A program that runs.

    Attributes:
        server: its process; leave its context to end it.
        ports: dialect name -> port.
        log: what it says.
    """

    server: Server
    ports: Mapping[str, int]


def start(program: Program, models: Mapping[str, Path], folder: Path, flags: tuple[str, ...] = ()) -> Started:
    """Starts it for all models; it does not answer yet.

    Args:
        program: which.
        models: name -> version folder; its parent is the model's base path.
        folder: for its files; made where it is missing.
        flags: more for our own server.

    Raises:
        environments.NotInstalledError: the peer's environment cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rest, grpc = free_ports(2)
    ports = {"REST": rest, "gRPC": grpc}
    log = folder / "log"
    if program.peer:
        python = str(environments.ensure(program.peer))
        environment = {
            **QUIET,
            "PEER_MODELS": json.dumps({name: str(directory) for name, directory in models.items()}),
            "PEER_PORT": str(rest),
            "PEER_GRPC_PORT": str(grpc),
            "PEER_FOLDER": str(folder),
            "PYTHONPATH": str(PROJECT),
        }
        return Started(
            Server([python, "-m", f"tests.benchmarks.peers.{program.peer}"], environment, folder, log), ports
        )
    config = folder / "models.config"
    config.write_text(models_config(models))
    options = [f"--port={grpc}", f"--rest_api_port={rest}", f"--model_config_file={config}", *flags]
    if program.batching:
        parameters = folder / "batching.config"
        parameters.write_text(BATCHING_PARAMETERS)
        options += ["--enable_batching", f"--batching_parameters_file={parameters}"]
    return Started(Server([sys.executable, "-m", "serving.model_server", *options], QUIET, PROJECT, log), ports)


def models_config(models: Mapping[str, Path]) -> str:
    """TF Serving's model config file."""
    one = '  config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" }}\n'
    lines = [one.format(name, directory.parent) for name, directory in models.items()]
    return "model_config_list {\n" + "".join(lines) + "}\n"


def served_models(models: Mapping[str, Path], batched: bool) -> dict[str, Path]:
    """The models, and where `batched` clicks once more for the server's own batching."""
    return {**models, f"clicks{BATCHED}": models["clicks"]} if batched else dict(models)
