"""What an operator chooses about a rendered proxy or cluster; the split itself is the traffic plan's alone."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from serving.errors import InputError
from serving.traffic_plan import CANARY, STABLE, ModelPlan, Target, TrafficPlan

PARTS = 10_000  # of all keys: what nginx's two decimals of a percent can say
VERBS = ("classify", "predict", "regress")
KEY, VARIANT, VERSION, REQUEST_ID = "x-user-id", "x-pressline-variant", "x-pressline-version", "x-request-id"
PREDICTION, STATUS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
HEALTH = "grpc.health.v1.Health"
GENERATION = "/pressline/generation"  # where a proxy tells which plan it follows
NO_CANARY = f"{VARIANT}: the model has no canary now"
BAD_OVERRIDE = f"{VARIANT} is stable or canary, or is left out"
NO_MODEL = "this address serves no such model"


@dataclass(frozen=True)
class Servers:
    """Model servers that hold the same versions, each as host:port; IPv6 as [address]:port.

    Attributes:
        rest, grpc: the same servers by protocol; empty where that protocol is not served.
    """

    rest: tuple[str, ...] = ()
    grpc: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """All of it; each kind reads what concerns it.

    Attributes:
        models: that are rendered; None for all of the plan.
        stable: the servers of the stable versions; without `canary`, those of both, told apart by label.
        canary: servers of the candidates alone.
        rest, grpc: host:port where the proxy listens; None for not at all.
        admin: host:port of Envoy's own pages; None for none.
        timeout_s: for one answer of a model server.
        body_bytes: of a request's body, at most (nginx).
        models_root: folder with each model's base path, as the model servers see it.
        namespace, gateway, rest_listener, grpc_listener: of the Gateway that the routes attach to.
        domain: gRPC's host names are MODEL.domain, and REST's host is the domain; None for any host.
        image: of TensorFlow Serving.
        claim: the PersistentVolumeClaim that is mounted as models_root.
        stable_pods, canary_pods: replicas.
        cpu, memory: what each pod asks for; memory is also its limit.
    """

    models: tuple[str, ...] | None = None
    stable: Servers = Servers(("127.0.0.1:8501",), ("127.0.0.1:8500",))
    canary: Servers | None = None
    rest: str | None = "127.0.0.1:8080"
    grpc: str | None = None
    admin: str | None = None
    timeout_s: float = 30.0
    body_bytes: int = 256 << 20
    models_root: str = "/models"
    namespace: str = "default"
    gateway: str = "pressline"
    rest_listener: str = "rest"
    grpc_listener: str = "grpc"
    domain: str | None = None
    image: str = "tensorflow/serving:2.19.1"
    claim: str = "models"
    stable_pods: int = 2
    canary_pods: int = 1
    cpu: str = "1"
    memory: str = "2Gi"


def chosen(plan: TrafficPlan, options: Options) -> list[ModelPlan]:
    """The plans of the models that are rendered, by name.

    Raises:
        InputError: one of them, or every one, is not in the plan.
    """
    names = sorted(plan.models if options.models is None else set(options.models))
    missing = [name for name in names if name not in plan.models]
    if missing or not names:
        there = ", ".join(sorted(plan.models)) or "no model"
        raise InputError(f"the traffic plan has no model {', '.join(missing) or 'at all'}; it has {there}")
    return [plan.models[name] for name in names]


def parts(share: float) -> int:
    """The canary's part of PARTS: the share, cut (not rounded) to what proxies can say, as the gateway's own split."""
    return int(Decimal(repr(share)) * PARTS)


def the_one(models: list[ModelPlan], what: str) -> ModelPlan:
    """The only model.

    Raises:
        InputError: there are several, and `what` cannot tell them apart.
    """
    if len(models) == 1:
        return models[0]
    raise InputError(
        f"{what} splits one model at each address, because the model's name is inside the message; the plan has "
        f"{', '.join(one.model for one in models)}. Render each into a folder of its own with --model"
    )


def address(text: str) -> tuple[str, int]:
    """Host (IPv6 without brackets) and port.

    Raises:
        InputError: it is not host:port.
    """
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", bare) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise InputError(f"an address is host:port, such as 127.0.0.1:8501; got {text!r}")
    if ":" in bare and not host.startswith("["):
        raise InputError(f"an IPv6 address stands in brackets, such as [::1]:8501; got {text!r}")
    return bare, int(port)


def addresses(servers: Servers, variant: str, protocol: str) -> tuple[str, ...]:
    """A variant's addresses, at least one.

    Raises:
        InputError: there is none, or one is not host:port.
    """
    there = servers.rest if protocol == "rest" else servers.grpc
    if not there:
        raise InputError(f"no {protocol} address of the {variant} model servers: give --{variant}-{protocol} host:port")
    for one in there:
        address(one)
    return there


def is_ip(host: str) -> bool:
    """Whether a host is an address, not a name to look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def promoting(plan: ModelPlan) -> bool:
    """Whether the label stable is being moved: both are asked for by number, and the canary's version stays."""
    return plan.canary is not None and plan.stable.by == "version"


def stable_version(plan: ModelPlan) -> int:
    """What the servers of the stable variant hold: while a promotion is under way already the new version, which they
    load before they give up the old one."""
    return plan.canary.version if plan.canary is not None and promoting(plan) else plan.stable.version


def server_configs(models: list[ModelPlan], root: str) -> Mapping[str, str]:
    """Variant -> models.config of the servers that hold that variant alone; no canary, no such text.

    Without labels: a running server reads these files again, and a label may not be moved to a version that is still
    to be loaded. Unlabelled requests get the old version until the new one is there.
    """
    stable = [(one.model, stable_version(one)) for one in models]
    canary = [(one.model, one.canary.version) for one in models if one.canary is not None]
    texts = {STABLE: stable, CANARY: canary}
    return {variant: model_config(held, root) for variant, held in texts.items() if held}


def model_config(held: list[tuple[str, int]], root: str, label: str | None = None) -> str:
    """TF Serving's config of one version of each model, with that label where the server is to start with it."""
    lines = ["model_config_list {"]
    for model, version in held:
        lines += [
            "  config {",
            f'    name: {_text(model)} base_path: {_text(f"{root}/{model}")} model_platform: "tensorflow"',
            f"    model_version_policy {{ specific {{ versions: {version} }} }}",
            *([f'    version_labels {{ key: "{label}" value: {version} }}'] if label else []),
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def asked(target: Target, label: str) -> str:
    """How REST's path names a target."""
    return f"versions/{target.version}" if target.by == "version" else f"labels/{label}"


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
