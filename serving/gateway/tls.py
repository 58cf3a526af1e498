"""The certificates of both doors, and those for the way to the model servers."""

import ssl
from pathlib import Path

from serving.errors import InputError
from serving.gateway.settings import Settings, flag

REST, GRPC = "http/1.1", "h2"  # as ALPN names them


def door_tls(settings: Settings, protocol: str) -> ssl.SSLContext | None:
    """What a door listens with; None: plain text.

    Args:
        protocol: REST or GRPC.

    Raises:
        InputError: a file holds no certificate or no key, the key has a password, or they do not belong together.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols([protocol])
    _load(context, settings.tls_cert, settings.tls_key, "tls_cert", "tls_key")
    if settings.tls_client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, settings.tls_client_ca, "tls_client_ca")
    return context


def upstream_tls(settings: Settings) -> ssl.SSLContext | None:
    """What gRPC asks the model servers with; None: plain text.

    Raises:
        InputError: as `door_tls`.
    """
    if settings.upstream_ca is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody yet
    context.set_alpn_protocols([GRPC])
    _trust(context, settings.upstream_ca, "upstream_ca")
    if settings.upstream_cert is not None and settings.upstream_key is not None:
        _load(context, settings.upstream_cert, settings.upstream_key, "upstream_cert", "upstream_key")
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path, its_name: str, key_name: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")  # else OpenSSL would ask for it on the terminal
    except (ssl.SSLError, ValueError) as error:
        raise InputError(
            f"{flag(its_name)} {certificate} and {flag(key_name)} {key}: expected a PEM certificate chain and its key "
            f"without a password ({error})"
        ) from error


def _trust(context: ssl.SSLContext, path: Path, name: str) -> None:
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(f"{flag(name)} {path}: expected PEM certificates ({error})") from error
