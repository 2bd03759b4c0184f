"""The subject of an audit: model and data, opened and fitted to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.errors import ConfigError, DataRefused
from tasks.load.cache import Cache
from tasks.load.encoding import Encoder, Feature, column_of
from tasks.load.fitting import fit_key, fitted, refuse
from tasks.load.models import LoadedModel, open_model
from tasks.load.predictor import Predictor
from tasks.load.spill import forget
from tasks.load.tables import Dataset, open_data
from tasks.load.targets import UNKNOWN, class_index, target_codes, target_numbers


@dataclass(frozen=True, eq=False)
class Subject:
    """Model and data of an audit. Shared between threads: nothing in it is to be changed.

    Shapes: n rows, r reference rows, d features.

    Attributes:
        features: d; empty for images.
        encoder: raw rows ↔ codes; None for images.
        rows: (n, d) float64 codes, or (n, h, w, c) float32 pixels of 0–255; read-only, in a file where they are large.
        reference: the same of the reference rows; None without a reference.
        classes: of the target, as text, in the order of the outputs; empty for a regression.
        target: (n,) int64 class index, -1 where the label is missing; regression: float64, NaN where missing.
        favorable, positive: indices into classes; empty where nothing is named.
        limitations: sentences for the report that neither model nor data say by themselves.
    """

    config: AuditConfig
    model: LoadedModel
    data: Dataset
    features: tuple[Feature, ...]
    encoder: Encoder | None
    predictor: Predictor
    rows: np.ndarray
    reference: np.ndarray | None
    classes: tuple[str, ...]
    target: np.ndarray
    favorable: tuple[int, ...]
    positive: tuple[int, ...]
    limitations: tuple[str, ...]

    @property
    def row_id(self) -> pa.Array:
        """(n,) in the id column's own type."""
        return self.data.row_id

    @property
    def modality(self) -> Literal["table", "image"]:
        return self.model.modality


_subjects: Cache[Subject] = Cache(4)


def open_subject(config: AuditConfig) -> Subject:
    """Opens model and data and fits them to each other. Call it after the data gate has passed.

    Raises:
        ConfigError, ModelError: as `open_model` and `open_data`; features, outputs and classes that do not fit.
        DataRefused: values that the gate should have refused: an unknown class, an image that cannot be read.
        Incomplete: a file is not the one pinned for the run (`pinned`), or cannot be reached.
    """
    model, data = open_model(config), open_data(config)
    key = (fit_key(config, model, data), config.model_dump_json())
    found = _subjects.get(key, lambda: _opened(config, model, data))
    for array in (found.rows, found.reference):
        if array is not None:
            forget(array)  # what other stages have read of it
    return found


def _opened(config: AuditConfig, model: LoadedModel, data: Dataset) -> Subject:
    if data.table.num_rows == 0:
        raise DataRefused("the table has no rows", where="data.path", code="empty_table")
    fit = fitted(config, model, data)
    refuse(fit, fit.rows, "data.path")
    if fit.reference is not None:
        refuse(fit, fit.reference, "data.reference")
    column = column_of(data.table, config.data.target.column, "data.path")
    named: list[object] = list(config.model.classes or fit.classes)
    if config.model.task == "regression":
        target = target_numbers(column, config.data.target.column)
    else:
        target = target_codes(column, named)
        if np.any(target == UNKNOWN):
            values = column.filter(pa.array(target == UNKNOWN)).unique()
            raise DataRefused(
                f"the target {config.data.target.column!r} has values that are no class",
                where="data.path",
                values=values.to_pylist(),
                code="unknown_class",
            )
    target.setflags(write=False)
    favorable, positive = config.data.target.favorable, config.data.target.positive
    return Subject(
        config=config,
        model=model,
        data=data,
        features=fit.encoder.features if fit.encoder else (),
        encoder=fit.encoder,
        predictor=fit.predictor,
        rows=fit.rows,
        reference=fit.reference,
        classes=fit.classes,
        target=target,
        favorable=_indices(favorable, named, "data.target.favorable"),
        positive=_indices(favorable if positive is None else positive, named, "data.target.positive"),
        limitations=fit.limitations,
    )


def _indices(outcome: object, classes: list[object], where: str) -> tuple[int, ...]:
    """The classes that a config's outcome names: none, one or several."""
    names = outcome if isinstance(outcome, list) else [] if outcome is None else [outcome]
    if not classes:
        return ()
    found = [class_index(name, classes) for name in names]
    unknown = [name for name, index in zip(names, found, strict=True) if index == UNKNOWN]
    if unknown:
        raise ConfigError("is not a class", where=where, values=unknown, available=classes)
    return tuple(found)
