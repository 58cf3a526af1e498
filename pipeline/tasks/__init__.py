"""The tasks, listed by hand: adding one is one line here."""

import difflib
import importlib

from pipeline.task import Task
from serving.errors import InputError

TASKS = {
    "clicks": "pipeline.tasks.clicks.task",
}


def find(name: str) -> Task:
    """The task of that name, or the `TASK` of a module given by its dotted path (a task that lives elsewhere).

    Raises:
        InputError: unknown name (with the nearest right ones), or the module does not declare a task properly.
    """
    dotted = "." in name and all(part.isidentifier() for part in name.split("."))
    if name not in TASKS and not dotted:
        near = difflib.get_close_matches(name, TASKS, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise InputError(f"unknown task {name!r}{hint} The tasks are {', '.join(sorted(TASKS))}")
    module = TASKS.get(name, name)
    try:
        task = getattr(importlib.import_module(module), "TASK", None)
    except ModuleNotFoundError as error:
        raise InputError(f"task {name!r}: there is no module {error.name}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"task {name!r}: {error}") from None
    if task is None:
        raise InputError(f"task {name!r}: {module} declares no TASK")
    if not isinstance(task, Task):
        raise InputError(f"task {name!r}: {module}.TASK is a {type(task).__name__}, expected a pipeline.task.Task")
    if name in TASKS and task.name != name:
        raise InputError(f"task {name!r}: its declaration in {module} calls it {task.name!r}")
    return task
