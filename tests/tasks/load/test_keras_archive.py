from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path

import pytest

from tasks.errors import ModelError
from tasks.load.backend import tensorflow
from tasks.load.keras_archive import check_archive
from tasks.load.models import open_model

CUSTOM = """
import keras

@keras.saving.register_keras_serializable("shop")
class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2
"""


@pytest.fixture
def path(shop, make_network):
    return Path(shop.model(make_network(3)))


def layer(config: dict, number: int = 1) -> dict:
    return config["config"]["layers"][number]


def refused(path: Path, match: str) -> ModelError:
    with pytest.raises(ModelError, match=match) as caught:
        check_archive(path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_plain_model_passes(path):
    check_archive(path)


@pytest.mark.parametrize("model", ["adult_income/1", "adult_income/2", "digit_scenes/1"])
def test_the_bundled_models_pass(model):
    check_archive(Path("data/models") / model / "model.keras")


def test_a_lambda_layer_is_refused_with_what_to_do(shop):
    tensorflow()
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2, name="twice")(inputs))
    error = refused(Path(shop.model(model)), "a Lambda layer")
    assert error.values == ("twice",)
    assert "export the model without it" in error.hint


def test_a_lambda_in_a_nested_model_is_refused(shop):
    tensorflow()
    import keras

    inner = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)])
    inputs = keras.Input((3,))
    refused(Path(shop.model(keras.Model(inputs, inner(inputs)))), "a Lambda layer")


@pytest.mark.parametrize("kind", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_layers_that_run_foreign_code_are_refused(shop, path, kind):
    shop.edited(str(path), lambda config: layer(config).update(class_name=kind))
    refused(path, f"a {kind} layer runs code from outside the file")


def test_a_function_written_as_code_is_refused(shop, path):
    code = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
    shop.edited(str(path), lambda config: layer(config)["config"].update(activation=code))
    refused(path, "carries Python code")


def test_a_vocabulary_in_a_file_is_refused(shop, path):
    shop.edited(
        str(path),
        lambda config: layer(config).update(class_name="StringLookup", config={"vocabulary": "/etc/passwd"}),
    )
    refused(path, "reads its vocabulary from a file")


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"module": "os", "class_name": "system"}, "os.system"),
        ({"module": "builtins", "class_name": "eval"}, "builtins.eval"),
        ({"module": None, "class_name": "Dense"}, "(no module).Dense"),
        ({"module": "kerasx.layers"}, "kerasx.layers.Dense"),
        ({"registered_name": "shop>Dense"}, "keras.layers.Dense"),
    ],
)
def test_a_class_that_is_not_keras_own_is_refused_by_name(shop, path, change, value):
    shop.edited(str(path), lambda config: layer(config).update(change))
    error = refused(path, "the model needs a custom class or function")
    assert error.values == (value,)
    assert "KERAS_AUDIT_TRUST" in error.hint


def test_a_registered_function_is_refused(shop, path):
    own = {"module": "builtins", "class_name": "function", "config": "f", "registered_name": "shop>f"}
    shop.edited(str(path), lambda config: layer(config)["config"].update(activation=own))
    assert refused(path, "custom class or function").values == ("builtins.f",)


def test_hostile_names_of_layers_are_text(shop, path, hostile):
    def rename(config):
        layer(config)["class_name"] = "Lambda"
        layer(config)["config"]["name"] = hostile + "\n" + "x" * 1000

    shop.edited(str(path), rename)
    assert "<script>" in str(refused(path, "a Lambda layer"))


def test_a_class_of_a_trusted_module_is_used(shop, monkeypatch, with_seed):
    (shop.folder / "shop_layers.py").write_text(CUSTOM)
    monkeypatch.syspath_prepend(str(shop.folder))
    tensorflow()
    import keras
    import numpy as np

    doubled = importlib.import_module("shop_layers").Doubled
    inputs = keras.Input((3,))
    model = with_seed(keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(doubled()(inputs))))
    path = Path(shop.model(model))
    config = shop.config(str(path), "nowhere.csv")
    for trusted in ("", "shop", "shop_layers.Doubled"):  # the package of the class is not its module
        monkeypatch.setenv("KERAS_AUDIT_TRUST", trusted)
        with pytest.raises(ModelError, match="the model needs a custom class") as caught:
            open_model(config)
        assert caught.value.values == ("shop_layers.Doubled",)
    monkeypatch.setenv("KERAS_AUDIT_TRUST", "other, shop_layers")
    rows = np.ones((2, 3), np.float32)
    assert np.array_equal(open_model(config).keras_model(rows), model(rows))


def test_what_keras_itself_writes_passes(shop):
    """Operations, nested and shared layers, preprocessing layers, policies: none of them needs trust."""
    tensorflow()
    import keras
    import numpy as np

    layers = keras.layers
    inputs = keras.Input((4,), name="numbers")
    scaling = layers.Normalization(mean=[0.0] * 4, variance=[1.0] * 4)
    shared = layers.Dense(4, activation=keras.activations.gelu, kernel_regularizer=keras.regularizers.L2(0.1))
    inner = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.Dropout(0.2)], name="inner")
    hidden = keras.ops.maximum(shared(scaling(inputs)), shared(inner(inputs))) * 2.0 + 1.0
    hidden = layers.Concatenate()([hidden, layers.Discretization(bin_boundaries=[0.0, 1.0])(inputs[:, :1])])
    model = keras.Model(inputs, keras.ops.sigmoid(layers.Dense(1, dtype="mixed_float16")(hidden)))
    found = open_model(shop.config(shop.model(model), "nowhere.csv")).keras_model
    rows = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert np.allclose(found(rows), model(rows), atol=1e-3)


def test_a_trusted_module_that_fails_says_so(shop, path, monkeypatch):
    (shop.folder / "shop_broken.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(str(shop.folder))
    monkeypatch.setenv("KERAS_AUDIT_TRUST", "shop_broken")
    shop.edited(str(path), lambda config: layer(config).update(module="shop_broken", class_name="Doubled"))
    refused(path, "shop_broken cannot be imported .RuntimeError: no licence")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_not_a_zip_is_not_a_keras_file(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    assert "model.save" in refused(path, r"is not a Keras file \(not a zip archive\)").hint


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"readme.txt": b"hello"}, "is not a Keras file .needs config.json"),
        ({"config.json": b"{}"}, "is not a Keras file .needs config.json"),
        ({"config.json": b"{", "model.weights.h5": b""}, "is a damaged Keras file"),
        ({"config.json": b"\xff\xfe", "model.weights.h5": b""}, "is a damaged Keras file"),
        ({"config.json": b"[" * 100_000, "model.weights.h5": b""}, "is a damaged Keras file"),
        ({"config.json": b"{}", "model.weights.h5": b"", "../../evil": b""}, "would leave its folder"),
        ({"config.json": b"{}", "model.weights.h5": b"", "/etc/evil": b""}, "would leave its folder"),
    ],
)
def test_a_zip_with_other_things_in_it_is_refused(tmp_path, entries, message):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    refused(path, message)


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w") as member:
            block = bytes(1 << 24)
            for _ in range(17):
                member.write(block)
    assert path.stat().st_size < 1 << 20
    assert refused(path, "unpacks to far more than it holds").values == ("model.weights.h5",)


def test_a_huge_config_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"a": "x" * (33 << 20)}))
        archive.writestr("model.weights.h5", b"")
    refused(path, "config.json is larger than 32 MiB")


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "not a zip archive")
