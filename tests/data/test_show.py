import re
from pathlib import Path

from data.catalogue import Source
from data.show import describe


def test_describe_shows_spans_totals_origin_and_licence(data_home: Path, source: Source) -> None:
    text = describe("clicks")
    rows = re.findall(r"^ +(\S.*?) +(\d+)  (\d{4}-\d\d-\d\d)  (\d{4}-\d\d-\d\d) +(\d+) KiB +(\d\.\d{3})$", text, re.M)
    assert [row[:4] + row[5:] for row in rows] == [
        ("0", "6", "1997-09-20", "1997-10-03", "0.500"),
        ("1", "4", "1997-10-04", "1997-10-10", "0.500"),
        ("2", "2", "1997-10-20", "1997-10-20", "0.500"),
        ("3 spans", "12", "1997-09-20", "1997-10-20", "0.500"),
    ]
    assert source.licence in text
    assert source.package.sha256 in text
    assert str(data_home / "spans" / "clicks") in text
