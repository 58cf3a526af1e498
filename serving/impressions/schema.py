"""What is written, and where: the columns of impressions and of feedback, and their folders.

    <folder>/impressions/model=<m>/date=YYYY-MM-DD/hour=HH/<gateway>-<start>-<n>.parquet    by the hour of the request
    <folder>/feedback/date=YYYY-MM-DD/hour=HH/<gateway>-<start>-<n>.parquet                 by the hour of arrival

Hours are UTC. Files are complete from the moment they are there, and never change. Feedback is filed by arrival and not
by the time that clients give, which may be anything: a client must not be able to make a folder of every hour since
1970.
"""

import hashlib
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import pyarrow as pa

IMPRESSIONS, FEEDBACK = "impressions", "feedback"
HOUR_S = 3600
MICROSECONDS = 1_000_000
_LONGEST_NAME = 200  # file systems take 255 bytes


@cache
def impressions() -> "pa.Schema":
    """Columns of impressions, one row for each request.

    - request_id: the client's or one that was made; copies (shadow) have that of the request they are a copy of
    - time: when the request came, by the gateway's clock
    - model, rollout, step, variant, version: as routed; version is the one that answered, where the answer says so
    - how: `key`, `random`, `override` or `only`, as in serving.gateway.exchange
    - key_hash: of the user's key, keyed with the gateways' secret; null without a key
    - protocol, api: `REST` or `GRPC`; predict, classify, regress or multi_inference
    - code: name of the gRPC status code, `OK` for success
    - latency_ms: of the model server's answer
    - request: JSON as TF Serving's REST takes it; null where it was too large or could not be read
    - response: JSON as TF Serving's REST gives it; null as above, and after a failure
    - rate: share of requests that was logged, so that each row stands for 1/rate requests
    - shadow: a copy, whose answer nobody saw
    - fell_back: the canary failed this request and stable answered the client; `code` is the canary's
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("request_id", pa.string(), nullable=False),
            pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
            pa.field("model", pa.string(), nullable=False),
            pa.field("rollout", pa.int64()),
            pa.field("step", pa.int32(), nullable=False),
            pa.field("variant", pa.string(), nullable=False),
            pa.field("version", pa.int64()),
            pa.field("how", pa.string(), nullable=False),
            pa.field("key_hash", pa.uint64()),
            pa.field("protocol", pa.string(), nullable=False),
            pa.field("api", pa.string(), nullable=False),
            pa.field("code", pa.string(), nullable=False),
            pa.field("latency_ms", pa.float64(), nullable=False),
            pa.field("request", pa.string()),
            pa.field("response", pa.string()),
            pa.field("rate", pa.float64(), nullable=False),
            pa.field("shadow", pa.bool_(), nullable=False),
            pa.field("fell_back", pa.bool_(), nullable=False),
        ]
    )


@cache
def feedback() -> "pa.Schema":
    """Columns of feedback, one row for each that was accepted; repetitions are rows too.

    - request_id: of the impression that it is about
    - row: index of the instance in that request
    - label: what is told, such as `click`
    - value: a number; true and false are 1 and 0
    - time: when it happened, as the client says, else when it came
    - received: when it came, by the gateway's clock
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("request_id", pa.string(), nullable=False),
            pa.field("row", pa.int32(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
            pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
            pa.field("received", pa.timestamp("us", "UTC"), nullable=False),
        ]
    )


def model_folder(model: str) -> str:
    """Where a model's impressions are, below the folder. Any name is one safe part of a path, and names differ."""
    name = quote(model, safe="", errors="surrogatepass")
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name[: _LONGEST_NAME - 40]}~{digest[:32]}"
    return f"{IMPRESSIONS}/model={name}"


def hour_folder(hour: int) -> str:
    """The part of the path that says when.

    Args:
        hour: whole hours since 1970, UTC; such that datetime can tell it.
    """
    time = datetime.fromtimestamp(hour * HOUR_S, UTC)
    return f"date={time:%Y-%m-%d}/hour={time:%H}"


def hour_of(date: str, hour: str) -> int | None:
    """The hour that two parts of a path say; None for anything that `hour_folder` does not make."""
    try:
        time = datetime.strptime(f"{date} {hour} +0000", "date=%Y-%m-%d hour=%H %z")
    except ValueError:
        return None
    return int(time.timestamp()) // HOUR_S
