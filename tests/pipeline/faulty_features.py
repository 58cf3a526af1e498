"""Preprocessing functions with one fault each; the faulty line ends in `# here`."""

from typing import Any

from tests.pipeline import small_task


def whole(inputs: dict[str, Any]) -> dict[str, Any]:
    return small_task.preprocessing_fn(inputs)


def every_analyzer(inputs: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf
    import tensorflow_transform as tft

    age = tf.cast(inputs["age"], tf.float32)
    words = tft.vocabulary(inputs["user"], top_k=5, vocab_filename="words")
    return {
        "mean": age - tft.mean(age),
        "unit": tft.scale_to_0_1(age),
        "bucket": tft.bucketize(age, 4),
        "word": tft.apply_vocabulary(inputs["user"], words, num_oov_buckets=2),
        "hashed": tft.hash_strings(inputs["user"], 10),
        "quantile": age - tf.reshape(tft.quantiles(age, 2, 0.01), [-1])[0],
        "liked": inputs["liked"],
    }


def by_copy(inputs: dict[str, Any]) -> dict[str, Any]:
    outputs = inputs.copy()
    del outputs["price"], outputs["tags"]
    return outputs


def unknown_feature(inputs: dict[str, Any]) -> dict[str, Any]:
    age = inputs["age"]
    return {"age": age, "hight": inputs["hight"], "liked": inputs["liked"]}  # here


def unfit_shapes(inputs: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    liked = inputs["liked"]
    age = tf.cast(inputs["age"], tf.float32)
    return {"age": tf.matmul(age, tf.ones([2, 2])), "liked": liked}  # here


def no_number(inputs: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    return {"user": tf.strings.to_number(inputs["user"]), "liked": inputs["liked"]}  # here


def by_a_callee(inputs: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    return {"liked": np.linalg.inv(inputs["liked"].numpy())}  # here


def no_label(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"age": inputs["age"]}


def sparse(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"tags": inputs["tags"], "liked": inputs["liked"]}


def one_number(inputs: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    return {"liked": inputs["liked"], "age": tf.reduce_mean(inputs["age"])}


def other_rows(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"liked": inputs["liked"], "age": inputs["age"][1:]}


def nothing(inputs: dict[str, Any]) -> None:
    return None
