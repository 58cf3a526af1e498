"""Features of the clicks task: raw columns in, dense numbers out. Training, evaluation and serving share this graph.

An analyzer is a pass over the records with a fixed price in Beam, so only what must be learned is learned: which users
and items there are, and the scale of the two numbers. Closed lists and bucket edges are constants; a test holds the
lists against the curated schema.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    Raw = dict[str, tf.Tensor | tf.SparseTensor]

GENDERS = ("F", "M")
# Occupation -> the group that metrics are reported by: single ones are too few to judge a model on.
OCCUPATIONS = {
    "administrator": "business", "artist": "creative", "doctor": "profession", "educator": "education",
    "engineer": "technical", "entertainment": "creative", "executive": "business", "healthcare": "profession",
    "homemaker": "other", "lawyer": "profession", "librarian": "education", "marketing": "business", "none": "other",
    "other": "other", "programmer": "technical", "retired": "other", "salesman": "business", "scientist": "technical",
    "student": "student", "technician": "technical", "writer": "creative",
}  # fmt: skip
GENRES = (
    "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western", "unknown",
)  # fmt: skip
AGE_EDGES = (18, 25, 30, 35, 40, 45, 50, 56)
AGE_BUCKETS = ("under 18", "18-24", "25-29", "30-34", "35-39", "40-44", "45-49", "50-55", "56 and over")
# Half of the catalogue is from the nineties, and tastes for recent films differ by the year.
YEAR_EDGES = (1940, 1950, 1960, 1970, 1975, 1980, 1985, 1990, 1992, 1994, 1995, 1996, 1997, 1998)
# In places of the items ordered by how often they were rated; the last band is the tail, of any catalogue in use.
POPULARITY_EDGES = (26, 51, 101, 201, 301, 401, 501, 601, 801)
UNKNOWN = "unknown"


def preprocessing_fn(inputs: "Raw") -> "dict[str, tf.Tensor]":
    """Raw features to transformed ones, all dense.

    Args:
        inputs: user_id, item_id, gender, occupation: string [batch, 1]; age, liked: int64 [batch, 1];
            release_year: sparse int64, none or one a record; genres: sparse string, any number a record.
            zip_area and timestamp are not looked at: the area does not help, and clients send no time.

    Returns:
        For the model:
        user, item: int64 [batch, 1]; 1 is the most frequent in the training records, 2 the next and so on; 0 is the
            out-of-vocabulary bucket of all that are unknown or empty.
        gender_hot [batch, 3], occupation_hot [batch, 22], genres_hot [batch, 20], age_band [batch, 9],
            year_band [batch, 16], popularity_band [batch, 10]: float32, one-hot (genres: multi-hot). The last place of
            the first three is "not in the list"; the first of year_band is "no year"; popularity is the item's place
            in its vocabulary, and unknown items are in the tail. None has a raw feature's name: TFMA would slice by it.
        age_z, year_z: float32 [batch, 1], z-scores; a missing year is 0, the mean.
        To slice by, [batch, 1]:
        age_bucket, occupation_group, release_decade ("1990s"): string, "unknown" where there is no year or no such
            occupation. cold_user, cold_item: int64, 1 where the id was not in the training records.
        And the label: liked, int64 [batch, 1].
    """
    import tensorflow as tf
    import tensorflow_transform as tft

    user, item = _vocabulary_id(inputs["user_id"], "user"), _vocabulary_id(inputs["item_id"], "item")
    place = tf.where(item > 0, _bucket(item, POPULARITY_EDGES), len(POPULARITY_EDGES))
    age = tf.cast(inputs["age"], tf.float32)
    years = tf.cast(inputs["release_year"], tf.float32)
    year = _value_or_zero(years)
    has_year = _value_or_zero(years.with_values(tf.ones_like(years.values))) > 0
    year_bucket = tf.where(has_year, 1 + _bucket(year, YEAR_EDGES), 0)
    occupation = _one_hot(inputs["occupation"], tuple(OCCUPATIONS))
    group = tf.constant((*OCCUPATIONS.values(), UNKNOWN))
    decade = tf.strings.as_string(tf.cast(year, tf.int64) // 10 * 10) + "s"
    return {
        "user": user,
        "item": item,
        "gender_hot": _one_hot(inputs["gender"], GENDERS),
        "occupation_hot": occupation,
        "genres_hot": _multi_hot(inputs["genres"], GENRES),
        "age_band": tf.one_hot(_bucket(age, AGE_EDGES)[:, 0], len(AGE_EDGES) + 1),
        "year_band": tf.one_hot(year_bucket[:, 0], len(YEAR_EDGES) + 2),
        "popularity_band": tf.one_hot(place[:, 0], len(POPULARITY_EDGES) + 1),
        "age_z": tft.scale_to_z_score(age),
        "year_z": _value_or_zero(tft.scale_to_z_score(years)),
        "age_bucket": tf.gather(tf.constant(AGE_BUCKETS), _bucket(age, AGE_EDGES)),
        "occupation_group": tf.gather(group, tf.argmax(occupation, axis=1))[:, tf.newaxis],
        "release_decade": tf.where(has_year, decade, UNKNOWN),
        "cold_user": tf.cast(tf.equal(user, 0), tf.int64),
        "cold_item": tf.cast(tf.equal(item, 0), tf.int64),
        "liked": inputs["liked"],
    }


def _vocabulary_id(text: "tf.Tensor", name: str) -> "tf.Tensor":
    """int64 [batch, 1]: 0 is unknown, 1 the most frequent text."""
    import tensorflow_transform as tft

    return 1 + tft.compute_and_apply_vocabulary(text, default_value=-1, vocab_filename=name)


def _value_or_zero(optional: "tf.SparseTensor") -> "tf.Tensor":
    """[batch, 1] of a feature with at most one value a record, also where no record of the batch has one."""
    import tensorflow as tf

    rows = optional.dense_shape[0]
    return tf.ensure_shape(tf.sparse.to_dense(tf.SparseTensor(optional.indices, optional.values, [rows, 1])), [None, 1])


def _one_hot(text: "tf.Tensor", listed: tuple[str, ...]) -> "tf.Tensor":
    """float32 [n, listed + 1] of text [n, 1]; the last place is for what is not listed."""
    import tensorflow as tf

    # Comparing with each is faster than a lookup table for so few, and leaves no table to initialise in the graph.
    places = tf.cast(tf.equal(text, tf.constant(listed)), tf.float32)
    return tf.concat([places, 1 - tf.reduce_sum(places, axis=1, keepdims=True)], axis=1)


def _multi_hot(texts: "tf.SparseTensor", listed: tuple[str, ...]) -> "tf.Tensor":
    """float32 [batch, listed + 1]: 1 where a record has the text, however often; all 0 for a record of none."""
    import tensorflow as tf

    places = _one_hot(texts.values[:, tf.newaxis], listed)
    counts = tf.math.unsorted_segment_sum(places, texts.indices[:, 0], texts.dense_shape[0])
    return tf.minimum(counts, 1)


def _bucket(value: "tf.Tensor", edges: tuple[int, ...]) -> "tf.Tensor":
    """int64 [batch, 1]: how many edges are at or below the value [batch, 1]."""
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(value >= tf.constant(edges, value.dtype), tf.int64), axis=1, keepdims=True)
