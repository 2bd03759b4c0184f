"""Permutation importance: how much the score falls when one feature's values change places among the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.errors import Incomplete
from tasks.explain.base import Importance, Problem, Settings, Task, Technique
from tasks.explain.engine.scores import OF_DECISIONS, OF_REGRESSION, ROWS, SCORES, shares, summed
from tasks.explain.engine.shuffles import Shuffle, Table, evaluated, shuffles, within
from tasks.explain.engine.sign_flips import Chance, delong, holm, sign_flips
from tasks.explain.engine.strata import Strata, about_strata, strata_of, told_strata
from tasks.watch import Watch

Score = Literal[
    "auto", "accuracy", "balanced_accuracy", "log_loss", "roc_auc", "r2", "mean_squared_error", "mean_absolute_error"
]  # fmt: skip

#: rows that a stack of shuffled tables may have, and codes of which a copy by columns is kept
STACK = 4_000_000
#: rises in loss that are kept for the test, rows × players; of more rows than fit, as many as fit are tested
TESTED = 2**24


class PermutationSettings(Settings):
    repeats: int = Field(default=10, ge=1, le=10_000, description="Times that every feature is shuffled.")
    score: Score = Field(
        default="auto",
        description="What falls. auto: accuracy, or log_loss where no row's score alone decides; for regression r2.",
    )
    conditional: bool = Field(
        default=False,
        description="Shuffle only among rows whose correlated features are alike, so that no impossible row is made.",
    )
    correlated: float = Field(
        default=0.3, gt=0, le=1, description="conditional: the association from which on features are correlated."
    )
    stratum: int = Field(default=30, ge=2, description="conditional: rows that are alike, at least.")


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

    The interval tells how far other shuffles of the same rows would go; whether other rows would lose by a shuffle at
    all is what the p-values in the facts are about (`engine/sign_flips.py`). The columns of a group change places
    together. A feature's shuffles are those of `eli5.permutation_importance.get_score_importances` asked for that
    feature alone with the same random state, except where they stay within strata of the correlated features
    (`engine/strata.py`).

    So one repeat has one order of the rows, which every feature is given in turn (common random numbers). Each
    feature's importance, error and interval are distributed as if it had shuffles of its own; those of two features
    are not independent of each other, but go up and down together where they depend on the same rows. Differences
    between features are mostly known better than their errors suggest, never by way of independence.
    """
    from scipy.stats import t

    name = score_name(problem, settings)
    scored, limitations = scored_rows(problem, name)
    conditional: list[Strata] | None = None
    generator = problem.generator("permutation")
    if settings.conditional:
        conditional = strata_of(problem, scored.rows, settings.correlated, settings.stratum, generator)
        draws = within(conditional, settings.repeats, generator)
        limitations = (*limitations, *about_strata(problem, conditional, len(scored), settings.stratum))
    else:
        state = np.random.RandomState(generator.integers(2**32, dtype=np.uint64))
        draws = shuffles(len(scored), len(problem.players), settings.repeats, state)
    found = score_falls(problem, scored, name, settings.repeats, draws, watch)
    repeats, g = found.falls.shape
    mean = found.falls.mean(axis=0)
    error = np.full(g, np.nan)
    half = np.full(g, np.nan)
    if repeats > 1:
        error = found.falls.std(axis=0, ddof=1) / np.sqrt(repeats)
        half = t.ppf(0.975, repeats - 1) * error
    facts = {
        "score": name,
        "base_score": found.base,
        "repeats": repeats,
        "interval": "95 % over shuffles of the same rows (t); it does not tell how far other rows would go",
        **_about_chance(problem, name, found.chances),
    }
    if conditional is not None:
        facts["conditional"] = told_strata(problem, conditional, len(scored))
    return Importance(
        outputs=(None,),
        values=mean[None],
        std_error=error[None],
        ci_low=(mean - half)[None],
        ci_high=(mean + half)[None],
        n_rows=np.array([len(scored)]),
        score=name.replace("_", " ") + (" within strata" if conditional is not None else ""),
        facts=facts,
        limitations=(*limitations, *about_decisions(problem, settings)),
        evaluations=(1 + repeats * g) * len(scored),
    )


def _about_chance(problem: Problem, name: str, chances: list[Chance] | None) -> dict[str, Any]:
    """Facts: each player's p-value, as it is and adjusted for the number of players (Holm)."""
    if chances is None:
        return {"p_values": None, "p_value_test": "not available: roc_auc with weights has no test here"}
    adjusted = holm([chance.p_value for chance in chances])
    test = "DeLong, one-sided" if name == "roc_auc" else "sign flips of the rows' rises in loss, one-sided"
    return {
        "p_values": {
            player.name: {"p_value": c.p_value, "p_adjusted": a, "n": c.n, "changed": c.changed}
            for player, c, a in zip(problem.players, chances, adjusted, strict=True)
        },
        "p_value_test": f"{test}; null: shuffling makes no row worse by rule; p_adjusted by Holm over the features",
    }


# ---------------------------------------------------------------- rows


@dataclass(frozen=True)
class Picked:
    """Some rows of a table that is too large to copy; reads as an array of them would."""

    rows: np.ndarray
    kept: np.ndarray

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.kept), self.rows.shape[1]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Of a slice or positions these rows; of (:, column) that column, of (:, columns) those."""
        if not isinstance(key, tuple):
            return self.rows[self.kept[key]]
        columns = key[1]
        if np.ndim(columns) == 0:
            return self.rows[self.kept, columns]
        return np.stack([self.rows[self.kept, j] for j in columns], axis=1)


@dataclass(frozen=True)
class Scored:
    """Rows that have a target and a weight.

    Attributes:
        rows: (n, d) codes; the problem's own where all of them are scored.
        target, weight: (n,).
        weighted: whether the user gave weights.
    """

    rows: Any
    target: np.ndarray
    weight: np.ndarray
    weighted: bool = False

    def __len__(self) -> int:
        return len(self.rows)


def scored_rows(problem: Problem, score: str) -> tuple[Scored, tuple[str, ...]]:
    """The rows that have a target and a weight, and a sentence about the others.

    Raises:
        Incomplete: no row is left, or the score is not defined on those that are.
    """
    weight = np.ones(len(problem.rows)) if problem.weight is None else problem.weight
    known = np.isfinite(problem.target) & np.isfinite(weight) & (weight > 0)
    if problem.task != "regression":
        known &= problem.target >= 0
    rows: Any = problem.rows
    target = problem.target
    if not known.all():
        rows = rows[known] if rows.size <= STACK else Picked(rows, np.flatnonzero(known))
        target, weight = target[known], weight[known]
    if not len(rows):
        raise Incomplete("permutation importance needs rows whose target is known; none of the sample is")
    if score == "roc_auc" and len(np.unique(target)) < 2:
        raise Incomplete("roc_auc needs rows of both classes", hint="raise explain.rows or choose another score")
    if score == "r2" and np.ptp(target) == 0:
        raise Incomplete("r2 needs rows of different targets", hint="raise explain.rows or choose another score")
    left_out = len(known) - len(rows)
    plural = "row is" if left_out == 1 else "rows are"
    told = f"Permutation importance: {left_out} sampled {plural} left out, without a known target or weight."
    return Scored(rows, target, weight, problem.weight is not None), (told,) if left_out else ()


# ---------------------------------------------------------------- falls


@dataclass(frozen=True)
class Falls:
    """What shuffling did.

    Attributes:
        base: the score of the rows as they are.
        falls: (repeats, g) how far it falls.
        chances: a test a player; None where there is none for the score.
    """

    base: float
    falls: np.ndarray
    chances: list[Chance] | None


def score_falls(
    problem: Problem, scored: Scored, score: str, repeats: int, draws: Iterator[Shuffle], watch: Watch
) -> Falls:
    """Evaluates every shuffle. Shuffled rows exist a batch at a time, where the model reads them, and are scored while
    the model is at the next ones.

    Args:
        draws: repeats × g shuffles, player by player.
    """
    n, g = len(scored), len(problem.players)
    target, weight = scored.target, scored.weight
    watch.expect((1 + repeats * g) * n)
    tested: Any = slice(None)
    if n * g > TESTED:
        tested = np.sort(problem.generator("permutation test").choice(n, max(1, TESTED // g), replace=False))
    rises = np.zeros((g, len(np.arange(n)[tested])))
    scores: list[float] = []
    before: list[np.ndarray] = []  # the tested rows' own numbers
    # Scores are of the model's own output, whichever is explained; of several heads, of the one that the target has.
    truth = target == 1 if score == "accuracy" and problem.task == "binary" else target
    counted = score == "accuracy" and bool((weight == 1).all())

    def settle(player: int | None, found: np.ndarray) -> None:
        rows = ROWS[score](found, problem, truth)
        if counted:  # the mean of ones and noughts: the same bits, sooner
            scores.append(np.count_nonzero(rows) / n)
        elif score == "roc_auc":
            scores.append(float(SCORES[score](found, problem, target, weight)))
        else:
            scores.append(float(summed(score, rows, target, weight)))
        if player is None:
            before.append(rows[tested].astype(np.float64))
        else:
            rises[player] += before[0] - rows[tested]
        watch.advance(n)

    apart = replace(watch, report=lambda task, done, total: None)  # hears a stop; the counting is done here
    table = _table(scored.rows, problem.predictor.dtype)
    tables = chain([(None, np.empty(0, np.int64))], draws)
    while stack := list(islice(tables, max(1, STACK // n))):
        evaluated(problem, table, stack, settle, apart)
    base, *shuffled = scores
    falls = (base - np.array(shuffled)).reshape(repeats, g)
    return Falls(base, falls, _chances(score, scored, rises / repeats, np.arange(n)[tested]))


def _table(rows: Any, dtype: np.dtype) -> Table:
    if isinstance(rows, Picked) or rows.size > STACK:
        return Table(rows, None)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: the model is given infinity
        own = np.ascontiguousarray(rows, dtype)
    return Table(own, np.ascontiguousarray(own.T))


def _chances(score: str, scored: Scored, rises: np.ndarray, tested: np.ndarray) -> list[Chance] | None:
    if score == "roc_auc":
        return None if scored.weighted else [delong(own, scored.target[tested] == 1) for own in rises]
    share = shares(score, scored.target, scored.weight)[tested]
    return [sign_flips(own * share) for own in rises]


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
