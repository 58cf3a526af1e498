"""A declaration that forgot its gates."""

from dataclasses import replace

from tests.e2e.small import task

TASK = replace(task.TASK, gates=())
