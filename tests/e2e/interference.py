"""What goes wrong in a run: called in the process of a command before it begins."""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

LONGEST_S = 120.0


def kill_before(node: str) -> None:
    """The process is killed when the node has been registered and its executor is about to begin."""
    _around(node, before=_kill)


def kill_after(node: str) -> None:
    """The process is killed when the node's executor is done and MLMD does not know it yet."""
    _around(node, after=_kill)


def kill_after_first_epoch() -> None:
    """The process is killed in the Trainer, when one epoch has been saved."""
    from pipeline.training_loop import Loop

    _then_kill(Loop, "_advance")


def kill_after_rename() -> None:
    """The process is killed in the RolloutPusher, when the version is in the model directory and nobody was told."""
    from serving import model_directory

    _then_kill(model_directory, "publish_unless")


def full_disk() -> None:
    """No file may grow beyond 4 KiB, which to a writer is much like a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


def full_model_directory() -> None:
    """As `full_disk`, while the model directory is written."""
    from serving import model_directory

    original = model_directory.publish_unless

    def publish_unless(*arguments: Any, **named: Any) -> Any:
        full_disk()
        try:
            return original(*arguments, **named)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    model_directory.publish_unless = publish_unless


@dataclass(frozen=True)
class Hold:
    """The run says that it has come to the node and waits to be let on."""

    node: str
    arrived: Event
    go_on: Event

    def __call__(self) -> None:
        _around(self.node, before=self._wait)

    def _wait(self) -> None:
        self.arrived.set()
        assert self.go_on.wait(LONGEST_S)


def _around(node: str, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None) -> None:
    from tfx.orchestration.portable.launcher import Launcher

    original = Launcher._run_executor

    def run_executor(self: Any, execution_info: Any) -> Any:
        here = self._pipeline_node.node_info.id == node
        if here and before:
            before()
        result = original(self, execution_info)
        if here and after:
            after()
        return result

    Launcher._run_executor = run_executor


def _then_kill(owner: Any, name: str) -> None:
    original = getattr(owner, name)

    def last(*arguments: Any, **named: Any) -> Any:
        original(*arguments, **named)
        _kill()

    setattr(owner, name, last)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
