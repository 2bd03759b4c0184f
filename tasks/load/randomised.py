"""The same model with weights that have learnt nothing: what a sanity check of explanations asks for."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.errors import ModelError
from tasks.load.backend import tensorflow
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor
from tasks.load.subject import Subject


def randomised(subject: Subject, generator: np.random.Generator) -> Predictor:
    """A predictor of a copy of the subject's model with all of its weights drawn anew; the model stays as it is.

    A matrix or a kernel becomes normal numbers of mean 0 and of its own root mean square, so that signals keep their
    size; a vector (a bias, the statistics of a normalisation) is shuffled, so that a variance stays positive. Whole
    numbers, and what a Normalization layer learnt of the data, stay.

    Source: full randomisation of Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.

    Raises:
        ModelError: the model cannot be copied (`not_copied`).
    """
    config, model = subject.config, subject.model.keras_model
    copy = _copy(model, subject.model.path)
    kept = _normalisations(copy)
    copy.set_weights(
        [
            value if id(variable) in kept else _drawn(value, generator)
            for variable, value in zip(copy.weights, copy.get_weights(), strict=True)
        ]
    )
    outputs = describe(copy, config.model.task, subject.classes, config.data.target.column, subject.model.path)
    old = subject.predictor
    return Predictor(copy, outputs, old.arrangement, old.row_shape, where=subject.model.path, batch=old.batch)


def _copy(model: Any, where: str) -> Any:
    """A model of its own with the same layers and weights."""
    tensorflow()
    import keras

    try:
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    except Exception as error:  # any layer's own code may run here
        reason = (str(error).splitlines() or [""])[0][:200]
        raise ModelError(
            f"cannot be copied ({type(error).__name__}: {reason})", where=where, code="not_copied"
        ) from error
    if {id(v) for v in copy.weights} & {id(v) for v in model.weights}:
        raise ModelError("cannot be copied: the copy shares its weights", where=where, code="not_copied")
    return copy


def _normalisations(model: Any) -> set[int]:
    """Weights of layers that scale the data by statistics of it."""
    import keras

    layers = model._flatten_layers()
    return {id(v) for layer in layers if isinstance(layer, keras.layers.Normalization) for v in layer.weights}


def _drawn(value: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if value.dtype.kind != "f":
        return value
    if value.ndim < 2:
        return generator.permutation(value)
    return generator.normal(0.0, np.sqrt(np.mean(np.square(value, dtype=np.float64))), value.shape).astype(value.dtype)
