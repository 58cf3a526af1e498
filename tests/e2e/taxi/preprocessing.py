"""Features of the taxi task."""

from typing import Any

NUMBERS = ("fare", "trip_miles", "trip_seconds", "pickup_latitude", "dropoff_latitude")
WORDS = ("payment_type", "company")
AREAS = ("pickup_community_area", "dropoff_community_area")
HOURS, AREA_COUNT = 24, 78  # area 0: unknown
BUCKETS = 10


def preprocessing_fn(inputs: dict[str, Any]) -> dict[str, Any]:
    """Numbers to z-scores, words to ids, hours and areas to ids; what is missing becomes the mean, '' or 0."""
    import tensorflow as tf
    import tensorflow_transform as tft

    def filled(name: str, default: Any) -> Any:
        return tft.sparse_tensor_to_dense_with_shape(inputs[name], [None, 1], default)

    features = {"hour": inputs["trip_start_hour"], "big_tip": inputs["big_tip"]}
    for name in NUMBERS:
        numbers = tf.sparse.map_values(lambda values: tf.cast(values, tf.float32), inputs[name])
        scaled = tft.scale_to_z_score(numbers)
        features[name] = tft.sparse_tensor_to_dense_with_shape(scaled, [None, 1], 0.0)
    for name, words in (("payment_type", inputs["payment_type"]), ("company", filled("company", ""))):
        features[f"{name}_id"] = tft.compute_and_apply_vocabulary(words, num_oov_buckets=1, vocab_filename=name)
    for name in AREAS:
        features[name] = filled(name, 0)
    features["fare_bucket"] = tft.bucketize(filled("fare", 0.0), BUCKETS)
    return features
