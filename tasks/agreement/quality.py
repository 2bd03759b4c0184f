"""Rows of the `explanation_quality` table: what the techniques measured themselves, and what is measured on them.

Which technique is failing is decided by two rules, and by nothing else:

- **no better than random**: one measure of faithfulness, insertion area − deletion area, one test a technique:
  Student's paired t over rows of technique − random, one-sided, Holm's correction over the techniques of the audit. A
  technique passes where the corrected p is at most (1 − confidence) / 2, as strict as the whole interval lying above 0.
  So the chance that any technique that knows nothing passes unmarked is 2.5 % at a confidence of 95 %, however many
  techniques, outputs and measures there are. A sound one is marked only where its rows are too few to show its worth;
  the difference of the two areas shows it with fewer rows than either alone, and is 0 on average for a random order.
  Where every order does as well as every other (one player, or a model that answers the same to all), nothing can be
  better than random and nothing is judged (`orders_matter`).
- **unchanged by random weights**: the mean size of the rank correlation of its explanations before and after the
  model's weights are drawn anew is 0.9 or more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tasks.agreement import measures, robustness
from tasks.agreement.explanations import Explained
from tasks.agreement.faithfulness import ROUNDING
from tasks.agreement.row_values import completeness_error
from tasks.agreement.scores import RANDOM, Scores
from tasks.contracts import Done, ValueStatus

#: which way a measure is better; a measure that is not here has none (`superpixels`)
DIRECTIONS: Mapping[str, Literal["higher", "lower"]] = {
    "local_r2": "higher",
    "tolerance_reached": "higher",
    "coalitions": "lower",
    "box_hit_rate": "higher",
    "box_mass": "higher",
    "empty_map": "lower",
    "completeness_error": "lower",
    "completeness_std_error": "lower",
    "relative_error": "lower",
    "insertion_minus_deletion": "higher",
    "deletion_area": "lower",
    "insertion_area": "higher",
    "mu_fidelity": "higher",
    "infidelity": "lower",
    "monotonicity": "higher",
    "null_feature_share": "lower",
    "max_sensitivity": "lower",
    "average_sensitivity": "lower",
    "seed_stability": "higher",
    "parameter_randomisation": "lower",
    "random_logit": "lower",
    "entropy": "lower",
    "gini_sparseness": "higher",
}

#: the one measure of faithfulness that decides
PRIMARY = "insertion_minus_deletion"
#: with fewer rows it is not decided
FEWEST_ROWS = 10
#: measures of maps that a blind guess reaches by chance
_BY_CHANCE = ("box_hit_rate", "box_mass")

Reason = Literal["no_better_than_random", "unchanged_by_randomisation"]


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
    """A technique that fails one of the two rules.

    Attributes:
        value, random: the measure's mean for the technique and for the random attribution.
        n_rows: rows that it rests on.
        better: by how much the technique is better on average, with its interval; None for the second rule.
        p_adjusted: after Holm's correction; None for the second rule.
    """

    technique: str
    output: str | None
    reason: Reason
    measure: str
    value: float
    random: float | None
    n_rows: int
    better: tuple[float, float, float] | None = None
    p_adjusted: float | None = None


def technique_of(done: Done) -> str:
    """The technique of a stage such as `explain/shap`."""
    return done.stage.rpartition("/")[2]


def stated(explained: Iterable[Done]) -> list[Quality]:
    """What the techniques say of themselves, in `facts["quality"]`.

    Quality is measure → entries; an entry has mean, std_error, n, and its output, either in it or as the key that it
    stands under. `facts["chance"]` is an entry too: what a blind guess reaches where boxes are known.
    """
    found: list[Quality] = []
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
                if by_chance is not None and row.output is None and row.value is not None:
                    error = _number(chance.get("std_error"))
                    chances.setdefault(measure, Quality(RANDOM, None, measure, by_chance, error, row.n_rows, "higher"))
    return found + list(chances.values())


def beside_boxes(explained: Iterable[Done]) -> list[tuple[str, float, float]]:
    """Techniques whose maps hit the known regions no more often than chance: name, share of hits, chance.

    That is not failing: a technique that faithfully shows a model looking elsewhere misses them too.
    """
    found = []
    for done in explained:
        chance = _number((done.facts.get("chance") or {}).get("mean"))
        for entry in _entries((done.facts.get("quality") or {}).get("box_hit_rate") or ()):
            mean, low = _number(entry.get("mean")), _number(entry.get("ci_low"))
            if entry.get("output") is not None or chance is None or mean is None or low is None:
                continue
            if low <= chance:
                found.append((technique_of(done), mean, chance))
    return found


def completeness(explained: Sequence[Explained]) -> list[Quality]:
    """Mean |Σ attributions + base value − prediction| over rows, in the output's unit; 0 where they add up exactly.

    For Shapley values and integrated gradients it is an axiom; for LIME it is how far the local line misses the row
    itself.
    """
    found = []
    for one in explained:
        errors = completeness_error(one)
        errors = errors[np.isfinite(errors)]
        if len(errors):
            found.append(_mean(one.technique, one.output, "completeness_error", errors))
    return found


def rows_of(scores: Scores, output: str | None) -> list[Quality]:
    """A row a technique and measure: mean over the rows that have a value."""
    return [_mean(technique, output, measure, values) for (technique, measure), values in scores.items()]


def rows_by_output(scores: Scores, output: np.ndarray, names: Sequence[str]) -> list[Quality]:
    """The primary measure once more for each output, over the rows of which it is the one judged."""
    return [
        _mean(technique, names[place], measure, values[output == place])
        for place in np.unique(output)
        for (technique, measure), values in scores.items()
        if measure == PRIMARY
    ]


def no_better(scores: Scores, output: str | None, confidence: float) -> list[Failing]:
    """Techniques that do no better than the random attribution on the same rows, by the rule above."""
    chance = scores[RANDOM, PRIMARY]
    tested: list[tuple[str, np.ndarray, float]] = []
    for (technique, measure), values in scores.items():
        if measure == PRIMARY and technique != RANDOM and len(values) >= FEWEST_ROWS:
            tested.append((technique, values, p_better(values - chance)))
    failing = []
    for (technique, values, _), p in zip(tested, measures.holm([p for *_, p in tested]), strict=True):
        if p > (1 - confidence) / 2:
            better = measures.mean_interval(values - chance, confidence, -np.inf, np.inf)
            found = Failing(
                technique, output, "no_better_than_random", PRIMARY, float(values.mean()), float(chance.mean()),
                len(values), better, p,
            )  # fmt: skip
            failing.append(found)
    return failing


def orders_matter(scores: Scores, own: np.ndarray) -> bool:
    """Whether the order in which players go makes a difference to the model's output in any of the judged rows.

    Args:
        own: (n,) the output as it is.
    """
    size = max(float(np.abs(values).max(initial=0.0)) for (_, measure), values in scores.items() if measure == PRIMARY)
    return size > ROUNDING * float(np.abs(own).max(initial=0.0))


def p_better(differences: np.ndarray) -> float:
    """One-sided p-value of Student's paired t that the mean difference is above 0."""
    from scipy.stats import t

    error = float(np.std(differences, ddof=1) / np.sqrt(len(differences)))
    mean = float(np.mean(differences))
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    return float(t.sf(mean / error, len(differences) - 1))


def unchanged(scores: Scores, output: str | None, players: int) -> list[Failing]:
    """Techniques that explain a model of random weights as they explain this one, by the rule above."""
    measure = "parameter_randomisation"
    failing: list[Failing] = []
    if players < robustness.FEWEST_PLAYERS:
        return failing
    chance = scores.get((RANDOM, measure))
    for (technique, name), values in scores.items():
        known = values[np.isfinite(values)]
        if name == measure and technique != RANDOM and len(known) and known.mean() >= robustness.UNCHANGED:
            random = None if chance is None else float(np.nanmean(chance))
            found = Failing(
                technique, output, "unchanged_by_randomisation", measure, float(known.mean()), random, len(known)
            )
            failing.append(found)
    return failing


def _mean(technique: str, output: str | None, measure: str, values: np.ndarray) -> Quality:
    known = values[np.isfinite(values)]
    error = float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else None
    mean = float(np.mean(known)) if len(known) else None
    return Quality(technique, output, measure, mean, error, len(known), DIRECTIONS[measure])


def _entries(entries: Any) -> list[Mapping[str, Any]]:
    if isinstance(entries, Mapping):
        return [{"output": output, **entry} for output, entry in entries.items()]
    return list(entries)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) else None
