"""What `python -m pipeline data TASK` prints."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data.catalogue import Source, find
from data.ensure import ensure
from data.spans import Span, list_spans


@dataclass(frozen=True)
class _Line:
    """Figures of one span: size in bytes, first and last as unix seconds (0, 0 without dates), rate in 0..1."""

    number: int
    rows: int
    size: int
    first: int
    last: int
    rate_sum: int


def describe(source_name: str) -> str:
    """A table of the source's spans (rows, first and last day in UTC, size, rate), totals, origin and licence.

    Fetches and writes the spans first where they are missing.

    Raises:
        InputError: as `ensure` and `list_spans`.
    """
    source = find(source_name)
    root = ensure(source_name)
    lines = [_line(span, source) for span in list_spans(root)]
    total = _Line(
        number=len(lines),
        rows=sum(line.rows for line in lines),
        size=sum(line.size for line in lines),
        first=min(line.first for line in lines),
        last=max(line.last for line in lines),
        rate_sum=sum(line.rate_sum for line in lines),
    )
    rate = f"{source.rate:>8}" if source.rate else ""
    package = source.package
    return "\n".join(
        [
            f"{source.name}: {source.description}",
            f"  {'span':>8} {'rows':>8}  {'first day':<10}  {'last day':<10} {'size':>9} {rate}".rstrip(),
            *(_shown(str(line.number), line, source) for line in lines),
            _shown(f"{total.number} spans", total, source),
            f"  where:   {root}",
            f"  from:    {package.filename} ({package.registry} {package.name} {package.version})",
            f"           sha256 {package.sha256}",
            f"  licence: {source.licence}",
        ]
    )


def _line(span: Span, source: Source) -> _Line:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = [name for name in (source.time, source.rate) if name]
    table = pq.read_table(list(map(str, span.files)), columns=columns)
    days = pc.min_max(table[source.time]).as_py() if source.time else {}
    rate_sum = pc.sum(table[source.rate]).as_py() if source.rate else 0
    return _Line(
        span.number, table.num_rows, _size(span.files), days.get("min") or 0, days.get("max") or 0, rate_sum or 0
    )


def _size(files: tuple[Path, ...]) -> int:
    return sum(file.stat().st_size for file in files)


def _shown(label: str, line: _Line, source: Source) -> str:
    first, last = (_day(line.first), _day(line.last)) if source.time else ("", "")
    rate = f"{line.rate_sum / max(line.rows, 1):>8.3f}" if source.rate else ""
    return f"  {label:>8} {line.rows:>8,}  {first:<10}  {last:<10} {line.size / 1024:>5,.0f} KiB {rate}".rstrip()


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
