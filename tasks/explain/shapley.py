"""Shapley values of a table's features: what each adds to the model's output, averaged over all orders of adding.

Interventional: a feature that is absent takes its value from a row of the background, independently of the others.
An attribution is in units of the explained output; a row's add up to f(x) − mean f(background).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.errors import ConfigError
from tasks.explain.base import Attribution, LocalExplainer, Prepared, Problem, Settings, Technique
from tasks.explain.coalitions import Coalitions, KernelRegression, draw_coalitions, fewest_coalitions
from tasks.explain.masking import MaskedMeans, masked_means
from tasks.explain.smooth_regression import MOST_PAIRS, SmoothRegression, choose_smoothness
from tasks.watch import Watch

Estimator = Literal[
    "auto", "exact", "kernel", "shap.exact", "shap.kernel", "shap.permutation", "shap.gradient", "shap.deep"
]  # fmt: skip

#: coalitions of a row where nothing else is said: all of them up to eleven features
COALITIONS = 2048
#: features up to which every coalition may be asked for
MOST_EXACT = 16
#: means of coalitions held in memory at a time
MOST_VALUES = 2**24
#: rows that the regression's smoothness is chosen on
CHOOSING_ROWS = 32
#: pairs beyond the features' number that choosing it takes
CHOOSING_PAIRS = 8
KEY = "explain.techniques.shap"


class ShapleySettings(Settings):
    estimator: Estimator = Field(
        default="auto",
        description="auto: exact where all 2^d coalitions fit the budget, else kernel. shap.*: the library's own.",
    )
    coalitions: int | None = Field(
        default=None,
        ge=4,
        le=1_000_000,
        description="Coalitions a row may cost; default 2048, or more where features need it.",
    )
    regression: Literal["auto", "smooth", "least_squares"] = Field(
        default="auto",
        description="kernel only. smooth: interactions are modelled too; least_squares: the textbook's. auto: smooth.",
    )
    samples: int | None = Field(default=None, ge=2, le=100_000, description="shap.gradient: points a row; default 200.")


def budget_of(features: int, settings: ShapleySettings) -> int:
    """Coalitions a row may cost, the empty and the full one among them."""
    return settings.coalitions or max(COALITIONS, 2 * fewest_coalitions(features) + 2)


def estimator_of(features: int, settings: ShapleySettings) -> Estimator:
    """The estimator that `auto` takes."""
    if settings.estimator != "auto":
        return settings.estimator
    return "exact" if 2**features <= budget_of(features, settings) else "kernel"


def unfit(problem: Problem, settings: ShapleySettings) -> str | None:
    if problem.features is None:
        return "it explains columns of a table; the model takes images"
    if settings.estimator in ("shap.gradient", "shap.deep"):
        if not problem.predictor.differentiable:
            return f"{settings.estimator} needs gradients, and the model gives none in its inputs"
        if problem.predictor.owners is None:
            return f"{settings.estimator} explains encoded columns, and they cannot be told apart by feature"
    return None


def prepare(problem: Problem, settings: ShapleySettings, watch: Watch) -> Prepared:
    d = problem.rows.shape[1]
    estimator = estimator_of(d, settings)
    budget = budget_of(d, settings)
    if estimator.startswith("shap."):
        from tasks.explain.shapley_library import prepare_library

        return prepare_library(problem, estimator, budget, settings.samples, watch)
    return prepare_kernel(problem, _coalitions(problem, estimator, budget), settings.regression, watch)


def _coalitions(problem: Problem, estimator: Estimator, budget: int) -> Coalitions:
    d = problem.rows.shape[1]
    if estimator == "exact":
        if d > MOST_EXACT:
            raise ConfigError(
                f"{d} features have 2^{d} coalitions, too many for all of them",
                where=f"{KEY}.estimator",
                hint=f"exact is for up to {MOST_EXACT}; use kernel",
            )
        budget = 2**d
    # The empty and the full coalition are known once for all rows and from the prediction.
    left = budget - 2
    if left < fewest_coalitions(d):
        raise ConfigError(
            f"{budget} coalitions are too few for {d} features",
            where=f"{KEY}.coalitions",
            hint=f"at least {fewest_coalitions(d) + 2}",
        )
    return draw_coalitions(d, left, problem.generator("shap.coalitions"))


def prepare_kernel(problem: Problem, coalitions: Coalitions, regression: str, watch: Watch) -> Prepared:
    """Shapley values from coalitions: exact where all are there, else kernel SHAP with a standard error."""
    d = problem.rows.shape[1]
    b = len(problem.background)
    base = problem.predictor(problem.background, problem.kind, watch).mean(axis=0)
    facts: dict[str, Any] = {
        "estimator": "exact" if coalitions.exact else "kernel",
        "coalitions": coalitions.count + 2,
        "background_rows": b,
    }
    if d == 1:  # one feature has it all
        return Prepared(_alone(problem, base), facts, evaluations=b)
    means = masked_means(problem, coalitions.both, watch)
    spent = b + means.evaluations
    solver: KernelRegression | SmoothRegression = KernelRegression(coalitions)
    if not coalitions.exact:
        facts["coalitions_of_size"] = {str(size): list(counts) for size, counts in coalitions.drawn.items()}
        if _smooth(coalitions, d, regression):
            rows = np.unique(np.linspace(0, len(problem.rows) - 1, CHOOSING_ROWS).astype(np.int64))
            chosen = problem.rows[rows], problem.explained[rows]
            pairs, _, total = _pairs(problem, means, base, *chosen)
            smoothness = choose_smoothness(coalitions, pairs.reshape(-1, pairs.shape[-1]), total.ravel())
            solver = SmoothRegression(coalitions, smoothness)
            spent += len(rows) * (1 + b * coalitions.count)
            facts |= {"regression": "smooth", "decay": smoothness.decay, "noise": smoothness.noise}
            facts["std_error_method"] = "Gaussian process over coalitions, scaled by leaving one pair out"
        else:
            facts["regression"] = "least_squares"
            facts["std_error_method"] = "linearised regression, pairs stratified by size without replacement"

    def of_few(rows: np.ndarray, explained: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pairs, nothing, total = _pairs(problem, means, base, rows, explained)
        values = solver.values(pairs, total)
        error = np.zeros(0) if coalitions.exact else solver.std_error(pairs, total, values)
        return values, nothing, error

    few = max(1, MOST_VALUES // (coalitions.count * len(problem.outputs)))

    def explain(rows: np.ndarray, explained: np.ndarray) -> Attribution:
        starts = range(0, len(rows), few)
        parts = [of_few(rows[start : start + few], explained[start : start + few]) for start in starts]
        values, nothing, error = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Attribution(
            values, nothing, None if coalitions.exact else error, evaluations=len(rows) * (1 + b * coalitions.count)
        )

    return Prepared(explain, facts, evaluations=spent)


def _smooth(coalitions: Coalitions, features: int, regression: str) -> bool:
    """Whether the smooth regression is taken: asked for, and neither too few pairs for it nor too many."""
    enough = len(coalitions.masks) >= features + CHOOSING_PAIRS
    if regression == "smooth" and not (enough and len(coalitions.masks) <= MOST_PAIRS):
        raise ConfigError(
            f"smooth takes {2 * (features + CHOOSING_PAIRS)} to {2 * MOST_PAIRS} coalitions for {features} features",
            where=f"{KEY}.regression",
            hint="change coalitions, or use least_squares",
        )
    return regression != "least_squares" and enough and len(coalitions.masks) <= MOST_PAIRS


def _pairs(
    problem: Problem, means: MaskedMeans, base: np.ndarray, rows: np.ndarray, explained: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, m, p) the y of each pair, (n, m) the base, (n, m) what the values add up to."""
    own = np.take_along_axis(problem.predictor(rows, problem.kind), explained, axis=1)
    nothing = base[explained]
    value = np.take_along_axis(means(rows), explained[:, None, :], axis=2)
    p = value.shape[1] // 2
    pairs = (value[:, :p] - value[:, p:] + (own - nothing)[:, None]) / 2
    return np.ascontiguousarray(np.moveaxis(pairs, 1, 2)), nothing, own - nothing


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
    batch=256,
    source="Lundberg and Lee 2017, A unified approach to interpreting model predictions, https://arxiv.org/abs/1705.07874",
)
