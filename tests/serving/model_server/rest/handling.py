"""A handler over models that are functions, and what is asked of it."""

import json
from typing import Any

from serving.model_server.metrics import Metrics
from serving.model_server.rest.handler import Handler, Options
from serving.model_server.servable import Servable
from tests.serving.http.ports import Heard, Port
from tests.serving.model_server.rest import fakes

PREDICT = "/v1/models/m:predict"


TWO = '{"instances": [2.0]}'


def send(port: Port, method: str, target: str, body: bytes | str = b"", *headers: str) -> Heard:
    """The answer to one request."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {target} HTTP/1.1", "Host: h", f"Content-Length: {len(content)}", *headers]
    return port.ask("\r\n".join(lines).encode() + b"\r\n\r\n" + content)


def error_of(heard: Heard) -> str:
    """The message of an error body, which has nothing else and is pretty-printed."""
    content = json.loads(heard.body)
    assert list(content) == ["error"]
    assert heard.body.startswith(b'{\n    "error": "')
    return str(content["error"])


def handler(*servables: Servable, metrics: Metrics | None = None, **options: Any) -> Handler:
    """A handler for some versions; the label `stable` is version 1."""
    models = fakes.models(*servables, labels={"stable": 1})
    return Handler(models, metrics or Metrics(), Options(**options))
