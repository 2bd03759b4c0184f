"""What an audit explains: one sample of rows, one background, the outputs; the same for every technique."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from configs.schema import AuditConfig
from tasks.errors import ConfigError, nearest
from tasks.explain.base import Problem
from tasks.load import Subject, image_size, pieces, taken

#: classes up to which all are explained unless the config says otherwise
MOST_OUTPUTS = 10
BOX_COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")


def problem_of(subject: Subject) -> Problem:
    """The problem that every technique of an audit is given; the same whenever it is made.

    Raises:
        ConfigError: explain.outputs names an output that the model does not have.
        OutputError: the model fails on a sampled row (only where the outputs depend on the prediction).
    """
    config, explain = subject.config, subject.config.explain
    rule = config.bias.decision
    positions = sampled_positions(len(subject.rows), explain.rows, explain.seed)
    every = len(positions) == len(subject.rows)
    rows = subject.rows if every else taken(subject.rows, positions)
    background, limitations = drawn_background(subject)
    return Problem(
        modality=subject.modality,
        task=config.model.task,
        predictor=subject.predictor,
        kind=explain.output,
        rows=rows,
        background=background,
        reference=background if subject.modality == "image" else _reference(subject),
        explained=explained_outputs(subject, rows),
        target=subject.target if every else subject.target[positions],
        weight=_weights(subject, positions),
        features=subject.features if subject.modality == "table" else None,
        groups=feature_groups(subject),
        boxes=_boxes(subject, positions) if subject.modality == "image" else None,
        seed=explain.seed,
        positions=positions,
        threshold=0.5 if rule.threshold is None else rule.threshold,
        decided_by="rank" if rule.top_k is not None else "score" if rule.column is None else "record",
        limitations=limitations,
    )


def feature_groups(subject: Subject) -> dict[str, tuple[int, ...]]:
    """The columns of each of the config's feature groups.

    Raises:
        ConfigError: a group names a column that is no feature, or bears the name of a feature outside it.
    """
    where, named = "explain.feature_groups", subject.config.explain.feature_groups
    if named and subject.modality != "table":
        raise ConfigError("binds columns of a table, and the model takes images", where=where, hint="remove it")
    names = [feature.name for feature in subject.features]
    groups = {}
    for group, columns in named.items():
        unknown = [column for column in columns if column not in names]
        if unknown:
            hint = nearest(unknown[0], names)
            raise ConfigError("is not a feature", where=f"{where}.{group}", values=unknown, available=names, hint=hint)
        if group in names and group not in columns:
            raise ConfigError(
                f"{group} is a feature of its own", where=f"{where}.{group}", hint="give the group another name"
            )
        groups[group] = tuple(sorted(map(names.index, columns)))
    return groups


def sampled_positions(n: int, wanted: int | str, seed: int) -> np.ndarray:
    """(rows,) int64, rising: a simple random sample without replacement, or every row."""
    if wanted == "all" or int(wanted) >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, *b"rows"]).choice(n, int(wanted), replace=False))


def drawn_background(subject: Subject) -> tuple[np.ndarray, tuple[str, ...]]:
    """Rows that stand for "feature absent", from the reference, and what to say about them."""
    wanted, seed = subject.config.explain.background, subject.config.explain.seed
    reference = _reference(subject)
    said: tuple[str, ...] = ()
    if subject.reference is None:
        said = ("No data.reference is set: background rows, and LIME's neighbours, are drawn from the audited data.",)
    if len(reference) <= wanted:
        return reference, said
    picked = np.sort(np.random.default_rng([seed, *b"background"]).choice(len(reference), wanted, replace=False))
    return taken(reference, picked), said


def _reference(subject: Subject) -> np.ndarray:
    return subject.rows if subject.reference is None or not len(subject.reference) else subject.reference


def explained_outputs(subject: Subject, rows: np.ndarray) -> np.ndarray:
    """(n, m) int64: which outputs are explained for each row; read-only, and no larger than it must be."""
    chosen = outputs_chosen(subject.config, subject.predictor.outputs, subject.predictor.audited)
    if chosen is None:
        audited = subject.predictor.audited
        best = [subject.predictor(rows[part], "probability")[:, audited].argmax(axis=1) for part in pieces(rows)]
        return np.concatenate(best)[:, None] + (audited.start or 0)
    return np.broadcast_to(np.array(chosen, np.int64), (len(rows), len(chosen)))


def outputs_chosen(config: AuditConfig, names: tuple[str, ...], audited: slice) -> list[int] | None:
    """Indices of the outputs to explain for every row; None where it is each row's predicted class.

    Raises:
        ConfigError: a name is not an output of the model.
    """
    wanted = config.explain.outputs
    indices = list(range(len(names)))
    if wanted == "all":
        return indices
    own = indices[audited]
    if wanted == "auto":
        if config.model.task == "binary":
            return [own[-1]]  # classes[1], whether the model has an output for classes[0] or not
        return own if len(own) <= MOST_OUTPUTS else None
    assert not isinstance(wanted, str)
    found = []
    for name in dict.fromkeys(map(str, wanted)):
        # Of several heads, the audited one's outputs may go by their class alone.
        places = [i for i in indices if names[i] == name] or [i for i in own if names[i].rpartition("/")[2] == name]
        if not places:
            raise ConfigError(
                "is not an output of the model",
                where="explain.outputs",
                values=[name],
                available=names,
                hint=nearest(name, names),
            )
        found.append(places[0])
    return found


def _weights(subject: Subject, positions: np.ndarray) -> np.ndarray | None:
    column = subject.config.data.weight
    if column is None:
        return None
    values = subject.data.table.column(column).take(pa.array(positions))
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


# ---------------------------------------------------------------- boxes


def _boxes(subject: Subject, positions: np.ndarray) -> np.ndarray | None:
    """(n, 4) left, top, right, bottom in pixels of the model's input, NaN where a row has none; None without boxes."""
    table = subject.data.table
    if not set(BOX_COLUMNS) <= set(table.column_names):
        return None
    places = pa.array(positions)
    columns = [table.column(name).take(places) for name in BOX_COLUMNS]
    if not all(pa.types.is_integer(c.type) or pa.types.is_floating(c.type) for c in columns):
        return None
    boxes = np.stack(
        [c.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64) for c in columns], axis=1
    )
    assert subject.config.data.image is not None
    images = table.column(subject.config.data.image).take(places)
    height, width = subject.rows.shape[1:3]
    for row, image in enumerate(images):
        own_width, own_height = image_size(image.as_py(), int(positions[row]), subject.data.path, "data.path")
        boxes[row] *= np.array([width / own_width, height / own_height] * 2)
    return boxes
