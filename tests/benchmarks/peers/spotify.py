"""spotify-confidence's group-sequential z-test as documented: which |z| it wants at each of so many equal looks.

Arguments: alpha, looks, sides. The bounds are read off its own intervals, of a made-up experiment that fills its final
sample size at the last look; they depend on nothing but the part of that size that is there.
"""

import json
import sys
import warnings
from statistics import NormalDist

import pandas as pd
from spotify_confidence import ZTest  # type: ignore[import-not-found, unused-ignore]

USERS = 10_000  # per look and variant
RATE = 0.1


def bounds(alpha: float, looks: int, sides: int) -> list[float]:
    """[looks] the smallest |z| that is significant at each."""
    rows = [
        {
            "look": look,
            "variant": variant,
            "clicks": int(look * USERS * RATE),
            "users": look * USERS,
            "final": 2 * looks * USERS,
        }
        for look in range(1, looks + 1)
        for variant in ("stable", "canary")
    ]
    test = ZTest(
        pd.DataFrame(rows),
        numerator_column="clicks",
        numerator_sum_squares_column="clicks",
        denominator_column="users",
        categorical_group_columns="variant",
        ordinal_group_column="look",
        interval_size=1 - alpha,
    )
    wanted = {} if sides == 2 else {"non_inferiority_margins": (None, "increase")}
    found = test.difference("stable", "canary", groupby="look", final_expected_sample_size_column="final", **wanted)
    plain = found["difference"] - found["ci_lower"]
    adjusted = found["difference"] - found["adjusted ci_lower"]
    unit = NormalDist().inv_cdf(1 - alpha / sides)
    return [float(one) for one in unit * adjusted / plain]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(bounds(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
