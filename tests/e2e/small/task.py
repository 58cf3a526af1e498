"""`python -m pipeline run tests.e2e.small.task --data DIR`."""

from pathlib import Path

from tests.pipeline import small_task

TASK = small_task.declare(Path(__file__).with_name("schema.pbtxt"))
