"""Model and data fitted to each other: features, encoder, arrangement and predictor, and what the model cannot take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.errors import ConfigError, DataRefused, ModelError
from tasks.load.arrangement import Arrangement, Named, Pixels, identity
from tasks.load.cache import Cache
from tasks.load.encoding import Encoder, column_of, kind_of, make_encoder
from tasks.load.images import image_shape, images
from tasks.load.models import LoadedModel, open_model
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor
from tasks.load.probing import arrange
from tasks.load.spill import LIMIT, forget, pieces, room
from tasks.load.tables import Dataset, default_columns, open_data
from tasks.load.targets import class_names


@dataclass(frozen=True, eq=False)
class Fit:
    """What can be made of model and data before the target's values are looked at.

    Attributes:
        encoder: None for images.
        predictor: compiled on first use.
        refused: as `Arrangement.refused`.
        rows, reference: coded rows or pixels; read-only; in a file where they are large (`spill.py`).
        classes: of the target, as text; empty for a regression.
        limitations: sentences for the report.
    """

    encoder: Encoder | None
    predictor: Predictor
    refused: tuple[np.ndarray, ...]
    rows: np.ndarray
    reference: np.ndarray | None
    classes: tuple[str, ...]
    limitations: tuple[str, ...]


_fits: Cache[Fit] = Cache(2)


def fitted(config: AuditConfig, model: LoadedModel, data: Dataset) -> Fit:
    """Fits model and data to each other, or finds that this has been done.

    Raises:
        ConfigError, ModelError: features, outputs and classes that do not fit.
        DataRefused: an image that cannot be read.
    """
    return _fits.get(fit_key(config, model, data), lambda: _made(config, model, data))


def fit_key(config: AuditConfig, model: LoadedModel, data: Dataset) -> Hashable:
    """What a fit depends on."""
    return (
        model.path, model.sha256, model.preprocessor_path, model.preprocessor_sha256, data.path, data.sha256,
        data.reference_path, data.reference_sha256, config.model_dump_json(include={"model", "data"}),
    )  # fmt: skip


def feature_names(config: AuditConfig, model: LoadedModel, data: Dataset) -> tuple[str, ...]:
    """The features in the model's order; columns that are not there are the gate's to refuse.

    The config's; else what the preprocessor or the named inputs ask for; else every column but target, id, weight
    and image. Images have none.

    Raises:
        ConfigError: the config leaves out a feature that the model asks for.
    """
    if model.modality == "image":
        return ()
    asked, named = model.feature_names, config.data.features
    if asked is not None:
        if named is not None and set(named) != set(asked):
            raise ConfigError(
                "are not the features that the model asks for",
                where="data.features",
                values=sorted(set(named) ^ set(asked)),
                hint="remove the key: the model's own are taken",
            )
        return asked
    if named is not None:
        return tuple(named)
    left_out = {config.data.target.column, config.data.id, config.data.weight, config.data.image}
    return tuple(name for name in default_columns(data.table) if name not in left_out)


def feature_kinds(
    config: AuditConfig, model: LoadedModel, data: Dataset
) -> dict[str, Literal["number", "category"] | None]:
    """Each feature's kind; None where its column's type cannot be one, or the data has no such column."""
    kinds: dict[str, Literal["number", "category"] | None] = {}
    for name in feature_names(config, model, data):
        there = name in data.table.column_names
        other = data.reference.column(name) if data.reference and name in data.reference.column_names else None
        own = kind_of(data.table.schema.field(name).type, other) if there else None
        kinds[name] = (model.feature_kinds.get(name) or own) if own is not None else None
    return kinds


def nulls_accepted(config: AuditConfig) -> dict[str, bool]:
    """For each feature whether the model takes it where it is null: found by asking the preprocessor.

    A null that reaches the model as NaN is not taken, even where numbers come out: a compiled ReLU turns NaN into 0.
    For the data gate, which calls it once it knows that the columns are there.

    Raises:
        ConfigError, ModelError: as `open_subject`.
    """
    fit = fitted(config, open_model(config), open_data(config))
    if fit.encoder is None:
        return {}
    return {f.name: not refused[-1] for f, refused in zip(fit.encoder.features, fit.refused, strict=True)}


@dataclass(frozen=True)
class Refusal:
    """Values of a feature that the model cannot take.

    Attributes:
        values: as text, the most frequent first; None for null.
        rows: how many rows hold one.
        positions: of the first of them, up to five.
    """

    feature: str
    values: tuple[str | None, ...]
    rows: int
    positions: tuple[int, ...]


def refusals(config: AuditConfig) -> tuple[Refusal, ...]:
    """What the data holds that the model cannot take: nulls, infinities, categories that its preprocessor refuses.

    Raises:
        ConfigError, ModelError: as `open_subject`.
    """
    fit = fitted(config, open_model(config), open_data(config))
    return _refusals(fit, fit.rows)


def _refusals(fit: Fit, rows: np.ndarray) -> tuple[Refusal, ...]:
    if fit.encoder is None:
        return ()
    features = fit.encoder.features
    counts, positions = [0] * len(features), [[] for _ in features]  # type: tuple[list[int], list[list[int]]]
    texts: list[Counter[str | None]] = [Counter() for _ in features]
    for part in pieces(rows):
        for j, (feature, refused) in enumerate(zip(features, fit.refused, strict=True)):
            codes = rows[part, j]
            if feature.kind == "number":
                bad = np.isinf(codes) | (np.isnan(codes) & refused[0])
            else:
                bad = refused[codes.astype(np.int64)]
            where = np.flatnonzero(bad)
            if len(where):
                texts[j].update(fit.encoder.column_texts(codes[where], j).tolist())
                counts[j] += len(where)
                positions[j] += (part.start + where[:5]).tolist()
    return tuple(
        Refusal(feature.name, tuple(text for text, _ in texts[j].most_common(5)), counts[j], tuple(positions[j][:5]))
        for j, feature in enumerate(features)
        if counts[j]
    )


def refuse(fit: Fit, rows: np.ndarray, where: str) -> None:
    """Refuses rows that the model cannot take.

    Raises:
        DataRefused: naming the column, how many values, and which.
    """
    for refusal in _refusals(fit, rows):
        raise DataRefused(
            f"column {refusal.feature!r}: the model cannot take {refusal.rows} of {len(rows)} values",
            where=where,
            values=["null" if value is None else value for value in refusal.values],
            hint="remove these rows, fill the values, or export the model with a preprocessor that takes them",
            code="value_not_taken",
        )


# ---------------------------------------------------------------- fitting


def _made(config: AuditConfig, model: LoadedModel, data: Dataset) -> Fit:
    said: list[str] = []
    classes: tuple[str, ...] = ()
    if config.model.task != "regression":
        target = column_of(data.table, config.data.target.column, "data.path")
        classes, about = class_names(target, config.model.classes, model.classes)
        said.extend(about)
        if config.model.task == "binary" and len(classes) != 2:
            raise ModelError(
                f"a binary task has two classes, not {len(classes)}",
                where="model.classes",
                values=classes,
                hint="name them in model.classes: [negative, positive]",
            )
    outputs = describe(model.keras_model, config.model.task, classes, config.data.target.column, model.path)
    said.extend(outputs.limitations)

    encoder: Encoder | None = None
    if model.modality == "image":
        rows, reference, about, shape = _pictures(config, model, data)
        arrangement: Arrangement = Pixels(config.model.image.scale)
        said.extend(about)
    else:
        encoder, rows, reference = _coded(config, model, data)
        arrangement, about = _arranged(model, data, encoder, rows, reference)
        said.extend((*encoder.limitations, *about))
        shape = (len(encoder.features),)
    predictor = Predictor(model.keras_model, outputs, arrangement, shape, where=model.path)
    refused = () if encoder is None else arrangement.refused(encoder)
    data.forget()
    for array in (rows, reference):
        if array is not None:
            array.setflags(write=False)
            forget(array)
    return Fit(encoder, predictor, refused, rows, reference, classes, tuple(said))


def _coded(config: AuditConfig, model: LoadedModel, data: Dataset) -> tuple[Encoder, np.ndarray, np.ndarray | None]:
    names = feature_names(config, model, data)
    if not names:
        raise ConfigError("no column is left as a feature", where="data.features", hint="name the model's features")
    encoder = make_encoder(
        names,
        data.table,
        data.reference,
        kinds=dict(model.feature_kinds),
        preprocessor=model.preprocessor,
        forget=data.forget,
    )
    rows = encoder.codes(data.table, forget=data.forget)
    reference = None if data.reference is None else encoder.codes(data.reference, "data.reference", data.forget)
    return encoder, rows, reference


def _arranged(
    model: LoadedModel, data: Dataset, encoder: Encoder, rows: np.ndarray, reference: np.ndarray | None
) -> tuple[Arrangement, tuple[str, ...]]:
    if model.inputs == "named":
        return _by_name(model, encoder), ()
    shape = model.keras_model.inputs[0].shape
    width = None if any(side is None for side in shape[1:]) else int(np.prod(shape[1:], dtype=np.int64))
    if model.preprocessor is None:
        booleans = [
            j for j, values in enumerate(encoder.values) if values is not None and pa.types.is_boolean(values.type)
        ]
        texts = [f.name for j, f in enumerate(encoder.features) if f.kind == "category" and j not in booleans]
        if texts:
            raise ModelError(
                "takes a matrix of numbers, and these features are not numbers",
                where=model.path,
                values=texts,
                hint="put preprocessor.skops beside the model, or name its numeric columns in data.features",
            )
        arrangement: Any = identity(len(encoder.features), _as_numbers(encoder, booleans))
        said: tuple[str, ...] = ()
    else:
        names = list(encoder.names)
        tables = [data.table.select(names)] + ([data.reference.select(names)] if data.reference else [])
        codes = rows if reference is None else _joined(rows, reference)
        arrangement, said = arrange(encoder, model.preprocessor, codes, tables, data.forget if data.maps else None)
    if width is not None and arrangement.width != width:
        maker = "its preprocessor gives" if model.preprocessor else "there are"
        raise ModelError(
            f"takes {width} columns, but {maker} {arrangement.width}",
            where=model.path,
            hint="does the preprocessor belong to this model?" if model.preprocessor else "set data.features",
        )
    return arrangement, said


def _joined(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Both, one after the other; in a file where they are large."""
    if rows.nbytes + reference.nbytes <= LIMIT:
        return np.concatenate([rows, reference])
    codes = room((len(rows) + len(reference), rows.shape[1]), rows.dtype)
    for source, start in ((rows, 0), (reference, len(rows))):
        for part in pieces(source):
            target = codes[start + part.start : start + part.stop]
            target[:] = source[part]
            forget(target)
    return codes


def _as_numbers(encoder: Encoder, booleans: list[int]) -> dict[int, np.ndarray]:
    """0 and 1 in the order of each boolean category's codes."""
    return {j: np.array([float(v) for v in encoder.values[j].to_pylist()]) for j in booleans}  # type: ignore[union-attr]


def _by_name(model: LoadedModel, encoder: Encoder) -> Named:
    dtypes, ranks, texts, numbers = [], [], [], []
    for j, (tensor, feature) in enumerate(zip(model.keras_model.inputs, encoder.features, strict=True)):
        values = encoder.values[j]
        shape = tuple(tensor.shape)
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            raise ModelError(
                f"its input {tensor.name} has the shape {shape}, not one value a row",
                where=model.path,
                hint="set model.inputs: matrix, or export a model with one input a feature",
            )
        string = str(tensor.dtype) == "string"
        if not string and values is not None and not pa.types.is_boolean(values.type):
            raise ModelError(
                f"its input {tensor.name} takes numbers, and the column is {values.type}", where=model.path
            )
        dtypes.append(str(tensor.dtype))
        ranks.append(len(shape))
        texts.append(np.array([*feature.categories, ""], dtype=object) if string else None)
        numbers.append(
            np.array([*map(float, values.to_pylist()), np.nan]) if values is not None and not string else None
        )
    return Named(encoder.names, tuple(dtypes), tuple(ranks), tuple(texts), tuple(numbers))


def _pictures(
    config: AuditConfig, model: LoadedModel, data: Dataset
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...], tuple[int, ...]]:
    column = config.data.image
    assert column is not None  # open_model refuses an image model without it
    shape = image_shape(model, data, column)
    rows, said = images(column_of(data.table, column, "data.path"), shape, data.path, "data.path")
    reference = None
    if data.reference is not None:
        reference, _ = images(
            column_of(data.reference, column, "data.reference"), shape, data.reference_path or "", "data.reference"
        )
    return rows, reference, said, shape
