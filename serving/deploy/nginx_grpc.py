"""nginx's gRPC server, between two model servers, for one model."""

from serving.deploy.nginx_text import (
    KEPT_OPEN,
    Lines,
    location,
    pattern,
    quoted,
    timeouts,
    told,
    upstream,
    ways,
)
from serving.deploy.options import (
    BAD_OVERRIDE,
    HEALTH,
    NO_CANARY,
    PREDICTION,
    REQUEST_ID,
    STATUS,
    VARIANT,
    VERSION,
    Options,
    promoting,
)
from serving.traffic_plan import CANARY, STABLE, ModelPlan, Target

INVALID_ARGUMENT, FAILED_PRECONDITION, UNIMPLEMENTED = 3, 9, 12
CANARY_THEN_STABLE = upstream("canary_then_stable", "grpc")
STABLE_SERVERS = f"grpc_pass grpc://{upstream(STABLE, 'grpc')};"


def grpc(plan: ModelPlan, options: Options) -> Lines:
    """What is inside the `server { ... }`."""
    predictions = [
        *ways(0, "@pressline_canary", "@pressline_tester"),
        *_ask(plan, plan.stable, STABLE),
    ]
    lines = [
        "http2 on;",
        "default_type application/grpc;",
        f"grpc_set_header {REQUEST_ID} $pressline_request_id;",
        f"add_header {REQUEST_ID} $pressline_request_id always;",
        *timeouts("grpc", options),
        *location(f"/{PREDICTION}/", predictions),
        *location("@pressline_refused", _status(INVALID_ARGUMENT, BAD_OVERRIDE)),
        *location("@pressline_absent", _status(FAILED_PRECONDITION, NO_CANARY)),
    ]
    if plan.canary is not None:
        again = [
            f"add_header {REQUEST_ID} $pressline_request_id always;",
            f"add_header {VARIANT} $pressline_answered always;",
            f"add_header {VERSION} $pressline_answered_version always;",
            f"grpc_pass grpc://{CANARY_THEN_STABLE};",
        ]
        lines += location("@pressline_canary", again)
        lines += location("@pressline_tester", _ask(plan, plan.canary, CANARY))
    return [  # never HandleReloadConfigRequest: that is the controller's
        *lines,
        f"location = /{STATUS}/GetModelStatus {{ {STABLE_SERVERS} }}",
        f"location /{HEALTH}/ {{ {STABLE_SERVERS} }}",
        *location("/", _status(UNIMPLEMENTED, "the proxy serves no such method")),
    ]


def canary_then_stable(plan: ModelPlan, options: Options) -> Lines:
    """Outside the `server { ... }`: the canary's servers, and stable's where none of them can be reached.

    An answer's code comes after its data, too late to ask again, so the canary's errors stay. Who answered is told by
    how many were tried, in order: a host name counts as one server.
    """
    if plan.canary is None or options.canary is None:
        return []
    several = pattern(f"~^[^,]+(?:,[^,]+){{{len(options.canary.grpc)},}}$")
    return [
        f"upstream {CANARY_THEN_STABLE} {{",
        *(f"    server {one} max_fails=0;" for one in options.canary.grpc),
        *(f"    server {one} backup;" for one in options.stable.grpc),
        *KEPT_OPEN,
        "}",
        "map $upstream_addr $pressline_answered {",
        f"    {several} {STABLE};",
        f"    default {CANARY};",
        "}",
        "map $pressline_answered $pressline_answered_version {",
        f"    {CANARY} {plan.canary.version};",
        f"    default {quoted('' if promoting(plan) else str(plan.stable.version))};",
        "}",
    ]


def _ask(plan: ModelPlan, target: Target, variant: str) -> Lines:
    return [*told(plan, target, variant, one_server=False), f"grpc_pass grpc://{upstream(variant, 'grpc')};"]


def _status(code: int, message: str) -> Lines:
    return [
        f"add_header grpc-status {code} always;",
        f"add_header grpc-message {quoted(message)} always;",
        "return 200;",
    ]
