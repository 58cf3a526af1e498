"""gRPC over TLS: who may speak with whom (contract 4)."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.serving.model_server.conformance import process
from tests.serving.model_server.conformance.clients import Grpc, Rest, predict_text
from tests.serving.model_server.conformance.process import Server
from tests.serving.model_server.conformance.shelf import Models
from tests.serving.model_server.models import push

OPTIONS = [("grpc.ssl_target_name_override", "localhost")]


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """A private key and a certificate for it, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        return private(key), _certificate(name, key, self.key, self.certificate.subject, False).public_bytes(
            serialization.Encoding.PEM
        )


def authority(name: str) -> Authority:
    """A new one that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return Authority(key, _certificate(name, key, key, subject, True))


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, issuer: x509.Name, is_ca: bool
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=24))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(signer, hashes.SHA256())
    )


OURS, STRANGERS = authority("ours"), authority("strangers")
ANSWERED, CUT_OFF = "answered", "UNAVAILABLE"


def ssl_config(server: tuple[bytes, bytes], client_verify: bool) -> str:
    """The text of an SSLConfig."""
    inline = {"server_key": server[0], "server_cert": server[1], "custom_ca": OURS.pem}
    lines = [f"{field}: {pem.decode()!r}" for field, pem in inline.items()]
    return "\n".join([*lines, f"client_verify: {str(client_verify).lower()}"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    push(models("half_plus_two"), folder / "base", 1)
    return folder


def secured(base: Path, client_verify: bool) -> Iterator[Server]:
    file = base / f"ssl.{client_verify}.config"
    file.write_text(ssl_config(OURS.issue("localhost"), client_verify))
    given = ("--model_name=m", f"--model_base_path={base / 'base'}", f"--ssl_config_file={file}")
    with process.running(base / "log", *given) as server:
        yield server


@pytest.fixture(scope="module")
def one_sided(base: Path) -> Iterator[Server]:
    yield from secured(base, client_verify=False)


@pytest.fixture(scope="module")
def two_sided(base: Path) -> Iterator[Server]:
    yield from secured(base, client_verify=True)


def outcome(server: Server, trusted: Authority | None, shows: Authority | None) -> str:
    """What a client gets: it trusts one authority, or speaks no TLS, and shows a certificate of another, or none."""
    import grpc

    key, certificate = shows.issue("client") if shows else (None, None)
    credentials = trusted and grpc.ssl_channel_credentials(trusted.pem, key, certificate)
    client = Grpc(f"127.0.0.1:{server.port}", credentials, OPTIONS if credentials else ())
    try:
        assert list(client.call("Predict", predict_text("m"), 10).outputs["y"].float_val) == [3.0]
    except grpc.RpcError as error:
        return str(error.code().name)
    finally:
        client.close()
    return ANSWERED


@pytest.mark.parametrize(
    ("trusted", "shows", "expected"),
    [
        pytest.param(OURS, None, ANSWERED, id="trusts ours, shows nothing"),
        pytest.param(OURS, OURS, ANSWERED, id="trusts ours, shows ours"),
        pytest.param(STRANGERS, None, CUT_OFF, id="trusts strangers"),
        pytest.param(None, None, CUT_OFF, id="no TLS"),
    ],
)
def test_the_server_shows_its_certificate(
    one_sided: Server, trusted: Authority | None, shows: Authority | None, expected: str
) -> None:
    assert outcome(one_sided, trusted, shows) == expected


@pytest.mark.parametrize(
    ("trusted", "shows", "expected"),
    [
        pytest.param(OURS, OURS, ANSWERED, id="shows ours"),
        pytest.param(OURS, STRANGERS, CUT_OFF, id="shows strangers'"),
        pytest.param(OURS, None, CUT_OFF, id="shows nothing"),
        pytest.param(STRANGERS, OURS, CUT_OFF, id="trusts strangers"),
        pytest.param(None, None, CUT_OFF, id="no TLS"),
    ],
)
def test_client_verify_asks_for_a_certificate_of_the_authority(
    two_sided: Server, trusted: Authority | None, shows: Authority | None, expected: str
) -> None:
    assert outcome(two_sided, trusted, shows) == expected


def test_rest_stays_plain(two_sided: Server) -> None:
    assert Rest(two_sided.rest_port).predict("m", '{"instances": [2]}').json == {"predictions": [3.0]}
