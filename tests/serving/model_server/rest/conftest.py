"""A server of models that are functions, for the tests of REST."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.serving.http.ports import Port, listening
from tests.serving.model_server.rest import fakes
from tests.serving.model_server.rest.fakes import infos
from tests.serving.model_server.rest.handling import handler


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    """Two versions of m (2 adds 3 instead of 2), and models that are odd in one way each."""
    three = fakes.servable(lambda feeds: {"y": feeds["x"] / 2 + 3}, infos(x="float"), infos(y="float"), version=2)
    several = fakes.servable(
        lambda feeds: {"sum": feeds["a"] + feeds["b"], "text_bytes": np.array([b"\xff"] * len(feeds["a"]), object)},
        infos(a="float", b="float"),
        infos(sum="float", text_bytes="string"),
        name="several",
    )
    scalar = fakes.servable(lambda feeds: {"y": b"text"}, infos(x="float"), infos(y="string"), name="scalar")
    half = fakes.servable(
        lambda feeds: {"y": feeds["x"].astype(np.float16)}, infos(x="float"), infos(y="half"), name="half"
    )
    no_inputs = fakes.servable(lambda feeds: {"y": np.float32(1)}, {}, infos(y="float"), name="none")
    with listening(handler(fakes.half_plus_two(), three, several, scalar, half, no_inputs).answer) as opened:
        yield opened
