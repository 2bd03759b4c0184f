from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tasks.errors import DeadlinePassed, OutputError, Stopped
from tasks.load import open_subject
from tasks.load.arrangement import Pixels, identity
from tasks.load.backend import tensorflow
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor, batch_size
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
    ("width", "hidden", "batch"), [(3, 8, 16_384), (107, 64, 16_384), (5000, 4, 2048), (600, 4000, 4096)]
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
