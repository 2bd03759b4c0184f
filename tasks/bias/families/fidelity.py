"""For whom explanations are worth less: what techniques reach in single rows (`faithfulness`), by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tasks.bias.families.attributions import explained_rows
from tasks.bias.measure import Of
from tasks.bias.rows.groups import Attribute
from tasks.bias.statistics.moments import Means, Moments
from tasks.errors import Incomplete

if TYPE_CHECKING:
    from tasks.persist import Workspace

#: measure of the table → metric of a group
METRICS = {
    "insertion_minus_deletion": "faithfulness",
    "mu_fidelity": "mu_fidelity",
    "completeness_error": "completeness_error",
}
TABLE = "faithfulness"


def mean_faithfulness(
    workspace: Workspace,
    row_id: pa.Array,
    attributes: Sequence[Attribute],
    weight: np.ndarray | None,
    confidence: float,
) -> tuple[dict[Of, Means], ...]:
    """An entry an attribute: each technique's mean of a measure over the group's rows, with Student's interval.

    A row with several outputs counts once, with its mean over them; the output is then null, as it is where rows are
    judged on different ones. Nothing where no technique was judged.

    Raises:
        Incomplete: the table has a row that was not audited.
    """
    found: tuple[dict[Of, Means], ...] = tuple({} for _ in attributes)
    if not workspace.has_table(TABLE):
        return found
    table = workspace.read_table(TABLE)
    if not table.num_rows:
        return found
    keys = [table.column(name).combine_chunks().dictionary_encode() for name in ("technique", "measure", "output")]
    technique, measure, output = (key.indices.to_numpy(zero_copy_only=False) for key in keys)
    techniques, measures, outputs = (key.dictionary.to_pylist() for key in keys)
    row = explained_rows(row_id, table.column("row_id").combine_chunks())
    if (row < 0).any():
        raise Incomplete("a judged row was not predicted", where=f"{TABLE}, row_id")
    values = table.column("value").to_numpy()
    for t, name in enumerate(techniques):
        for m, kind in enumerate(measures):
            own = np.flatnonzero((technique == t) & (measure == m) & np.isfinite(values))
            if kind not in METRICS or not len(own):
                continue
            rows, means = _by_row(row[own], values[own])
            named = np.unique(output[own])
            of = Of(METRICS[kind], outputs[named[0]] if len(named) == 1 else None, None, name)
            for attribute, entry in zip(attributes, found, strict=True):
                sums = Moments(np.full(len(attribute.groups), means.mean()))
                sums.add(attribute.codes[rows], means, None if weight is None else weight[rows])
                entry[of] = sums.measured(slice(None), confidence, "no judged row")
    return found


def _by_row(row: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that occur, rising, and each one's mean value."""
    rows, place, count = np.unique(row, return_inverse=True, return_counts=True)
    return rows, np.bincount(place, values) / count
