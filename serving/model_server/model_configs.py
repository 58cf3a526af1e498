"""A ModelServerConfig as plain values, and what makes one unacceptable."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.model_server.aspired import All, Latest, Policy, Source, Specific
from serving.status import Code, StatusError

PLATFORM = "tensorflow"
_DEPRECATED_TENSORFLOW = 1  # ModelType.TENSORFLOW
_URI = re.compile(r"[A-Za-z][A-Za-z0-9.]*://")


@dataclass(frozen=True)
class ModelConfig:
    """One model of a configuration.

    Attributes:
        source: its name, base path and version policy.
        platform: `tensorflow`, or what was written instead.
        labels: label -> version.
        logged: whether requests are to be logged.
    """

    source: Source
    platform: str
    labels: Mapping[str, int]
    logged: bool

    @property
    def name(self) -> str:
        """Of the model."""
        return self.source.name


def read(config: Any) -> tuple[ModelConfig, ...]:
    """The models of a tensorflow.serving.ModelServerConfig, in its order.

    Raises:
        StatusError: INVALID_ARGUMENT if it isn't a model_config_list, or a model names no platform, or two.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise StatusError(
            Code.INVALID_ARGUMENT,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        )
    return tuple(
        ModelConfig(
            source=Source(model.name, model.base_path, _policy(model.model_version_policy)),
            platform=_platform(model),
            labels=dict(model.version_labels),
            logged=model.HasField("logging_config"),
        )
        for model in config.model_config_list.config
    )


def check(models: Sequence[ModelConfig], before: Sequence[ModelConfig]) -> None:
    """Whether `models` may follow the configuration `before`.

    TF Serving looks at platforms only after it has stored the configuration and moved the labels, and refuses each
    later one as well; here such a configuration changes nothing.

    Raises:
        StatusError: INVALID_ARGUMENT for a name given twice, a relative base path, a platform changed or unknown.
    """
    names: set[str] = set()
    for model in models:
        if model.name in names:
            raise _invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in models:
        path = model.source.base_path
        if not path.startswith("/") and not _URI.match(path):
            raise _invalid(f"Expected model {model.name} to have an absolute path or URI; got base_path()={path}")
    platforms = {model.name: model.platform for model in before}
    for model in models:
        was = platforms.get(model.name, model.platform)
        if was != model.platform:
            raise _invalid(
                f"Illegal to change a model's platform. For model {model.name} platform was {was} "
                f"and new platform requested is {model.platform}"
            )
    for model in models:
        if model.platform != PLATFORM:
            raise _invalid(f"Model {model.name} requests unsupported platform {model.platform}")


def _platform(model: Any) -> str:
    both = "ModelServerConfig::model_type (deprecated)", "ModelServerConfig::model_platform"
    if model.model_type:
        if model.model_platform:
            raise _invalid(f"Illegal setting both {both[0]} and {both[1]}.")
        if model.model_type != _DEPRECATED_TENSORFLOW:
            raise _invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return PLATFORM
    if not model.model_platform:
        raise _invalid(f"Illegal setting neither {both[0]} nor {both[1]}.")
    return str(model.model_platform)


def _policy(policy: Any) -> Policy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return All()
        case "specific":
            return Specific(frozenset(policy.specific.versions))
        case _:
            return Latest(policy.latest.num_versions)


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
