"""nginx's REST server: by label at one model server, or between two."""

import re

from serving.deploy.nginx_text import (
    Lines,
    location,
    pattern,
    timeouts,
    told,
    upstream,
    ways,
)
from serving.deploy.options import BAD_OVERRIDE, NO_CANARY, NO_MODEL, REQUEST_ID, VERBS, Options, asked
from serving.traffic_plan import CANARY, STABLE, ModelPlan, Target

NOT_A_SUCCESS = "400 401 403 404 405 409 413 429 500 501 502 503 504"
ANY_VERB = "|".join(VERBS)
OWN_ERRORS = "error_page 413 502 504 @pressline_error;"
STABLE_SERVERS, CANARY_SERVERS = (f"proxy_pass http://{upstream(variant, 'rest')};" for variant in (STABLE, CANARY))


def rest(models: list[ModelPlan], options: Options) -> Lines:
    """What is inside the `server { ... }`."""
    lines = [
        "default_type application/json;",
        "proxy_http_version 1.1;",
        "proxy_set_header Connection '';",
        f"proxy_set_header {REQUEST_ID} $pressline_request_id;",
        f"add_header {REQUEST_ID} $pressline_request_id always;",
        *timeouts("proxy", options),
        OWN_ERRORS,
        """location @pressline_error { return 200 '{"error": "the proxy answers $status"}'; }""",
        *location("@pressline_refused", [_refusal(400, BAD_OVERRIDE)]),
        *location("@pressline_absent", [_refusal(400, NO_CANARY)]),
    ]
    for number, model in enumerate(models):
        lines += _of_model(number, model, options)
    if options.canary is None:
        # The client has named a version or a label, or asks for no prediction.
        lines.append(f"location /v1/ {{ {STABLE_SERVERS} }}")
    return [*lines, f"location / {{ {_refusal(404, NO_MODEL)} }}"]


def _of_model(number: int, plan: ModelPlan, options: Options) -> Lines:
    here = f"/v1/models/{re.escape(plan.model)}"
    unnamed = [
        OWN_ERRORS,
        *ways(number, f"@pressline_{number}_canary", f"@pressline_{number}_tester"),
        *_ask(plan, plan.stable, STABLE, options),
    ]
    lines = location(f"~ {pattern(f'^{here}:(?:{ANY_VERB})$')}", unnamed)
    if plan.canary is not None:
        canary, stable = (_ask(plan, *one, options) for one in ((plan.canary, CANARY), (plan.stable, STABLE)))
        again = [
            "proxy_intercept_errors on;",
            f"error_page {NOT_A_SUCCESS} = @pressline_{number}_stable;",
        ]
        lines += location(f"@pressline_{number}_canary", [*again, *canary])
        lines += location(f"@pressline_{number}_stable", stable)
        lines += location(f"@pressline_{number}_tester", canary)
    return lines if options.canary is None else [*lines, *_named(plan, here)]


def _named(plan: ModelPlan, here: str) -> Lines:
    """With two servers, each without labels: who names a version or a label gets the server that holds it."""
    lines = []
    for variant, servers in ((CANARY, CANARY_SERVERS), (STABLE, STABLE_SERVERS)):
        if variant == STABLE or plan.canary is not None:
            plain = 'rewrite "^(/v1/models/[^/:]+)/labels/[a-z]+(.*)$" "$1$2" break;'
            lines.append(f"location ~ {pattern(f'^{here}/labels/{variant}(?:[:/]|$)')} {{ {plain} {servers} }}")
    if plan.canary is not None:
        held = pattern(f"^{here}/versions/0*{plan.canary.version}(?:[:/]|$)")
        lines.append(f"location ~ {held} {{ {CANARY_SERVERS} }}")
    return [*lines, f"location ~ {pattern(f'^{here}(?:/|$)')} {{ {STABLE_SERVERS} }}"]


def _ask(plan: ModelPlan, target: Target, variant: str, options: Options) -> Lines:
    headers = told(plan, target, variant, options.canary is None)
    if options.canary is not None:
        return [*headers, STABLE_SERVERS if variant == STABLE else CANARY_SERVERS]
    # From the path's front, since the canary's location may have rewritten it already.
    to = f'"/v1/models/$1/{asked(target, variant)}:$2"'
    return [*headers, f'rewrite "^/v1/models/([^/:]+).*:([a-z]+)$" {to} break;', STABLE_SERVERS]


def _refusal(status: int, message: str) -> str:
    return f"""return {status} '{{"error": "{message}"}}';"""
