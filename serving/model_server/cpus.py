"""How many processors this process may use."""

import os


def schedulable() -> int:
    """The number of processors in this process's affinity mask, as TensorFlow counts them: a CPU quota is not seen."""
    return len(os.sched_getaffinity(0))
