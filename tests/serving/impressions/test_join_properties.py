"""Whatever is written, in whatever files and order: the join says what one record after the other would."""

import uuid
from datetime import UTC, datetime, timedelta

import fsspec
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.impressions.join import Joined
from serving.impressions.reading import RELIST_EVERY
from serving.impressions.storage import Storage
from tests.serving.impressions.making import T0
from tests.serving.impressions.naive_join import LABEL, MODEL, ROLLOUT, Query, Said, Shown, naive, put, read

IDS = st.sampled_from([f"r{number}" for number in range(8)])
SECONDS = st.integers(0, 30).map(lambda value: value * 5.0)
KEYS = st.sampled_from([None, 0, 1, 2**63, 2**64 - 1])
SHOWN = st.builds(
    Shown,
    IDS,
    SECONDS,
    KEYS,
    st.sampled_from(["stable", "canary"]),
    st.integers(1, 2),
    st.sampled_from([ROLLOUT, ROLLOUT, ROLLOUT, 6, None]),
    st.sampled_from(["key", "key", "random", "override", "only"]),
    st.sampled_from(["OK", "OK", "OK", "INTERNAL"]),
    *[st.sampled_from([False, False, False, True])] * 2,
)
SAID = st.builds(
    Said, IDS, st.sampled_from([0.0, 1.0, 2.5]), st.integers(-6, 50).map(lambda value: value * 5.0), SECONDS,
    st.integers(0, 1), st.sampled_from([LABEL, LABEL, LABEL, "buy"]),
)  # fmt: skip
QUERIES = st.builds(Query, SECONDS, SECONDS, st.sampled_from([None, 1, 2]), SECONDS.map(lambda value: value * 2))


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0, UTC) + timedelta(seconds=seconds)


@given(
    st.lists(st.lists(SHOWN, min_size=1, max_size=8), max_size=4),
    st.lists(st.lists(SAID, min_size=1, max_size=8), max_size=4),
    st.lists(QUERIES, min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_any_files_in_any_order_say_what_one_record_after_the_other_would(
    shown: list[list[Shown]], said: list[list[Said]], queries: list[Query], chance: object
) -> None:
    folder = f"memory://{uuid.uuid4()}"
    storage = Storage(folder)
    kept = [
        Joined(folder, MODEL, ROLLOUT, LABEL, 60.0, at(0), lag_s=0.0, skew_s=5.0),
        Joined(folder, MODEL, ROLLOUT, LABEL, 60.0, at(0), lag_s=0.0, skew_s=5.0),
    ]
    files: list[tuple[str, list[Shown] | list[Said]]] = [(f"s{number}", some) for number, some in enumerate(shown)]
    files += [(f"f{number}", some) for number, some in enumerate(said)]
    chance.shuffle(files)  # type: ignore[attr-defined]
    for number, (name, records) in enumerate(files):
        put(storage, name, records)
        kept[0].update()
        if number % 2:
            kept[0].outcomes()  # what was looked at before is of no consequence
    for _ in range(RELIST_EVERY):  # hours that are long over are not looked at every time
        kept[0].update()
    kept[1].update()  # as one that was started anew
    for query in queries:
        expected = naive([one for some in shown for one in some], [one for some in said for one in some], query)
        for joined in kept:
            found = joined.outcomes(at(query.since), at(query.until), query.step, at(query.now))
            assert read(found) == expected
    if files:
        fsspec.filesystem("memory").rm(folder.removeprefix("memory:/"), recursive=True)
