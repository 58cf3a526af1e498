"""Signatures and refusals, for the tests of both readings."""

import pytest

from serving.model_server.rest.json_reading import parse
from serving.model_server.rest.json_tensors import read
from serving.model_server.signature import TensorInfo
from serving.status import StatusError
from tests.serving.model_server.rest.fakes import infos

ELEMENT = "Failed to process element: "


X = infos(x="float")


def refusal(body: str, inputs: dict[str, TensorInfo]) -> StatusError:
    """Why a body is refused."""
    with pytest.raises(StatusError) as caught:
        read(parse(body.encode()), inputs)
    return caught.value
