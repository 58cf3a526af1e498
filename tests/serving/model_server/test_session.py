"""SavedModels fed as the C++ server feeds them."""

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.model_server import signature
from serving.model_server.session import SavedModelSession, SessionOptions
from serving.model_server.signature import DEFAULT, Array, Signature
from tests.serving.model_server.models import BIG_MB, OTHER_TYPES, REST_TYPES, example

LOADS = 50
GROWTH = 1.1  # of resident memory over LOADS loads and unloads


class Loaded:
    """A session with its signatures."""

    def __init__(self, directory: Path, options: SessionOptions | None = None) -> None:
        self.session = SavedModelSession(str(directory), options or SessionOptions())
        self.signatures: dict[str, Signature] = signature.read(self.session.signature_definitions)

    def __call__(self, name: str = DEFAULT, **inputs: Any) -> dict[str, Array]:
        """The outputs by alias."""
        one = self.signatures[name]
        feeds = {one.inputs[alias].tensor: value for alias, value in inputs.items()}
        outputs = self.session.run(feeds, [info.tensor for info in one.outputs.values()])
        return dict(zip(one.outputs, outputs, strict=True))


@pytest.fixture(scope="module")
def loaded(models: Callable[[str], Path]) -> Iterator[Callable[[str], Loaded]]:
    """A kind -> it, loaded once."""
    found: dict[str, Loaded] = {}

    def load(kind: str) -> Loaded:
        if kind not in found:
            found[kind] = Loaded(models(kind))
        return found[kind]

    yield load
    for one in found.values():
        one.session.close()


def floats(value: Any) -> Array:
    return np.array(value, np.float32)


def refusal(model: Loaded, **inputs: Any) -> str:
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        model(**inputs)
    message: str = caught.value.message
    return message


@pytest.mark.parametrize(
    ("given", "answer"), [(2.0, 3.0), ([2.0, 4.0], [3.0, 4.0]), ([[2.0]], [[3.0]]), ([[[2.0, 4.0]]], [[[3.0, 4.0]]])]
)
def test_any_rank_may_be_fed_whatever_the_placeholder_says(
    loaded: Callable[[str], Loaded], given: Any, answer: Any
) -> None:
    model = loaded("half_plus_two_tf1")
    assert [size.size for size in model.signatures[DEFAULT].definition.inputs["x"].tensor_shape.dim] == [-1, 1]
    y = model(x=floats(given))["y"]
    assert isinstance(y, np.ndarray)
    assert y.tolist() == answer


def test_an_empty_batch_has_an_empty_answer(loaded: Callable[[str], Loaded]) -> None:
    assert loaded("half_plus_two")(x=floats([]))["y"].shape == (0,)
    assert loaded("half_plus_two_tf1")(x=np.empty((0, 1), np.float32))["y"].shape == (0, 1)
    assert loaded("identity")("string", x=np.empty((0, 3), object))["y"].shape == (0, 3)


def test_a_wrong_dtype_is_refused_in_the_runtimes_words(loaded: Callable[[str], Loaded]) -> None:
    ints = np.array([1, 2], np.int32)
    assert refusal(loaded("half_plus_two"), x=ints) == "Expects arg[0] to be float but int32 is provided"
    texts = np.array([b"a"], object)
    assert refusal(loaded("half_plus_two_tf1"), x=texts) == "Expects arg[0] to be float but string is provided"


def test_a_wrong_shape_is_refused_with_the_node_that_minds(loaded: Callable[[str], Loaded]) -> None:
    message = refusal(loaded("matmul"), x=floats([[1.0, 2.0]]))
    assert message.startswith("Matrix size-incompatible: In[0]: [1,2], In[1]: [3,2]")
    assert message.endswith("\n\t [[{{node MatMul}}]]")
    assert refusal(loaded("matmul"), x=floats([1.0])).startswith("In[0] ndims must be >= 2")


def test_an_example_without_a_required_feature_is_refused(loaded: Callable[[str], Loaded]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        loaded("half_plus_two_tf1")("regress_x_to_y", inputs=np.array([example(x2=1.0)], object))
    assert caught.value.message.startswith("Name: <unknown>, Feature: x (data type: float) is required but could not")


def test_reference_and_resource_variables_are_restored(loaded: Callable[[str], Loaded]) -> None:
    model, texts = loaded("half_plus_two_tf1"), np.array([example(x=2.0, x2=[4.0])], object)
    assert model("regress_x_to_y", inputs=texts)["outputs"].tolist() == [[3.0]]
    assert model("regress_x_to_y2", inputs=texts)["outputs"].tolist() == [[4.0]]
    assert model("regress_x2_to_y3", inputs=floats([[4.0]]))["outputs"].tolist() == [[5.0]]


def test_tables_are_filled_from_assets(loaded: Callable[[str], Loaded]) -> None:
    words = np.array([[b"two", b"nil"], [b"?", b"one"]], object)
    assert loaded("table")(word=words)["number"].tolist() == [[2, 0], [-1, 1]]


def test_large_variables_are_restored(loaded: Callable[[str], Loaded], models: Callable[[str], Path]) -> None:
    assert loaded("big")(x=floats([1.5]))["y"].tolist() == [1.5]
    data = models("big") / "variables" / "variables.data-00000-of-00001"
    assert data.stat().st_size >= BIG_MB << 20


@pytest.mark.parametrize("shape", [(), (3,), (1, 3)])
@pytest.mark.parametrize("name", [*REST_TYPES, *OTHER_TYPES])
def test_every_dtype_comes_out_as_it_went_in(
    loaded: Callable[[str], Loaded], name: str, shape: tuple[int, ...]
) -> None:
    dtype = tf.as_dtype(name).as_numpy_dtype
    texts = np.array([b"a\0b\0", b"\xff\xfe", b""], object)
    three = texts if name == "string" else np.array([0, 1, 1]).astype(dtype)
    given = three.reshape(shape) if shape else np.array(three[0], dtype)
    answer = loaded("identity")(name, x=given)["y"]
    assert isinstance(answer, np.ndarray)
    assert (answer.dtype, answer.shape, answer.tolist()) == (given.dtype, given.shape, given.tolist())


def test_scalars_are_arrays_too(loaded: Callable[[str], Loaded]) -> None:
    total = loaded("scalar")(x=floats([1.0, 2.5]))["total"]
    assert isinstance(total, np.ndarray)
    assert total.shape == ()
    assert total.dtype == np.float32
    assert total.tolist() == 3.5


def test_nan_and_infinity_are_values(loaded: Callable[[str], Loaded]) -> None:
    answer = loaded("not_finite")(x=floats([0.0, -1.0]))
    assert np.array_equal(answer["y"], [-np.inf, np.nan], equal_nan=True)
    assert answer["inverse"].tolist() == [np.inf, -1.0]


def test_memory_that_is_not_contiguous_or_not_writable_may_be_fed(loaded: Callable[[str], Loaded]) -> None:
    every_other = np.arange(8, dtype=np.float32)[::2]
    assert loaded("half_plus_two")(x=every_other)["y"].tolist() == [2.0, 3.0, 4.0, 5.0]
    odd = np.frombuffer(b"\0" + every_other.tobytes(), np.float32, 4, 1)
    assert not odd.flags.writeable
    assert not odd.flags.aligned
    assert loaded("half_plus_two")(x=odd)["y"].tolist() == [2.0, 3.0, 4.0, 5.0]


def test_one_tensor_may_be_fetched_twice(loaded: Callable[[str], Loaded]) -> None:
    model = loaded("half_plus_two_tf1")
    one, other = model.session.run({"x:0": floats([2.0])}, ["y:0", "y:0"])
    assert one.tolist() == other.tolist() == [3.0]


def test_the_options_reach_the_session(models: Callable[[str], Path]) -> None:
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1).SerializeToString()
    for options in (SessionOptions(config=config), SessionOptions(intra_op_threads=1, inter_op_threads=2)):
        model = Loaded(models("half_plus_two"), options)
        assert model(x=floats([2.0]))["y"].tolist() == [3.0]
        model.session.close()


def test_threads_may_share_a_session_that_none_has_used_yet(models: Callable[[str], Path]) -> None:
    model = Loaded(models("half_plus_two_tf1"))
    together, wrong = threading.Barrier(8), []

    def ask(number: int) -> None:
        together.wait(60)
        for _ in range(50):
            if model(x=floats([number]))["y"].tolist() != [number / 2 + 2]:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    model.session.close()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
def test_memory_does_not_grow_with_loads_and_unloads(models: Callable[[str], Path]) -> None:
    directory = models("big")  # LOADS of its variables would be far above the growth allowed
    gc.collect()
    gc.freeze()  # as the server does: the collector then looks at the model alone, 1 ms instead of 300
    try:
        for number in range(LOADS + 3):
            model = Loaded(directory)
            assert model(x=floats([1.0]))["y"].tolist() == [1.0]
            model.session.close()
            del model
            if number == 2:  # allocators and TensorFlow's caches have settled
                before = resident_bytes()
    finally:
        gc.unfreeze()
    assert resident_bytes() < before * GROWTH


def test_a_closed_session_leaves_no_graph(models: Callable[[str], Path]) -> None:
    gc.collect()
    before = sum(issubclass(type(one), tf.Graph) for one in gc.get_objects())
    model = Loaded(models("house"))
    model.session.close()
    assert sum(issubclass(type(one), tf.Graph) for one in gc.get_objects()) == before
