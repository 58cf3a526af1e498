"""How versions are found, loaded and labelled."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Flags of the server, under their names; `tick_seconds` is none.

    Attributes:
        allow_version_labels_for_unavailable_models: lets a new label name a version that is not available.
        file_system_poll_wait_seconds: between two looks at the base paths; 0 looks once, less never.
        max_num_load_retries: tries after the first.
        load_retry_interval_micros: between two tries.
        num_load_threads: loads at the same time; with 0 they run in the thread that acts, so that a broken version
            holds up everything else until its last try, or until nobody wants it.
        num_unload_threads: has no effect. TF Serving unloads in that many threads, with 0 in the thread that acts,
            where one request that never ends holds up every model. Here each unload waits in a thread of its own.
        max_initial_load_threads: loads at the same time until all models of the first configuration have a version.
        tick_seconds: between two steps, unless something else has happened.
    """

    allow_version_labels_for_unavailable_models: bool = False
    file_system_poll_wait_seconds: float = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_initial_load_threads: int = 4 * (os.cpu_count() or 1)
    tick_seconds: float = 0.1
