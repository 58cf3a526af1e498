"""Ray Serve: a replica for each model, no dashboard, set for throughput; `serve.batch` where asked."""

import os
import time
from typing import Any

import orjson
import ray  # type: ignore[import-not-found, unused-ignore]
from ray import serve  # type: ignore[import-not-found, unused-ignore]
from starlette.requests import Request  # type: ignore[import-not-found, unused-ignore]
from starlette.responses import Response  # type: ignore[import-not-found, unused-ignore]

from tests.benchmarks.peers.saved_model import BATCHED, LONGEST_WAIT_S, MOST_ROWS, Model, ports, wanted

JSON = "application/json"
QUIET = {"enable_access_log": False, "log_level": "WARNING"}


class OneByOne:
    """TF Serving's row format."""

    def __init__(self, directory: str) -> None:
        self.model = Model(directory)

    async def __call__(self, request: Request) -> Response:
        """One request."""
        instances = orjson.loads(await request.body())["instances"]
        return Response(orjson.dumps({"predictions": self.model.predictions(instances)}), media_type=JSON)


class InBatches:
    """The same for requests of one row each."""

    def __init__(self, directory: str) -> None:
        self.model = Model(directory)

    @serve.batch(max_batch_size=MOST_ROWS, batch_wait_timeout_s=LONGEST_WAIT_S)
    async def rows(self, instances: list[Any]) -> list[Any]:
        """A row of each of some requests."""
        return self.model.predictions(instances)

    async def __call__(self, request: Request) -> Response:
        """One request."""
        (instance,) = orjson.loads(await request.body())["instances"]
        return Response(orjson.dumps({"predictions": [await self.rows(instance)]}), media_type=JSON)


def main() -> None:
    """Serves until it is ended."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_SERVE_THROUGHPUT_OPTIMIZED="1")
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, _temp_dir=os.environ["PEER_FOLDER"])
    serve.start(http_options={"host": "127.0.0.1", "port": ports()[0]}, logging_config=QUIET)
    for name, directory in wanted().items():
        replica = InBatches if name.endswith(BATCHED) else OneByOne
        options = {"max_ongoing_requests": 256, "ray_actor_options": {"num_cpus": 0.1}, "logging_config": QUIET}
        deployment = serve.deployment(replica, **options)
        serve.run(deployment.bind(directory), name=name, route_prefix=f"/v1/models/{name}:predict")
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
