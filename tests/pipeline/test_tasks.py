import sys
from pathlib import Path

import pytest

from pipeline import tasks
from pipeline.task import Task
from serving.errors import InputError

DECLARATION = """
from pipeline.task import Gate, Task
TASK = Task(
    name="mine", question="?", label="a", split_by="b", gates=({gates}), preprocessing_fn="a.b", build_model="a.c"
)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `their_tasks` on the path."""
    folder = tmp_path / "their_tasks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("their_tasks")]:
        del sys.modules[name]
    return folder


@pytest.mark.parametrize("name", sorted(tasks.TASKS))
def test_every_listed_task_is_declared_under_its_name_and_complete(name: str) -> None:
    task = tasks.find(name)
    assert task.name == name
    assert task.schema_file.is_file()
    assert task.question.endswith("?")


@pytest.mark.parametrize("name", ["click", "clciks", "clicks2"])
def test_a_wrong_name_is_answered_with_the_nearest_right_one(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown task '{name}'; did you mean clicks"):
        tasks.find(name)


def test_a_name_near_to_none_is_answered_with_all() -> None:
    with pytest.raises(InputError, match=r"unknown task 'zzz'\. The tasks are .*clicks"):
        tasks.find("zzz")


def test_a_task_that_lives_elsewhere_is_found_by_its_dotted_path(package: Path) -> None:
    (package / "mine.py").write_text(DECLARATION.format(gates='Gate("auc", at_least=0.5),'))
    assert isinstance(tasks.find("their_tasks.mine"), Task)
    assert tasks.find("their_tasks.mine").name == "mine"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (DECLARATION.format(gates=""), "task 'mine' has no gates"),
        (DECLARATION.format(gates="").replace("label", "lable"), "unexpected keyword argument 'lable'"),
        ("TASK = 3", r"their_tasks.mine.TASK is a int, expected a pipeline.task.Task"),
        ("task = 3", "their_tasks.mine declares no TASK"),
        ("import no_such_package_anywhere", "there is no module no_such_package_anywhere"),
    ],
)
def test_a_module_that_declares_no_proper_task_is_refused(package: Path, content: str, expected: str) -> None:
    (package / "mine.py").write_text(content)
    with pytest.raises(InputError, match=expected):
        tasks.find("their_tasks.mine")


def test_a_dotted_path_to_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"there is no module tests.pipeline.no_such_task"):
        tasks.find("tests.pipeline.no_such_task")


@pytest.mark.parametrize("name", [".", "..", ".clicks", "a..b", ""])
def test_a_name_that_is_no_module_path_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        tasks.find(name)


def test_a_listed_task_under_another_name_is_refused(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package / "mine.py").write_text(DECLARATION.format(gates='Gate("auc", at_least=0.5),'))
    monkeypatch.setitem(tasks.TASKS, "yours", "their_tasks.mine")
    with pytest.raises(InputError, match="its declaration in their_tasks.mine calls it 'mine'"):
        tasks.find("yours")
