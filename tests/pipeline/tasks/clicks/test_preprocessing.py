"""The features of one batch, in every shape that raw records come in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tasks.clicks import preprocessing
from tests.pipeline.tasks.clicks.conftest import RECORD, Records, serialized

Transformed = Callable[[Records], dict[str, Any]]


def test_the_most_frequent_item_is_one_and_ids_of_the_training_records_are_not_cold(transformed: Transformed) -> None:
    features = transformed([RECORD])
    assert features["item"].numpy().tolist() == [[1]]
    assert features["user"].numpy()[0, 0] > 0
    assert (features["cold_user"].numpy().tolist(), features["cold_item"].numpy().tolist()) == ([[0]], [[0]])


@pytest.mark.parametrize("unknown", [b"never seen", b"", b"\xff\xfe", "ключ".encode()])
def test_unknown_ids_share_the_out_of_vocabulary_bucket_and_are_cold(transformed: Transformed, unknown: bytes) -> None:
    features = transformed([RECORD | {"user_id": unknown, "item_id": unknown}])
    for name in ("user", "item"):
        assert features[name].numpy().tolist() == [[0]]
        assert features[f"cold_{name}"].numpy().tolist() == [[1]]


def test_an_unknown_item_is_banded_with_the_least_popular(transformed: Transformed) -> None:
    band = transformed([RECORD, RECORD | {"item_id": b"never seen"}])["popularity_band"].numpy()
    assert band.argmax(axis=1).tolist() == [0, len(preprocessing.POPULARITY_EDGES)]


def test_a_missing_year_is_not_year_zero(transformed: Transformed) -> None:
    features = transformed([RECORD | {"release_year": None}, RECORD | {"release_year": 0}])
    assert features["release_decade"].numpy().ravel().tolist() == [b"unknown", b"0s"]
    assert features["year_band"].numpy().argmax(axis=1).tolist() == [0, 1]
    missing, zero = features["year_z"].numpy().ravel()
    assert missing == 0
    assert zero < -10


def test_a_batch_in_which_nothing_optional_is_given_keeps_its_shapes(transformed: Transformed) -> None:
    bare = RECORD | {"release_year": None, "genres": []}
    full, empty = transformed([RECORD] * 3), transformed([bare] * 3)
    assert {name: value.shape for name, value in empty.items()} == {name: value.shape for name, value in full.items()}
    assert not empty["genres_hot"].numpy().any()


def test_a_batch_of_no_records_is_transformed_to_no_rows(transformed: Transformed) -> None:
    assert {value.shape[0] for value in transformed([]).values()} == {0}


def test_what_is_in_no_list_falls_into_the_last_place(transformed: Transformed) -> None:
    odd = transformed([RECORD | {"gender": b"X", "occupation": b"", "genres": [b"Anime", b"Comedy"]}])
    assert odd["gender_hot"].numpy().tolist() == [[0, 0, 1]]
    assert odd["occupation_hot"].numpy()[0].nonzero()[0].tolist() == [len(preprocessing.OCCUPATIONS)]
    assert odd["occupation_group"].numpy().tolist() == [[b"unknown"]]
    comedy = preprocessing.GENRES.index("Comedy")
    assert odd["genres_hot"].numpy()[0].nonzero()[0].tolist() == [comedy, len(preprocessing.GENRES)]


def test_a_genre_that_is_given_twice_counts_once(transformed: Transformed) -> None:
    once, twice = transformed([RECORD | {"genres": [b"War"]}, RECORD | {"genres": [b"War", b"War"]}])[
        "genres_hot"
    ].numpy()
    assert once.tolist() == twice.tolist()
    assert once.sum() == 1


@pytest.mark.parametrize(
    ("age", "bucket"),
    [(7, b"under 18"), (17, b"under 18"), (18, b"18-24"), (24, b"18-24"), (25, b"25-29"), (99, b"56 and over")],
)
def test_an_age_is_in_the_bucket_that_names_it(transformed: Transformed, age: int, bucket: bytes) -> None:
    features = transformed([RECORD | {"age": age}])
    assert features["age_bucket"].numpy().tolist() == [[bucket]]
    assert preprocessing.AGE_BUCKETS[features["age_band"].numpy().argmax()] == bucket.decode()


def test_z_scores_have_mean_zero_and_deviation_one_over_the_records_that_have_the_value(
    transformed: Transformed, training_records: Records
) -> None:
    features = transformed(training_records)
    has_year = [record["release_year"] is not None for record in training_records]
    for values in (features["age_z"].numpy().ravel(), features["year_z"].numpy().ravel()[has_year]):
        assert np.mean(values) == pytest.approx(0, abs=1e-5)
        assert np.std(values) == pytest.approx(1, abs=1e-5)


def test_the_answer_does_not_hang_on_what_clients_do_not_send(transformed: Transformed) -> None:
    before, after = transformed([RECORD]), transformed([RECORD | {"timestamp": 0, "zip_area": b"", "liked": 0}])
    changed = [name for name in before if (before[name].numpy() != after[name].numpy()).any()]
    assert changed == ["liked"]


def test_every_feature_is_dense_with_a_fixed_width_and_only_the_label_has_a_raw_name(transform_output: Any) -> None:
    import tensorflow as tf

    spec = transform_output.transformed_feature_spec()
    assert all(isinstance(feature, tf.io.FixedLenFeature) and len(feature.shape) == 1 for feature in spec.values())
    assert set(spec) & set(RECORD) == {"liked"}


def test_the_closed_lists_are_those_of_the_curated_schema(schema: Any) -> None:
    domains = {feature.name: list(feature.string_domain.value) for feature in schema.feature}
    assert domains["gender"] == list(preprocessing.GENDERS)
    assert domains["occupation"] == list(preprocessing.OCCUPATIONS)
    assert domains["genres"] == list(preprocessing.GENRES)


def test_an_eager_dry_run_of_the_function_has_the_features_that_beam_writes(transform_output: Any, schema: Any) -> None:
    from pipeline import preflight
    from pipeline.tasks.clicks.task import TASK

    preflight.check(TASK.preprocessing_fn, serialized([RECORD, RECORD | {"release_year": None}]), schema, TASK.label)


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(
        st.one_of(st.binary(max_size=8), st.sampled_from([b"F", b"M", b"writer", b"War"])), min_size=1, max_size=5
    )
)
def test_any_text_falls_into_exactly_one_place(transformed: Transformed, texts: list[bytes]) -> None:
    features = transformed([RECORD | {"gender": text, "occupation": text, "genres": [text]} for text in texts])
    for name in ("gender_hot", "occupation_hot", "genres_hot"):
        assert features[name].numpy().sum(axis=1).tolist() == [1.0] * len(texts)
