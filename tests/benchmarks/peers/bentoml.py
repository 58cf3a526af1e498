"""BentoML: one service, one worker, its API methods in the event loop; adaptive batching where asked."""

import os
import sys
from pathlib import Path
from typing import Any

import bentoml  # type: ignore[import-not-found, unused-ignore]

from tests.benchmarks.peers.saved_model import BATCHED, MOST_ROWS, Model, ports, wanted

MOST_LATENCY_MS = 1000  # of waiting and asking together; beyond it BentoML answers 503
SETTINGS = {
    "workers": 1,
    "traffic": {"timeout": 60},
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
}


def _one_by_one(name: str) -> Any:
    async def predict(self: Any, instances: list[Any]) -> dict[str, Any]:
        return {"predictions": self.models[name].predictions(instances)}

    return predict


def _in_batches(name: str) -> Any:
    async def predict(self: Any, instances: list[Any]) -> list[Any]:
        answer: list[Any] = self.models[name].predictions(instances)
        return answer

    return predict


def _method(name: str, attribute: str) -> Any:
    batched = name.endswith(BATCHED)
    method = _in_batches(name) if batched else _one_by_one(name)
    method.__name__ = attribute  # by which BentoML looks it up
    batching = {"batchable": True, "max_batch_size": MOST_ROWS, "max_latency_ms": MOST_LATENCY_MS} if batched else {}
    return bentoml.api(route=f"/v1/models/{name}:predict", **batching)(method)


def _load(self: Any) -> None:
    self.models = {name: Model(directory) for name, directory in wanted().items()}


def _service() -> Any:
    attributes = {f"predict_{number}": name for number, name in enumerate(wanted())}
    methods = {attribute: _method(name, attribute) for attribute, name in attributes.items()}
    return bentoml.service(type("Service", (), {"__init__": _load, **methods}), **SETTINGS)


def main() -> None:
    """Becomes `bentoml serve`."""
    program = str(Path(sys.executable).with_name("bentoml"))
    service = f"{__spec__.name}:SERVICE"
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.execv(program, [program, "serve", service, "--host", "127.0.0.1", "--port", str(ports()[0]), "--quiet"])


if __name__ == "__main__":
    main()
else:
    SERVICE = _service()
