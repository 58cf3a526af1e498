"""From raw spans to a pushed model: the line, a plain script that learns the same, and TFX's own template.

About 6 minutes a repeat on 2 cores. The three take turns. Every process starts anew and its start is counted. What the
line (`A`) and the template (`C`) take beyond the script (`B`) is the price of having a line.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from data.ensure import ensure
from data.places import data_home
from data.spans import list_spans
from tests.benchmarks import report
from tests.benchmarks.child import Cost, measure
from tests.benchmarks.machine import Limits
from tests.benchmarks.report import Target

PROJECT = Path(__file__).resolve().parents[2]
COLD, PLAIN, TEMPLATE = "A line, cold", "B plain script", "C template, cold"
UNCHANGED, NEW_SPAN, TEMPLATE_AGAIN = "A line, nothing changed", "A line, one new span", "C template, nothing changed"


class Ways:
    """Runs each way into fresh folders below `work`, and keeps what each run took."""

    def __init__(self, work: Path) -> None:
        self.work, self.records, self.spans = work, work / "records", ensure("clicks")
        self.costs: dict[str, list[Cost]] = {}
        self.auc: dict[str, list[float]] = {}

    def prepare(self) -> None:
        """What is not timed: other formats of the records, and a line that has seen all spans but the newest."""
        self._run(None, ["tests.benchmarks.clicks_files", str(self.spans), str(self.records)], {})
        newest = list_spans(self.spans)[-1].number
        self._line(None, "grown", "--until-span", str(newest - 1))
        shutil.copytree(self.work / "grown", self.work / "grown.saved")

    def cold_line(self) -> None:
        """A line that has run before on nothing."""
        shutil.rmtree(self.work / "line", ignore_errors=True)
        self._line(COLD, "line")
        verdict = json.loads(next((self.work / "line").rglob("verdict.json")).read_text())
        whole = next(one for one in verdict["measurements"] if one["metric"] == "auc" and not one["slice"])
        self.auc.setdefault(COLD, []).append(whole["candidate"]["value"])

    def unchanged_line(self) -> None:
        """The same again: there is nothing to do."""
        self._line(UNCHANGED, "line")

    def new_span_line(self) -> None:
        """The line had seen all spans but the newest; MLMD holds paths, so the saved state goes back to its place."""
        shutil.rmtree(self.work / "grown")
        shutil.copytree(self.work / "grown.saved", self.work / "grown")
        self._line(NEW_SPAN, "grown")

    def plain_script(self) -> None:
        """Only the learning."""
        output = self.work / "plain"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        users = self.records / "held_out_users.json"
        self._run(PLAIN, ["tests.benchmarks.plain_script", str(self.spans), str(users), str(output)], {})
        self.auc.setdefault(PLAIN, []).append(json.loads((output / "result.json").read_text())["auc"])

    def cold_template(self) -> None:
        """TFX as its template has it."""
        output = self.work / "template"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        self._template(TEMPLATE)
        result = next(output.rglob("result.json"))
        self.auc.setdefault(TEMPLATE, []).append(json.loads(result.read_text())["auc"])

    def unchanged_template(self) -> None:
        """The same again, with its cache."""
        self._template(TEMPLATE_AGAIN)

    def _template(self, name: str) -> None:
        self._run(name, ["tests.benchmarks.template_pipeline", str(self.records), str(self.work / "template")], {})

    def _line(self, name: str | None, home: str, *more: str) -> None:
        places = {"PRESSLINE_HOME": str(self.work / home), "PRESSLINE_DATA": str(data_home())}
        self._run(name, ["pipeline", "run", "clicks", *more], places)

    def _run(self, name: str | None, module: list[str], environment: dict[str, str]) -> None:
        log = self.work / "logs" / f"{(name or 'preparation').replace(' ', '-')}.log"
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(PROJECT), **environment}
        cost = measure([sys.executable, "-m", *module], quiet, PROJECT, log)
        told = f"{cost.wall_s:7.1f} s wall {cost.cpu_s:7.1f} s CPU {cost.peak_mib:6.0f} MiB"
        print(f"  {told}  {name or 'preparation: ' + ' '.join(module[:1])}", flush=True)
        if name is not None:
            self.costs.setdefault(name, []).append(cost)


def run(repeats: int, machine: Limits, results: Path) -> None:
    """Measures, prints the table and the targets, writes <results>/pipeline.json and pipeline.md."""
    with tempfile.TemporaryDirectory(prefix="pressline-bench-", dir=os.environ.get("TMPDIR")) as folder:
        ways = Ways(Path(folder))
        ways.prepare()
        for repeat in range(repeats):
            print(f"repeat {repeat + 1} of {repeats}", flush=True)
            ways.cold_line()
            ways.plain_script()
            ways.cold_template()
            ways.unchanged_line()
            ways.unchanged_template()
            ways.new_span_line()
    beyond = {field: _beyond(ways.costs, field) for field in ("wall_s", "cpu_s")}
    targets = _targets(ways.costs, beyond)
    auc = {name: statistics.median(values) for name, values in ways.auc.items() if values}
    notes = {name: f"AUC {value:.3f}" for name, value in auc.items()}
    overhead = "\n".join(
        f"- beyond the plain script, {unit}: line {of[COLD]:.1f}, template {of[TEMPLATE]:.1f}, "
        f"share {of[COLD] / of[TEMPLATE]:.2f}"
        for unit, of in (("wall s", beyond["wall_s"]), ("CPU s", beyond["cpu_s"]))
    )
    rows = report.table(ways.costs, notes)
    text = "\n\n".join([machine.told(), rows, overhead, "\n".join(one.told() for one in targets)])
    print(text)
    report.write(results / "pipeline.json", machine, ways.costs, {"beyond": beyond, "auc": ways.auc}, targets)
    (results / "pipeline.md").write_text(text + "\n")


def _beyond(costs: dict[str, list[Cost]], field: str) -> dict[str, float]:
    """Median over the repeats of what each took beyond the script of the same repeat."""
    return {
        name: statistics.median(
            getattr(one, field) - getattr(plain, field) for one, plain in zip(costs[name], costs[PLAIN], strict=True)
        )
        for name in (COLD, TEMPLATE)
    }


def _targets(costs: dict[str, list[Cost]], beyond: dict[str, dict[str, float]]) -> list[Target]:
    def median(name: str, field: str) -> float:
        return statistics.median(float(getattr(one, field)) for one in costs[name])

    def share(field: str) -> float:
        return beyond[field][COLD] / beyond[field][TEMPLATE]

    return [
        Target("overhead over the script, share of the template's, wall", share("wall_s"), 1 / 3, "of it"),
        Target("overhead over the script, share of the template's, CPU", share("cpu_s"), 1 / 3, "of it"),
        Target("cold", median(COLD, "wall_s"), 75),
        Target("peak memory, cold", median(COLD, "peak_mib"), 4096, "MiB"),
        Target("nothing changed, with process start", median(UNCHANGED, "wall_s"), 3),
        Target("one new span", median(NEW_SPAN, "wall_s"), 45),
    ]
