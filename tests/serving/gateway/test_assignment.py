"""Assignment by hash: what holds for any salt, key and share. Nginx's own answers are in test_assignment_nginx."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.assignment import in_canary, murmur2, threshold
from serving.gateway.request_id import sampled

KEYS = [f"user-{number}".encode() for number in range(20_000)]
SHARES = st.floats(0, 1)


# Vectors of Apache Kafka's unit test of the same function, which has another seed and signed numbers.
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_murmurhash2(data: bytes, expected: int) -> None:
    assert murmur2(data, 0x9747B28C) == expected % (1 << 32)


def test_the_hash_of_no_bytes_is_zero() -> None:
    assert murmur2(b"") == 0


def test_a_percent_of_two_decimals_has_the_threshold_that_nginx_computes() -> None:
    hundredths = range(1, 10_000)
    assert [threshold(one / 10_000) for one in hundredths] == [one * 0xFFFFFFFF // 10_000 for one in hundredths]


def test_the_least_and_the_most_that_nginx_takes() -> None:
    assert threshold(0.0001) == 429496
    assert threshold(0.9999) == 4294537798


@given(SHARES, SHARES)
def test_a_finer_share_lies_between_its_neighbours(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= threshold(low) <= threshold(high) <= 1 << 32


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_share_zero_is_nobody_and_share_one_is_everybody(salt: bytes, key: bytes) -> None:
    assert not in_canary(salt, key, 0.0)
    assert in_canary(salt, key, 1.0)


def test_the_highest_hash_of_all_meets_the_canary_at_share_one() -> None:
    assert threshold(1.0) > 0xFFFFFFFF  # nginx leaves that one bucket out


@given(st.binary(max_size=20), st.lists(st.binary(max_size=40), min_size=1), st.lists(SHARES, min_size=2, max_size=6))
@settings(max_examples=200)
def test_raising_the_share_only_adds_keys_and_lowering_it_gives_the_same_ones_back(
    salt: bytes, keys: list[bytes], shares: list[float]
) -> None:
    rising = sorted(shares)
    up = [{key for key in keys if in_canary(salt, key, share)} for share in rising]
    assert all(fewer <= more for fewer, more in pairwise(up))
    assert [{key for key in keys if in_canary(salt, key, share)} for share in reversed(rising)] == up[::-1]


def test_the_canary_gets_its_share_of_the_users() -> None:
    for share in (0.001, 0.05, 0.25, 0.5, 0.95):
        met = sum(in_canary(b"clicks/7", key, share) for key in KEYS)
        # Of fixed keys, so either always right or never; 4 standard deviations of a binomial.
        assert abs(met - share * len(KEYS)) < 4 * (len(KEYS) * share * (1 - share)) ** 0.5


def test_users_spread_evenly_over_the_scale() -> None:
    buckets = [0] * 100
    for key in KEYS:
        buckets[murmur2(b"clicks/7" + key) * 100 >> 32] += 1
    expected = len(KEYS) / 100
    chi_square = sum((count - expected) ** 2 / expected for count in buckets)
    assert 59 < chi_square < 149  # 99 degrees of freedom: p between 0.001 and 0.999


@pytest.mark.parametrize("salts", [(b"clicks/7", b"clicks/8"), (b"clicks/1", b"images/1"), (b"m/1", b"m/10")])
def test_another_rollout_meets_other_users(salts: tuple[bytes, bytes]) -> None:
    counts = [[0, 0], [0, 0]]
    for key in KEYS:
        first, second = (in_canary(salt, key, 0.5) for salt in salts)
        counts[first][second] += 1
    rows = [sum(row) for row in counts]
    columns = [counts[0][column] + counts[1][column] for column in (0, 1)]
    expected = [[rows[row] * columns[column] / len(KEYS) for column in (0, 1)] for row in (0, 1)]
    chi_square = sum((counts[r][c] - expected[r][c]) ** 2 / expected[r][c] for r in (0, 1) for c in (0, 1))
    assert chi_square < 10.83  # 1 degree of freedom: p above 0.001


def test_a_sample_by_request_id_does_not_pick_a_variant() -> None:
    logged = [key for key in KEYS if sampled(key.decode(), 0.2)]
    met = sum(in_canary(b"", key, 0.2) for key in logged)
    assert abs(met - 0.2 * len(logged)) < 4 * (len(logged) * 0.16) ** 0.5
