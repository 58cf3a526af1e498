"""What the world should be, as pure functions of the state: models.config for the servers, the plan for the gateways.

What a config says, it says of every model, since a reload replaces all of it. Labels and versions move in two phases:
a version is loaded before it gets a label, and loses its label before it is unloaded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from serving.rollout.settings import Step
from serving.rollout.state import LEAVING, Phase, Rollout
from serving.traffic_plan import CANARY, STABLE, ModelPlan, Target, TrafficPlan

FIRST_LINE = "# Written by the rollout controller: do not edit."


@dataclass(frozen=True)
class Model:
    """One model and the rollout that it is in.

    Attributes:
        name: at the model server.
        base: its base path as model servers see it: absolute, or a URI.
        stable: its stable version now; None before the first.
        rollout: the one under way, which has left STAGED; None for none.
        steps: of its settings.
        settled: whether the gateways have had the time to see the plan of the rollout's phase.
    """

    name: str
    base: str
    stable: int | None = None
    rollout: Rollout | None = None
    steps: Sequence[Step] = ()
    settled: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """What servers should do with one model: load these versions, and give them these labels."""

    base: str
    versions: tuple[int, ...]
    labels: Mapping[str, int]


@dataclass(frozen=True)
class ServerConfig:
    """A whole models.config: its text, and what it says by model."""

    text: str
    models: Mapping[str, ModelConfig]

    def labelled_where(self, available: Callable[[str, int], bool]) -> str:
        """The text with those labels alone whose (model, version) is available."""
        return _text(
            {
                name: replace(
                    one, labels={key: number for key, number in one.labels.items() if available(name, number)}
                )
                for name, one in self.models.items()
            }
        )


def server_config(models: Iterable[Model]) -> ServerConfig:
    """The config of all models; those that should have no version at all are left out."""
    wanted = {one.name: config(one) for one in sorted(models, key=lambda one: one.name)}
    known = {name: one for name, one in wanted.items() if one is not None}
    return ServerConfig(_text(known), known)


def config(model: Model) -> ModelConfig | None:
    """What servers should do with the model; None: nothing."""
    if model.rollout is None:
        versions, labels = [model.stable], {STABLE: model.stable}
    else:
        versions, labels = _moving(model.rollout, model.settled)
    loaded = tuple(sorted({one for one in versions if one is not None}))
    given = {label: version for label, version in sorted(labels.items()) if version is not None}
    return ModelConfig(model.base, loaded, given) if loaded else None


def _moving(rollout: Rollout, settled: bool) -> tuple[list[int | None], dict[str, int | None]]:
    old, new = rollout.previous, rollout.version
    match rollout.phase:
        case Phase.WARMING:
            return [old, new], {STABLE: old}
        case Phase.LABELLING if old is None:
            return [new], {STABLE: new}
        case Phase.LABELLING | Phase.CANARY:
            return [old, new], {STABLE: old, CANARY: new}
        case Phase.PROMOTING:  # a gateway that hasn't seen that both go by number still asks by label
            return [old, new], {STABLE: new if settled else old, CANARY: new}
        case Phase.STABLE:
            return [old, new], {STABLE: new}
        case Phase.RETIRING:
            return [new], {STABLE: new}
        case Phase.WITHDRAWING if rollout.step:  # after a promotion `stable` goes back at once: so do late gateways
            return [old, new], {STABLE: old, CANARY: new}
        case Phase.UNLABELLING:
            return [old, new] if old is not None else [], {STABLE: old}
        case _:  # UNLOADING, or on the way to it without ever having been in a plan
            return [old], {STABLE: old}


def traffic_plan(models: Iterable[Model], generation: int) -> TrafficPlan:
    """The plan of all models that have a stable version."""
    plans = [model_plan(one) for one in models]
    return TrafficPlan(generation, {one.model: one for one in plans if one is not None})


def model_plan(model: Model) -> ModelPlan | None:
    """How the model's requests are split; None while it has no stable version. The share is 0 but in CANARY and
    PROMOTING."""
    rollout = model.rollout
    if rollout is None:
        return None if model.stable is None else ModelPlan(model.name, Target(model.stable))
    if rollout.phase in (Phase.STABLE, Phase.RETIRING):
        return ModelPlan(model.name, Target(rollout.version))
    if rollout.previous is None:
        return None
    if rollout.phase not in (Phase.CANARY, Phase.PROMOTING):
        # After a promotion the labels are on their way back, so the version is asked for by its number.
        moved = rollout.promoted and rollout.phase in LEAVING - {Phase.UNLOADING}
        return ModelPlan(model.name, Target(rollout.previous, "version" if moved else "label"))
    by: Literal["label", "version"] = "version" if rollout.phase is Phase.PROMOTING else "label"
    step = model.steps[min(rollout.step, len(model.steps)) - 1]
    return ModelPlan(
        model=model.name,
        stable=Target(rollout.previous, by),
        canary=Target(rollout.version, by),
        share=step.share,
        shadow=step.shadow,
        salt=f"{model.name}/{rollout.id}",
        rollout=rollout.id,
        step=rollout.step,
    )


def _text(models: Mapping[str, ModelConfig]) -> str:
    entries = "".join(_entry(name, one) for name, one in models.items())
    return f"{FIRST_LINE}\nmodel_config_list {{\n{entries}}}\n"


def _entry(name: str, model: ModelConfig) -> str:
    versions = " ".join(f"versions: {version}" for version in model.versions)
    labels = [f"    version_labels {{ key: {_quoted(key)} value: {number} }}\n" for key, number in model.labels.items()]
    return (
        "  config {\n"
        f"    name: {_quoted(name)}\n"
        f"    base_path: {_quoted(model.base)}\n"
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ {versions} }} }}\n"
        f"{''.join(labels)}"
        "  }\n"
    )


def _quoted(text: str) -> str:
    """A string of protobuf's text format: what isn't plain ASCII as octal bytes, which every parser reads alike."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'
