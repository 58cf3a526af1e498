"""Impressions as Parquet files."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from serving.impressions import schema
from serving.impressions.storage import Storage
from serving.impressions.writer import Writer, columns
from tests.serving.impressions.making import HOUR, T0, exchange


class Losses:
    def __init__(self) -> None:
        self.rows = 0
        self.errors: list[Exception] = []

    def __call__(self, rows: int, error: Exception) -> None:
        self.rows += rows
        self.errors.append(error)


def writer(storage: Storage, lost: Losses, **limits: Any) -> Writer:
    kept = {"flush_s": 1e9, "most_rows": 1000, "most_bytes": 1 << 30} | limits
    return Writer(storage, "gateway-1", 0.5, lost, **kept)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))


def test_a_row_holds_all_that_is_known_of_a_request(tmp_path: Path) -> None:
    given = exchange(
        "id", began_unix_s=T0 + 0.25, version=4, protocol="GRPC", api="classify", latency_s=0.5, shadow=True,
        routed={"variant": "canary", "key_hash": 2**64 - 1, "step": 3, "rollout": 9, "how": "override"},
    )  # fmt: skip
    kept = writer(Storage(str(tmp_path)), Losses())
    kept.add([(given, b'{"inputs": 1}', None)])
    assert kept.flush() == 1
    (path,) = files(tmp_path)
    assert path == f"impressions/model=clicks/{HOUR}/gateway-1-1.parquet"
    with pq.ParquetFile(tmp_path / path) as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        table = file.read()
    assert table.schema.equals(schema.impressions())
    assert table.to_pylist() == [
        {
            "request_id": "id",
            "time": datetime.fromtimestamp(T0 + 0.25, UTC),
            "model": "clicks",
            "rollout": 9,
            "step": 3,
            "variant": "canary",
            "version": 4,
            "how": "override",
            "key_hash": 2**64 - 1,
            "protocol": "GRPC",
            "api": "classify",
            "code": "OK",
            "latency_ms": 500.0,
            "request": '{"inputs": 1}',
            "response": None,
            "rate": 0.5,
            "shadow": True,
            "fell_back": False,
        }
    ]


def test_rows_go_to_the_folder_of_their_model_and_hour(tmp_path: Path) -> None:
    kept = writer(Storage(str(tmp_path)), Losses())
    times = (T0, T0 + 3600, T0)
    models = ("a", "a", "../b")
    for time, model in zip(times, models, strict=True):
        kept.add([(exchange(began_unix_s=time, routed={"model": model}), b"{}", b"{}")])
    assert kept.flush() == 3
    assert {path.rpartition("/")[0] for path in files(tmp_path)} == {
        f"impressions/model=a/{HOUR}",
        f"impressions/model=a/{HOUR.replace('22', '23')}",
        f"impressions/model=..%2Fb/{HOUR}",
    }
    assert kept.flush() == 0
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize(("limit", "value"), [("flush_s", 0.0), ("most_rows", 600), ("most_bytes", 1000)])
def test_rows_are_due_at_whichever_limit_comes_first(tmp_path: Path, limit: str, value: float) -> None:
    kept = writer(Storage(str(tmp_path)), Losses(), **{limit: value})
    due = [kept.due]
    kept.add([(exchange(str(number)), b"{}", b"{}") for number in range(600)])
    due.append(kept.due)
    assert kept.flush() == 600
    assert [*due, kept.due] == [False, True, False]
    with pq.ParquetFile(tmp_path / files(tmp_path)[0]) as file:
        assert file.read()["request_id"].to_pylist() == [str(number) for number in range(600)]


def test_what_is_no_utf_8_is_kept_with_signs_for_it() -> None:
    batch = columns([(exchange(), b'"\xc3\xbc"', b'"\xff"'), (exchange(), None, b"1")], 1.0)
    assert batch["request"].to_pylist() == ['"ü"', None]
    assert batch["response"].to_pylist() == ['"\N{REPLACEMENT CHARACTER}"', "1"]


def test_one_folder_that_cannot_be_written_loses_its_own_rows_alone(tmp_path: Path) -> None:
    lost = Losses()
    kept = writer(Storage(str(tmp_path)), lost)
    (tmp_path / "impressions").mkdir()
    (tmp_path / "impressions" / "model=bad").write_text("a file where a folder is wanted")
    kept.add([(exchange(routed={"model": model}), b"{}", b"{}") for model in ("bad", "bad", "good")])
    assert kept.flush() == 1
    assert lost.rows == 2
    assert [type(error) for error in lost.errors] == [NotADirectoryError]
    assert len(files(tmp_path)) == 1
