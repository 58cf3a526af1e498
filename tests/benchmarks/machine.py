"""What this machine can do at most, so that a benchmark's numbers can be read on another one."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

SIDE = 2048  # of the square matrices
COPIED_MIB = 256


@dataclass(frozen=True)
class Limits:
    """A machine's own limits.

    Attributes:
        gemm_gflops: float32 matrix product of numpy's BLAS on all cores, 10^9 floating-point operations a second.
        copy_gb_s: memory copied by one core, 10^9 bytes read and as many written a second.
        cores: logical ones that this process may use.
        load: processes at work over the minute before; above 0.3 a core the wall times are not to be quoted.
        system: processor and kernel.
    """

    gemm_gflops: float
    copy_gb_s: float
    cores: int
    load: float
    system: str

    def told(self) -> str:
        """One line."""
        shared = "; SHARED, wall times are not to be quoted" if self.load > 0.3 * self.cores else ""
        return (
            f"machine: {self.cores} cores, {self.system}, GEMM {self.gemm_gflops:.0f} GFLOP/s, "
            f"copy {self.copy_gb_s:.1f} GB/s, load {self.load:.1f} before{shared}"
        )


def limits() -> Limits:
    """Measures this machine; a few seconds.

    In a process of its own: a program's peak memory, as the system reports it, is never less than that of the process
    which started it, so the one that starts what is measured must stay small.
    """
    said = subprocess.run([sys.executable, "-m", __name__], stdout=subprocess.PIPE, check=True)
    return Limits(**json.loads(said.stdout))


def _measure() -> Limits:
    import numpy as np

    load = os.getloadavg()[0]
    random = np.random.default_rng(0)
    left, right = (random.random((SIDE, SIDE), np.float32) for _ in range(2))
    product = np.empty_like(left)
    source = np.ones(COPIED_MIB * 2**20, np.uint8)
    target = np.empty_like(source)
    gemm = 2 * SIDE**3 / _best_seconds(lambda: np.matmul(left, right, out=product))
    copied = source.nbytes / _best_seconds(lambda: np.copyto(target, source))
    cores = len(os.sched_getaffinity(0))
    return Limits(gemm / 1e9, copied / 1e9, cores, load, f"{platform.machine()} {platform.system()}")


def _best_seconds(work: Callable[[], object]) -> float:
    """The least of five, after one that is not counted."""
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


if __name__ == "__main__":
    print(json.dumps(asdict(_measure())))
