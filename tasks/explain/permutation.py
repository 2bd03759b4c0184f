"""Permutation importance: how much the score falls when one feature's values change places among the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.errors import Incomplete, OutputError
from tasks.explain.base import Importance, OutputKind, Problem, Settings, Task, Technique
from tasks.watch import Watch

Score = Literal[
    "auto", "accuracy", "balanced_accuracy", "log_loss", "roc_auc", "r2", "mean_squared_error", "mean_absolute_error"
]  # fmt: skip

#: coded values that a stack of shuffled matrices may hold: enough for full batches, little beside the model's own
STACK = 4_000_000


class PermutationSettings(Settings):
    repeats: int = Field(default=10, ge=1, le=10_000, description="Times that every feature is shuffled.")
    score: Score = Field(
        default="auto",
        description="What falls. auto: accuracy, or log_loss where no row's score alone decides; for regression r2.",
    )


# ---------------------------------------------------------------- scores: (…, n, k) outputs → (…), higher is better


def decided(outputs: np.ndarray, problem: Problem) -> np.ndarray:
    """(…, n) int64 class index: argmax, the first wins a tie; binary: classes[1] iff its score ≥ the threshold."""
    if outputs.shape[-1] == 1 or problem.task == "binary":
        return (outputs[..., -1] >= problem.threshold).astype(np.int64)
    return outputs.argmax(axis=-1)


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(…) weighted mean over rows; each of a stack has the bits that it has alone."""
    return (values * weight).sum(axis=-1) / weight.sum()


def accuracy(outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Share of rows (of weight) whose decision is the target."""
    return _mean(decided(outputs, problem) == target, weight)


def balanced_accuracy(outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur of the share of their rows that are decided rightly."""
    right = decided(outputs, problem) == target
    of_class = [np.where(target == label, weight, 0) for label in np.unique(target)]
    return np.mean([_mean(right, own) for own in of_class], axis=0)


def log_loss(outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Minus the mean negative log-likelihood of the target; probabilities are cut at the precision of float32."""
    if outputs.shape[-1] == 1:
        chosen = np.where(target == 1, outputs[..., 0], 1 - outputs[..., 0])
    else:
        index = np.broadcast_to(target[:, None], (*outputs.shape[:-1], 1))
        chosen = np.take_along_axis(outputs, index, axis=-1)[..., 0]
    return _mean(np.log(np.clip(chosen, np.finfo(np.float32).eps, 1)), weight)


def roc_auc(outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of a binary model; ties count half."""
    scores = outputs[..., -1]
    flat = scores.reshape(-1, scores.shape[-1])
    return np.array([_area(row, target == 1, weight) for row in flat]).reshape(scores.shape[:-1])


def _area(scores: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    levels, place = np.unique(scores, return_inverse=True)
    ups = np.bincount(place, np.where(positive, weight, 0), len(levels))
    downs = np.bincount(place, np.where(positive, 0, weight), len(levels))
    below = np.cumsum(downs) - downs
    return float((ups * (below + downs / 2)).sum() / (ups.sum() * downs.sum()))


def r2(outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """1 − residual over total sum of squares."""
    around_mean = (target - _mean(target, weight)) ** 2
    return 1 - _mean((outputs[..., 0] - target) ** 2, weight) / _mean(around_mean, weight)


def mean_squared_error(outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Minus the mean squared error."""
    return -_mean((outputs[..., 0] - target) ** 2, weight)


def mean_absolute_error(outputs: np.ndarray, problem: Problem, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Minus the mean absolute error."""
    return -_mean(np.abs(outputs[..., 0] - target), weight)


SCORES: dict[str, Callable[..., np.ndarray]] = {
    score.__name__: score
    for score in (
        accuracy, balanced_accuracy, log_loss, roc_auc, r2, mean_squared_error, mean_absolute_error,
    )
}  # fmt: skip
OF_REGRESSION = ("r2", "mean_squared_error", "mean_absolute_error")


OF_DECISIONS = ("accuracy", "balanced_accuracy")
#: how decisions are made where a row's own score does not make them
_OTHERWISE = {
    "rank": "the audit decides by rank among all rows (bias.decision.top_k)",
    "record": "the audit's decisions are recorded ones (bias.decision.column)",
}


def score_name(problem: Problem, settings: PermutationSettings) -> str:
    """The score taken: what `auto` means for this problem."""
    if settings.score != "auto":
        return settings.score
    if problem.task == "regression":
        return "r2"
    return "accuracy" if problem.decided_by == "score" else "log_loss"


def about_decisions(problem: Problem, settings: PermutationSettings) -> tuple[str, ...]:
    """What to say where the audit's decisions are not those that shuffled rows can be given."""
    if problem.task == "regression" or problem.decided_by == "score":
        return ()
    name, otherwise = score_name(problem, settings), _OTHERWISE[problem.decided_by]
    if settings.score == "auto":
        return (f"Permutation importance is of the log loss, not of accuracy: {otherwise}.",)
    if name not in OF_DECISIONS:
        return ()
    rule = f"the threshold {problem.threshold:g}" if problem.task == "binary" else "the highest score"
    told = name.replace("_", " ")
    return (f"Permutation importance is of the {told} of decisions by {rule}, which are not taken: {otherwise}.",)


# ---------------------------------------------------------------- the technique


def unfit(problem: Problem, settings: PermutationSettings) -> str | None:
    if problem.features is None:
        return "it shuffles columns of a table; the model takes images"
    return None


def misfit(task: Task, settings: PermutationSettings) -> str | None:
    name = settings.score
    if name != "auto" and (task == "regression") != (name in OF_REGRESSION):
        return f"the score {name} is not one of a {task} model"
    if name == "roc_auc" and task != "binary":
        return "the score roc_auc is for binary models"
    return None


def prepare(problem: Problem, settings: PermutationSettings, watch: Watch) -> Importance:
    """Mean fall of the score over the repeats, with its standard error and a 95 % t interval.

    The interval tells how far other shuffles of the same rows would go; it does not tell how far other rows would.
    The shuffles are those of `eli5.permutation_importance.get_score_importances` with the same random state; several
    shuffled matrices share one call of the model.
    """
    from scipy.stats import t

    name = score_name(problem, settings)
    rows, target, weight, limitations = scored_rows(problem, name)
    state = np.random.RandomState(problem.generator("permutation").integers(2**32, dtype=np.uint64))
    base, falls = score_falls(problem, rows, target, weight, name, settings.repeats, state, watch)
    repeats, d = falls.shape
    mean = falls.mean(axis=0)
    error = np.full(d, np.nan)
    half = np.full(d, np.nan)
    if repeats > 1:
        error = falls.std(axis=0, ddof=1) / np.sqrt(repeats)
        half = t.ppf(0.975, repeats - 1) * error
    return Importance(
        outputs=(None,),
        values=mean[None],
        std_error=error[None],
        ci_low=(mean - half)[None],
        ci_high=(mean + half)[None],
        n_rows=np.array([len(rows)]),
        score=name.replace("_", " "),
        facts={
            "score": name,
            "base_score": float(base),
            "repeats": repeats,
            "interval": "95 % over shuffles of the same rows (t); it does not tell how far other rows would go",
        },
        limitations=(*limitations, *about_decisions(problem, settings)),
        evaluations=(1 + repeats * d) * len(rows),
    )


def scored_rows(problem: Problem, score: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Rows, targets and weights of the rows that have both, and a sentence about the others.

    Raises:
        Incomplete: no row is left, or the score is not defined on those that are.
    """
    weight = np.ones(len(problem.rows)) if problem.weight is None else problem.weight
    known = np.isfinite(problem.target) & np.isfinite(weight) & (weight > 0)
    if problem.task != "regression":
        known &= problem.target >= 0
    rows, target, weight = problem.rows[known], problem.target[known], weight[known]
    if not len(rows):
        raise Incomplete("permutation importance needs rows whose target is known; none of the sample is")
    if score == "roc_auc" and len(np.unique(target)) < 2:
        raise Incomplete("roc_auc needs rows of both classes", hint="raise explain.rows or choose another score")
    if score == "r2" and np.ptp(target) == 0:
        raise Incomplete("r2 needs rows of different targets", hint="raise explain.rows or choose another score")
    left_out = len(known) - len(rows)
    plural = "row is" if left_out == 1 else "rows are"
    told = f"Permutation importance: {left_out} sampled {plural} left out, without a known target or weight."
    return rows, target, weight, (told,) if left_out else ()


def score_falls(
    problem: Problem,
    rows: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    score: str,
    repeats: int,
    state: np.random.RandomState,
    watch: Watch,
) -> tuple[float, np.ndarray]:
    """The score of the rows as they are, and how far it falls in each repeat for each feature, (repeats, d)."""
    n, d = rows.shape
    kind: OutputKind = "probability"  # scores are of the model's own output, whichever is explained
    measure = SCORES[score]

    def scores_of(stack: np.ndarray, first: int) -> np.ndarray:
        try:
            outputs = problem.predictor(stack.reshape(-1, d), kind)
        except OutputError as error:
            assert problem.features is not None
            places = {(first + int(str(position)) // n) % d for position in error.values}
            raise OutputError(
                "the model returned NaN or infinity for rows in which one feature was shuffled",
                where="model.path",
                values=[problem.features[place].name for place in sorted(places)],
                hint="look at the model's answer to rows that do not occur",
            ) from error
        # Of several heads, the one that the target belongs to.
        return measure(outputs.reshape(len(stack), n, -1)[..., problem.predictor.audited], problem, target, weight)

    watch.expect((1 + repeats * d) * n)
    own = problem.predictor(rows, kind)[None, :, problem.predictor.audited]
    base = float(measure(own, problem, target, weight)[0])
    watch.advance(n)
    # As many matrices as fill a few batches: a batch is padded, and a padded row costs as much as another.
    size = max(1, min(repeats * d, -(-4 * problem.predictor.batch // n), STACK // max(rows.size, 1)))
    stack = np.empty((size, n, d))
    shuffles = _shuffles(rows, repeats, state)
    falls: list[np.ndarray] = []
    while filled := _fill(stack, shuffles):
        falls.append(base - scores_of(stack[:filled], sum(map(len, falls))))
        watch.advance(filled * n)
    return base, np.concatenate(falls).reshape(repeats, d)


def _shuffles(rows: np.ndarray, repeats: int, state: np.random.RandomState) -> Iterator[np.ndarray]:
    """For each repeat and feature the rows with that feature shuffled; each is only good until the next."""
    from eli5.permutation_importance import iter_shuffled

    for _ in range(repeats):
        yield from iter_shuffled(rows, random_state=state)


def _fill(stack: np.ndarray, matrices: Iterator[Any]) -> int:
    filled = 0
    for filled, matrix in enumerate(islice(matrices, len(stack)), start=1):
        stack[filled - 1] = matrix
    return filled


TECHNIQUE = Technique(
    name="permutation",
    title="Permutation importance",
    modality="table",
    scope="whole",
    settings=PermutationSettings,
    prepare=prepare,
    unfit=unfit,
    misfit=misfit,
    source="Breiman 2001, Random forests, https://doi.org/10.1023/A:1010933404324, as eli5 computes it",
)
