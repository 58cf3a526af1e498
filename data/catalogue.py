"""The sources that Pressline knows: which file of which package registry, and how it becomes spans."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from data.errors import InputError


@dataclass(frozen=True)
class Package:
    """One pinned file of a package registry.

    Attributes:
        registry: whose client fetches it: a key of `data.fetch.CLIENTS`.
        name: the package's name in the registry.
        version: exact.
        filename: what the registry's client calls the file.
        sha256: of the whole file, 64 lower-case hex digits.
    """

    registry: str
    name: str
    version: str
    filename: str
    sha256: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"Package.sha256 is 64 lower-case hex digits; {self.name} has {self.sha256!r}")
        if "/" in self.filename or self.filename.startswith((".", "_")):
            raise ValueError(f"Package.filename is a plain, visible file name; {self.name} has {self.filename!r}")


@dataclass(frozen=True)
class Source:
    """Where a task's raw records come from.

    Attributes:
        name: key in the catalogue, and the folder below `data/spans/`.
        package: the file that holds the records.
        licence: what the user of the records must know, in one line.
        description: what the records are, in one line.
        tables: dotted path of (package file: Path) -> {span number: pyarrow.Table}; the same file gives equal tables.
        recipe: raise it whenever `tables` gives other records, so that spans on disk are written anew.
        time: the column with unix seconds (int64), None when records have no date.
        rate: the 0/1 column whose mean `describe` shows, None for no such column.
    """

    name: str
    package: Package
    licence: str
    description: str
    tables: str
    recipe: int = 1
    time: str | None = None
    rate: str | None = None


_CLICKS = Source(
    name="clicks",
    package=Package(
        registry="pypi",
        name="recbole",
        version="1.2.1",
        filename="recbole-1.2.1-py3-none-any.whl",
        sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    ),
    licence="MovieLens 100k of GroupLens: for research, not to be redistributed, no commercial use without permission",
    description="who rated which film and liked it (4 or 5 stars of 5), MovieLens 100k, 1997-09 to 1998-04",
    tables="data.clicks.tables",
    time="timestamp",
    rate="liked",
)

CATALOGUE: Mapping[str, Source] = {source.name: source for source in (_CLICKS,)}


def find(name: str) -> Source:
    """The source of that name.

    Raises:
        InputError: there is none; the message names the nearest ones.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = get_close_matches(name, CATALOGUE, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InputError(f"no source {name!r} in the data catalogue; {hint}It holds: {', '.join(sorted(CATALOGUE))}.")
