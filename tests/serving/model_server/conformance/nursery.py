"""A server whose models come and go: each test owns the names it uses, and every reload carries the whole config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.serving.model_server.conformance.clients import Grpc, Refusal, Rest, predict_text
from tests.serving.model_server.conformance.process import Server, until
from tests.serving.model_server.conformance.shelf import entry, reload

RETRIES = 5
RETRY_S = 0.3
FLAGS = (
    "--file_system_poll_wait_seconds=1",
    "--num_load_threads=2",
    "--num_unload_threads=2",
    f"--max_num_load_retries={RETRIES}",
    f"--load_retry_interval_micros={int(RETRY_S * 1e6)}",
)


class Nursery:
    """The server, its clients and its base paths. The model `anchor` (version 1: half plus two) is always there."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.grpc = Grpc(f"127.0.0.1:{server.port}")
        self.rest = Rest(server.rest_port)
        self.anchor = entry("anchor", folder / "anchor")

    def base(self, name: str) -> Path:
        """The base path of a model, which is made where it is missing."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def reload(self, *entries: str, limit_s: float = 60.0) -> Any:
        """Replaces the config by the anchor and these; blocks until new models are available."""
        return self.grpc.call("HandleReloadConfigRequest", reload(self.anchor, *entries), limit_s)

    def refusal(self, *entries: str, limit_s: float = 60.0) -> Refusal:
        """How such a reload is refused."""
        return self.grpc.refusal("HandleReloadConfigRequest", reload(self.anchor, *entries), limit_s)

    def reaches(self, model: str, states: Mapping[int, str], limit_s: float = 30.0) -> None:
        """Waits until these are the states of the model's versions, of all of them."""
        until(lambda: self.grpc.statuses(model) == states, f"{model} reaches {states}", limit_s)

    def serves(self, model: str, version: int, limit_s: float = 30.0) -> None:
        """Waits until this version is available."""
        what = f"{model} {version} is available"
        until(lambda: self.grpc.statuses(model).get(version) == "AVAILABLE", what, limit_s)

    def error(self, model: str, version: int) -> tuple[str, str]:
        """The name of the code and the message with which a version ended."""
        response = self.grpc.call("GetModelStatus", f'model_spec {{ name: "{model}" version {{ value: {version} }} }}')
        status = response.model_version_status[0].status
        field = status.DESCRIPTOR.fields_by_name["error_code"]
        return field.enum_type.values_by_number[status.error_code].name, status.error_message

    def y(self, model: str, spec: str = "") -> float:
        """What the model makes of x = 2: 3.0 for half plus two, 4.0 for half plus three."""
        return float(self.grpc.call("Predict", predict_text(model, spec=spec)).outputs["y"].float_val[0])
