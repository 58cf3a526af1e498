"""LitServe: a process for HTTP and one for each model, with its quicker queue; its batching where asked."""

from typing import Any

import litserve  # type: ignore[import-not-found, unused-ignore]
from fastapi import Request  # type: ignore[import-not-found, unused-ignore]

from tests.benchmarks.peers.saved_model import BATCHED, LONGEST_WAIT_S, MOST_ROWS, Model, ports, wanted


class OneByOne(litserve.LitAPI):
    """TF Serving's row format for the model in `directory`."""

    directory: str

    def setup(self, device: str) -> None:
        """Loads the model, in its own process."""
        self.model = Model(self.directory)

    def decode_request(self, request: Request) -> Any:
        """The rows."""
        return request["instances"]

    def predict(self, x: Any) -> Any:
        """Asks with all rows."""
        return self.model.predictions(x)

    def encode_response(self, output: Any) -> Any:
        """The answer's body."""
        return {"predictions": output}


class InBatches(OneByOne):
    """The same for requests of one row each."""

    def batch(self, inputs: list[Any]) -> list[Any]:
        """The rows of all requests."""
        return [instances[0] for instances in inputs]

    def unbatch(self, output: list[Any]) -> list[Any]:
        """One row to each request."""
        return [[row] for row in output]


def _interface(name: str, directory: str) -> OneByOne:
    path = f"/v1/models/{name}:predict"
    api: OneByOne
    if name.endswith(BATCHED):
        api = InBatches(api_path=path, max_batch_size=MOST_ROWS, batch_timeout=LONGEST_WAIT_S)
    else:
        api = OneByOne(api_path=path)
    api.directory = directory
    return api


def main() -> None:
    """Serves until it is ended."""
    apis = [_interface(name, directory) for name, directory in wanted().items()]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=1, fast_queue=True, timeout=60)
    server.run(host="127.0.0.1", port=ports()[0], num_api_servers=1, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
