"""A dozen ratings in the layout of the real archive."""

import zipfile

DAY = 24 * 60 * 60
_FIRST = 874724710


def write_movielens(archive: zipfile.ZipFile, days: tuple[int, ...] = (0, 1, 13, 14, 20, 30)) -> None:
    """Writes the three files: on each day user 1 gives 4 stars to film 10, and user 2 gives 3 stars to film 11."""
    folder = "recbole/dataset_example/ml-100k/ml-100k"
    ratings = [f"{user}\t{film}\t{stars}\t{_FIRST + day * DAY}" for day in days for user, film, stars in _RATINGS]
    archive.writestr(f"{folder}.inter", _lines("user_id:token\titem_id:token\trating:float\ttimestamp:float", ratings))
    header = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token"
    archive.writestr(f"{folder}.user", _lines(header, ["1\t24\tM\ttechnician\t05711", "2\t53\tF\tother\tV3N4P"]))
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"
    archive.writestr(f"{folder}.item", _lines(header, ['10\t"Quoted\t1995\tDrama War', "11\tUndated\tV\tunknown"]))


_RATINGS = (("2", "11", 3), ("1", "10", 4))


def _lines(header: str, rows: list[str]) -> str:
    return "\n".join([header, *rows, ""])
