"""`history MODEL`: every change of a model's rollouts, as the ledger keeps it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from serving.errors import InputError
from serving.ledger import Decision
from serving.rollout.store import open_store

WIDTH = 120  # characters, where the output is no terminal
_SAID = ("rollout", "from", "to", "after_s", "bad", "ask", "verb", "said")  # of the evidence, and told in words


def show(model: str, as_json: bool, with_numbers: bool = False) -> int:
    """Prints it: a line for each change, and what was known then where `with_numbers`.

    Raises:
        InputError: there has been no rollout of the model.
    """
    store = open_store()
    decisions = store.history(model)
    if not decisions:
        known = ", ".join(sorted(store.stable())) or "no model yet"
        raise InputError(f"there has been no rollout of {model!r}; there are some of: {known}")
    if as_json:
        for one in decisions:
            print(json.dumps(asdict(one), default=str))
        return 0
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=WIDTH)
    for one in decisions:
        console.print(Text.assemble(*headline(one)))
        told = "  ".join(numbers(one)) if with_numbers else ""
        if told:
            console.print(Padding(Text(told, "dim"), (0, 0, 0, 4)))
    return 0


def headline(one: Decision) -> list[tuple[str, str]]:
    """(text, style) parts of a change's first line."""
    about = f"version {one.version}  " if one.version is not None else ""
    lasted = one.evidence.get("after_s")
    after = f" after {lasted:.1f} s in {one.evidence.get('from')}" if isinstance(lasted, float | int) else ""
    return [
        (f"{one.time:%Y-%m-%d %H:%M:%S}  ", "dim"),
        (f"{about}{one.verdict.lower()}", "bold"),
        (f"{after}, by {one.actor}", ""),
        (f": {one.reason}" if one.reason else "", ""),
    ]


def numbers(one: Decision) -> list[str]:
    """The evidence as `name=value`, nested names with dots."""
    inner = one.evidence.get("evidence")
    rest = {name: value for name, value in one.evidence.items() if name not in (*_SAID, "evidence")}
    return list(_flat({**rest, **(inner if isinstance(inner, Mapping) else {})}, ""))


def _flat(value: object, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
