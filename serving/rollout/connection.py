"""What the controller asks of a model server, and that over gRPC."""

from typing import Any, Protocol

from serving.client import Version
from serving.client.retry import Retry


class Connection(Protocol):
    """One model server. May be shared by threads; raises serving.status.StatusError alone."""

    def reload(self, text: str, timeout_s: float) -> None:
        """Replaces the whole config by that of a models.config."""
        ...

    def status(self, model: str, timeout_s: float) -> tuple[Version, ...]:
        """The versions of a model, ended ones too."""
        ...

    def labelled(self, model: str, label: str, timeout_s: float) -> int:
        """The version that a label stands for."""
        ...

    def close(self) -> None:
        """Ends it, and with it every call under way."""
        ...


class GrpcConnection:
    """A Connection by serving.client's client; making one imports TensorFlow."""

    def __init__(self, target: str, tls: Any = None) -> None:
        """
        Args:
            target: HOST:PORT.
            tls: a serving.client.grpc_client.Tls, or None.
        """
        from serving.client.grpc_client import GrpcClient

        self._client = GrpcClient(target, tls=tls, retry=Retry(tries=1))  # the reconciler tries again by itself

    def reload(self, text: str, timeout_s: float) -> None:
        """See Connection."""
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2

        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        self._client.reload(config, timeout_s=timeout_s)

    def status(self, model: str, timeout_s: float) -> tuple[Version, ...]:
        """See Connection."""
        return self._client.status(model, timeout_s=timeout_s)

    def labelled(self, model: str, label: str, timeout_s: float) -> int:
        """See Connection."""
        return self._client.metadata(model, label=label, timeout_s=timeout_s).version

    def close(self) -> None:
        """See Connection."""
        self._client.close()


def grpc_connection(target: str) -> Connection:
    """A connection without TLS."""
    return GrpcConnection(target)
