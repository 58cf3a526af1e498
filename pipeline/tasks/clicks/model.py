"""The clicks model: what is liked in general, plus how tastes differ, both shrunk towards what the data can bear."""

from typing import TYPE_CHECKING, Any

from pipeline.task import Hyperparameters

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft

ITEM_SIDE = ("genres_hot", "year_band", "year_z", "popularity_band")
USER_SIDE = ("gender_hot", "age_band", "age_z", "occupation_hot")


def build_model(transform: "tft.TFTransformOutput", hyperparameters: Hyperparameters) -> "keras.Model":
    """A factorisation machine of two sides: logit = item + user + <tastes of the item, tastes of the user>.

    Each side is an embedding of its id plus a linear map of what describes it (genres, age, ...), so that an unknown
    user or item is still answered by its description. Nine in ten users of a new span are unknown; the embeddings of
    known ones are there to take a user's mood out of the items that this user happened to rate.

    Every weight has a normal prior around 0 (an L2 penalty), its standard deviation given in logits: the free fit of a
    demographic group is the mood of its three most eager members.

    Args:
        transform: whose vocabularies `user` and `item` give the sizes of the embeddings.
        hyperparameters: its `model` holds
            factors: length of the taste vectors.
            records: how many training records the priors are meant for; with more, data weighs more.
            item_sd, user_sd: priors of an id's own term.
            item_side_sd, user_side_sd: priors of a description's own term.
            item_factor_sd, user_factor_sd, side_factor_sd: priors of tastes, by item, by user, by description.

    Returns:
        From {user, item: int64 [batch, 1], the names of ITEM_SIDE and USER_SIDE: float32 [batch, k]} to the output
        `score`, float32 [batch, 1]: the probability of a like.
    """
    import keras

    chosen, layers = hyperparameters.model, keras.layers
    spec = transform.transformed_feature_spec()
    inputs = {name: keras.Input((1,), dtype="int64", name=name) for name in ("user", "item")}
    inputs |= {name: keras.Input(spec[name].shape, name=name) for name in (*ITEM_SIDE, *USER_SIDE)}

    def prior(sd: str) -> Any:
        return keras.regularizers.L2(1 / (2 * chosen["records"] * chosen[sd] ** 2))

    def of_id(name: str, width: int, sd: str) -> Any:
        # Zeros: id 0, which no training record has, stays without an opinion of its own.
        size = transform.vocabulary_size_by_name(name) + 1
        table = layers.Embedding(size, width, embeddings_initializer="zeros", embeddings_regularizer=prior(sd))
        return layers.Flatten()(table(inputs[name]))

    def of_side(side: Any, width: int, sd: str, start: Any = "zeros") -> Any:
        return layers.Dense(width, use_bias=False, kernel_initializer=start, kernel_regularizer=prior(sd))(side)

    item_side = layers.Concatenate()([inputs[name] for name in ITEM_SIDE])
    user_side = layers.Concatenate()([inputs[name] for name in USER_SIDE])
    # One of the two must not start at 0, or no product of them would ever have a gradient.
    start = keras.initializers.RandomNormal(stddev=0.1, seed=hyperparameters.seed)
    factors = int(chosen["factors"])
    item_tastes = of_id("item", factors, "item_factor_sd") + of_side(item_side, factors, "side_factor_sd")
    user_tastes = of_id("user", factors, "user_factor_sd") + of_side(user_side, factors, "side_factor_sd", start)
    terms = [
        of_id("item", 1, "item_sd"),
        of_id("user", 1, "user_sd"),
        of_side(item_side, 1, "item_side_sd"),
        of_side(user_side, 1, "user_side_sd"),
        layers.Dot(axes=-1)([item_tastes, user_tastes]),
    ]
    logit = layers.Add()(terms)
    score = layers.Activation("sigmoid", dtype="float32", name="score")(logit)
    return keras.Model(inputs, score)
