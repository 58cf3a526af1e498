"""models.config and plan of every kind of moment, word for word, in golden/CASE.txt. Not a test module.

After a change that is meant: `python -m tests.serving.rollout.golden` writes them anew.
"""

import json
from pathlib import Path

from serving import traffic_plan
from serving.rollout.desired import Model, server_config
from serving.rollout.desired import traffic_plan as plan_of
from serving.rollout.machine import stable
from serving.rollout.state import LIVE, Phase, Rollout
from tests.serving.rollout.machines import OLD, SETTINGS, rollout

GOLDEN = Path(__file__).parent / "golden"
PHASES = sorted(LIVE - {Phase.STAGED})


def model(one: Rollout | None, settled: bool = True) -> Model:
    return Model("clicks", "/models/clicks", OLD if one is None else stable(one), one, SETTINGS.steps, settled)


def _cases() -> dict[str, Model]:
    """Every kind of moment that a model can be in."""
    known = {str(phase): model(rollout(phase)) for phase in PHASES}
    known["none"] = model(None)
    known["promoting_unsettled"] = model(rollout(Phase.PROMOTING), settled=False)
    known["withdrawing_early"] = model(rollout(Phase.WITHDRAWING, step=0))
    for phase in (Phase.WITHDRAWING, Phase.UNLABELLING, Phase.UNLOADING):
        known[f"{phase}_promoted"] = model(rollout(phase, promoted=True))
    for phase in (Phase.WARMING, Phase.LABELLING, Phase.STABLE, Phase.WITHDRAWING, Phase.UNLABELLING, Phase.UNLOADING):
        step = 0 if phase is not Phase.STABLE else 2
        known[f"{phase}_first"] = model(rollout(phase, previous=None, step=step))
    return known


CASES = _cases()


def rendered(one: Model) -> str:
    """The config's text and the model's plan."""
    plan = json.loads(traffic_plan.encode(plan_of([one], 1)))["models"].get(one.name)
    return f"{server_config([one]).text}\n{json.dumps(plan, indent=1)}\n"


if __name__ == "__main__":
    for path in GOLDEN.glob("*.txt"):
        path.unlink()
    for name, case in CASES.items():
        (GOLDEN / f"{name}.txt").write_text(rendered(case))
