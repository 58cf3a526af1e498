"""`status [MODEL]`: where rollouts stand, from the database, and what only the controller knows from its page."""

import json
import urllib.request
from typing import Any

from serving import traffic_plan
from serving.errors import InputError
from serving.rollout.leadership import Leader
from serving.rollout.report import of_model
from serving.rollout.store import Store, open_store

WIDTH = 140  # characters, where the output is no terminal
PAGE_S = 2.0  # for the page to answer
COLOURS = {"failure": "red", "inconclusive": "yellow", "success": "green"}


def show(model: str | None, page: str, as_json: bool) -> int:
    """Prints it.

    Args:
        model: None for all.
        page: URL of the controller's status page; not asked where no controller leads.

    Raises:
        InputError: there has been no rollout of the model.
    """
    store = open_store()
    leader = store.leader()
    found = _models(store, model)
    if leader.lately():
        found = _with_the_pages(found, page)
    if as_json:
        leading = {"holder": leader.holder, "epoch": leader.epoch, "lately": leader.lately()}
        print(json.dumps({"leader": leading, "rollouts": found}, indent=1))
        return 0
    _print(found, leader)
    return 0


def _models(store: Store, only: str | None) -> list[dict[str, Any]]:
    stable, rollouts, asks = store.stable(), store.rollouts(only), store.asks()
    if only is not None and only not in stable:
        raise InputError(
            f"there has been no rollout of {only!r}; there are some of: {', '.join(stable) or 'no model yet'}"
        )
    found = []
    for model in sorted(stable) if only is None else [only]:
        asked = [ask.verb for ask in asks if ask.model == model]
        found.append(of_model(model, [one for one in rollouts if one.model == model], stable[model], asked=asked))
    try:
        plans = traffic_plan.read(traffic_plan.plan_path()).models
    except (OSError, InputError):
        return found
    return [{**one, **_shares(one, plans.get(one["model"]))} for one in found]


def _shares(one: dict[str, Any], plan: traffic_plan.ModelPlan | None) -> dict[str, Any]:
    """As published, where the plan is about this rollout."""
    if plan is None or (plan.rollout is not None and plan.rollout != one["rollout"]):
        return {}
    return {"share": plan.share, "shadow": plan.shadow}


def _with_the_pages(found: list[dict[str, Any]], page: str) -> list[dict[str, Any]]:
    """What the page says of the same rollouts in place of what the database says."""
    try:
        with urllib.request.urlopen(f"{page.rstrip('/')}/v1/rollouts", timeout=PAGE_S) as answer:
            told = {one["model"]: one for one in json.loads(answer.read())["rollouts"]}
    except (OSError, ValueError, KeyError, TypeError):
        return found
    same = ("rollout", "version", "created")  # it may be the page of another controller with another database
    return [
        told[one["model"]] if all(told.get(one["model"], {}).get(name) == one[name] for name in same) else one
        for one in found
    ]


def _print(found: list[dict[str, Any]], leader: Leader) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=WIDTH)
    if not found:
        console.print("no rollouts yet; `make run` pushes a version and asks for one")
    else:
        table = Table()
        for name in ("model", "state", "version", "stable", "share", "in it for", "last judgement", "why"):
            table.add_column(name, justify="right" if name in ("version", "stable", "share") else "left")
        for one in found:
            table.add_row(*_row(one))
        console.print(table)
    for line in _remarks(found, leader):
        console.print(line)


def _row(one: dict[str, Any]) -> list[Any]:
    from rich.text import Text

    verdict = one["verdict"] or {"outcome": "", "reason": ""}
    judged = f"{verdict['outcome']}: {verdict['reason']}" if verdict["reason"] else verdict["outcome"]
    return [
        one["model"],
        one["state"],
        str(one["version"]),
        "none" if one["stable"] is None else str(one["stable"]),
        "" if one["share"] is None else f"{one['share']:.4g}",
        f"{one['elapsed_s']:.0f} s",
        Text(judged, COLOURS.get(verdict["outcome"], "")),
        one["reason"],
    ]


def _remarks(found: list[dict[str, Any]], leader: Leader) -> list[str]:
    remarks = []
    for one in found:
        if one["waiting"]:
            remarks.append(f"{one['model']}: waiting behind it: version {', '.join(map(str, one['waiting']))}")
        if one["asked"]:
            remarks.append(f"{one['model']}: asked and not yet taken: {', '.join(one['asked'])}")
        for replica in one["replicas"]:
            if not replica["accepted"]:
                how = "does not answer" if not replica["reachable"] else "does not serve what it should yet"
                remarks.append(f"{one['model']}: {replica['target']} {how} {replica['error']}".rstrip())
    if not leader.lately():
        last = f"; {leader.holder} was last seen {leader.seen:%Y-%m-%d %H:%M:%S} UTC" if leader.holder else ""
        remarks.append(f"no controller leads{last}. `python -m serving.rollout run` starts one; asks wait for it")
    return remarks
