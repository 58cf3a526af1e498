"""TLS at both doors and on the way to the model servers: who is let in, and which files are refused."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from serving.errors import InputError
from serving.gateway.settings import Settings
from serving.gateway.tls import GRPC, REST, door_tls, upstream_tls
from serving.model_server.config_files import Ssl
from serving.model_server.grpc_server import Listening, serve
from serving.traffic_plan import ModelPlan, Target
from tests.serving.gateway.grpc_stub import Stub, predict
from tests.serving.gateway.running import Gateway, gateway, write_plan
from tests.serving.model_server import certificates
from tests.serving.model_server.grpc_running import LIMIT_S, LOCAL, loop

HOST = "gateway.test"


@dataclass(frozen=True)
class Files:
    """PEM files of one authority, and of a stranger that it does not know."""

    folder: Path
    authority: certificates.Authority

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.pem"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = Files(tmp_path_factory.mktemp("pem"), certificates.authority("ca"))
    stranger = certificates.authority("stranger")
    issued = {"server": made.authority.issue(HOST), "client": made.authority.issue("client.test")}
    for name, (key, certificate) in {**issued, "stranger": stranger.issue("client.test")}.items():
        made.path(f"{name}.key").write_bytes(key)
        made.path(f"{name}.crt").write_bytes(certificate)
    made.path("ca").write_bytes(made.authority.pem)
    made.path("garbage").write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    locked = serialization.load_pem_private_key(issued["server"][0], None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )
    made.path("locked.key").write_bytes(locked)
    return made


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[Gateway]:
    """A gateway that wants to see its clients' certificates, before a stub that wants to see the gateway's."""
    stub = Stub()
    its_key, its_certificate = files.authority.issue("models.test")
    its = Ssl(its_key.decode(), its_certificate.decode(), files.authority.pem.decode(), True)
    stub.server = loop().run(serve(stub.handlers(), Listening(LOCAL, ssl=its)))
    doors = (
        f"--tls-cert={files.path('server.crt')}",
        f"--tls-key={files.path('server.key')}",
        f"--tls-client-ca={files.path('ca')}",
    )
    way = (
        f"--grpc-upstream={stub.target}",
        f"--upstream-ca={files.path('ca')}",
        f"--upstream-cert={files.path('client.crt')}",
        f"--upstream-key={files.path('client.key')}",
        "--upstream-server-name=models.test",
    )
    folder = tmp_path_factory.mktemp("gateway")
    write_plan(folder / "plan.json", 1, ModelPlan("m", Target(1)))
    try:
        with gateway(folder, *doors, *way) as made:
            yield made
    finally:
        loop().run(stub.server.stop(0))


def get(started: Gateway, files: Files, name: str | None) -> int:
    """The status of GET /healthz with this client's certificate."""
    context = ssl.create_default_context(cafile=str(files.path("ca")))
    context.check_hostname = False  # it is asked by its address
    if name:
        context.load_cert_chain(files.path(f"{name}.crt"), files.path(f"{name}.key"))
    with urllib.request.urlopen(f"{started.url}/healthz", timeout=LIMIT_S, context=context) as answer:
        status: int = answer.status
    return status


def ask(started: Gateway, files: Files, name: str | None) -> bytes:
    """The answer to Predict with this client's certificate."""
    own = (files.path(f"{name}.key").read_bytes(), files.path(f"{name}.crt").read_bytes()) if name else (None, None)
    credentials = grpc.ssl_channel_credentials(files.path("ca").read_bytes(), *own)
    options = [("grpc.ssl_target_name_override", HOST), ("grpc.enable_retries", 0)]
    with grpc.secure_channel(started.target, credentials, options) as channel:
        answer: bytes = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(predict(), timeout=LIMIT_S)
    return answer


def test_who_shows_a_good_certificate_is_answered_at_both_doors(started: Gateway, files: Files) -> None:
    assert get(started, files, "client") == 200
    assert ask(started, files, "client")


@pytest.mark.parametrize("name", [None, "stranger"])
def test_who_shows_none_or_a_strangers_is_not_let_in(started: Gateway, files: Files, name: str | None) -> None:
    with pytest.raises((urllib.error.URLError, OSError)):
        get(started, files, name)
    with pytest.raises(grpc.RpcError):
        ask(started, files, name)


def test_plain_text_gets_no_answer_where_tls_is_spoken(started: Gateway) -> None:
    with pytest.raises(OSError):
        urllib.request.urlopen(started.url.replace("https", "http"), timeout=LIMIT_S)
    with grpc.insecure_channel(started.target) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(predict(), timeout=LIMIT_S)


def test_without_flags_everything_is_plain() -> None:
    assert door_tls(Settings(), REST) is None
    assert door_tls(Settings(), GRPC) is None
    assert upstream_tls(Settings()) is None


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        ("garbage", "server.key"),
        ("client.crt", "server.key"),
        ("server.crt", "locked.key"),
        ("server.key", "server.crt"),
    ],
)
def test_certificates_and_keys_that_cannot_be_used_are_refused(files: Files, certificate: str, key: str) -> None:
    ours, its = files.path(certificate), files.path(key)
    with pytest.raises(InputError, match=f"(?s)--tls-cert.*{certificate}.*--tls-key.*{key}"):
        door_tls(Settings(tls_cert=ours, tls_key=its), GRPC)
    with pytest.raises(InputError, match="--upstream-cert"):
        upstream_tls(Settings(upstream_ca=files.path("ca"), upstream_cert=ours, upstream_key=its))


def test_authorities_that_are_none_are_refused(files: Files) -> None:
    certificate, key = files.path("server.crt"), files.path("server.key")
    with pytest.raises(InputError, match="--tls-client-ca"):
        door_tls(Settings(tls_cert=certificate, tls_key=key, tls_client_ca=files.path("garbage")), REST)
    with pytest.raises(InputError, match="--upstream-ca"):
        upstream_tls(Settings(upstream_ca=files.path("garbage")))
