"""Envoy's routes: the only part of its configuration that changes with a share."""

import re
from typing import Any

from serving.deploy.options import (
    BAD_OVERRIDE,
    GENERATION,
    HEALTH,
    KEY,
    NO_CANARY,
    NO_MODEL,
    PARTS,
    PREDICTION,
    STATUS,
    VARIANT,
    VERBS,
    VERSION,
    Options,
    parts,
)
from serving.traffic_plan import CANARY, STABLE, ModelPlan

CANARY_THEN_STABLE = "canary-then-stable"
TYPE = "type.googleapis.com/envoy."
REPLACE = "OVERWRITE_IF_EXISTS_OR_ADD"
OTHER_PRIORITY, OTHER_HOST = "previous_priorities", "previous_hosts"
# Envoy reads what else is worth a second try from the request. Only the canary's have these: stable's errors are the
# client's to see. Over gRPC, an answer that has its code in its first headers has no data, so it is an error.
AGAIN = {
    "rest": {
        "x-envoy-retry-on": "5xx,reset,retriable-status-codes",
        "x-envoy-retriable-status-codes": "400,401,403,404,405,409,413,429,499",
    },
    "grpc": {"x-envoy-retry-on": "5xx,reset,retriable-headers", "x-envoy-retriable-header-names": "grpc-status"},
}
INVALID_ARGUMENT, FAILED_PRECONDITION = 3, 9  # gRPC's codes

Json = dict[str, Any]


def routes(protocol: str, generation: int, them: list[Json]) -> Json:
    """The table of one listener."""
    said = {"status": 200, "body": {"inline_string": str(generation)}}
    told = {"match": {"path": GENERATION}, "direct_response": said}
    return {
        "@type": f"{TYPE}config.route.v3.RouteConfiguration",
        "name": protocol,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [told, *them]}],
    }


def rest_routes(models: list[ModelPlan], options: Options) -> list[Json]:
    """Of all models."""
    them: list[Json] = []
    for number, plan in enumerate(models):
        path = f"/v1/models/{_in_path(plan.model)}"
        them += _split(number, plan, _regex(f"{path}:(?:{'|'.join(VERBS)})"), "rest", options)
        them += _named(plan, path, options)
        them.append(_to(_regex(f"{path}(?:/.*)?"), f"rest-{STABLE}", options))
    return [*them, _refusal("rest", {"prefix": "/"}, 404, NO_MODEL)]


def _named(plan: ModelPlan, path: str, options: Options) -> list[Json]:
    """Who names a version or a label gets the server that holds it; the servers themselves have no labels."""
    plain = {"pattern": {"regex": "^(/v1/models/[^/:]+)/labels/[a-z]+"}, "substitution": "\\1"}
    them: list[Json] = []
    for variant in (STABLE, CANARY) if plan.canary is not None else (STABLE,):
        labelled = _to(_regex(f"{path}/labels/{variant}(?:[:/].*)?"), f"rest-{variant}", options)
        labelled["route"]["regex_rewrite"] = plain
        them.append(labelled)
    if plan.canary is not None:
        held = _regex(f"{path}/versions/0*{plan.canary.version}(?:[:/].*)?")
        them.append(_to(held, f"rest-{CANARY}", options))
    return them


def grpc_routes(plan: ModelPlan, options: Options) -> list[Json]:
    """Of the only model. Never HandleReloadConfigRequest: that is the controller's; no route answers UNIMPLEMENTED."""
    return [
        *_split(0, plan, {"prefix": f"/{PREDICTION}/"}, "grpc", options),
        _to({"path": f"/{STATUS}/GetModelStatus"}, f"grpc-{STABLE}", options),
        _to({"prefix": f"/{HEALTH}/"}, f"grpc-{STABLE}", options),
    ]


def _split(number: int, plan: ModelPlan, match: Json, protocol: str, options: Options) -> list[Json]:
    """Testers first, then users by their key, then requests without one."""
    as_canary, as_stable = ({"exact": variant} for variant in (CANARY, STABLE))
    tester = _to(_with(match, VARIANT, as_canary), f"{protocol}-{CANARY}", options)
    if plan.canary is None:
        tester = _refusal(protocol, _with(match, VARIANT, as_canary), FAILED_PRECONDITION, NO_CANARY)
    drawn = _drawn(plan, protocol, options)
    salted = {"pattern": {"regex": "^(.*)$"}, "substitution": plan.salt.replace("\\", "\\\\") + "\\1"}
    by_key = {
        "weighted_clusters": drawn["weighted_clusters"] | {"use_hash_policy": True},
        "hash_policy": [{"header": {"header_name": KEY, "regex_rewrite": salted}}],
    }
    answered = [
        _header(name, f"%UPSTREAM_METADATA(pressline:{key})%")
        for name, key in ((VARIANT, "variant"), (VERSION, number))
    ]
    asking = [
        tester,
        _to(_with(match, VARIANT, as_stable), f"{protocol}-{STABLE}", options),
        # An empty key is none; hashed, it would send all who have none to one side.
        {"match": _with(match, KEY, {"safe_regex": {"regex": ".+"}}), "route": drawn | by_key},
        {"match": match, "route": drawn},
    ]
    told = [one | {"response_headers_to_add": answered} if "route" in one else one for one in asking]
    other = _refusal(protocol, _with(match, VARIANT, {"safe_regex": {"regex": ".+"}}), INVALID_ARGUMENT, BAD_OVERRIDE)
    return [*told[:2], other, *told[2:]]


def _drawn(plan: ModelPlan, protocol: str, options: Options) -> Json:
    part = parts(plan.share) if plan.canary is not None else 0
    # The canary first: Envoy takes the low end of the scale for it, so that a larger share only adds users.
    canary = {
        "name": f"{protocol}-{CANARY_THEN_STABLE}",
        "weight": part,
        "request_headers_to_add": [_header(name, value) for name, value in AGAIN[protocol].items()],
    }
    stable = {"name": f"{protocol}-{STABLE}", "weight": PARTS - part}
    clusters = [one for one in (canary, stable) if one["weight"]]
    return {"weighted_clusters": {"clusters": clusters}, "retry_policy": _retry(), **_timeout(options)}


def _retry() -> Json:
    """Once. What has reached no server, for all; what the canary answers with an error, see AGAIN."""
    kept = {
        "@type": f"{TYPE}extensions.retry.priority.{OTHER_PRIORITY}.v3.PreviousPrioritiesConfig",
        "update_frequency": 1,
    }
    other = {"@type": f"{TYPE}extensions.retry.host.{OTHER_HOST}.v3.PreviousHostsPredicate"}
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 1,
        "retry_back_off": {"base_interval": "0.001s"},
        "retry_priority": {"name": f"envoy.retry_priorities.{OTHER_PRIORITY}", "typed_config": kept},
        "retry_host_predicate": [{"name": f"envoy.retry_host_predicates.{OTHER_HOST}", "typed_config": other}],
        "host_selection_retry_max_attempts": "3",
    }


def _to(match: Json, cluster: str, options: Options) -> Json:
    return {"match": match, "route": {"cluster": cluster, "retry_policy": _retry(), **_timeout(options)}}


def _timeout(options: Options) -> Json:
    return {"timeout": f"{options.timeout_s:.3f}s"}


def _refusal(protocol: str, match: Json, code: int, message: str) -> Json:
    """An answer of Envoy itself.

    Args:
        code: over gRPC its code; over REST, 400 for any of gRPC's.
    """
    if protocol == "rest":
        return {"match": match, "direct_response": {"status": max(code, 400), "body": {"inline_string": message}}}
    headers = {"content-type": "application/grpc", "grpc-status": str(code), "grpc-message": message}
    added = [_header(name, value) for name, value in headers.items()]
    return {"match": match, "direct_response": {"status": 200}, "response_headers_to_add": added}


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": REPLACE}


def _with(match: Json, header: str, value: Json) -> Json:
    return match | {"headers": [{"name": header, "string_match": value}]}


def _regex(regex: str) -> Json:
    return {"safe_regex": {"regex": regex}}


def _in_path(name: str) -> str:
    """A name as it may stand in a path, which Envoy compares as it was sent: percent-encoded or not."""
    return "".join(_in_either_form(letter) for letter in name)


def _in_either_form(letter: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.~-]", letter):
        return re.escape(letter)
    encoded = "".join(f"%(?i:{byte:02x})" for byte in letter.encode())
    return f"(?:{re.escape(letter)}|{encoded})" if letter.isascii() else encoded
