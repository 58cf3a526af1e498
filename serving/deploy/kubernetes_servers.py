"""TensorFlow Serving in Kubernetes: for each variant a Deployment that holds one version, its config, its Service."""

import re
from typing import Any

from serving.deploy.options import Options, model_config, stable_version
from serving.errors import InputError
from serving.traffic_plan import CANARY, STABLE, ModelPlan

CONFIG = "/config"
LEAVE_S = 10  # until no gateway sends anything to a pod that is to end: TensorFlow Serving ends at once when told to

Json = dict[str, Any]


def slug(model: str) -> str:
    """The model's name as Kubernetes takes it.

    Raises:
        InputError: nothing is left of it, or it is too long to be followed by `-canary`.
    """
    name = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")
    if not name or not name[0].isalpha() or len(name) > 50:
        raise InputError(f"Kubernetes can have no name made of the model's, {model!r}: 1 to 50 letters, a letter first")
    return name


def servers(plan: ModelPlan, options: Options) -> list[Json]:
    """ConfigMap, Deployment and Service of each variant that has a version."""
    held = {STABLE: stable_version(plan)} | ({} if plan.canary is None else {CANARY: plan.canary.version})
    return [one for variant, version in held.items() for one in _variant(plan.model, variant, version, options)]


def _variant(model: str, variant: str, version: int, options: Options) -> list[Json]:
    name = f"{slug(model)}-{variant}"
    # Another version, another name: pods of before keep theirs when they are restarted during the change.
    config_name = f"{name}-v{version}"
    text = model_config([(model, version)], options.models_root, variant)
    config = {**_head("v1", "ConfigMap", config_name, model, variant, options), "immutable": True}
    config["data"] = {"models.config": text}
    return [
        config,
        _deployment(model, variant, version, config_name, options),
        _service(name, model, variant, options),
    ]


def _service(name: str, model: str, variant: str, options: Options) -> Json:
    ports = [
        {"name": "grpc", "port": 8500, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"},
        {"name": "rest", "port": 8501, "targetPort": "rest", "appProtocol": "http"},
    ]
    head = _head("v1", "Service", name, model, variant, options)
    return {**head, "spec": {"selector": _selector(model, variant), "ports": ports}}


def _deployment(model: str, variant: str, version: int, config_name: str, options: Options) -> Json:
    labels = _labels(model, variant) | {"app.kubernetes.io/version": str(version)}
    pod = {
        "automountServiceAccountToken": False,
        # TensorFlow Serving ends at once when told to, so it is told late: preStop sleeps first.
        "terminationGracePeriodSeconds": LEAVE_S + 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "fsGroup": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(model, version, options)],
        "volumes": [
            {"name": "config", "configMap": {"name": config_name}},
            {"name": "models", "persistentVolumeClaim": {"claimName": options.claim, "readOnly": True}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    spec = {
        "replicas": options.stable_pods if variant == STABLE else options.canary_pods,
        # A pod goes only when its successor answers.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "progressDeadlineSeconds": 900,
        "selector": {"matchLabels": _selector(model, variant)},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    head = _head("apps/v1", "Deployment", f"{slug(model)}-{variant}", model, variant, options)
    return {**head, "spec": spec}


def _container(model: str, version: int, options: Options) -> Json:
    # 200 only while this very version is AVAILABLE; the status page itself says 200 for a version that has ended, too.
    available = {"httpGet": {"path": f"/v1/models/{model}/versions/{version}/metadata", "port": "rest"}}
    return {
        "name": "tensorflow-serving",
        "image": options.image,
        "command": ["tensorflow_model_server"],
        "args": [
            "--port=8500",
            "--rest_api_port=8501",
            f"--rest_api_timeout_in_ms={max(1, round(options.timeout_s * 1000))}",
            f"--model_config_file={CONFIG}/models.config",
            "--allow_version_labels_for_unavailable_models=true",
        ],
        "ports": [{"name": "grpc", "containerPort": 8500}, {"name": "rest", "containerPort": 8501}],
        "startupProbe": {**available, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 120},
        "readinessProbe": {**available, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVE_S)]}}},
        "resources": {
            "requests": {"cpu": options.cpu, "memory": options.memory},
            "limits": {"memory": options.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "models", "mountPath": options.models_root, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _head(version: str, kind: str, name: str, model: str, variant: str, options: Options) -> Json:
    metadata = {"name": name, "namespace": options.namespace, "labels": _labels(model, variant)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _labels(model: str, variant: str) -> dict[str, str]:
    return _selector(model, variant) | {"app.kubernetes.io/managed-by": "pressline"}


def _selector(model: str, variant: str) -> dict[str, str]:
    return {"app.kubernetes.io/instance": slug(model), "pressline/variant": variant}
