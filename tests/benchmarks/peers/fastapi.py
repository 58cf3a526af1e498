"""FastAPI and TensorFlow without more: what one writes in an afternoon.

The quickest documented way: uvicorn on uvloop and httptools, no access log, the body read and written by orjson instead
of through Pydantic models, and the model asked in the event loop, since on one core a thread only costs.
"""

import orjson
import uvicorn  # type: ignore[import-not-found, unused-ignore]
from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found, unused-ignore]

from tests.benchmarks.peers.saved_model import Model, ports, wanted


def main() -> None:
    """Serves until it is ended."""
    models = {name: Model(directory) for name, directory in wanted().items()}
    app = FastAPI()

    @app.post("/v1/models/{name}:predict")
    async def predict(name: str, request: Request) -> Response:
        instances = orjson.loads(await request.body())["instances"]
        answer = orjson.dumps({"predictions": models[name].predictions(instances)})
        return Response(answer, media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=ports()[0], loop="uvloop", http="httptools", access_log=False)


if __name__ == "__main__":
    main()
