"""MLServer with a runtime of one's own, as its documentation has it for TensorFlow; V2 protocol over REST and gRPC.

Its settings for one core: no worker processes (`parallel_workers` 0), no metrics, no gzip, no access log; adaptive
batching where asked.
"""

import json
import os
import sys
from pathlib import Path

from mlserver import MLModel  # type: ignore[import-not-found, unused-ignore]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found, unused-ignore]
from mlserver.types import (  # type: ignore[import-not-found, unused-ignore]
    InferenceRequest,
    InferenceResponse,
    RequestInput,
)

from tests.benchmarks.peers.saved_model import BATCHED, LONGEST_WAIT_S, MOST_ROWS, Model, ports, wanted


class Runtime(MLModel):
    """Asks the SavedModel at `parameters.uri`."""

    async def load(self) -> bool:
        """Loads it."""
        self.model = Model(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """All inputs as columns."""
        answer = self.model.ask({one.name: column(one) for one in payload.inputs})
        output = NumpyCodec.encode_output(self.model.output, answer)
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])


def column(one: RequestInput) -> object:
    """An input as an array or, for texts, as nested lists; V2 carries the values flat beside their shape."""
    if one.datatype != "BYTES":
        return NumpyCodec.decode_input(one)
    flat = list(one.data)
    if len(one.shape) == 1:
        return flat
    width = one.shape[1]
    return [flat[at : at + width] for at in range(0, len(flat), width)]


def main() -> None:
    """Writes the settings files and becomes `mlserver start`."""
    port, grpc_port = ports()
    folder = Path.cwd() / "mlserver"
    folder.mkdir(exist_ok=True)
    loggers = {name: {"level": "WARNING"} for name in ("uvicorn.access", "mlserver.grpc", "mlserver.rest")}
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "grpc_max_message_length": 1 << 30,
        "parallel_workers": 0,
        "metrics_endpoint": None,
        "gzip_enabled": False,
        "debug": False,
        "logging_settings": {"version": 1, "disable_existing_loggers": False, "loggers": loggers},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    for name, directory in wanted().items():
        one = {"name": name, "implementation": f"{__spec__.name}.Runtime", "parameters": {"uri": directory}}
        batching = {"max_batch_size": MOST_ROWS, "max_batch_time": LONGEST_WAIT_S} if name.endswith(BATCHED) else {}
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "model-settings.json").write_text(json.dumps({**one, **batching}))
    program = str(Path(sys.executable).with_name("mlserver"))
    os.execv(program, [program, "start", str(folder)])


if __name__ == "__main__":
    main()
