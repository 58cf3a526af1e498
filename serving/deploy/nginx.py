"""The traffic plan for nginx 1.27.4 or newer, which splits users as the gateway does, bit for bit.

REST with one model server: a path that names neither version nor label gets the variant's label. REST and gRPC with two
model servers: the variant's server is asked. What the canary answers with an error, REST asks stable for, with the same
body; over gRPC that is so only where no canary answers at all.
"""

from collections.abc import Iterable

from serving.deploy.nginx_grpc import canary_then_stable, grpc
from serving.deploy.nginx_rest import rest
from serving.deploy.nginx_text import KEPT_OPEN, Lines, quoted, upstream, variable
from serving.deploy.options import (
    GENERATION,
    KEY,
    PARTS,
    REQUEST_ID,
    VARIANT,
    Options,
    address,
    addresses,
    chosen,
    parts,
    the_one,
)
from serving.errors import InputError
from serving.traffic_plan import CANARY, STABLE, ModelPlan, TrafficPlan

MAIN = """worker_processes auto;
error_log stderr error;
pid nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    include pressline.conf;
}
"""


def files(plan: TrafficPlan, options: Options) -> dict[str, str]:
    """File name -> content: pressline.conf belongs into an `http { ... }`, of which nginx.conf is a small one.

    Raises:
        InputError: gRPC without canary servers or for several models; an address that is none; a salt that nginx cannot
            hold.
    """
    return {"pressline.conf": config(plan, options), "nginx.conf": MAIN}


def config(plan: TrafficPlan, options: Options) -> str:
    """What belongs into nginx's `http { ... }`."""
    models = chosen(plan, options)
    if options.grpc and options.canary is None:
        raise InputError(
            "nginx cannot set a label inside a gRPC message: give the canary a model server of its own with "
            "--canary-grpc, or leave --grpc out and let Pressline's gateway split gRPC"
        )
    lines = [
        f"# Pressline's traffic plan, generation {plan.generation}. Written anew with each plan: do not edit it.",
        f"map {variable(KEY)} $pressline_key {{ default {variable(KEY)}; '' $request_id; }}",
        f"map {variable(REQUEST_ID)} $pressline_request_id {{",
        f'    "~^[\\x21-\\x7e]{{1,128}}$" {variable(REQUEST_ID)};',
        "    default $request_id;",
        "}",
        "geo $pressline_dollar { default '$'; }  # nginx has no other way to write one",
    ]
    for number, model in enumerate(models):
        lines += ["", *_split(number, model)]
    if options.rest:
        inside = rest(models, options)
        lines += ["", *_upstreams(options, "rest"), *_server(options.rest, plan.generation, options, inside)]
    if options.grpc:
        plan_of_it = the_one(models, "gRPC")
        inside = grpc(plan_of_it, options)
        lines += ["", *_upstreams(options, "grpc"), *canary_then_stable(plan_of_it, options)]
        lines += _server(options.grpc, plan.generation, options, inside)
    return "\n".join([*lines, ""])


def _split(number: int, plan: ModelPlan) -> Lines:
    """$pressline_N_way: stable, canary, tester (who asked for the canary), absent, refused."""
    part = parts(plan.share) if plan.canary is not None else 0
    drawn = STABLE if part == 0 else CANARY
    lines = [f"# {plan.model}: {_words(plan, part)}"]
    if 0 < part < PARTS:
        drawn = f"$pressline_{number}_drawn"
        percent = f"{part // 100}.{part % 100:02d}%"
        # The canary first: a larger share then only adds keys, and a smaller one gives back just those.
        lines.append(f"split_clients {quoted(plan.salt, '$pressline_key')} {drawn} {{ {percent} canary; * stable; }}")
    return [
        *lines,
        f"map {variable(VARIANT)} $pressline_{number}_way {{",
        f"    '' {drawn};",
        f"    ~^{STABLE}$ {STABLE};",
        f"    ~^{CANARY}$ {'absent' if plan.canary is None else 'tester'};",
        "    default refused;",
        "}",
    ]


def _words(plan: ModelPlan, part: int) -> str:
    if plan.canary is None:
        return f"version {plan.stable.version}, no canary"
    return f"version {plan.stable.version}, {part / 100:g} % to {plan.canary.version} (step {plan.step})"


def _upstreams(options: Options, protocol: str) -> Lines:
    lines = []
    for variant, servers in ((STABLE, options.stable), (CANARY, options.canary)):
        if servers is not None:
            lines += [
                f"upstream {upstream(variant, protocol)} {{",
                *(f"    server {one};" for one in addresses(servers, variant, protocol)),
                *KEPT_OPEN,
                "}",
            ]
    return lines


def _server(listen: str, generation: int, options: Options, inside: Iterable[str]) -> Lines:
    address(listen)
    return [
        "server {",
        f"    listen {listen};",
        f"    client_max_body_size {options.body_bytes};",
        "    client_body_buffer_size 1m;",
        "    keepalive_timeout 600s;",
        "    keepalive_requests 1000000;",
        "    recursive_error_pages on;  # from the canary to stable; error pages are the only way between locations",
        "    keepalive_min_timeout 5s;  # a reload lets clients send what they have begun",
        f"    location = {GENERATION} {{ default_type text/plain; return 200 {generation}; }}",
        *(f"    {line}" for line in inside),
        "}",
    ]
