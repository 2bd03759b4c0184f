from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tasks.errors import DeadlinePassed, OutputError, Stopped
from tasks.load import open_subject
from tasks.load.arrangement import Blocks, Frames, Lines, Pixels, Table, identity
from tasks.load.backend import tensorflow
from tasks.load.compiling import compiled, may_compile, probe_rows
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor, _batches, batch_size
from tasks.watch import Watch

ROWS = np.random.default_rng(0).normal(size=(1000, 3))


def predictor(model, task="binary", classes=("no", "yes"), batch=128, **settings):
    outputs = describe(model, task, () if task == "regression" else classes, "y", "model.keras")
    return Predictor(model, outputs, identity(3), (3,), where="model.keras", batch=batch, **settings)


def test_it_is_the_model(make_network):
    model = make_network(3)
    found = predictor(model)(ROWS)
    assert found.dtype == np.float64
    assert found.shape == (1000, 1)
    assert np.allclose(found, np.asarray(model(ROWS.astype(np.float32))), atol=1e-6)


@pytest.mark.parametrize("kind", ["probability", "margin"])
def test_a_rows_outputs_are_the_same_bits_in_any_company(make_network, kind):
    found = predictor(make_network(3, hidden=64))
    whole = found(ROWS, kind)
    for start, stop in ((0, 1), (7, 9), (120, 140), (0, 128), (0, 129), (500, 1000)):
        assert np.array_equal(found(ROWS[start:stop], kind), whole[start:stop])
    order = np.random.default_rng(1).permutation(len(ROWS))
    assert np.array_equal(found(ROWS[order], kind), whole[order])
    assert np.array_equal(found(np.asfortranarray(ROWS), kind), whole)
    assert np.array_equal(found(ROWS[::-1], kind)[::-1], whole)


@pytest.mark.parametrize("offset", [0, 1, 4])
def test_rows_that_are_read_where_they_are_have_the_same_bits(make_network, offset):
    """A ready matrix in memory, at any address, with rows before and after its whole batches."""
    found = predictor(make_network(3, hidden=64))
    room = np.empty(3 * 1000 + 16, np.float32)
    for count in (1000, 900, 128 + 16, 128, 5):
        rows = room[offset : offset + 3 * count].reshape(count, 3)
        rows[:] = ROWS[:count]
        given = rows.copy()
        locked = given.view()
        locked.flags.writeable = False  # is copied
        assert np.array_equal(found(rows), found(ROWS[:count]))
        assert np.array_equal(found(locked), found(ROWS[:count]))
        assert np.array_equal(rows, given)


@pytest.mark.parametrize("place", [0, 3, 200, 639, 640, 998])
def test_nan_is_found_wherever_a_row_lies(make_network, place):
    rows = ROWS.astype(np.float32)
    rows[[place, place + 1], 2] = np.nan
    with pytest.raises(OutputError, match="NaN") as caught:
        predictor(make_network(3))(rows)
    assert set(caught.value.values) <= {place, place + 1}
    assert caught.value.values


def test_outputs_are_handed_over_in_order_a_batch_at_a_time(make_network):
    found = predictor(make_network(3))
    seen = []

    def fill(start, buffer):
        buffer[:] = ROWS[start : start + len(buffer)]

    found.streamed(len(ROWS), fill, lambda start, out: seen.append((start, out)))
    assert [start for start, _ in seen] == list(np.cumsum([0, *(len(out) for _, out in seen)]))[:-1]
    assert np.array_equal(np.concatenate([out for _, out in seen]), found(ROWS))


def test_a_model_that_hands_its_input_through(make_network):
    tensorflow()
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    found = predictor(model, "regression", batch=16)
    assert np.array_equal(found(ROWS), ROWS.astype(np.float32))


def test_a_model_of_images_that_hands_its_input_through():
    """Nothing is cast on the way, so TensorFlow may hand back the very batch that it was given."""
    tensorflow()
    import keras

    inputs = keras.Input((1, 1, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    outputs = describe(model, "regression", (), "y", "model")
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 1, 1, 3)).astype(np.float32)
    found = Predictor(model, outputs, Pixels(1.0), (1, 1, 3), batch=16)(pixels)
    assert np.array_equal(found, pixels.reshape(2000, 3))


def test_no_row_gives_no_outputs(make_network):
    assert predictor(make_network(3))(ROWS[:0]).shape == (0, 1)


def test_nothing_is_traced_twice(make_network):
    found = predictor(make_network(3))
    for n in (1, 5, 128, 129, 1000, 0):
        found(ROWS[:n])
    assert found.traces == 1
    found(ROWS, "margin")
    found(ROWS[:3], "margin")
    assert found.traces == 2


def test_threads_share_it_and_get_the_same_bits(make_network):
    model = make_network(3, hidden=64)
    alone = predictor(model)(ROWS)
    shared = predictor(model)
    together = threading.Barrier(8)

    def one(number: int) -> np.ndarray:
        together.wait()
        return shared(ROWS[number:])

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(one, range(8))):
            assert np.array_equal(found, alone[number:])
    assert shared.traces == 1


def test_read_only_rows_are_read_and_left_alone(make_network):
    rows = ROWS.copy()
    rows.setflags(write=False)
    predictor(make_network(3))(rows)
    assert np.array_equal(rows, ROWS)


def test_rows_of_another_width_are_a_defect(make_network):
    with pytest.raises(ValueError, match=r"rows of shape \(2,\), not \(3,\)"):
        predictor(make_network(3))(ROWS[:, :2])


def test_the_graph_is_for_another_function(make_network):
    tf = tensorflow()
    found = predictor(make_network(3))
    graph = found.graph("margin")
    compiled = tf.function(
        lambda rows: tf.reduce_mean(graph(rows)), input_signature=[tf.TensorSpec((None, 3), tf.float64)]
    )
    assert np.isclose(compiled(ROWS).numpy(), found(ROWS, "margin").mean(), atol=1e-6)


def test_gradients_flow_to_the_encoded_rows(make_network):
    tf = tensorflow()
    found = predictor(make_network(3))
    assert found.differentiable
    matrix = found.encode(tf.constant(ROWS))
    with tf.GradientTape() as tape:
        tape.watch(matrix)
        value = found.model_graph("margin")(matrix)
    gradient = tape.gradient(value, matrix).numpy()
    step = 1e-3
    moved = ROWS.copy()
    moved[:, 1] += step
    slope = (found(moved, "margin") - found(ROWS, "margin"))[:, 0] / step
    assert np.allclose(gradient[:, 1], slope, atol=5e-3)


def spoiled(model, layer: str, value: float):
    weights = model.get_layer(layer).get_weights()
    weights[-1][...] = value
    model.get_layer(layer).set_weights(weights)
    return model


@pytest.mark.parametrize("layer", ["middle", "score"])
def test_weights_that_are_nan_end_in_an_error_that_names_rows(make_network, layer):
    found = predictor(spoiled(make_network(3), layer, np.nan))
    with pytest.raises(OutputError, match=r"model\.keras: the model returned NaN or infinity") as caught:
        found(ROWS)
    assert caught.value.exit_code == 4
    assert caught.value.values == (0, 1, 2, 3, 4)


def test_nan_that_a_compiled_relu_would_hide_is_found(with_seed):
    tensorflow()
    import keras

    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(64, "relu", name="hidden")(inputs)
    model = with_seed(keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(hidden)))
    spoiled(model, "hidden", np.nan)
    with pytest.raises(OutputError, match="NaN"):
        predictor(model)(ROWS)


def test_only_the_bad_rows_are_named(with_seed):
    tensorflow()
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.ops.log(keras.layers.Dense(1, name="score")(inputs)))
    with_seed(model).get_layer("score").set_weights([np.array([[1], [0], [0]], np.float32), np.zeros(1, np.float32)])
    rows = np.abs(ROWS) + 0.1
    rows[[3, 200, 999], 0] = -1
    with pytest.raises(OutputError) as caught:
        predictor(model, "regression")(rows)
    assert caught.value.values == (3,)  # of the first batch that has any; the others are later
    with pytest.raises(OutputError) as caught:
        predictor(model, "regression", batch=1024)(rows)
    assert caught.value.values == (3, 200, 999)


def test_a_probability_outside_its_range_is_an_error(with_seed):
    tensorflow()
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, "relu", name="score")(inputs))
    with_seed(model)
    with pytest.raises(OutputError, match="a probability outside 0–1"):
        predictor(model)(ROWS * 100)
    assert predictor(model, "regression")(ROWS * 100).max() > 1


def test_it_stops_within_a_batch(make_network):
    found = predictor(make_network(3), batch=16)
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Stopped):
        found(ROWS, watch=watch)
    with pytest.raises(DeadlinePassed):
        found(ROWS, watch=Watch().for_task("late", seconds=-1))
    seen = []
    found(ROWS, watch=Watch(report=lambda task, done, total: seen.append(done)))
    assert len(seen) == 63  # asked once a batch
    assert set(seen) == {0}  # units are the caller's
    assert np.array_equal(found(ROWS[:40]), predictor(found.keras_model)(ROWS[:40]))  # usable after a stop


@pytest.mark.parametrize(
    ("width", "hidden", "batch"), [(3, 8, 32_768), (107, 64, 32_768), (5000, 4, 2048), (600, 4000, 4096)]
)
def test_the_batch_of_a_table_depends_on_the_model_alone(make_network, width, hidden, batch):
    assert batch_size(make_network(width, hidden=hidden), (7,)) == batch


@pytest.mark.parametrize(
    ("shape", "batch"), [((64, 64, 1), 64), ((96, 96, 3), 16), ((224, 224, 3), 8), ((999, 999, 3), 8)]
)
def test_the_batch_of_images_depends_on_their_size(make_network, shape, batch):
    assert batch_size(make_network(3), shape) == batch


def test_a_model_of_a_fixed_batch_is_called_with_it(with_seed):
    tensorflow()
    import keras

    inputs = keras.Input(batch_shape=(32, 3))
    model = with_seed(keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(inputs)))
    found = predictor(model)
    assert found.batch == 32
    assert found(ROWS).shape == (1000, 1)


def test_a_matrix_input_of_another_rank_or_type(with_seed):
    tensorflow()
    import keras

    inputs = keras.Input((3, 1))
    deep = with_seed(keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(keras.layers.Flatten()(inputs))))
    assert predictor(deep)(ROWS).shape == (1000, 1)
    whole = keras.Input((3,), dtype="int32")
    model = with_seed(keras.Model(whole, keras.layers.Dense(1, "sigmoid")(keras.ops.cast(whole, "float32"))))
    found = predictor(model)
    assert not found.differentiable
    assert np.array_equal(found(np.round(ROWS * 10)), found(np.round(ROWS * 10)))


def test_images_are_scaled_in_the_graph(with_seed):
    tensorflow()
    import keras

    inputs = keras.Input((8, 8, 3))
    model = with_seed(keras.Model(inputs, keras.layers.Dense(4, "softmax")(keras.layers.Flatten()(inputs))))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3)).astype(np.float32)
    outputs = describe(model, "multiclass", ("a", "b", "c", "d"), "y", "model")
    found = Predictor(model, outputs, Pixels(1 / 255), (8, 8, 3))(pixels)
    assert np.allclose(found, np.asarray(model(pixels / 255)), atol=1e-5)
    assert np.array_equal(Predictor(model, outputs, Pixels(1 / 255), (8, 8, 3))(pixels.astype(np.uint8)), found)


def test_adult_rows_are_predicted_as_model_predict_does():
    import yaml

    from configs.schema import AuditConfig

    with open("configs/adult_income.yaml", encoding="utf-8") as stream:
        subject = open_subject(AuditConfig.model_validate(yaml.safe_load(stream)))
    few = subject.data.table.slice(0, 2000)
    matrix = subject.model.preprocessor.transform(few.to_pandas()).astype(np.float32)
    truth = subject.model.keras_model.predict(matrix, verbose=0)
    found = subject.predictor(subject.rows[:2000])
    assert np.abs(found - truth).max() <= 1e-6
    shared = subject.predictor(subject.rows, "margin")
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: subject.predictor(subject.rows, "margin"), range(4)):
            assert np.array_equal(other, shared)


# ---------------------------------------------------------------- how it is compiled

#: two kinds of model in a fresh process with so many threads: the bits of what they answer
_BITS = """
import hashlib, sys
import numpy as np
from tasks.load.backend import tensorflow
tf = tensorflow()
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import keras
from tasks.load.arrangement import identity
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor

def bits(width, hidden, activation, outputs, plain):
    generator = np.random.default_rng(0)
    inputs = value = keras.Input((width,))
    for units in hidden:
        value = keras.layers.Dense(units, activation)(value)
    if plain:
        value = keras.layers.Flatten()(keras.layers.Conv1D(1, 1)(keras.layers.Reshape((-1, 1))(value)))
    model = keras.Model(inputs, keras.layers.Dense(outputs, "softmax" if outputs > 1 else "sigmoid")(value))
    model.set_weights([generator.normal(0, 1 / np.sqrt(w.shape[0]), w.shape) for w in model.get_weights()])
    classes = ("a", "b", "c")[: max(2, outputs)]
    task = "binary" if outputs == 1 else "multiclass"
    predictor = Predictor(model, describe(model, task, classes, "y", "m"), identity(width), (width,), batch=4096)
    assert predictor.by_xla() is not plain
    found = predictor(generator.normal(size=(10_000, width)), "margin")
    print(hashlib.sha256(found.tobytes()).hexdigest())

for plain in (False, True):
    bits(100, (64, 64), "relu", 1, plain)
    bits(700, (33, 17), "gelu", 3, plain)
"""


def test_bits_do_not_depend_on_the_number_of_threads():
    said = [
        subprocess.run(
            [sys.executable, "-c", _BITS, str(threads)], capture_output=True, text=True, check=True, timeout=120
        ).stdout.split()
        for threads in (1, 3)
    ]
    assert len(set(said[0])) == 4
    assert said[0] == said[1]


def test_xla_compiles_a_table_model_and_a_heavy_one_in_two_shapes(make_network, monkeypatch):
    light = predictor(make_network(3, hidden=64), batch=1024)
    assert light.by_xla()
    assert list(light._function("probability").shapes) == [1024]
    monkeypatch.setattr("tasks.load.predictor.FEW_PRODUCTS", 2**16)
    found = predictor(make_network(3, hidden=64), batch=1024)
    assert found.by_xla()
    assert found.by_xla("margin")
    assert list(found._function("probability").shapes) == [1024, 128]
    assert found.traces == 2
    whole = light(ROWS)
    for start, stop in ((0, 1), (7, 9), (100, 300), (0, 700), (500, 1000)):
        assert np.array_equal(found(ROWS[start:stop]), whole[start:stop])


@pytest.mark.parametrize(
    ("n", "planned"),
    [
        (0, []),
        (1, [(0, 8)]),
        (32, [(0, 8), (8, 8), (16, 8), (24, 8)]),
        (33, [(0, 64)]),
        (65, [(0, 64), (64, 8)]),
        (128, [(0, 64), (64, 64)]),
    ],
)
def test_rows_are_split_into_batches_of_two_sizes(n, planned):
    assert _batches(n, (64, 8)) == planned


def test_one_size_where_the_other_gives_other_bits(make_network):
    """A graph that tells a row how many it came with."""
    tf = tensorflow()

    def company(batch):
        return tf.cast(
            tf.reduce_sum(batch, axis=1, keepdims=True) + tf.cast(tf.shape(batch)[0], tf.float64), tf.float32
        )

    rows = np.random.default_rng(0).normal(size=(64, 3))
    found = compiled(company, lambda size: tf.TensorSpec((size, 3), tf.float64), (64, 8), rows, xla=True)
    assert list(found.shapes) == [64]
    assert found.by_xla


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(lambda tf, rows: tf.numpy_function(np.sin, [rows], tf.float64), id="python"),
        pytest.param(lambda tf, rows: tf.strings.to_number(tf.strings.as_string(rows)), id="text"),
        pytest.param(lambda tf, rows: tf.cumsum(rows, axis=0), id="of its place in the batch"),
    ],
)
def test_what_xla_cannot_do_or_does_otherwise_is_left_to_tensorflow(graph):
    tf = tensorflow()
    rows = np.random.default_rng(0).normal(size=(16, 3))
    found = compiled(lambda x: graph(tf, x), lambda size: tf.TensorSpec((size, 3), tf.float64), (16,), rows, xla=True)
    assert not found.by_xla
    assert np.allclose(found.shapes[16](tf.constant(rows)), graph(tf, tf.constant(rows)))


def test_convolutions_text_and_calls_into_python_are_not_given_to_xla(make_network):
    tensorflow()
    import keras

    assert may_compile(make_network(3), identity(3))
    inputs = keras.Input((3, 1))
    assert not may_compile(keras.Model(inputs, keras.layers.Conv1D(2, 2)(inputs)), identity(3))
    inner = keras.Model(inputs, keras.layers.Conv1D(2, 2)(inputs))
    assert not may_compile(keras.Model(inputs, inner(inputs)), identity(3))
    text = keras.Input((1,), dtype="string")
    assert not may_compile(keras.Model(text, keras.layers.Identity()(text)), identity(1))
    assert not may_compile(make_network(3), Frames(3, None, None))


def test_rows_to_probe_with_are_rows_that_can_be():
    lines = Lines(np.array([0]), np.array([1]), np.array([0.5]), np.array([-20.0]), np.array([np.nan]))
    table = Table(np.array([1, 2]), 0, np.eye(2)[[0, 1, 0]])
    rows = probe_rows(Blocks(3, lines, (table,)), 1000, 2)
    assert set(rows[:, 0]) == {0, 1}  # not null
    encoded = rows[:, 1] * 0.5 - 20
    assert abs(encoded.mean()) < 0.2
    assert 0.9 < encoded.std() < 1.1
    assert np.array_equal(rows, probe_rows(Blocks(3, lines, (table,)), 1000, 2))


def test_nan_in_a_row_is_found_by_either_form(with_seed):
    """TensorFlow's fused ReLU hides it; XLA's does not."""
    tensorflow()
    import keras

    inputs = keras.Input((3,))
    model = with_seed(keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dense(64, "relu")(inputs))))
    rows = ROWS.copy()
    rows[7, 1] = np.nan
    with pytest.raises(OutputError) as caught:
        predictor(model, "regression")(rows)
    assert caught.value.values == (7,)


def test_a_ready_matrix_of_either_precision_gives_the_same_bits(make_network):
    found = predictor(make_network(3))
    narrow = ROWS.astype(np.float32)
    assert np.array_equal(found(narrow), found(narrow.astype(np.float64)))
    with pytest.raises(OutputError):
        predictor(make_network(3), "regression")(np.where(ROWS > 0, 1e300, ROWS))


def test_rows_may_be_written_where_the_model_reads_them(make_network, monkeypatch):
    monkeypatch.setattr("tasks.load.predictor.FEW_PRODUCTS", 0)
    found = predictor(make_network(3))
    asked = []

    def fill(start, buffer):
        asked.append((start, len(buffer)))
        buffer[:] = ROWS[start : start + len(buffer)]

    assert np.array_equal(found.filled(300, fill, "margin"), found(ROWS[:300], "margin"))
    assert sorted(asked) == [(0, 128), (128, 128), (256, 16), (272, 16), (288, 12)]
