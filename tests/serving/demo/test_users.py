"""Simulated users: what they ask, and what they like."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.demo import users
from serving.demo.__main__ import main
from serving.demo.screen import Act, Screen
from serving.demo.show import _clear
from serving.demo.users import FILMS, Seen, visits
from serving.errors import InputError

EXAMPLE = {"user_id": "1", "item_id": "2", "genres": ["Drama"], "release_year": [1995]}


def span(folder: Path, user: str, count: int, **changes: Any) -> Path:
    """A span with records of one user; item n is liked where n is even and has n % 3 genres."""
    rows = [
        {
            "user_id": user,
            "item_id": str(number),
            "genres": [f"g{genre}" for genre in range(number % 3)],
            "release_year": 1990 + number,
            "liked": 1 - number % 2,
            **changes,
        }
        for number in range(count)
    ]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "records.parquet")
    return folder


def test_a_visit_asks_for_films_of_one_user_in_the_form_that_the_model_takes(tmp_path: Path) -> None:
    spans = [span(tmp_path / "span-0", "ann", FILMS), span(tmp_path / "span-1", "ben", FILMS - 1)]
    some = visits(spans, EXAMPLE, seed=1, most=20)
    assert len(some) == 20
    for visit in some:
        instances = json.loads(visit.body)["instances"]
        assert {one["user_id"] for one in instances} == {"ann"}  # ben has too few
        assert len({one["item_id"] for one in instances}) == FILMS
        assert [set(one) for one in instances] == [set(EXAMPLE)] * FILMS
        assert len({len(one["genres"]) for one in instances}) == 1
        assert visit.liked == tuple(1 - int(one["item_id"]) % 2 for one in instances)
        assert all(one["release_year"] == [1990 + int(one["item_id"])] for one in instances)


def test_the_same_seed_gives_the_same_visits(tmp_path: Path) -> None:
    spans = [span(tmp_path / "span-0", "ann", 3 * FILMS)]
    assert visits(spans, EXAMPLE, 1, 5) == visits(spans, EXAMPLE, 1, 5)
    assert visits(spans, EXAMPLE, 1, 5) != visits(spans, EXAMPLE, 2, 5)


def test_records_that_are_missing_or_of_another_task_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no records to simulate users with"):
        visits([tmp_path / "none"], EXAMPLE, 1)
    with pytest.raises(InputError, match="has no column text; the demonstration is of the task clicks"):
        visits([span(tmp_path / "span-0", "ann", FILMS)], {"text": ""}, 1)


def test_without_a_pushed_model_the_demonstration_says_what_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRESSLINE_HOME", str(tmp_path))
    assert main([]) == 2
    assert "`make run` makes one" in capsys.readouterr().err


def test_a_folder_that_is_not_the_demonstrations_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(InputError, match="is not a folder of an earlier demonstration"):
        _clear(tmp_path)
    assert (tmp_path / "precious").exists()
    _clear(tmp_path / "own")
    (tmp_path / "own" / "left").touch()
    _clear(tmp_path / "own")
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["demo-rollout"]


def test_the_screen_knows_whether_every_version_ended_where_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    seen = Seen()
    screen = Screen((Act("good", "stable", "same"), Act("broken", "rolled_back", "NaN")), seen)
    with screen:
        screen.update(0, {"state": "canary 1/2", "share": 0.1, "reason": "waits"})
        seen.shown["canary"], seen.likes["canary"] = 4, 3
        screen.update(0, {})
        screen.end(0, "stable", "not worse")
        too_early = screen.as_expected
        screen.end(1, "rolled_back", "NaN")
        screen.finish(12.0)
    assert (too_early, screen.as_expected) == (False, True)
    said = capsys.readouterr().out
    assert "good: canary 1/2, share 10%" in said
    assert "75% of 4" in said
    assert "every version ended as it should be" in said


def test_the_feedback_of_a_visit_is_about_the_film_with_the_highest_score(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"predictions": [[0.2], [0.9], [float("nan")]]}

    class Reached(users.Users):
        def __init__(self) -> None:
            self.seen, self._model = Seen(), "clicks"
            self._numbers = iter(range(9))  # type: ignore[assignment]

        def _post(self, *_: Any) -> tuple[int, dict[str, str], bytes]:
            return 200, {"x-request-id": "r1", "x-pressline-variant": "canary"}, json.dumps(answers).encode()

    said = Reached()._visit(None, users.Visit(b"", (0, 1, 0)))  # type: ignore[arg-type]
    assert said == [{"request_id": "r1", "label": "liked", "value": 1}]
