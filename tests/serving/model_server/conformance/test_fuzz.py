"""Mutated requests and mutated config files, for PRESSLINE_FUZZ_S seconds (60): every request gets an answer of the
protocol, no answer says that the server has a defect, and afterwards everything answers as before.

PRESSLINE_FUZZ_SEED repeats a run's draws.
"""

import json
import math
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, Rest, message_types, predict_text
from tests.serving.model_server.conformance.mutation import mutate, mutate_json
from tests.serving.model_server.conformance.process import Server, until
from tests.serving.model_server.conformance.shelf import Models, config, entry, specific
from tests.serving.model_server.models import push

DURATION_S = float(os.environ.get("PRESSLINE_FUZZ_S", "60"))
SEED = int(os.environ.get("PRESSLINE_FUZZ_SEED", "20"))
KINDS = ("half_plus_two_tf1", "identity", "defaults", "classes")
ANSWERS = frozenset({200, 400, 404, 501})
CODES = frozenset({"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "UNREADABLE"})
LARGEST = 1 << 20  # elements of a tensor
ONE = 'input { example_list { examples { features { feature { key: "x" value { float_list { value: 2 } } } } } } }'
CALLS = (
    ("Predict", predict_text("half_plus_two_tf1", [1.5, 2.5])),
    ("Predict", predict_text("identity", [1.5], spec='signature_name: "float"', more='output_filter: "y"')),
    ("Predict", predict_text("defaults", [1.5], alias="a")),
    ("Regress", f'model_spec {{ name: "half_plus_two_tf1" signature_name: "regress_x_to_y" }} {ONE}'),
    ("Classify", f'model_spec {{ name: "half_plus_two_tf1" signature_name: "classify_x_to_y" }} {ONE}'),
    ("GetModelMetadata", 'model_spec { name: "classes" version_label: "stable" } metadata_field: "signature_def"'),
    ("GetModelStatus", 'model_spec { name: "identity" version { value: 1 } }'),
)
REQUESTS = (
    ("half_plus_two_tf1:predict", b'{"instances": [2.0, 3.5]}'),
    ("half_plus_two_tf1:predict", b'{"signature_name": "serving_default", "inputs": {"x": [[1], [-2e3]]}}'),
    ("half_plus_two_tf1:regress", b'{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}, {"x": [1.5]}]}'),
    (
        "half_plus_two_tf1:regress",
        b'{"signature_name": "regress_x_to_y2", "context": {"x": [6.5]}, "examples": [{"y": "a"}, {}]}',
    ),
    ("half_plus_two_tf1/versions/1:classify", b'{"signature_name": "classify_x_to_y", "examples": [{"x": 0.5}]}'),
    ("classes/labels/stable:classify", b'{"examples": [{"x": [0.5, 0.25, 1.0]}]}'),
    ("defaults:predict", b'{"instances": [{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2.5, "c": 0.5}]}'),
    ("identity:predict", b'{"signature_name": "string", "instances": ["a", "\\u00fc", {"b64": "YWJj"}, ""]}'),
    ("identity:predict", b'{"signature_name": "int64", "inputs": [[1, 2], [3, -4]]}'),
    ("identity:predict", b'{"signature_name": "bool", "inputs": [[[true], [false]]]}'),
    ("identity:predict", b'{"signature_name": "double", "instances": [[1e300, 0.1], [3.25, -0.5]]}'),
    ("identity:predict", b'{"signature_name": "uint8", "instances": [[255], [0]]}'),
)


class Fuzzed:
    """The server under fire, and the config file that it polls."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.file = folder / "models.config"
        self.rest = Rest(server.rest_port)
        self.grpc = Grpc(f"127.0.0.1:{server.port}")

    @property
    def valid(self) -> str:
        """The config with which everything answers."""
        return valid(self.folder)

    def write(self, content: bytes) -> None:
        unfinished = self.file.with_suffix(".tmp")
        unfinished.write_bytes(content)
        os.replace(unfinished, self.file)  # noqa: PTH105

    def answers(self) -> list[tuple[int, bytes]]:
        """What comes back for the requests as they should be."""
        came = [self.rest.post(f"/v1/models/{path}", body) for path, body in REQUESTS]
        return [(answer.status, answer.body) for answer in came]


def valid(folder: Path) -> str:
    policies = {"classes": "latest { num_versions: 1 }", "identity": specific(1), "defaults": "all {}"}
    labels = {"classes": {"stable": 1}}
    return config(*(entry(kind, folder / kind, policies.get(kind, ""), labels.get(kind)) for kind in KINDS))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Fuzzed]:
    folder = tmp_path_factory.mktemp("fuzz")
    for kind in KINDS:
        push(models(kind), folder / kind, 1)
    (folder / "models.config").write_text(valid(folder))
    flags = (
        f"--model_config_file={folder / 'models.config'}",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
        "--num_load_threads=2",
        "--max_num_load_retries=0",
    )
    with process.running(folder / "log", *flags) as server:
        yield Fuzzed(server, folder)


def is_harmless(content: bytes) -> bool:
    """Whether a config does not make the server wait for ever: no name without a version there, nothing abortive.

    TF Serving waits without limit for a new model that nothing can be loaded for (contract 3.2).
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        parsed = text_format.Parse(content.decode(), model_server_config_pb2.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError, ValueError):
        return b"custom" not in content
    return all(has_version(model) for model in parsed.model_config_list.config) and not parsed.HasField(
        "custom_model_config"
    )


def has_version(model: object) -> bool:
    """Whether version 1, which is all there is, is one that the config asks for."""
    from tensorflow_serving.config import model_server_config_pb2

    assert isinstance(model, model_server_config_pb2.ModelConfig)
    policy = model.model_version_policy
    asked = not policy.HasField("specific") or 1 in policy.specific.versions
    try:
        return asked and (Path(model.base_path) / "1").is_dir()
    except (OSError, ValueError):  # too long, or with a NUL in it
        return False


def serialized(method: str, text: str) -> bytes:
    """A request as it is sent."""
    from google.protobuf import text_format

    request, _ = message_types(method)
    content: bytes = text_format.Parse(text, request()).SerializeToString()
    return content


def is_small(method: str, content: bytes) -> bool:
    """Whether a request asks for no more memory than a test may take: one value may stand for any number of them."""
    from google.protobuf.message import DecodeError

    request, _ = message_types(method)
    try:
        parsed = request.FromString(content)
    except DecodeError:
        return True
    inputs = parsed.inputs.values() if method == "Predict" else ()
    return all(math.prod(max(1, dim.size) for dim in tensor.tensor_shape.dim) <= LARGEST for tensor in inputs)


def outcome(client: Grpc, method: str, content: bytes) -> str:
    """The code with which these bytes are answered; UNREADABLE where they are no request."""
    import grpc
    from google.protobuf.message import DecodeError

    request, _ = message_types(method)
    try:
        client.call_bytes(method, content)
    except grpc.RpcError as error:
        try:
            request.FromString(content)
        except DecodeError:
            return "UNREADABLE"
        return str(error.code().name)
    return "OK"


class Fire:
    """Threads that run until the time is over; the first thing that goes wrong ends them all."""

    def __init__(self) -> None:
        self.end = time.monotonic() + DURATION_S
        self.wrong: list[str] = []
        self.seen: Counter[object] = Counter()

    def burns(self) -> bool:
        return time.monotonic() < self.end and not self.wrong

    def run(self, *loops: Callable[[random.Random], None]) -> None:
        def guarded(loop: Callable[[random.Random], None], draw: random.Random) -> None:
            try:
                while self.burns():
                    loop(draw)
            except Exception as error:
                self.wrong.append(repr(error))

        threads = [
            threading.Thread(target=guarded, args=(loop, random.Random(f"{SEED} {number}")), daemon=True)
            for number, loop in enumerate(loops)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(DURATION_S + 180)
def test_the_server_answers_whatever_comes(fuzzed: Fuzzed) -> None:
    fire = Fire()
    rest = Rest(fuzzed.server.rest_port)
    bodies = [body for _, body in REQUESTS]
    calls = [(method, serialized(method, text)) for method, text in CALLS]
    expected = fuzzed.answers()
    assert {status for status, _ in expected} == {200}
    files = fuzzed.server.open_files

    def ask(draw: random.Random) -> None:
        path, body = draw.choice(REQUESTS)
        content = mutate(draw, body, bodies) if draw.random() < 0.5 else mutate_json(draw, body)
        came = rest.post(f"/v1/models/{path}", content)
        fire.seen[came.status] += 1
        assert came.status in ANSWERS, (path, content, came)
        assert came.headers["content-type"] == "application/json"
        if came.status != 200:
            assert list(json.loads(came.body.decode(errors="replace"), strict=False)) == ["error"], (
                path,
                content,
                came,
            )

    def call(draw: random.Random) -> None:
        method, message = draw.choice(calls)
        content = mutate(draw, message, [other for _, other in calls])
        if is_small(method, content):
            code = outcome(fuzzed.grpc, method, content)
            fire.seen[code] += 1
            assert code in CODES, (method, content, code)

    def configure(draw: random.Random) -> None:
        content = mutate(draw, fuzzed.valid.encode(), [fuzzed.valid.encode()])
        if is_harmless(content):
            fire.seen["config"] += 1
            fuzzed.write(content)
            time.sleep(draw.choice((0.1, 1.1)))  # half of them are surely seen by the poll
            fuzzed.write(fuzzed.valid.encode())
            time.sleep(draw.choice((0.1, 1.1)))

    fire.run(ask, ask, call, configure)
    fuzzed.write(fuzzed.valid.encode())
    assert fire.wrong == []
    assert fuzzed.server.alive(), fuzzed.server.printed[-4000:]
    assert fire.seen[200] > 100
    assert fire.seen[400] > 100
    assert fire.seen["OK"] > 10
    assert fire.seen["INVALID_ARGUMENT"] > 10
    assert fire.seen["config"] > 1
    until(lambda: fuzzed.answers() == expected, "everything answers as before", 60, 0.2)
    until(lambda: fuzzed.server.open_files <= files + 8, "no file is left open", 60)
    assert "Traceback" not in fuzzed.server.printed
