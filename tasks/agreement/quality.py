"""Rows of the `explanation_quality` table: what the techniques measured themselves, and what is measured on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tasks.agreement import measures
from tasks.agreement.explanations import Explained
from tasks.contracts import Done, ValueStatus

#: the attribution that knows nothing of the model, beside which the others stand
RANDOM = "random"

#: which way a measure is better; a measure that is not here has none (`superpixels`)
DIRECTIONS: Mapping[str, Literal["higher", "lower"]] = {
    "local_r2": "higher",
    "box_hit_rate": "higher",
    "box_mass": "higher",
    "empty_map": "lower",
    "completeness_error": "lower",
    "completeness_std_error": "lower",
    "relative_error": "lower",
    "deletion_area": "lower",
}

#: measures of maps that a blind guess reaches by chance
_BY_CHANCE = ("box_hit_rate", "box_mass")


@dataclass(frozen=True)
class Quality:
    """One row of the table: a mean over rows."""

    technique: str
    output: str | None
    measure: str
    value: float | None
    std_error: float | None
    n_rows: int
    direction: str | None = None

    @property
    def status(self) -> ValueStatus:
        if self.value is None:
            return "undefined"
        return "ok" if self.n_rows > 1 else "insufficient_data"


@dataclass(frozen=True)
class Failing:
    """A technique that does no better than an attribution that knows nothing of the model.

    Attributes:
        value, random: the measure's mean for the technique and for the random attribution.
        better: by how much the technique is better on average, with its interval; None where only the ends of the
            technique's own interval are known.
    """

    technique: str
    output: str | None
    measure: str
    value: float
    random: float
    better: tuple[float, float, float] | None = None


def technique_of(done: Done) -> str:
    """The technique of a stage such as `explain/shap`."""
    return done.stage.rpartition("/")[2]


def stated(explained: Iterable[Done]) -> tuple[list[Quality], list[Failing]]:
    """What the techniques say of themselves, in `facts["quality"]`, and the ones that are no better than chance.

    Quality is measure → entries; an entry has mean, std_error, n, and its output, either in it or as the key that it
    stands under. `facts["chance"]` is an entry too: what a blind guess reaches where boxes are known.
    """
    found: list[Quality] = []
    failing: list[Failing] = []
    chances: dict[str, Quality] = {}
    for done in explained:
        technique = technique_of(done)
        chance = done.facts.get("chance") or {}
        for measure, entries in (done.facts.get("quality") or {}).items():
            for entry in _entries(entries):
                row = Quality(
                    technique, entry.get("output"), measure,
                    _number(entry.get("mean")), _number(entry.get("std_error")), int(entry.get("n") or 0),
                    DIRECTIONS.get(measure),
                )  # fmt: skip
                found.append(row)
                by_chance = _number(chance.get("mean")) if measure in _BY_CHANCE else None
                if by_chance is None or row.output is not None or row.value is None:
                    continue
                error = _number(chance.get("std_error"))
                chances.setdefault(measure, Quality(RANDOM, None, measure, by_chance, error, row.n_rows, "higher"))
                low = _number(entry.get("ci_low"))
                if low is not None and low <= by_chance:
                    failing.append(Failing(technique, None, measure, row.value, by_chance))
    return found + list(chances.values()), failing


def completeness(explained: Sequence[Explained]) -> list[Quality]:
    """Mean |Σ attributions + base value − prediction| over rows, in the output's unit; 0 where they add up exactly.

    For Shapley values and integrated gradients it is an axiom; for LIME it is how far the local line misses the row
    itself.
    """
    found = []
    for one in explained:
        errors = np.abs(one.values.sum(axis=1) + one.base - one.prediction)
        errors = errors[np.isfinite(errors)]
        if len(errors):
            found.append(_mean(one.technique, one.output, "completeness_error", errors))
    return found


def deletion(
    areas: Mapping[tuple[str, str], np.ndarray], chance: Mapping[str, np.ndarray], confidence: float
) -> tuple[list[Quality], list[Failing]]:
    """Deletion areas beside those of a random attribution on the same rows.

    A technique fails where the paired difference, random − technique, does not have its whole interval above 0.

    Args:
        areas: (technique, output) → (n,).
        chance: output → (n,) of the random attribution.
    """
    found, failing = [], []
    for (technique, output), values in areas.items():
        found.append(_mean(technique, output, "deletion_area", values))
        # The area lies anywhere in the output's range, so the interval of the difference is not cut.
        better = measures.mean_interval(chance[output] - values, confidence, -np.inf, np.inf)
        if len(values) > 1 and not better[1] > 0:
            failing.append(
                Failing(technique, output, "deletion_area", float(values.mean()), float(chance[output].mean()), better)
            )
    found += [_mean(RANDOM, output, "deletion_area", values) for output, values in chance.items()]
    return found, failing


def _mean(technique: str, output: str | None, measure: str, values: np.ndarray) -> Quality:
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Quality(technique, output, measure, float(np.mean(values)), error, len(values), DIRECTIONS[measure])


def _entries(entries: Any) -> list[Mapping[str, Any]]:
    if isinstance(entries, Mapping):
        return [{"output": output, **entry} for output, entry in entries.items()]
    return list(entries)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) else None
