"""The `faithfulness` table: what techniques reach in single rows, so that groups of rows can be held beside each other.

A mean over all rows hides for whom explanations are worth less (Balagopalan et al. 2022, FAccT: fidelity gaps between
groups).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.agreement.explanations import Explained
from tasks.agreement.judged import Judged
from tasks.agreement.scores import RANDOM, Scores
from tasks.contracts import schema_of

#: measures of the judged rows that are kept row by row
MEASURES = ("insertion_minus_deletion", "mu_fidelity")
COMPLETENESS = "completeness_error"
#: share of the largest output that float32 outputs may miss a sum by
_ROUNDING = 1e-5


def faithfulness_table(
    explained: Sequence[Explained], judged: Judged | None, scores: Scores, outputs: Sequence[str], row_id: pa.DataType
) -> pa.Table:
    """A line a row, technique, output and measure.

    Of the judged rows, a sample that stands for all: insertion area − deletion area and µ-fidelity, of the output that
    each is judged on. Of every explained row: the completeness error |base value + Σ attributions − prediction|, for
    techniques that do not add up by construction.

    Args:
        explained: every technique's attributions, an entry an output.
        judged: the rows that scores are of, or None.
        scores: (technique, measure) → a value a judged row; the random attribution's are left out.
        outputs: names of the model's outputs, which `judged.output` points into.
        row_id: type of the ids.
    """
    schema = schema_of("faithfulness", row_id)
    parts = []
    if judged is not None:
        ids = judged.row_id.cast(row_id)
        names = pa.array([outputs[place] for place in judged.output], pa.string())
        for (technique, measure), values in scores.items():
            if measure in MEASURES and technique != RANDOM:
                parts.append(_lines(schema, ids, technique, names, measure, values))
    for technique, entries in _by_technique(explained).items():
        errors = [completeness_error(one) for one in entries]
        scale = max(float(np.nanmax(np.abs(one.prediction), initial=0.0)) for one in entries)
        if max(float(np.nanmax(error, initial=0.0)) for error in errors) <= _ROUNDING * scale:
            continue
        for one, error in zip(entries, errors, strict=True):
            names = pa.array([one.output] * len(error), pa.string())
            parts.append(_lines(schema, one.row_id.cast(row_id), technique, names, COMPLETENESS, error))
    return pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()


def completeness_error(one: Explained) -> np.ndarray:
    """(n,) |base value + Σ attributions − prediction| of each row, in the output's unit; NaN where one is lacking."""
    return np.abs(one.values.sum(axis=1) + one.base - one.prediction)


def _by_technique(explained: Sequence[Explained]) -> dict[str, list[Explained]]:
    found: dict[str, list[Explained]] = {}
    for one in explained:
        if len(one.row_id) and not np.isnan(one.base).all() and not np.isnan(one.prediction).all():
            found.setdefault(one.technique, []).append(one)
    return found


def _lines(
    schema: pa.Schema, ids: pa.Array, technique: str, outputs: pa.Array, measure: str, values: np.ndarray
) -> pa.Table:
    known = np.isfinite(values)
    n = int(known.sum())
    kept = pa.array(np.flatnonzero(known))
    return pa.table(
        {
            "row_id": ids.take(kept),
            "technique": pa.array([technique] * n, pa.string()),
            "output": outputs.take(kept),
            "measure": pa.array([measure] * n, pa.string()),
            "value": values[known].astype(np.float64),
        },
        schema=schema,
    )
