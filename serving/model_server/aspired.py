"""Which versions a model should have: the children of its base path, read by its version policy."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.status import Code, StatusError

_INT64 = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)[ \t\n\v\f\r]*", re.ASCII)  # what absl::SimpleAtoi takes


@dataclass(frozen=True)
class Latest:
    """The highest versions.

    Attributes:
        count: how many; 0 counts as 1.
    """

    count: int = 1


@dataclass(frozen=True)
class All:
    """Every version."""


@dataclass(frozen=True)
class Specific:
    """Named versions, those of them that exist.

    Attributes:
        numbers: of the versions; none aspires nothing.
    """

    numbers: frozenset[int]


Policy = Latest | All | Specific


@dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Attributes:
        name: of the model.
        base_path: its versions' parent: a local directory, or a `file://` URI of one.
        policy: which of them to serve.
    """

    name: str
    base_path: str
    policy: Policy = Latest()


@dataclass(frozen=True)
class Aspired:
    """What a poll wants of one model.

    Attributes:
        directories: version -> its directory.
        warnings: what is odd about the base path, a sentence each.
    """

    directories: Mapping[int, str]
    warnings: tuple[str, ...] = ()


def version_number(name: str) -> int | None:
    """The version that a child of a base path stands for; None if its name is no int64."""
    match = _INT64.fullmatch(name)
    if match is None or len(name) > 4096:  # longer ones no file system has, and int() would refuse them
        return None
    number = int(match[1])
    return number if -(2**63) <= number < 2**63 else None


def aspired_versions(source: Source) -> Aspired:
    """Reads a base path. Files count as versions too, as in TF Serving: they fail when they are loaded.

    Raises:
        StatusError: INVALID_ARGUMENT if the base path is missing; UNKNOWN if it cannot be read.
    """
    base = Path(source.base_path.removeprefix("file://"))
    try:
        children = sorted(child.name for child in base.iterdir())
    except FileNotFoundError:
        raise StatusError(
            Code.INVALID_ARGUMENT,
            f"Could not find base path {source.base_path} for servable {source.name}; until it is there, no model's "
            f"versions are looked for.",
        ) from None
    except OSError as error:
        raise StatusError(
            Code.UNKNOWN, f"Cannot read base path {source.base_path} of servable {source.name}: {error.strerror}"
        ) from error
    return _choose(source, base, children)


def poll(sources: Iterable[Source]) -> dict[str, Aspired]:
    """What is wanted of every model, by name.

    The first base path that is missing ends the whole poll, so that nothing changes for the others either: TF Serving
    does so (tensorflow/serving#2189), and who tests a roll-out here has to meet it.

    Raises:
        StatusError: as `aspired_versions`.
    """
    return {source.name: aspired_versions(source) for source in sources}


def _choose(source: Source, base: Path, children: Iterable[str]) -> Aspired:
    warnings: list[str] = []
    found: dict[int, str] = {}
    for child in children:
        number = version_number(child)
        if number is None:
            continue
        if number in found:
            warnings.append(
                f"Version {number} of servable {source.name} has two directories: {child} is used, "
                f"{found[number]} is not."
            )
        found[number] = child
    match source.policy:
        case All():
            numbers = sorted(found)
        case Specific(wanted):
            numbers = sorted(found.keys() & wanted)
            warnings += [
                f"Version {number} of servable {source.name}, which its policy names, is not in {source.base_path}."
                for number in sorted(wanted - found.keys())
            ]
        case Latest(count):
            numbers = sorted(found)[-max(count, 1) :]
    if not numbers:
        warnings.append(
            f"No versions of servable {source.name} found under base path {source.base_path}: its versions are "
            f"directories named by a number, as in {base / '1'}."
        )
    return Aspired({number: str(base / found[number]) for number in numbers}, tuple(warnings))
