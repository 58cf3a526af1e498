"""The REST client against a small HTTP server that plays TensorFlow Serving: it says what the test tells it to."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from serving.client import Client
from serving.client.rest_client import FRESH_S, RestClient
from serving.client.retry import Retry
from serving.home import PROJECT
from serving.status import Code, StatusError

LIMIT_S = 30.0
ONE = Retry(tries=1)
NO_PAUSE = Retry(tries=5, sleep=lambda seconds: None)
DIMS = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
OUTPUTS = {
    "half": {"dtype": "DT_FLOAT", "tensor_shape": DIMS, "name": "y:0"},
    "name": {"dtype": "DT_STRING", "tensor_shape": DIMS, "name": "z:0"},
}
METADATA = {
    "model_spec": {"name": "m", "signature_name": "", "version": "5"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {"method_name": "", "inputs": {}, "outputs": OUTPUTS},
                "one": {"method_name": "", "inputs": {}, "outputs": {"half": OUTPUTS["half"]}},
            }
        }
    },
}
ANSWER = {"outputs": {"half": [0.5, 1.5], "name": ["a", "b"]}}
X = {"x": np.array([1.0, 3.0], np.float32)}
Said = tuple[int, Any] | None


class Fake(ThreadingHTTPServer):
    """Answers with what was put into `says`, in turn, then with fitting ones.

    Attributes:
        asked: (method, path, body) of each request.
        says: (HTTP status, JSON or bytes); None hangs up.
        connections: how many there were.
        silent: while it is not set, answers are held back.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Answering)
        self.asked: list[tuple[str, str, Any]] = []
        self.says: list[Said] = []
        self.connections = 0
        self.speak = threading.Event()
        self.speak.set()
        self.lets_go = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Fake

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self._answer(None, METADATA)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))), ANSWER)

    def _answer(self, body: Any, fitting: Any) -> None:
        self.server.asked.append((self.command, self.path, body))
        said = self.server.says.pop(0) if self.server.says else (200, fitting)
        assert self.server.speak.wait(LIMIT_S)
        if said is None:
            self.close_connection = True
            return
        content = said[1] if isinstance(said[1], bytes) else json.dumps(said[1]).encode()
        self.send_response(said[0])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or self.server.lets_go

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def answering(port: int = 0) -> Generator[Fake]:
    with Fake(port) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.speak.set()
        server.shutdown()


@pytest.fixture
def fake() -> Generator[Fake]:
    with answering() as server:
        yield server


@contextlib.contextmanager
def client_of(fake: Fake, retry: Retry = ONE) -> Generator[RestClient]:
    client = RestClient(fake.url, retry=retry)
    yield client
    client.close()


def refusal(client: Client, **named: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        client.predict("m", X, **named)
    return caught.value


def test_it_answers_with_arrays_of_the_signatures_dtypes(fake: Fake) -> None:
    with client_of(fake) as client:
        found = client.predict("m", X)
    assert found.version is None
    assert found.outputs["half"].dtype == np.float32
    assert found.outputs["half"].tolist() == [0.5, 1.5]
    assert found.outputs["name"].tolist() == [b"a", b"b"]
    assert fake.asked[0] == ("POST", "/v1/models/m:predict", {"inputs": {"x": [1.0, 3.0]}})


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ({"version": 3}, "/v1/models/a%2Fb%20%C3%A4/versions/3"),
        ({"label": "a:b"}, "/v1/models/a%2Fb%20%C3%A4/labels/a%3Ab"),
    ],
)
def test_model_version_and_label_are_in_the_path(fake: Fake, named: dict[str, Any], path: str) -> None:
    with client_of(fake) as client:
        assert client.predict("a/b ä", X, **named).version == named.get("version")
    assert [one[1] for one in fake.asked] == [f"{path}:predict", f"{path}/metadata"]


def test_a_signature_with_one_output_has_its_bare_value(fake: Fake) -> None:
    fake.says.append((200, {"outputs": [2.5]}))
    with client_of(fake) as client:
        found = client.predict("m", X, signature="one")
    assert found.outputs["half"].tolist() == [2.5]
    assert fake.asked[0][2]["signature_name"] == "one"


def test_the_filter_picks_outputs_and_refuses_what_there_is_not(fake: Fake) -> None:
    with client_of(fake) as client:
        assert list(client.predict("m", X, output_filter=["name"]).outputs) == ["name"]
        error = refusal(client, output_filter=["z"])
    assert str(error).startswith("INVALID_ARGUMENT: output tensor alias not found in signature: z")


def test_signatures_are_asked_once_and_again_when_a_newer_version_may_answer(fake: Fake) -> None:
    now = [0.0]
    client = RestClient(fake.url, retry=ONE, clock=lambda: now[0])
    for moment in (0.0, FRESH_S - 1, FRESH_S + 1):
        now[0] = moment
        client.predict("m", X)
        client.predict("m", X, version=5)
    client.close()
    paths = [path for _, path, _ in fake.asked if path.endswith("metadata")]
    assert paths == ["/v1/models/m/metadata", "/v1/models/m/versions/5/metadata", "/v1/models/m/metadata"]


def test_signatures_that_do_not_fit_the_answer_are_asked_again(fake: Fake) -> None:
    with client_of(fake) as client:
        client.predict("m", X)
        newer = json.loads(json.dumps(METADATA).replace('"one"', '"new"').replace("DT_FLOAT", "DT_DOUBLE"))
        fake.says += [(200, {"outputs": [0.5]}), (200, newer)]
        assert client.predict("m", X, signature="new").outputs["half"].dtype == np.float64
        fake.says.append((200, {"outputs": {"other": [0.5]}}))
        assert refusal(client).code == Code.INTERNAL


def test_both_a_version_and_a_label_are_refused(fake: Fake) -> None:
    with client_of(fake) as client:
        assert refusal(client, version=1, label="stable").code == Code.INVALID_ARGUMENT
    assert fake.asked == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "UNKNOWN"),
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (418, "UNKNOWN"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_refusal_has_the_servers_message_and_the_code_of_its_http_status(fake: Fake, status: int, code: str) -> None:
    fake.says.append((status, {"error": "no such thing"}))
    with client_of(fake) as client:
        assert str(refusal(client)) == f"{code}: no such thing"


def test_a_refusal_that_is_not_tf_servings_is_quoted(fake: Fake) -> None:
    fake.says.append((404, b"<html>not here"))
    with client_of(fake) as client:
        assert str(refusal(client)) == "NOT_FOUND: HTTP 404: <html>not here"


def test_what_is_unavailable_or_hung_up_is_tried_again(fake: Fake) -> None:
    fake.says += [(503, {"error": "full"}), None, (503, {"error": "full"})]
    with client_of(fake, NO_PAUSE) as client:
        assert client.predict("m", X).outputs["half"].tolist() == [0.5, 1.5]
    assert [method for method, _, _ in fake.asked] == ["POST"] * 4 + ["GET"]


def test_what_the_request_is_to_blame_for_is_not_tried_again(fake: Fake) -> None:
    fake.says.append((400, {"error": "no"}))
    with client_of(fake, NO_PAUSE) as client:
        refusal(client)
    assert len(fake.asked) == 1


def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    with answering() as gone:
        url, port = gone.url, gone.server_port
    with contextlib.ExitStack() as stack:

        def come(seconds: float) -> None:
            stack.enter_context(answering(port))

        client = RestClient(url, retry=Retry(sleep=come))
        assert client.predict("m", X).outputs["half"].tolist() == [0.5, 1.5]
        client.close()


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with answering() as gone:
        url = gone.url
    assert refusal(RestClient(url, retry=NO_PAUSE)).code == Code.UNAVAILABLE


def test_a_server_that_says_nothing_ends_in_the_deadline(fake: Fake) -> None:
    fake.speak.clear()
    with client_of(fake, NO_PAUSE) as client:
        assert refusal(client, timeout_s=0.2).code == Code.DEADLINE_EXCEEDED
    assert len(fake.asked) == 1


def test_a_url_that_is_none_is_refused() -> None:
    assert refusal(RestClient("no scheme/", retry=ONE)).code in (Code.INVALID_ARGUMENT, Code.UNAVAILABLE)


def test_a_connection_is_kept_and_replaced_when_the_server_has_let_go_of_it(fake: Fake) -> None:
    with client_of(fake, NO_PAUSE) as client:
        for _ in range(3):
            client.predict("m", X)
        assert fake.connections == 1
        fake.lets_go = True
        for _ in range(3):
            client.predict("m", X)
        assert fake.connections <= 4


def test_status_and_metadata_are_read(fake: Fake) -> None:
    one = {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    fake.says.append((200, {"model_version_status": [one]}))
    with client_of(fake) as client:
        assert [(found.version, found.state) for found in client.status("m", version=2)] == [(2, "AVAILABLE")]
        assert sorted(client.metadata("m", label="stable").signatures) == ["one", "serving_default"]
    assert [path for _, path, _ in fake.asked] == ["/v1/models/m/versions/2", "/v1/models/m/labels/stable/metadata"]


def test_it_needs_neither_tensorflow_nor_grpc() -> None:
    program = "import sys\nfrom serving.client.rest_client import RestClient\nRestClient('http://localhost:1')\n"
    check = "print(sorted({'tensorflow', 'grpc', 'google.protobuf'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program + check], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert done.stdout.strip() == "[]"
