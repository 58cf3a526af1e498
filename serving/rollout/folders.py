"""The versions' directories, as far as the controller's host sees them."""

from pathlib import Path

from serving import model_directory
from serving.errors import InputError
from serving.rollout.desired import ServerConfig


def look(config: ServerConfig) -> tuple[frozenset[tuple[str, int]], str]:
    """The versions without a directory, and why the config must not be reloaded as things are ("" if it may).

    A reload that names a base path that is not there hangs for ever, and so does every later one; one that names a
    version that is gone unloads it.
    """
    missing: set[tuple[str, int]] = set()
    unfit = ""
    for name, one in config.models.items():
        if "://" in one.base:
            continue
        try:
            there = set(model_directory.versions(one.base))
        except InputError as error:
            return frozenset(missing), str(error)
        gone = set(one.versions) - there
        missing |= {(name, number) for number in gone}
        needed = gone & set(one.labels.values())
        if not Path(one.base).is_dir() or needed or not there & set(one.versions):
            unfit = f"{one.base} has no version {', '.join(map(str, sorted(needed or gone)))}, so nothing is reloaded"
    return frozenset(missing), unfit
