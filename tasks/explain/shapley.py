"""Shapley values of a table's features: what each adds to the model's output, averaged over all orders of adding.

Interventional: a feature that is absent takes its value from a row of the background, independently of the others.
Features that the user binds together come and go together: the players of the game are `problem.players`. An
attribution is in units of the explained output; a row's add up to f(x) − mean f(background).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.errors import ConfigError, OutputError
from tasks.explain.base import OF_BATCH, Attribution, LocalExplainer, Prepared, Problem, Settings, Task, Technique
from tasks.explain.engine.coalitions import (
    Coalitions,
    KernelRegression,
    Stage,
    draw_coalitions,
    fewest_coalitions,
    staged,
)
from tasks.explain.engine.expected_gradients import prepare_gradient, unfit_gradient
from tasks.explain.engine.masking import MaskedMeans, masked_means
from tasks.explain.engine.smooth_regression import MOST_PAIRS, SmoothRegression, choose_smoothness
from tasks.watch import Watch

#: (n, m, g) values and their standard errors → (n,) bool: which rows need no more coalitions
Settled = Callable[[np.ndarray, np.ndarray], np.ndarray]

Estimator = Literal[
    "auto", "exact", "kernel", "gradient", "shap.exact", "shap.kernel", "shap.permutation", "shap.gradient", "shap.deep"
]  # fmt: skip

#: coalitions of a row where nothing else is said: all of them up to eleven players
COALITIONS = 2048
#: coalitions of the first stage, where not every row gets all: the next ones have twice as many as the one before
FIRST_STAGE = 256
#: players up to which every coalition may be asked for
MOST_EXACT = 16
#: means of coalitions held in memory at a time
MOST_VALUES = 2**24
#: rows that the regression's smoothness is chosen on
CHOOSING_ROWS = 32
#: pairs beyond the players' number that choosing it takes
CHOOSING_PAIRS = 8
KEY = "explain.techniques.shap"


class ShapleySettings(Settings):
    estimator: Estimator = Field(
        default="auto",
        description="auto: exact where all 2^g coalitions of g features or groups fit the budget, else kernel."
        " gradient: expected gradients. shap.*: the library's own.",
    )
    coalitions: int | None = Field(
        default=None,
        ge=4,
        le=1_000_000,
        description="Coalitions a row may cost; default 2048, or more where features need it.",
    )
    tolerance: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="kernel only. Standard error, in units of the explained output, at which a row gets no more"
        " coalitions; absent: every row gets all of the budget.",
    )
    regression: Literal["auto", "smooth", "least_squares"] = Field(
        default="auto",
        description="kernel only. smooth: interactions are modelled too; least_squares: the textbook's. auto: smooth.",
    )
    samples: int | None = Field(
        default=None,
        ge=2,
        le=100_000,
        description="gradient and shap.gradient: points a row; default 200, for gradient more where the background"
        " has more rows than half of that.",
    )


def budget_of(players: int, settings: ShapleySettings) -> int:
    """Coalitions a row may cost, the empty and the full one among them."""
    return settings.coalitions or max(COALITIONS, 2 * fewest_coalitions(players) + 2)


def estimator_of(players: int, settings: ShapleySettings) -> Estimator:
    """The estimator that `auto` takes."""
    if settings.estimator != "auto":
        return settings.estimator
    return "exact" if 2**players <= budget_of(players, settings) else "kernel"


#: setting → estimators that it is for, whatever the task
MEANT_FOR: Mapping[str, tuple[Estimator, ...]] = {
    "coalitions": ("auto", "kernel", "shap.kernel", "shap.permutation"),
    "tolerance": ("auto", "kernel"),
    "regression": ("auto", "kernel"),
    "samples": ("gradient", "shap.gradient"),
}


def misfit(task: Task, settings: ShapleySettings) -> str | None:
    """A setting that the estimator has no use for, so that nobody believes it had an effect."""
    for name, meant in MEANT_FOR.items():
        given = getattr(settings, name) != ShapleySettings.model_fields[name].default
        if given and settings.estimator not in meant:
            named = " or ".join(estimator for estimator in meant if estimator != "auto")
            return f"{name} is for the estimator {named}, not {settings.estimator}"
    return None


def unfit(problem: Problem, settings: ShapleySettings) -> str | None:
    if problem.features is None:
        return "it explains columns of a table; the model takes images"
    if settings.estimator in ("gradient", "shap.gradient", "shap.deep"):
        return unfit_gradient(problem, settings.estimator)
    return None


def prepare(problem: Problem, settings: ShapleySettings, watch: Watch) -> Prepared:
    g = len(problem.players)
    estimator = estimator_of(g, settings)
    budget = budget_of(g, settings)
    if estimator == "gradient":
        return prepare_gradient(problem, settings.samples, watch)
    if estimator.startswith("shap."):
        from tasks.explain.engine.shapley_library import prepare_library

        return prepare_library(problem, estimator, budget, settings.samples, watch)
    coalitions = _coalitions(problem, estimator, budget)
    return prepare_kernel(problem, coalitions, settings.regression, watch, settings.tolerance)


def _coalitions(problem: Problem, estimator: Estimator, budget: int) -> Coalitions:
    g = len(problem.players)
    if estimator == "exact":
        if g > MOST_EXACT:
            raise ConfigError(
                f"{g} features have 2^{g} coalitions, too many for all of them",
                where=f"{KEY}.estimator",
                hint=f"exact is for up to {MOST_EXACT}; use kernel",
            )
        budget = 2**g
    # The empty and the full coalition are known once for all rows and from the prediction.
    left = budget - 2
    if left < fewest_coalitions(g):
        raise ConfigError(
            f"{budget} coalitions are too few for {g} features",
            where=f"{KEY}.coalitions",
            hint=f"at least {fewest_coalitions(g) + 2}",
        )
    return draw_coalitions(g, left, problem.generator("shap.coalitions"))


@dataclass(frozen=True)
class _Step:
    """A stage, ready for rows: how its coalitions are evaluated, and the regression of all up to it."""

    stage: Stage
    means: MaskedMeans
    solver: KernelRegression | SmoothRegression


def prepare_kernel(
    problem: Problem,
    coalitions: Coalitions,
    regression: str,
    watch: Watch,
    tolerance: float | None = None,
    settled: Settled | None = None,
    first: int = FIRST_STAGE,
) -> Prepared:
    """Shapley values from coalitions: exact where all are there, else kernel SHAP with a standard error.

    Args:
        regression: auto, smooth or least_squares.
        tolerance: standard error at which a row's values are good enough; None: all coalitions for every row.
            What a row gets depends on the row alone: the stages are the same for all.
        settled: tells in the place of a tolerance which rows' values are good enough.
        first: coalitions of the first stage, where there are several.
    """
    if tolerance is not None:
        settled = _within(tolerance)
    g, b = len(problem.players), len(problem.background)
    base = problem.predictor(problem.background, problem.kind, watch).mean(axis=0)
    facts: dict[str, Any] = {
        "estimator": "exact" if coalitions.exact and settled is None else "kernel",
        "coalitions": coalitions.count + 2,
        "background_rows": b,
    }
    if g == 1:  # one player has it all
        return Prepared(_alone(problem, base), facts, evaluations=b)
    stages = _stages(problem, coalitions, first if settled is not None else None)
    means = masked_means(problem, stages[0].both, watch)
    of_stage = [means, *(means.of(stage.both) for stage in stages[1:])]
    spent = b + means.evaluations
    if not coalitions.exact:
        facts["coalitions_of_size"] = {str(size): list(counts) for size, counts in coalitions.drawn.items()}
    smooth = [_smooth(stage.coalitions, g, regression) for stage in stages]
    if any(smooth):
        last = max(i for i, taken in enumerate(smooth) if taken)
        rows = np.unique(np.linspace(0, len(problem.rows) - 1, CHOOSING_ROWS).astype(np.int64))
        asked = _Asked(problem, base, problem.rows[rows], problem.explained[rows])
        for each in of_stage[: last + 1]:
            asked.look(each.unjudged, np.arange(len(rows)))
        pairs = asked.pairs[..., stages[last].order]
        games = np.isfinite(pairs).all(axis=-1)  # the run meets the other rows again, and tells which they are
        smoothness = choose_smoothness(stages[last].coalitions, pairs[games], asked.total[games])
        spent += len(rows) * (1 + 2 * b * pairs.shape[-1])
        facts |= {"regression": "smooth", "decay": smoothness.decay, "noise": smoothness.noise}
        facts["std_error_method"] = "Gaussian process over coalitions, scaled by leaving one pair out"
    elif not coalitions.exact:
        facts["regression"] = "least_squares"
        facts["std_error_method"] = "linearised regression, pairs stratified by size without replacement"
    steps = [
        _Step(stage, each, SmoothRegression(stage.coalitions, smoothness) if of else KernelRegression(stage.coalitions))
        for stage, each, of in zip(stages, of_stage, smooth, strict=True)
    ]
    few = max(1, MOST_VALUES // (coalitions.count * len(problem.outputs)))
    if settled is not None:
        facts["stages"] = [stage.coalitions.count + 2 for stage in stages]
    if tolerance is not None:
        facts["tolerance"] = tolerance

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        parts = [slice(start, min(start + few, len(rows))) for start in range(0, len(rows), few)]
        found = zip(*(_solved(problem, base, steps, rows[p], explained[p], settled) for p in parts), strict=True)
        values, nothing, error, looked = map(np.concatenate, found)
        evaluations = len(rows) + b * int(looked.sum())
        if settled is None:
            return Attribution(values, nothing, None if coalitions.exact else error, evaluations=evaluations)
        quality = {"coalitions": np.repeat(looked[:, None] + 2.0, explained.shape[1], axis=1)}
        if tolerance is None:
            return Attribution(values, nothing, error, quality, evaluations)
        reached = np.all(error <= tolerance, axis=2)
        quality = {"tolerance_reached": reached.astype(np.float64), **quality}
        notes = {above(tolerance, coalitions.count + 2): ~reached.all(axis=1)}
        return Attribution(values, nothing, error, quality, evaluations, {} if reached.all() else notes)

    return Prepared(explain, facts, evaluations=spent)


def above(tolerance: float, coalitions: int) -> str:
    """The limitation of rows whose budget ended first."""
    return (
        f"The standard error of a SHAP value is above the tolerance of {tolerance:g} after all {coalitions} coalitions"
        " that a row may cost; explain.techniques.shap.coalitions sets how many"
    )


def _within(tolerance: float) -> Settled:
    return lambda values, error: np.asarray((error <= tolerance).all(axis=(1, 2)))


def _stages(problem: Problem, coalitions: Coalitions, first: int | None) -> tuple[Stage, ...]:
    """All coalitions at once; or first at least so many, and then each time twice as many."""
    g = coalitions.masks.shape[1]
    counts = [coalitions.count]
    fewest = max((first or 0) - 2, 2 * fewest_coalitions(g), 2 * (g + CHOOSING_PAIRS))
    while first is not None and counts[0] // 2 >= fewest:
        counts.insert(0, counts[0] // 2)
    return staged(coalitions, counts, problem.generator("shap.stages"))


class _Asked:
    """Rows, and what is known of their games: y of every pair looked at so far."""

    def __init__(self, problem: Problem, base: np.ndarray, rows: np.ndarray, explained: np.ndarray) -> None:
        self._rows, self._explained = rows, explained
        own = np.take_along_axis(problem.predictor(rows, problem.kind), explained, axis=1)
        #: (n, m) what the values start from, and what they add up to
        self.base = base[explained]
        self.total = own - self.base
        #: (n, m, p); NaN in rows that were not looked at
        self.pairs = np.empty((*explained.shape, 0))

    def look(self, means: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> None:
        """Evaluates the coalitions of a stage, by its `MaskedMeans` or their `unjudged`, for some of the rows."""
        try:
            value = means(self._rows[rows])
        except OutputError as error:
            if error.code != OF_BATCH:
                raise
            places = [int(rows[int(str(place))]) for place in error.values]
            raise OutputError(error.what, where=error.where, values=places, hint=error.hint, code=OF_BATCH) from error
        value = np.take_along_axis(value, self._explained[rows][:, None, :], axis=2)
        p = value.shape[1] // 2
        pairs = np.full((*self.total.shape, p), np.nan)
        pairs[rows] = np.moveaxis((value[:, :p] - value[:, p:] + self.total[rows][:, None]) / 2, 1, 2)
        self.pairs = np.concatenate([self.pairs, pairs], axis=2)


def _solved(
    problem: Problem,
    base: np.ndarray,
    steps: list[_Step],
    rows: np.ndarray,
    explained: np.ndarray,
    settled: Settled | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, m, g) values, (n, m) base, (n, m, g) standard errors, (n,) coalitions looked at."""
    asked = _Asked(problem, base, rows, explained)
    values = np.empty((*explained.shape, len(problem.players)))
    error, looked = np.empty_like(values), np.zeros(len(rows), np.int64)
    left = np.arange(len(rows))
    for step in steps:
        asked.look(step.means, left)
        pairs = np.ascontiguousarray(asked.pairs[left][..., step.stage.order])
        total = asked.total[left]
        values[left] = step.solver.values(pairs, total)
        error[left] = 0.0 if step.stage.coalitions.exact else step.solver.std_error(pairs, total, values[left])
        looked[left] = step.stage.coalitions.count
        left = left[:0] if settled is None else left[~settled(values[left], error[left])]
        if not len(left):
            break
    return values, asked.base, error, looked


def _smooth(coalitions: Coalitions, players: int, regression: str) -> bool:
    """Whether the smooth regression is taken: asked for, and neither too few pairs for it nor too many."""
    if coalitions.exact:
        return False
    enough = len(coalitions.masks) >= players + CHOOSING_PAIRS
    if regression == "smooth" and not (enough and len(coalitions.masks) <= MOST_PAIRS):
        raise ConfigError(
            f"smooth takes {2 * (players + CHOOSING_PAIRS)} to {2 * MOST_PAIRS} coalitions for {players} features",
            where=f"{KEY}.regression",
            hint="change coalitions, or use least_squares",
        )
    return regression != "least_squares" and enough and len(coalitions.masks) <= MOST_PAIRS


def _alone(problem: Problem, base: np.ndarray) -> LocalExplainer:
    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        own = np.take_along_axis(problem.predictor(rows, problem.kind), explained, axis=1)
        return Attribution((own - base[explained])[..., None], base[explained], evaluations=len(rows))

    return explain


TECHNIQUE = Technique(
    name="shap",
    title="SHAP",
    modality="table",
    scope="local",
    settings=ShapleySettings,
    prepare=prepare,
    unfit=unfit,
    misfit=misfit,
    batch=256,
    source="Lundberg and Lee 2017, A unified approach to interpreting model predictions, https://arxiv.org/abs/1705.07874",
)
