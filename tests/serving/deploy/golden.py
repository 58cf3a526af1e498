"""What is rendered, word for word, in golden/KIND.STATE/. Not a test module.

After a change that is meant: `python -m tests.serving.deploy.golden` writes them anew.
"""

from collections.abc import Mapping
from pathlib import Path

from serving.deploy.options import Options, Servers
from serving.deploy.render import files
from serving.traffic_plan import ModelPlan, Target, TrafficPlan

GOLDEN = Path(__file__).parent / "golden"
FOLDER = Path("/etc/pressline")
CANARY = ModelPlan("clicks", Target(3), Target(7), 0.05, 0.0, "clicks/4", 4, 1)
STATES = {
    "canary": TrafficPlan(12, {"clicks": CANARY}),
    "stable": TrafficPlan(14, {"clicks": ModelPlan("clicks", Target(3))}),
    "promoting": TrafficPlan(
        13, {"clicks": ModelPlan("clicks", Target(3, "version"), Target(7, "version"), 0.5, 0.0, "clicks/4", 4, 3)}
    ),
}
LABELS = Options(stable=Servers(("10.0.0.1:8501", "10.0.0.2:8501")))
TWO = Options(
    stable=Servers(("10.0.0.1:8501",), ("10.0.0.1:8500",)),
    canary=Servers(("canary.models:8501",), ("canary.models:8500",)),
    rest="0.0.0.0:8080",
    grpc="0.0.0.0:8081",
)
KINDS = {
    "labels": ("nginx", LABELS),
    "nginx": ("nginx", TWO),
    "envoy": ("envoy", TWO),
    "cluster": ("gateway-api", Options()),
}
# Each kind once whole, and what another state changes.
CASES = [
    *((name, "canary") for name in KINDS),
    ("labels", "promoting"),
    ("cluster", "promoting"),
    ("cluster", "stable"),
]


def rendered(name: str, state: str) -> Mapping[str, str]:
    """File name -> content."""
    kind, options = KINDS[name]
    return files(kind, STATES[state], options, FOLDER)


def folder(name: str, state: str) -> Path:
    return GOLDEN / f"{name}.{state}"


def main() -> None:
    for name, state in CASES:
        there = folder(name, state)
        there.mkdir(parents=True, exist_ok=True)
        for old in there.iterdir():
            old.unlink()
        for file, content in rendered(name, state).items():
            (there / file).write_text(content)


if __name__ == "__main__":
    main()
