"""Techniques run again on a few rows: moved a little, with another seed, on a model of random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.schema import AuditConfig
from tasks.agreement import robustness
from tasks.agreement.judged import GRID, Judged, on_grid
from tasks.agreement.masked import grid_cells
from tasks.agreement.scores import DRAWS, RANDOM, Scores, mean_of, random_attributions
from tasks.contracts import Done
from tasks.errors import AuditError, DeadlinePassed, Stopped
from tasks.explain import Problem, explained_again, technique_of, why_not_again
from tasks.load import Predictor, Subject, randomised
from tasks.watch import Watch

#: rows that are explained again, and the fewest
MOST_ROWS = {"table": 20, "image": 6}
FEWEST_ROWS = {"table": 5, "image": 4}
#: model evaluations a technique may cost beyond the fewest rows
EVALUATIONS = {"table": 16_000_000, "image": 12_000}
#: moves of each row, and models of random weights
MOVES = {"table": 4, "image": 2}
MODELS = {"table": 2, "image": 1}
#: size of a move: of a number's standard deviation in the reference, of the range of a pixel
MOVE = {"table": 0.1, "image": 0.02}
#: rows of the reference that a standard deviation is taken from
_SPREAD_ROWS = 10_000
#: among how many of the largest attributions seeds should agree: features, and share of the cells
TOP, TOP_CELLS = 3, 0.1

SENSITIVITY = ("max_sensitivity", "average_sensitivity")
STABILITY = ("seed_stability",)
RANDOMISATION = ("parameter_randomisation",)


@dataclass(frozen=True)
class NotMeasured:
    """Why a technique has no value of some measures."""

    technique: str
    measures: tuple[str, ...]
    reason: str


@dataclass
class Rerun:
    """What running the techniques again came to.

    Attributes:
        scores: of the rows that were explained again.
        missing: measures without a value, with their reasons; those that failed have a row without a value.
        rows, evaluations: by technique.
    """

    scores: Scores = field(default_factory=dict)
    missing: list[NotMeasured] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    evaluations: dict[str, int] = field(default_factory=dict)


def run_again(subject: Subject, problem: Problem, judged: Judged, explained: Sequence[Done], watch: Watch) -> Rerun:
    """Sensitivity, stability over seeds and randomisation of every technique of single rows.

    Raises:
        Stopped, DeadlinePassed: as the watch says. What else fails leaves its measures without a value.
    """
    found = Rerun()
    models = _Models(subject, problem)
    for done in explained:
        name = done.stage.rpartition("/")[2]
        technique = technique_of(name, subject.modality)
        if technique is None or name not in judged.attributions:
            continue
        reason = why_not_again(subject.config, technique)
        if reason is not None:
            found.missing.append(NotMeasured(name, (*SENSITIVITY, *STABILITY, *RANDOMISATION), reason))
            continue
        count = _affordable(done, problem, len(judged.rows))
        chosen = np.unique(np.linspace(0, len(judged.rows) - 1, count).astype(np.int64))
        _one(_Runs(subject.config, technique, problem, watch), judged, chosen, models, found)
        found.rows[name] = len(chosen)
        watch.advance(0)
    if found.rows:
        _by_chance(judged, problem, found)
    return found


# ---------------------------------------------------------------- one technique


@dataclass
class _Runs:
    """A technique, and what running it again has cost."""

    config: AuditConfig
    technique: Any
    problem: Problem
    watch: Watch
    evaluations: int = 0
    drew: bool = False

    def __call__(self, rows: np.ndarray, output: np.ndarray, **other: Any) -> np.ndarray:
        """(n, …) of each row's one output."""
        given = self.config, self.technique, self.problem, rows, output[:, None]
        again = explained_again(*given, watch=self.watch, **other)
        self.evaluations += again.evaluations
        self.drew = self.drew or again.drew
        return again.values[:, 0]


def _one(runs: _Runs, judged: Judged, chosen: np.ndarray, models: _Models, found: Rerun) -> None:
    problem, name = runs.problem, runs.technique.name
    rows, output = judged.rows[chosen], judged.output[chosen]
    moved = moved_rows(problem, rows)
    nothing = np.full(len(rows), np.nan)
    r = moved.shape[1]

    def failed(measures: tuple[str, ...], error: AuditError) -> None:
        found.missing.append(NotMeasured(name, measures, str(error)))
        found.scores.update({(name, measure): nothing for measure in measures})

    try:
        many = np.concatenate([rows, moved.reshape(-1, *rows.shape[1:])])
        values = runs(many, np.concatenate([output, np.repeat(output, r)]))
    except (Stopped, DeadlinePassed):
        raise
    except AuditError as error:
        failed((*SENSITIVITY, *STABILITY, *RANDOMISATION), error)
        return
    base, after = values[: len(rows)], values[len(rows) :]
    if np.array_equal(moved, np.broadcast_to(rows[:, None], moved.shape)):
        found.missing.append(NotMeasured(name, SENSITIVITY, "no feature is a number that can be moved a little"))
    else:
        by_move = robustness.sensitivity(base.reshape(len(rows), -1), after.reshape(len(rows), r, -1))
        found.scores[name, "max_sensitivity"] = by_move.max(axis=1)
        found.scores[name, "average_sensitivity"] = by_move.mean(axis=1)
    own = _comparable(problem, base)
    try:
        if runs.drew:
            other = _comparable(problem, runs(rows, output, seed=problem.seed + 1))
            top = top_of(problem, own.shape[1])
            found.scores[name, "seed_stability"] = robustness.top_jaccard(own, other, top) if top else nothing
        else:
            found.missing.append(NotMeasured(name, STABILITY, "it draws no random numbers"))
    except (Stopped, DeadlinePassed):
        raise
    except AuditError as error:
        failed(STABILITY, error)
    try:
        alike = []
        for predictor in models:
            other = _comparable(problem, runs(rows, output, predictor=predictor))
            alike.append(np.abs(robustness.correlation(own, other)))
        found.scores[name, "parameter_randomisation"] = mean_of(np.stack(alike))
    except (Stopped, DeadlinePassed):
        raise
    except AuditError as error:
        failed(RANDOMISATION, error)
    found.evaluations[name] = runs.evaluations


class _Models:
    """Predictors of the model with weights drawn anew, made when first asked for."""

    def __init__(self, subject: Subject, problem: Problem) -> None:
        self._subject = subject
        self._generator = problem.generator("parameter randomisation")
        self._made: list[Predictor] = []
        self._count = MODELS[problem.modality]

    def __iter__(self) -> Any:
        while len(self._made) < self._count:
            self._made.append(randomised(self._subject, self._generator))
        return iter(self._made)


def moved_rows(problem: Problem, rows: np.ndarray) -> np.ndarray:
    """(n, r, …) each row moved a little, uniformly: numbers of a table by up to a tenth of their standard deviation in
    the reference, categories not at all; pixels by up to 2 % of their range, within it."""
    generator, r = problem.generator("sensitivity"), MOVES[problem.modality]
    step = generator.uniform(-1.0, 1.0, (len(rows), r, *rows.shape[1:]))
    if problem.modality == "image":
        return np.clip(rows[:, None] + (255 * MOVE["image"] * step).astype(np.float32), 0.0, 255.0).astype(np.float32)
    few = problem.reference[:: max(1, len(problem.reference) // _SPREAD_ROWS)]
    spread = np.zeros(rows.shape[1])
    for j, feature in enumerate(problem.features or ()):
        known = few[:, j][np.isfinite(few[:, j])]
        if feature.kind == "number" and len(known):
            spread[j] = known.std()
    return rows[:, None] + MOVE["table"] * spread * step


def top_of(problem: Problem, players: int) -> int:
    """How many of the largest attributions are compared between seeds; 0 where there are too few players for it."""
    if problem.modality == "image":
        return max(1, int(TOP_CELLS * players))
    return min(TOP, players - 1)


def _comparable(problem: Problem, values: np.ndarray) -> np.ndarray:
    """(n, p) attributions as they are, maps on the common grid."""
    if problem.modality == "table":
        return values
    height, width = problem.rows.shape[1:3]
    _, size = grid_cells(height, width, GRID)
    return on_grid(values, size)


def _affordable(done: Done, problem: Problem, judged: int) -> int:
    """Rows that a technique is run again on, from what it cost the audit."""
    kind = problem.modality
    rows = max(1, int(done.facts.get("rows") or 1))
    a_row = float(done.facts.get("evaluations") or 0) / rows / problem.explained.shape[1]
    runs = 1 + MOVES[kind] + 1 + MODELS[kind]
    count = int(EVALUATIONS[kind] / max(1.0, a_row * runs))
    return min(judged, max(FEWEST_ROWS[kind], min(MOST_ROWS[kind], count)))


def _by_chance(judged: Judged, problem: Problem, found: Rerun) -> None:
    """The same measures of random attributions, drawn anew at every run, on as many rows as the most."""
    generator = problem.generator("rerun by chance")
    n = max(found.rows.values())

    def drawn() -> np.ndarray:
        return random_attributions(judged, generator)[:, :n]

    own, other, models = drawn(), drawn(), [drawn() for _ in range(MODELS[problem.modality])]
    moved = np.stack([drawn() for _ in range(MOVES[problem.modality])], axis=2)
    by_move = np.stack([robustness.sensitivity(own[i], moved[i]) for i in range(DRAWS)])
    top = top_of(problem, judged.players)
    chance = {
        "max_sensitivity": by_move.max(axis=2),
        "average_sensitivity": by_move.mean(axis=2),
        "seed_stability": np.stack([robustness.top_jaccard(own[i], other[i], top) for i in range(DRAWS)]),
        "parameter_randomisation": np.stack(
            [mean_of(np.stack([np.abs(robustness.correlation(own[i], m[i])) for m in models])) for i in range(DRAWS)]
        ),
    }
    measured = {measure for _, measure in found.scores}
    found.scores.update({(RANDOM, m): mean_of(values) for m, values in chance.items() if m in measured})
