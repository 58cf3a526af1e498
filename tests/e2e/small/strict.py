"""The small task with a gate that no model of it can pass."""

from dataclasses import replace

from pipeline.task import Gate
from tests.e2e.small import task

TASK = replace(task.TASK, gates=(Gate("auc", at_least=0.999),))
