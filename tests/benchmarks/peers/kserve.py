"""KServe's Python server: V1 protocol over REST, V2 over gRPC; no access log, no latency log.

Its batching is a sidecar of its cluster, not of this server.
"""

import logging
from typing import Any

import numpy as np
from kserve import (  # type: ignore[import-not-found, unused-ignore]
    InferOutput,
    InferRequest,
    InferResponse,
    ModelServer,
)
from kserve import Model as KServeModel
from kserve.logging import configure_logging  # type: ignore[import-not-found, unused-ignore]

from tests.benchmarks.peers.saved_model import Model, ports, wanted


class Predictor(KServeModel):
    """One SavedModel."""

    def __init__(self, name: str, directory: str) -> None:
        super().__init__(name)
        self.model = Model(directory)
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """A V1 body as a dict, or a V2 request."""
        if not isinstance(payload, InferRequest):
            return {"predictions": self.model.predictions(payload["instances"])}
        answer = self.model.ask({one.name: one.as_numpy() for one in payload.inputs})
        output = InferOutput(self.model.output, list(answer.shape), "FP32")
        output.set_data_from_numpy(answer.astype(np.float32), binary_data=False)
        return InferResponse(payload.id, self.name, [output])


def main() -> None:
    """Serves until it is ended."""
    port, grpc_port = ports()
    configure_logging()
    for name in ("kserve", "kserve.trace", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server = ModelServer(http_port=port, grpc_port=grpc_port, workers=1, enable_grpc=True, enable_latency_logging=False)
    server.start([Predictor(name, directory) for name, directory in wanted().items()])


if __name__ == "__main__":
    main()
