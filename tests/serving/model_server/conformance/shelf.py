"""Base paths with versions in them, and the configs that name them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.serving.model_server.models import push

Models = Callable[[str], Path]  # the fixture `models`: a kind -> the directory of its SavedModel

KINDS = ("identity", "matmul", "defaults", "slow", "not_finite", "scalar", "classes", "table", "house")
ODD = "odd name+ü"  # a name that a path can only carry percent-encoded
MLMD_UUID = "7b1c6a0e-0f6f-4d0b-9d5e-c0ffee000001"


def house_models(folder: Path, models: Models) -> None:
    """Lays the models of the session's server into the folder, one base path each."""
    for kind in KINDS:
        push(models(kind), folder / kind, 1)
    versioned = push(models("half_plus_two_tf1"), folder / "half_plus_two", "00000123")
    (versioned / "assets.extra").mkdir()
    (versioned / "assets.extra" / "mlmd_uuid").write_text(MLMD_UUID)
    push(models("half_plus_two"), folder / "two", 1)
    push(models("half_plus_three"), folder / "two", 2)
    push(models("half_plus_two"), folder / "odd", 1)


def house_config(folder: Path) -> str:
    """The model config file of the session's server."""
    alone = [entry(kind, folder / kind) for kind in (*KINDS, "half_plus_two")]
    two = entry("two", folder / "two", "all {}", {"stable": 1, "canary": 2, "to come": 3, "odd label": 1})
    return config(*alone, two, entry(ODD, folder / "odd"))


def entry(name: str, base: Path | str, policy: str = "", labels: Mapping[str, int] | None = None) -> str:
    """One `config { ... }` of a model config list."""
    lines = [f'name: "{name}"', f'base_path: "{base}"', 'model_platform: "tensorflow"']
    if policy:
        lines.append(f"model_version_policy {{ {policy} }}")
    for label, version in (labels or {}).items():
        lines.append(f'version_labels {{ key: "{label}" value: {version} }}')
    return "config { " + " ".join(lines) + " }"


def config(*entries: str) -> str:
    """A ModelServerConfig as text."""
    return "model_config_list { " + "\n".join(entries) + " }\n"


def specific(*versions: int) -> str:
    """A policy of these versions."""
    return "specific { " + " ".join(f"versions: {version}" for version in versions) + " }"


def reload(*entries: str) -> str:
    """A ReloadConfigRequest as text."""
    return "config { " + config(*entries) + " }"
