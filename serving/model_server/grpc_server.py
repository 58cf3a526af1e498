"""The gRPC server on the running event loop: ports, TLS, message sizes, channel arguments, health checks."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.model_server.config_files import Ssl
from serving.status import Code, StatusError

LARGEST_BYTES = 2**31 - 1  # of a message, both ways
CHECKED = ("", "ModelService", "PredictionService")  # what health checks may ask for; without the package, as upstream
UNIX = "unix:"


@dataclass(frozen=True)
class Listening:
    """Where and how a server listens.

    Attributes:
        addresses: `0.0.0.0:8500`, `unix:/run/models.sock`; port 0 is any free one.
        channel_arguments: `k=v,k=v` as of --grpc_channel_arguments.
        ssl: None speaks plain text.
        health: serve grpc.health.v1.Health.
    """

    addresses: Sequence[str]
    channel_arguments: str = ""
    ssl: Ssl | None = None
    health: bool = False


class GrpcServer:
    """A server that has begun to listen.

    Attributes:
        ports: one for each address; of a UNIX socket it means nothing.
    """

    def __init__(self, server: Any, ports: tuple[int, ...], health: Any | None) -> None:
        self.ports = ports
        self._server = server
        self._health = health

    async def stop(self, grace_s: float) -> None:
        """Takes no new requests and returns when those in flight have ended; after `grace_s` it cancels them."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


async def serve(handlers: Sequence[Any], listening: Listening) -> GrpcServer:
    """Begins to serve.

    Args:
        handlers: generic ones, of grpc_services.handlers.

    Raises:
        StatusError: INVALID_ARGUMENT: an address is taken or cannot be bound, or keys, certificates or channel
            arguments cannot be used.
    """
    import grpc

    health, checks = await _health() if listening.health else (None, ())
    options = tuple(_channel_arguments(listening.channel_arguments).items())
    # As generic handlers: each registered method would cost every request one more future to wait for.
    server = grpc.aio.server(handlers=(*handlers, *checks), options=options)
    credentials = None if listening.ssl is None else _credentials(listening.ssl)
    try:
        ports = tuple(_bind(server, address, credentials) for address in listening.addresses)
    except StatusError:
        await server.stop(None)
        raise
    await server.start()
    return GrpcServer(server, ports, health)


def _bind(server: Any, address: str, credentials: Any | None) -> int:
    if address.startswith(UNIX) and _answers(address.removeprefix(UNIX)):  # gRPC would take the path away from it
        raise _unusable(address, "another server listens there")
    try:
        port: int = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        why = "it is taken or not allowed" if credentials is None else "it is taken or not allowed, or the key, the "
        raise _unusable(address, why if credentials is None else f"{why}certificate or the CA is wrong") from error
    return port


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except OSError:
            return False
        return True


def _unusable(address: str, why: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, f"Failed to BuildAndStart gRPC server: cannot listen on {address}: {why}")


def _credentials(ssl: Ssl) -> Any:
    import grpc

    if ssl.client_verify and not ssl.custom_ca:
        raise StatusError(Code.INVALID_ARGUMENT, "SSLConfig: client_verify needs custom_ca, who signs the clients")
    return grpc.ssl_server_credentials(
        [(ssl.server_key.encode(), ssl.server_cert.encode())],
        root_certificates=ssl.custom_ca.encode() or None,
        require_client_auth=ssl.client_verify,
    )


def _channel_arguments(text: str) -> dict[str, int | str]:
    """The server's options: ours, and those of the flag in their place or beside them."""
    options: dict[str, int | str] = {
        "grpc.max_send_message_length": LARGEST_BYTES,
        "grpc.max_receive_message_length": LARGEST_BYTES,
        "grpc.so_reuseport": 0,  # else two servers share a port without a word
    }
    for argument in filter(None, text.split(",")):
        key, found, value = argument.partition("=")
        if not found or not key:
            raise StatusError(
                Code.INVALID_ARGUMENT, f"--grpc_channel_arguments: {argument!r} is not of the form key=value"
            )
        options[key] = _int32(value)
    return options


def _int32(value: str) -> int | str:
    """The number where the text is one of 32 bits; gRPC takes numbers and texts."""
    try:
        number = int(value)
    except ValueError:
        return value
    return number if -(2**31) <= number < 2**31 else value


async def _health() -> tuple[Any, tuple[Any, ...]]:
    """(servicer, generic handlers)"""
    import grpc
    from grpc_health.v1 import health, health_pb2

    servicer = health.aio.HealthServicer()
    for name in CHECKED:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    codec = {
        "request_deserializer": health_pb2.HealthCheckRequest.FromString,
        "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
    }
    methods = {
        "Check": grpc.unary_unary_rpc_method_handler(servicer.Check, **codec),
        "Watch": grpc.unary_stream_rpc_method_handler(servicer.Watch, **codec),
    }
    return servicer, (grpc.method_handlers_generic_handler(health.SERVICE_NAME, methods),)
