"""One request through the gateway, as both front ends tell it to what counts and logs."""

from dataclasses import dataclass
from typing import Literal, Protocol

How = Literal["key", "random", "override", "only", "unplanned"]


@dataclass(frozen=True, slots=True)
class Routed:
    """Where a request goes.

    Attributes:
        model: its name.
        variant: `stable` or `canary`; "" where no plan names the model: then it is passed on as it is.
        version: that the plan expects to answer; None without a plan.
        label: to ask for; None where `version` is asked for by number, or nothing is.
        how: by key, at random (the request has no key), by a tester's override, because there is `only` stable, or
            `unplanned`.
        key_hash: 64 bits of the key, keyed with the gateways' secret; None without a key.
        rollout, step: of the plan.
        copy: whether the canary gets a copy (shadow mode), whose answer is dropped.
    """

    model: str
    variant: str
    version: int | None
    label: str | None
    how: How
    key_hash: int | None
    rollout: int | None
    step: int
    copy: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        routed: where it went.
        request_id: the client's own, or one that was made.
        protocol: which front end.
        api: predict, classify, regress or multi_inference.
        began_unix_s: wall clock.
        latency_s: of the upstream's answer.
        code: name of the gRPC status code, OK for success; over REST the one that goes with the HTTP status.
        version: that answered, where the answer says so (gRPC), else `routed.version`.
        request, response: as they went over the wire, decompressed; the response's is empty after a failure.
        shadow: whether this is a copy, whose answer nobody saw.
        fell_back: the canary failed this request and stable answered the client; `code` is the canary's.
    """

    routed: Routed
    request_id: str
    protocol: Literal["REST", "GRPC"]
    api: str
    began_unix_s: float
    latency_s: float
    code: str
    version: int | None
    request: bytes
    response: bytes
    shadow: bool = False
    fell_back: bool = False


class Recorder(Protocol):
    """What front ends tell of each exchange."""

    def record(self, exchange: Exchange) -> None:
        """Counts and logs it; never blocks, never raises."""
        ...
