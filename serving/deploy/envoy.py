"""The traffic plan for Envoy, which reads its routes from files: a new share is a file renamed, nothing restarts.

Two model servers, one a variant. Users are split by Envoy's own hash (xxHash), so other users meet the canary than
behind nginx or the gateway; a larger share only adds users here as well. What the canary answers with an error, Envoy
asks stable for within the same deadline: the canary's traffic goes to an aggregate of both clusters, and a retry to the
next of them. The variant in the answer is written on the server that gave it, so it tells who answered in the end.
"""

import json

from serving.deploy.envoy_routes import CANARY_THEN_STABLE, TYPE, Json, grpc_routes, rest_routes, routes
from serving.deploy.options import Options, Servers, address, addresses, chosen, is_ip, promoting, the_one
from serving.errors import InputError
from serving.traffic_plan import CANARY, STABLE, ModelPlan, TrafficPlan

REPEATABLE_BYTES = 16 << 20  # a larger body is not kept for a second try
HTTP = "extensions.upstreams.http.v3.HttpProtocolOptions"
MANAGER = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def files(plan: TrafficPlan, options: Options, folder: str) -> dict[str, str]:
    """File name -> content, in the order in which they are to be written: clusters before routes that name them.

    Args:
        folder: where Envoy finds them, absolute.

    Raises:
        InputError: no canary servers, several models over gRPC, or an address that is none.
    """
    models = chosen(plan, options)
    if options.canary is None:
        raise InputError("Envoy splits between two model servers: give the canary's, --canary-rest or --canary-grpc")
    on = {name: listen for name, listen in (("rest", options.rest), ("grpc", options.grpc)) if listen}
    clusters = [one for protocol in on for one in _clusters(models, options.stable, options.canary, protocol)]
    made = {
        "clusters.json": _resources(clusters),
        "listeners.json": _resources([_listener(protocol, listen, folder) for protocol, listen in on.items()]),
    }
    for protocol in on:
        made_of = rest_routes(models, options) if protocol == "rest" else grpc_routes(the_one(models, "gRPC"), options)
        made[f"routes.{protocol}.json"] = _resources([routes(protocol, plan.generation, made_of)])
    made["envoy.json"] = _bootstrap(options, folder)
    return {name: json.dumps(content, indent=1) + "\n" for name, content in made.items()}


def _bootstrap(options: Options, folder: str) -> Json:
    node = {"id": "pressline", "cluster": "pressline"}
    dynamic = {"cds_config": _source(folder, "clusters.json"), "lds_config": _source(folder, "listeners.json")}
    admin = {"admin": {"address": _address(options.admin)}} if options.admin else {}
    return {"node": node, "dynamic_resources": dynamic, **admin}


def _source(folder: str, name: str) -> Json:
    # With the folder watched, a file that is replaced by a rename counts, and one that is half-written never does.
    path = {"path": f"{folder}/{name}", "watched_directory": {"path": folder}}
    return {"path_config_source": path, "resource_api_version": "V3"}


def _resources(them: list[Json]) -> Json:
    return {"resources": them}


def _address(text: str) -> Json:
    host, port = address(text)
    return {"socket_address": {"address": host, "port_value": port}}


def _listener(protocol: str, listen: str, folder: str) -> Json:
    router = {"@type": f"{TYPE}extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    manager = {
        "@type": f"{TYPE}{MANAGER}",
        "stat_prefix": protocol,
        "rds": {"route_config_name": protocol, "config_source": _source(folder, f"routes.{protocol}.json")},
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "local_reply_config": {"mappers": [_as_json()] if protocol == "rest" else []},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "@type": f"{TYPE}config.listener.v3.Listener",
        "name": protocol,
        "address": _address(listen),
        "filter_chains": [chain],
        "per_connection_buffer_limit_bytes": REPEATABLE_BYTES,
    }


def _as_json() -> Json:
    """Errors of Envoy itself look like the model server's."""
    least = {"op": "GE", "value": {"default_value": 400, "runtime_key": "pressline.errors_from"}}
    said = {"json_format": {"error": "%LOCAL_REPLY_BODY%"}}
    return {"filter": {"status_code_filter": {"comparison": least}}, "body_format_override": said}


def _clusters(models: list[ModelPlan], stable: Servers, canary: Servers, protocol: str) -> list[Json]:
    """Always both, and nothing of the share in them: a new share changes routes alone."""
    both = {
        "@type": f"{TYPE}extensions.clusters.aggregate.v3.ClusterConfig",
        "clusters": [f"{protocol}-{CANARY}", f"{protocol}-{STABLE}"],
    }
    aggregate = {
        "@type": f"{TYPE}config.cluster.v3.Cluster",
        "name": f"{protocol}-{CANARY_THEN_STABLE}",
        "connect_timeout": "2s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": both},
    }
    held = {variant: addresses(one, variant, protocol) for variant, one in ((STABLE, stable), (CANARY, canary))}
    return [*(_cluster(protocol, variant, held[variant], models) for variant in held), aggregate]


def _cluster(protocol: str, variant: str, there: tuple[str, ...], models: list[ModelPlan]) -> Json:
    name = f"{protocol}-{variant}"
    told = {"filter_metadata": {"pressline": {"variant": variant, **_versions(models, variant)}}}
    endpoints = [{"endpoint": {"address": _address(one)}, "metadata": told} for one in there]
    http = {
        "@type": f"{TYPE}{HTTP}",
        # Shorter than model servers keep an idle connection, so that a request never meets a closing one.
        "common_http_protocol_options": {"idle_timeout": "30s"},
        "explicit_http_config": {"http2_protocol_options" if protocol == "grpc" else "http_protocol_options": {}},
    }
    return {
        "@type": f"{TYPE}config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC" if all(is_ip(address(one)[0]) for one in there) else "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",  # TensorFlow Serving's gRPC port has no other
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "typed_extension_protocol_options": {f"envoy.{HTTP}": http},
    }


def _versions(models: list[ModelPlan], variant: str) -> dict[str, str]:
    """Number of the model -> its version; not the one that a promotion is taking away from stable's servers."""
    if variant == CANARY:
        return {str(number): str(one.canary.version) for number, one in enumerate(models) if one.canary is not None}
    return {str(number): str(one.stable.version) for number, one in enumerate(models) if not promoting(one)}
