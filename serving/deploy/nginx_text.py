"""What nginx's REST and gRPC servers have in common, as lines of its configuration."""

import re

from serving.deploy.options import REQUEST_ID, VARIANT, VERSION, Options, promoting
from serving.errors import InputError
from serving.traffic_plan import CANARY, ModelPlan, Target

# Shorter than model servers keep an idle connection, so that a request never meets a closing one.
KEPT_OPEN = ["    keepalive 64;", "    keepalive_timeout 30s;"]
# Own codes, which no client ever sees: nginx goes from one location to another only by an "error".
AS_CANARY, AS_TESTER, REFUSED, ABSENT = 560, 561, 562, 563

Lines = list[str]


def quoted(exact: str, after: str = "") -> str:
    """A string of nginx.

    Args:
        exact: text that stands for itself.
        after: what follows it, in which variables are variables.

    Raises:
        InputError: it has control characters.
    """
    if re.search(r"[\x00-\x1f\x7f]", exact):
        raise InputError(f"nginx's configuration cannot hold {exact!r}: it has control characters")
    return f'"{_escaped(exact).replace("$", "${pressline_dollar}")}{after}"'


def pattern(regex: str) -> str:
    """A regular expression, in which nginx knows no variables."""
    return f'"{_escaped(regex)}"'


def location(where: str, inside: Lines) -> Lines:
    """A block."""
    return [f"location {where} {{", *(f"    {line}" for line in inside), "}"]


def variable(header: str) -> str:
    """nginx's variable of a request's header."""
    return f"$http_{header.replace('-', '_')}"


def ways(number: int, canary: str, tester: str) -> Lines:
    """Where a request goes that is not stable's; the rest of its location is.

    Args:
        canary, tester: named locations.
    """
    to = {
        "refused": (REFUSED, "@pressline_refused"),
        "absent": (ABSENT, "@pressline_absent"),
        CANARY: (AS_CANARY, canary),
        "tester": (AS_TESTER, tester),
    }
    return [
        *(f"error_page {code} = {place};" for code, place in to.values()),
        *(f"if ($pressline_{number}_way = {way}) {{ return {code}; }}" for way, (code, _) in to.items()),
    ]


def told(plan: ModelPlan, target: Target, variant: str, one_server: bool) -> Lines:
    """The answer's headers: who answered. Not the version that a promotion is taking away from stable's servers."""
    known = one_server or variant == CANARY or not promoting(plan)
    return [
        f"add_header {REQUEST_ID} $pressline_request_id always;",
        f"add_header {VARIANT} {variant} always;",
        *([f"add_header {VERSION} {target.version} always;"] if known else []),
    ]


def timeouts(of: str, options: Options) -> Lines:
    """Of `proxy` or `grpc`."""
    wait = f"{max(1, round(options.timeout_s * 1000))}ms"
    return [f"{of}_connect_timeout 2s;", f"{of}_send_timeout {wait};", f"{of}_read_timeout {wait};"]


def upstream(variant: str, protocol: str) -> str:
    """The name of the servers that answer for a variant."""
    return f"pressline_{variant}_{protocol}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
