"""Where the line runs and how hard it may work: `pipeline/environments/<name>.yaml`, checked once, here."""

import dataclasses
import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from serving.errors import InputError

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
FOLDER = Path(__file__).parent / "environments"


@dataclass(frozen=True)
class IngestOptions:
    """How raw spans become artifacts.

    Attributes:
        in_memory_mib: spans whose files are at most this large (MiB) are read as columns in this process; larger ones
            go through Beam, to the same artifacts. 0 sends all of them through Beam.
    """

    in_memory_mib: int = 512

    def __post_init__(self) -> None:
        if self.in_memory_mib < 0:
            raise ValueError(f"in_memory_mib is at least 0; got {self.in_memory_mib}")


@dataclass(frozen=True)
class TrainingOptions:
    """How the hardware is used; none of it changes what is learnt, but for rounding.

    Attributes:
        strategy: `auto` takes every GPU of this machine, or else the CPU; `one_device`; `mirrored` over all GPUs, or
            over all logical CPUs where there is none; `multi_worker` over the machines that TF_CONFIG names.
        local_workers: with `multi_worker` and no TF_CONFIG, how many processes to start on this machine.
        precision: of the arithmetic; the weights and the answer stay float32.
        xla: compile the training step.
        memory_growth: take GPU memory as it is needed, not all of it at once.
        batch_size: examples in one step over all devices; the task's own where None.
        epochs: the most passes over the data; the task's own where None.
        seed: the task's own where None.
        cache_mib: training examples up to this size (MiB on disk, gzip) are transformed once and kept in memory.
    """

    strategy: str = "auto"
    local_workers: int = 1
    precision: str = "float32"
    xla: bool = False
    memory_growth: bool = True
    batch_size: int | None = None
    epochs: int | None = None
    seed: int | None = None
    cache_mib: int = 64

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("strategy", self.strategy, STRATEGIES),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}; got {value!r}")
        for name in ("local_workers", "batch_size", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is at least 1; got {value}")
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed is at least 0; got {self.seed}")


@dataclass(frozen=True)
class Environment:
    """A place to run the line.

    Attributes:
        name: of the file, without its ending.
        beam_args: passed to every Beam pipeline.
        ingest: how raw spans become artifacts.
        training: how the hardware is used.
    """

    name: str
    beam_args: tuple[str, ...] = ()
    ingest: IngestOptions = field(default_factory=IngestOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)


def load_environment(name_or_path: str) -> Environment:
    """Reads `environments/<name>.yaml`, or the YAML file at a path.

    Raises:
        InputError: no such file, not YAML, an unknown key, or a value that is not allowed.
    """
    import yaml

    path = Path(name_or_path) if name_or_path.endswith((".yaml", ".yml")) else FOLDER / f"{name_or_path}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        raise InputError(
            f"no environment {name_or_path!r}: expected one of {', '.join(known)}, or the path of a .yaml file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not a readable YAML file: {error}") from None
    if isinstance(content, dict):
        content = {"name": path.stem, **content}
    return _build(Environment, content, str(path))


_Options = TypeVar("_Options", Environment, IngestOptions, TrainingOptions)


def _build(kind: type[_Options], content: Any, where: str) -> _Options:
    """Makes a settings dataclass of a mapping, naming the key that does not fit."""
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected a mapping of settings, got {type(content).__name__}")
    kinds = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise InputError(f"{where}: unknown key {key!r}{hint} Known keys: {', '.join(sorted(kinds))}")
        if dataclasses.is_dataclass(kinds[key]):
            values[key] = _build(kinds[key], {} if value is None else value, f"{where}: {key}")
        else:
            values[key] = _checked(value, str(kinds[key]), f"{where}: {key}")
    try:
        return kind(**values)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _checked(value: Any, kind: str, where: str) -> Any:
    """The value if it is of the annotated type; YAML's lists become tuples of texts with $VARIABLES put in."""
    if "tuple" in kind:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{where}: expected a list of texts, got {value!r}")
        return tuple(os.path.expandvars(item) for item in value)
    allowed = {"bool": bool, "int": int, "str": str}
    fits = [allowed[name] for name in allowed if name in kind]
    if value is None and "None" in kind:
        return None
    if not any(type(value) is one for one in fits):
        raise InputError(f"{where}: expected {' or '.join(one.__name__ for one in fits)}, got {value!r}")
    return value
