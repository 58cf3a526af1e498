"""Makes a source's spans be there, whole: fetched, verified, written, or repaired. Quick when they already are."""

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from data.catalogue import Source, find
from data.errors import InputError
from data.fetch import fetch, locked, sha256_of
from data.places import spans_dir

MANIFEST = "_manifest.json"


def ensure(source_name: str) -> Path:
    """The root of the source's span directories, complete; nothing is loaded or written when it is so already.

    A span that is missing, half-written or altered is written again. Spans with other numbers are left alone.

    Raises:
        InputError: unknown source, it cannot be fetched, or the folder cannot be written.
    """
    source = find(source_name)
    root = spans_dir(source.name)
    if not _wrong_spans(root, source):
        return root
    try:
        with locked(root):
            wrong = _wrong_spans(root, source)
            if wrong:
                _write(root, source, wrong)
    except OSError as error:
        raise InputError(
            f"cannot write the spans of {source.name} to {root}: {error.strerror or error}. "
            "Make room or make it writable there, or name another folder with PRESSLINE_DATA."
        ) from error
    return root


def manifest(root: Path) -> dict[str, Any]:
    """What was written to `root`: source, package_sha256, recipe, spans {number: {file, rows, bytes, sha256}}.

    Empty when nothing was, or the manifest cannot be read.
    """
    try:
        content = json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _wrong_spans(root: Path, source: Source) -> set[str]:
    """Numbers of the spans that are not as the manifest says; {"all"} when it is not this source's."""
    said = manifest(root)
    if said.get("package_sha256") != source.package.sha256 or said.get("recipe") != source.recipe:
        return {"all"}
    try:
        return {number for number, span in said["spans"].items() if not _is_right(root / span["file"], span)}
    except (KeyError, TypeError, AttributeError):
        return {"all"}


def _is_right(file: Path, span: dict[str, Any]) -> bool:
    return file.is_file() and file.stat().st_size == span["bytes"] and sha256_of(file) == span["sha256"]


def _write(root: Path, source: Source, wrong: set[str]) -> None:
    from data.parquet import clear_left_overs, write_span, write_text

    before = manifest(root).get("spans")
    before = before if isinstance(before, dict) else {}
    clear_left_overs(root)
    archive = fetch(source.package)
    module, _, function = source.tables.rpartition(".")
    written = {} if "all" in wrong else dict(before)
    tables = getattr(importlib.import_module(module), function)(archive)
    for number, table in tables.items():
        if "all" in wrong or str(number) in wrong:
            file = write_span(root, number, table)
            written[str(number)] = {
                "file": str(file.relative_to(root)),
                "rows": table.num_rows,
                "bytes": file.stat().st_size,
                "sha256": sha256_of(file),
            }
    for number in set(before) - set(map(str, tables)):
        # An older recipe's span, that no table of this one replaces.
        shutil.rmtree(root / f"span-{number}", ignore_errors=True)
    about = {"source": source.name, "package_sha256": source.package.sha256, "recipe": source.recipe}
    write_text(root / MANIFEST, json.dumps(about | {"spans": written}, indent=1) + "\n")
    count = len(tables) if "all" in wrong else len(wrong)
    print(f"data: wrote {count} span{'s' * (count != 1)} of {source.name} to {root}", file=sys.stderr, flush=True)
