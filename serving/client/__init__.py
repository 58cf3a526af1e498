"""One typed client for both protocols of TensorFlow Serving: RestClient in rest_client, GrpcClient in grpc_client.

Both raise serving.status.StatusError alone, whatever went wrong on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.model_server.signature import Array
from serving.status import StatusError

TIMEOUT_S = 30.0  # of a call, all its tries together


@dataclass(frozen=True)
class Prediction:
    """What a model answered.

    Attributes:
        outputs: by alias.
        version: that answered; over REST, which does not say, the one asked for by number, else None.
    """

    outputs: Mapping[str, Array]
    version: int | None


@dataclass(frozen=True)
class Version:
    """One version of a model as the server sees it.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING, END or UNKNOWN.
        error: why it ended; None where nothing went wrong.
    """

    version: int
    state: str
    error: StatusError | None


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        dtype: TensorFlow's name of it, DT_FLOAT.
        shape: None for a dimension of any size, and in its place for any rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class SignatureInfo:
    """One signature: its inputs and outputs by alias."""

    method: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Metadata:
    """What a version of a model takes and gives, by signature."""

    version: int
    signatures: Mapping[str, SignatureInfo]


class Client(Protocol):
    """What both clients do. They may be shared by threads.

    Every call takes `timeout_s`, the seconds for all its tries together, and raises StatusError: the server's own
    code and message; DEADLINE_EXCEEDED after that time; UNAVAILABLE where the server cannot be reached.
    """

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Array],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str | None = None,
        output_filter: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Prediction:
        """Asks a model.

        Args:
            inputs: alias -> array of the input's own dtype; texts are arrays of bytes or str.
            version, label: at most one of them; neither is the newest version.
            signature: None is `serving_default`.
            output_filter: aliases wanted; none means all.
        """
        ...

    def status(self, model: str, *, version: int | None = None, timeout_s: float = TIMEOUT_S) -> tuple[Version, ...]:
        """The versions that the server knows, ended ones too, highest first."""
        ...

    def metadata(
        self, model: str, *, version: int | None = None, label: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> Metadata:
        """The signatures of a version."""
        ...

    def close(self) -> None:
        """Drops the connections."""
        ...
