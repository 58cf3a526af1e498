"""Where the serving benchmarks run: which core, which folders, which free ports."""

import os
import shutil
import socket
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SERVER_CORE = 0


def on_core(core: int) -> list[str]:
    """What to put before a command so that it and its children stay on one core; see `_number`."""
    return [shutil.which("taskset") or "taskset", "-c", str(_number(core))]


def core_busy_s(core: int) -> float:
    """Seconds that a core was not idle so far, to a hundredth; what the machine's host took from it included."""
    name = f"cpu{_number(core)} "
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(name))
    user, nice, system, _idle, _iowait, interrupt, soft_interrupt, stolen, *_ = map(int, line.split()[1:])
    return (user + nice + system + interrupt + soft_interrupt + stolen) / os.sysconf("SC_CLK_TCK")


def _number(core: int) -> int:
    """The system's number of the core that comes at this place among those this process may use, or of the last."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[min(core, len(cores) - 1)]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
