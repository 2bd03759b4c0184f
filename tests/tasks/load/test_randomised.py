"""The model with weights drawn anew: another model of the same form, and the audited one untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from configs.schema import AuditConfig
from flows.request import load_config
from tasks.errors import ModelError
from tasks.load import open_subject, randomised
from tasks.load.randomised import _copy, _drawn


@pytest.mark.parametrize("path", ["configs/adult_income.yaml", "configs/digit_scenes.yaml"])
def test_another_model_of_the_same_form(path: str) -> None:
    subject = open_subject(load_config(path))
    before = [w.copy() for w in subject.model.keras_model.get_weights()]
    rows = subject.rows[:50]
    own = subject.predictor(rows)
    other = randomised(subject, np.random.default_rng(0))
    found = other(rows)
    assert found.shape == own.shape
    assert other.outputs == subject.predictor.outputs
    assert np.ptp(found[:, 0]) > 0  # it still says different things of different rows
    assert np.abs(np.corrcoef(found[:, 0], own[:, 0])[0, 1]) < 0.9
    assert np.array_equal(other(rows), randomised(subject, np.random.default_rng(0))(rows))
    assert not np.array_equal(found, randomised(subject, np.random.default_rng(1))(rows))
    assert all(np.array_equal(a, b) for a, b in zip(before, subject.model.keras_model.get_weights(), strict=True))
    assert np.array_equal(subject.predictor(rows), own)
    assert np.isfinite(other(rows, "margin")).all()


def test_how_weights_are_drawn() -> None:
    generator = np.random.default_rng(0)
    kernel = np.random.default_rng(1).normal(3, 2, (60, 70)).astype(np.float32)
    drawn = _drawn(kernel, generator)
    assert drawn.dtype == np.float32
    assert np.sqrt(np.mean(drawn**2)) == pytest.approx(np.sqrt(np.mean(kernel**2)), rel=0.05)
    assert abs(np.corrcoef(drawn.ravel(), kernel.ravel())[0, 1]) < 0.1
    vector = np.arange(50, dtype=np.float32)
    assert sorted(_drawn(vector, generator).tolist()) == vector.tolist()
    assert _drawn(vector, generator).tolist() != vector.tolist()
    counts = np.arange(6).reshape(2, 3)
    assert _drawn(counts, generator) is counts  # whole numbers are no learnt weights


def test_a_model_that_cannot_be_copied_is_told() -> None:
    import keras

    class Own(keras.Model):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(size)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own(2)
    model(np.zeros((1, 3), np.float32))
    with pytest.raises(ModelError, match="cannot be copied"):
        _copy(model, "model.path")


def test_nested_models_and_normalisations(tmp_path: Any) -> None:
    import keras

    from tests.tasks.explain.conftest import make_audit

    audit = make_audit(tmp_path)
    subject = open_subject(AuditConfig.model_validate(audit))
    old = subject.model.keras_model
    width = old.inputs[0].shape[1]
    inner = keras.Sequential([keras.Input((width,)), keras.layers.Dense(4), keras.layers.Dense(1)])
    scale = keras.layers.Normalization()
    scale.adapt(np.random.default_rng(0).normal(5, 3, (100, width)))
    inputs = keras.Input((width,))
    nested = keras.Model(inputs, keras.layers.Activation("sigmoid")(inner(scale(inputs))))
    path = next(tmp_path.rglob("model.keras"))
    nested.save(path)
    subject = open_subject(AuditConfig.model_validate(audit))
    other = randomised(subject, np.random.default_rng(0))
    by_layer = {layer.name: layer for layer in other.keras_model.layers}
    for a, b in zip(by_layer[scale.name].get_weights(), scale.get_weights(), strict=True):
        assert np.array_equal(a, b)
    kernels = by_layer[inner.name].get_weights()
    assert not np.allclose(kernels[0], inner.get_weights()[0])
    assert np.isfinite(other(subject.rows)).all()
