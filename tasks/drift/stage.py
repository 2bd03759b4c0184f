"""Drift as a stage: each feature, and the model's scores, in the audited data against the reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.schema import AuditConfig
from tasks.contracts import TABLES, Done, Finding, NotApplicable, ValueStatus
from tasks.drift import measures
from tasks.load import Feature, open_subject
from tasks.persist import Workspace
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Dataset

#: an index that chance alone brings this near to its threshold says nothing
_MOST_BY_CHANCE = measures.PSI_MAJOR / 2


@dataclass(frozen=True)
class Drift:
    """One measure of one feature, of one sensitive attribute, or of one output's score.

    Attributes:
        kind: data (a feature, or an attribute that is none) or prediction (a score; `feature` then names the output).
        value: NaN where it is undefined.
        threshold: where there is a conventional one.
    """

    kind: Literal["data", "prediction"]
    feature: str | None
    measure: str
    value: float
    status: ValueStatus
    threshold: float | None = None
    attribute: str | None = None

    @property
    def about(self) -> str:
        """The feature, attribute or output."""
        return self.feature or self.attribute or ""


def measure_drift(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """Writes `drift`: every feature, sensitive attribute and output's score, reference against audited data.

    Weights are not used: drift is of the rows as they come. Scores of the audited rows are those of `predictions`.

    Returns:
        Done, with a warning for each feature or score past its threshold, and facts: `reference_rows`, `rows`,
        `features`, `drifted` (names), `drifted_outputs`. NotApplicable where the config names no reference.

    Raises:
        OutputError: the model returned NaN.
        Stopped, DeadlinePassed: as the watch says.
    """
    if config.data.reference is None:
        return NotApplicable(
            "drift", "no_reference", "There is no reference data (data.reference) to compare the audited data with."
        )
    subject = open_subject(config)
    assert subject.reference is not None
    watch.expect(len(subject.features) + 2)
    least = config.bias.min_group_size
    found: list[Drift] = []
    for j, feature in enumerate(subject.features):
        found += feature_drift(feature, subject.reference[:, j], subject.rows[:, j], least)
        watch.advance()
    for key, sensitive in config.data.sensitive.items():
        if sensitive.column not in {feature.name for feature in subject.features}:
            found += attribute_drift(key, sensitive.column, sensitive.bins is not None, subject.data, least)
    watch.advance()
    before = subject.predictor(subject.reference, watch=watch)
    watch.advance()
    predictions = workspace.read_table("predictions", ["output", "score"])
    for j, output in enumerate(subject.predictor.outputs):
        now = predictions.filter(pc.equal(predictions["output"], output))["score"].to_numpy()
        found += score_drift(output, before[:, j], now, least)
    table = workspace.write_table("drift", drift_table(found))
    findings = tuple(_findings(found))
    past = [one for one in found if _exceeds(one)]
    return Done(
        "drift",
        tables=(table,),
        findings=findings,
        facts={
            "reference_rows": len(subject.reference),
            "rows": len(subject.rows),
            "features": len(subject.features),
            "drifted": [one.about for one in past if one.kind == "data"],
            "drifted_outputs": [one.about for one in past if one.kind == "prediction"],
        },
    )


def feature_drift(feature: Feature, reference: np.ndarray, audited: np.ndarray, least: int = 30) -> list[Drift]:
    """All measures of one feature.

    Args:
        feature: its kind decides the measures.
        reference, audited: (n,), (m,) float64 codes: numbers with NaN for null, or categories with a code for null.
        least: a sample with fewer rows is insufficient_data.
    """
    if feature.kind == "category":
        size = feature.null_code + 1
        expected, actual = (np.bincount(codes.astype(np.int64), minlength=size) for codes in (reference, audited))
        distance = ("total_variation", measures.total_variation(expected, actual))
        gone_before, gone_now = expected[feature.null_code], actual[feature.null_code]
    else:
        expected, actual = measures.quantile_counts(reference, audited)
        distance = ("kolmogorov_smirnov", measures.kolmogorov_smirnov(reference, audited))
        gone_before, gone_now = expected[-1], actual[-1]
    found = _index("data", feature.name, expected, actual, least)
    enough = min(len(reference), len(audited)) >= least
    values = [distance, ("jensen_shannon", measures.jensen_shannon(expected, actual))]
    if len(reference) and len(audited):
        values.append(("missing_rate_difference", gone_now / len(audited) - gone_before / len(reference)))
    return found + [Drift("data", feature.name, name, value, _status(value, enough)) for name, value in values]


def attribute_drift(key: str, column: str, binned: bool, data: Dataset, least: int = 30) -> list[Drift]:
    """All measures of a sensitive attribute that is no feature: who is in the data has changed, or not.

    Nothing where the reference does not have the column: it need not.
    """
    assert data.reference is not None
    if column not in data.reference.column_names:
        return []
    before, now = data.reference.column(column), data.table.column(column)
    if binned:
        feature = Feature(key, "number")
        codes = [values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) for values in (before, now)]
    else:
        texts = [values.cast(pa.string()) for values in (before, now)]
        known = pa.chunked_array([*texts[0].chunks, *texts[1].chunks], pa.string()).unique().drop_null()
        feature = Feature(key, "category", tuple(known.to_pylist()))
        codes = [
            pc.fill_null(pc.index_in(values, value_set=known), feature.null_code).to_numpy(zero_copy_only=False)
            for values in texts
        ]
    found = feature_drift(feature, codes[0], codes[1], least)
    return [replace(one, feature=None, attribute=key) for one in found]


def score_drift(output: str, reference: np.ndarray, audited: np.ndarray, least: int = 30) -> list[Drift]:
    """All measures of one output's score; (n,) and (m,) float64 without NaN."""
    expected, actual = measures.quantile_counts(reference, audited)
    enough = min(len(reference), len(audited)) >= least
    values = [
        ("kolmogorov_smirnov", measures.kolmogorov_smirnov(reference, audited)),
        ("jensen_shannon", measures.jensen_shannon(expected, actual)),
    ]
    found = _index("prediction", output, expected, actual, least)
    return found + [Drift("prediction", output, name, value, _status(value, enough)) for name, value in values]


def drift_table(found: Iterable[Drift]) -> pa.Table:
    """The `drift` table of the contract. A value that is undefined is null, and so is an index without bound."""
    rows = [
        {
            "kind": one.kind,
            "attribute": one.attribute,
            "feature": one.feature,
            "measure": one.measure,
            "value": one.value if np.isfinite(one.value) else None,
            "threshold": one.threshold,
            "status": one.status,
        }
        for one in found
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["drift"])


def _index(
    kind: Literal["data", "prediction"], name: str, expected: np.ndarray, actual: np.ndarray, least: int
) -> list[Drift]:
    """The population stability index, on cells that are large enough for its logarithm."""
    expected, actual = measures.merged(expected, actual)
    value = measures.population_stability_index(expected, actual)
    enough = min(expected.sum(), actual.sum()) >= least and measures.psi_by_chance(expected, actual) <= _MOST_BY_CHANCE
    return [Drift(kind, name, "population_stability_index", value, _status(value, enough), measures.PSI_MAJOR)]


def _status(value: float, enough: bool) -> ValueStatus:
    """Without bound among few rows is an accident: a cell that nobody happened to fall into."""
    if np.isnan(value) or (np.isinf(value) and enough):
        return "undefined"
    return "ok" if enough else "insufficient_data"


def _exceeds(one: Drift) -> bool:
    """Past its threshold, and not by chance; an index without bound is past any."""
    return one.threshold is not None and one.status != "insufficient_data" and one.value >= one.threshold


def _findings(found: list[Drift]) -> Iterator[Finding]:
    for one in found:
        if not _exceeds(one):
            continue
        what = f"The model's score of {one.about}" if one.kind == "prediction" else f"Feature {one.about}"
        what = what if one.attribute is None else f"Attribute {one.attribute}"
        size = (
            "a value that is common in one of them never occurs in the other, so the population stability index has"
            " no bound"
            if one.value == np.inf
            else f"population stability index {one.value:.3g}, where {one.threshold:g} or more is a major shift"
        )
        beside = [
            f"{_NAMES[other.measure]} {other.value:.3g}"
            for other in found
            if (other.kind, other.about) == (one.kind, one.about) and other.measure in _NAMES
            and np.isfinite(other.value)
        ]  # fmt: skip
        yield Finding(
            "warning",
            f"{one.kind}_drift",
            f"{what} differs between the reference and the audited data: {size} ({', '.join(beside)}).",
            evidence="drift",
            stage="drift",
        )


_NAMES = {
    "kolmogorov_smirnov": "Kolmogorov–Smirnov distance",
    "total_variation": "total variation distance",
}
