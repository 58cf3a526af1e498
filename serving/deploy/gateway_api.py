"""The traffic plan for Kubernetes: Gateway API v1 routes with weights, and TensorFlow Serving once for each variant.

The Gateway API splits request by request, by chance: a user may meet both variants. Where users shall keep theirs, run
Pressline's gateway in the cluster, or Envoy with the files of `envoy.py`.
"""

import json
import re
from typing import Any

from serving.deploy.kubernetes_servers import servers, slug
from serving.deploy.options import HEALTH, PARTS, PREDICTION, STATUS, VARIANT, VERBS, Options, chosen, parts
from serving.errors import InputError
from serving.traffic_plan import CANARY, STABLE, ModelPlan, TrafficPlan

API = "gateway.networking.k8s.io/v1"
REST_PORT, GRPC_PORT = 8501, 8500

Json = dict[str, Any]


def files(plan: TrafficPlan, options: Options) -> dict[str, str]:
    """File name -> content for `kubectl apply -f`: configs and Services, Deployments, routes.

    Raises:
        InputError: names that Kubernetes cannot have, or several models over gRPC without a domain to tell them apart.
    """
    models = chosen(plan, options)
    names = [slug(one.model) for one in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"several models would be called {', '.join(twice)} in Kubernetes; choose some with --model")
    if len(models) > 1 and options.domain is None:
        raise InputError("gRPC tells models apart by host name alone: give --domain, or one model with --model")
    there = [one for model in models for one in servers(model, options)]
    routes = [_signed(one, plan, options) for model in models for one in (_http(model, options), _grpc(model, options))]
    pods = [one for one in there if one["kind"] == "Deployment"]
    others = [one for one in there if one["kind"] != "Deployment"]
    lists = {"services.json": others, "deployments.json": pods, "routes.json": routes}
    return {name: json.dumps(_list(items), indent=1) + "\n" for name, items in lists.items()}


def _list(items: list[Json]) -> Json:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _signed(route: Json, plan: TrafficPlan, options: Options) -> Json:
    route["metadata"]["annotations"] = {"pressline/generation": str(plan.generation)}
    return route


def _http(plan: ModelPlan, options: Options) -> Json:
    here = f"/v1/models/{_in_path(plan.model)}"
    wait = {"timeouts": {"request": _duration(options.timeout_s)}}
    # A prefix ends at a slash for the Gateway API, so that MODEL:predict is no path below MODEL.
    unnamed = [_exact(f"{here}:{verb}") for verb in VERBS]
    rules = [
        {
            "matches": [{"path": path, "headers": _override(variant)} for path in unnamed],
            "backendRefs": [_backend(plan, variant, REST_PORT)],
            **wait,
        }
        for variant in _variants(plan)
    ]
    rules.append({"matches": [{"path": path} for path in unnamed], "backendRefs": _split(plan, REST_PORT), **wait})
    if plan.canary is not None:
        held = [f"{here}/versions/{plan.canary.version}", f"{here}/labels/{CANARY}"]
        named = [_exact(f"{path}:{verb}") for path in held for verb in VERBS] + [_below(path) for path in held]
        to_canary = [_backend(plan, CANARY, REST_PORT)]
        rules.append({"matches": [{"path": path} for path in named], "backendRefs": to_canary, **wait})
    held = [f"{here}/versions/{plan.stable.version}", f"{here}/labels/{STABLE}"]
    named = [_exact(f"{path}:{verb}") for path in held for verb in VERBS] + [_below(here)]
    to_stable = [_backend(plan, STABLE, REST_PORT)]
    rules.append({"matches": [{"path": path} for path in named], "backendRefs": to_stable, **wait})
    return _route("HTTPRoute", plan, options, options.domain, rules)


def _grpc(plan: ModelPlan, options: Options) -> Json:
    asked: Json = {"method": {"service": PREDICTION}}
    rules = [
        {"matches": [asked | {"headers": _override(variant)}], "backendRefs": [_backend(plan, variant, GRPC_PORT)]}
        for variant in _variants(plan)
    ]
    rules.append({"matches": [asked], "backendRefs": _split(plan, GRPC_PORT)})
    # Never HandleReloadConfigRequest: what a server holds is for its ConfigMap to say.
    others = [{"service": STATUS, "method": "GetModelStatus"}, {"service": HEALTH}]
    to_stable = [_backend(plan, STABLE, GRPC_PORT)]
    rules.append({"matches": [{"method": other} for other in others], "backendRefs": to_stable})
    host = f"{slug(plan.model)}.{options.domain}" if options.domain else None
    return _route("GRPCRoute", plan, options, host, rules)


def _route(kind: str, plan: ModelPlan, options: Options, host: str | None, rules: list[Json]) -> Json:
    # Of two routes of different kinds at one listener and host, a Gateway takes only the older: hence two listeners.
    listener = options.rest_listener if kind == "HTTPRoute" else options.grpc_listener
    name = slug(plan.model)
    spec: Json = {"parentRefs": [{"name": options.gateway, "sectionName": listener}], "rules": rules}
    if host is not None:
        spec["hostnames"] = [host]
    labels = {"app.kubernetes.io/managed-by": "pressline", "app.kubernetes.io/instance": name}
    metadata = {"name": name, "namespace": options.namespace, "labels": labels}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def _split(plan: ModelPlan, port: int) -> list[Json]:
    """Whole parts of 10,000; who gets none is not named at all."""
    part = parts(plan.share) if plan.canary is not None else 0
    weights = {CANARY: part, STABLE: PARTS - part}
    return [_backend(plan, variant, port) | {"weight": weight} for variant, weight in weights.items() if weight]


def _variants(plan: ModelPlan) -> list[str]:
    return [STABLE] if plan.canary is None else [STABLE, CANARY]


def _backend(plan: ModelPlan, variant: str, port: int) -> Json:
    return {"name": f"{slug(plan.model)}-{variant}", "port": port}


def _override(variant: str) -> list[Json]:
    return [{"name": VARIANT, "value": variant}]


def _duration(seconds: float) -> str:
    whole, rest_ms = divmod(max(1, round(seconds * 1000)), 1000)
    return f"{whole}s{rest_ms}ms" if whole and rest_ms else f"{whole}s" if whole else f"{rest_ms}ms"


def _exact(path: str) -> Json:
    return {"type": "Exact", "value": path}


def _below(path: str) -> Json:
    return {"type": "PathPrefix", "value": path}


def _in_path(name: str) -> str:
    """The name as clients send it.

    Raises:
        InputError: a path of the Gateway API cannot hold it.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.~-]+", name):
        raise InputError(
            f"the model's name {name!r} has characters that a route of the Gateway API may not hold as such"
        )
    return name
