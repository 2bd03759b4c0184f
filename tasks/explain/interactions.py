"""Pairwise interactions: how far the effect of two features together differs from the sum of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.explain.base import Effects, Player, Problem, Settings, Technique
from tasks.explain.engine.shapes import (
    HALF,
    Axis,
    about_weights,
    answers,
    axis_of,
    effect_rows,
    explained_outputs,
    joined,
    mean_and_error,
    rare_categories,
    replaced,
    sampled,
    unfit_shape,
)
from tasks.watch import Watch

TITLE = "Interactions"
#: features whose pairs are screened, those of the largest total effect; and rows that the screen takes
SCREENED = 24
SCREEN_ROWS = 256
#: pairs of an output whose joint curves are kept
SURFACES = 3
#: what lies below, as a share of the largest output, is rounding of float32
ROUNDING = 1e-6
#: `measure` of the rows that have no point
STRENGTH, H_SQUARED = "strength", "h_squared"


class InteractionsSettings(Settings):
    pairs: int = Field(default=10, ge=1, le=1000, description="Pairs that are measured: the strongest of a screen.")
    rows: int = Field(
        default=200, ge=3, le=1000, description="Rows that are averaged and measured at; costs its square."
    )
    points: int = Field(
        default=10, ge=2, le=100, description="Values of a number in the joint curves of the strongest."
    )


def unfit(problem: Problem, settings: InteractionsSettings) -> str | None:
    if problem.features is None:
        return unfit_shape(problem, "varies")
    if len(problem.players) < 2:
        return "a pair needs two features; the model has one"
    if len(problem.rows) < 3:
        return "it needs three rows at least"
    return None


@dataclass(frozen=True)
class Strength:
    """How strongly pairs interact, for one output: (pairs,) each."""

    strength: np.ndarray
    strength_error: np.ndarray
    h_squared: np.ndarray
    h_squared_error: np.ndarray


def prepare(problem: Problem, settings: InteractionsSettings, watch: Watch) -> Effects:
    """Friedman and Popescu's H² of the pairs that a screen finds strongest, and their strength in the output's unit.

    With the partial dependence F of a pair and of each of its features at the data's rows, all centred, the strength
    is √ mean (F_jk − F_j − F_k)² and H² that mean over the mean of F_jk²: the share of what the pair does together
    that neither does alone. H² flatters pairs that do little; the strength does not, and ranks them. Standard errors
    are the jackknife's over the rows, the interval is the normal one, cut at 0. Both are biased upwards a little
    where rows are few. H² of a pair without any effect is undefined.

    The screen: for random pairs of rows the mixed difference f(x) − f(x, j of z) − f(x, k of z) + f(x, j and k of z),
    whose mean square is 0 only where no interaction has both (Liu and Owen 2006, Estimating mean dimensionality).
    A group of columns is one feature, set to values that occur together.
    """
    players = problem.players
    screen_places = sampled(problem, SCREEN_ROWS, "interactions screen")
    places = sampled(problem, settings.rows, "interactions rows")
    outputs = explained_outputs(problem, places)
    rows = np.asarray(problem.rows[places], np.float64)
    pairs, screened, spent = strongest_pairs(problem, screen_places, outputs, settings.pairs, watch)
    alone = sorted({player for pair in pairs for player in pair})
    n = len(rows)
    watch.expect((len(alone) + len(pairs)) * n * n)
    sets: list[tuple[int, ...]] = [*((player,) for player in alone), *pairs]
    found = answers(problem, _questions(rows, players, sets), outputs, watch)
    single = {player: _square(found, n) for player in alone}
    measured = _measured(found, pairs, single, n)
    spent += (len(alone) + len(pairs)) * n * n
    parts: list[pa.Table] = []
    drawn: list[tuple[int, tuple[int, int]]] = []
    for k, output in enumerate(outputs):
        order = np.argsort(-measured[k].strength, kind="stable")
        parts.append(_strengths(problem.outputs[output], players, [pairs[i] for i in order], measured[k], order, n))
        axed = [pairs[i] for i in order if all(len(players[player].columns) == 1 for player in pairs[i])]
        drawn += [(k, pair) for pair in axed[:SURFACES]]
    axes = {
        player: axis_of(problem, rows, players[player].columns[0], settings.points, settings.points)
        for player in sorted({player for _, pair in drawn for player in pair})
    }
    surfaces = list(dict.fromkeys(pair for _, pair in drawn))
    grids = {pair: _grid(axes[pair[0]], axes[pair[1]]) for pair in surfaces}
    cost = sum(len(grid) for grid in grids.values()) * n
    watch.expect(cost)
    joint = answers(problem, _at_points(rows, players, grids), outputs, watch)
    values = {pair: np.stack([next(joint) for _ in grids[pair]]) for pair in surfaces}
    for k, pair in drawn:
        parts.append(
            _surface(problem.outputs[outputs[k]], axes[pair[0]], axes[pair[1]], grids[pair], values[pair][..., k])
        )
    names = [player.name for player in players]
    return Effects(
        joined(parts),
        facts={
            "outputs": [problem.outputs[k] for k in outputs],
            "rows": n,
            "pairs": len(names) * (len(names) - 1) // 2,
            "pairs_screened": screened,
            "pairs_measured": [[names[a], names[b]] for a, b in pairs],
            "screen_rows": len(screen_places),
            "rare_categories": rare_categories(axes.values()),
            "interval": "95 % over rows (jackknife, normal)",
        },
        limitations=about_weights(problem, TITLE),
        evaluations=spent + cost,
    )


# ---------------------------------------------------------------- which pairs


def strongest_pairs(
    problem: Problem, places: np.ndarray, outputs: np.ndarray, wanted: int, watch: Watch
) -> tuple[list[tuple[int, int]], int, int]:
    """Pairs of players by the screen, the strongest first; how many were screened; the evaluations spent.

    Of more than `SCREENED` players, those of the largest total effect: a feature without one has no interaction.
    """
    rows = np.asarray(problem.rows[places], np.float64)
    n, players = len(rows), problem.players
    order = problem.generator("interactions partners").permutation(n)
    others = np.empty_like(rows)
    others[order] = rows[np.roll(order, 1)]  # each row's partner is another row

    def changed(sets: list[tuple[int, ...]]) -> Iterator[tuple[str, np.ndarray]]:
        for chosen in sets:
            columns = [column for player in chosen for column in players[player].columns]
            yield _told(players, chosen), replaced(rows, columns, others[:, columns])

    every: list[tuple[int, ...]] = [(player,) for player in range(len(players))]
    watch.expect((1 + len(every)) * n)
    found = list(answers(problem, changed([(), *every]), outputs, watch))
    own, alone = found[0], found[1:]
    total = np.array([((values - own) ** 2).mean() for values in alone])
    kept = np.sort(np.argsort(-total, kind="stable")[:SCREENED])
    pairs = [(int(a), int(b)) for a, b in combinations(kept, 2)]
    watch.expect(len(pairs) * n)
    both = answers(problem, changed([*pairs]), outputs, watch)
    sizes = [((own - alone[a] - alone[b] + values) ** 2).mean() for (a, b), values in zip(pairs, both, strict=True)]
    ranked = np.argsort(-np.array(sizes), kind="stable")[:wanted]
    return [pairs[i] for i in ranked], len(pairs), (1 + len(players) + len(pairs)) * n


def _told(players: tuple[Player, ...], chosen: tuple[int, ...]) -> str:
    return " and ".join(players[player].name for player in chosen) or "(none)"


# ---------------------------------------------------------------- how strong


def _questions(
    rows: np.ndarray, players: tuple[Player, ...], sets: list[tuple[int, ...]]
) -> Iterator[tuple[str, np.ndarray]]:
    """For each set of players and each row: all rows, with that row's values of the set."""
    for chosen in sets:
        columns = [column for player in chosen for column in players[player].columns]
        for row in rows:
            yield _told(players, chosen), replaced(rows, columns, row[columns])


def _square(found: Iterator[np.ndarray], n: int) -> np.ndarray:
    """(outputs, n, n): [k, i, b] the output of row b with the values of row i."""
    return np.stack([next(found) for _ in range(n)]).transpose(2, 0, 1)


def _measured(
    found: Iterator[np.ndarray], pairs: list[tuple[int, int]], single: dict[int, np.ndarray], n: int
) -> list[Strength]:
    """For each output the strengths of all pairs, whose outputs come one pair after the other."""
    each = []
    for a, b in pairs:
        both = _square(found, n)
        each.append([friedman_popescu(*parts) for parts in zip(both, single[a], single[b], strict=True)])
    return [Strength(*map(np.array, zip(*of_output, strict=True))) for of_output in zip(*each, strict=True)]


def friedman_popescu(pair: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float, float, float]:
    """Strength and H² of one pair, each with its jackknife standard error.

    Args:
        pair, first, second: (n, n) outputs of row b (second axis) with row i's values of both, of either.

    Returns:
        strength, its error, H², its error; H² is NaN where the pair has no effect, errors where n < 3.
    """
    n = len(pair)
    least = (ROUNDING * np.abs(pair).max()) ** 2
    difference = pair - first - second
    over, under = _variance(difference), _variance(pair)
    strength = np.sqrt(over)
    if n < 3:
        return float(strength), np.nan, float(over / under) if under > least else np.nan, np.nan
    overs, unders = _without_each(difference), _without_each(pair)
    error = _jackknife(np.sqrt(overs))
    if under <= least:
        return float(strength), error, np.nan, np.nan
    ratio_error = _jackknife(overs / unders) if (unders > least).all() else np.nan
    return float(strength), error, float(over / under), ratio_error


def _variance(values: np.ndarray) -> float:
    """Variance over i of the means over b: the mean square of the centred partial dependence."""
    return float(values.mean(axis=1).var())


def _without_each(values: np.ndarray) -> np.ndarray:
    """(n,) the same, each row left out in turn, of those measured at and of those averaged."""
    n = len(values)
    means = (values.sum(axis=1)[None] - values.T) / (n - 1)  # [left out, i]
    means[np.eye(n, dtype=bool)] = 0.0
    centre = means.sum(axis=1) / (n - 1)
    apart = means - centre[:, None]
    apart[np.eye(n, dtype=bool)] = 0.0
    return (apart**2).sum(axis=1) / (n - 1)


def _jackknife(values: np.ndarray) -> float:
    n = len(values)
    return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))


# ---------------------------------------------------------------- tables


def _strengths(
    output: str,
    players: tuple[Player, ...],
    pairs: list[tuple[int, int]],
    found: Strength,
    order: np.ndarray,
    n: int,
) -> pa.Table:
    """Two rows a pair, without a point: the strength and H²; the strongest pair first."""
    parts = []
    for (a, b), i in zip(pairs, order, strict=True):
        for measure, values, errors in (
            (STRENGTH, found.strength, found.strength_error),
            (H_SQUARED, found.h_squared, found.h_squared_error),
        ):
            effect, error = values[i : i + 1], errors[i : i + 1]
            parts.append(
                effect_rows(
                    1,
                    output=output,
                    feature=players[a].name,
                    with_feature=players[b].name,
                    measure=measure,
                    effect=effect,
                    error=error,
                    low=np.maximum(effect - HALF * error, 0.0),
                    high=effect + HALF * error,
                    n_rows=n,
                )
            )
    return pa.concat_tables(parts)


def _grid(first: Axis, second: Axis) -> np.ndarray:
    """(p, 2) all pairs of positions, the second running faster."""
    a, b = np.meshgrid(first.positions, second.positions, indexing="ij")
    return np.stack([a.ravel(), b.ravel()], axis=1)


def _at_points(
    rows: np.ndarray, players: tuple[Player, ...], grids: dict[tuple[int, int], np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    for pair, grid in grids.items():
        columns = [column for player in pair for column in players[player].columns]
        for positions in grid:
            yield _told(players, pair), replaced(rows, columns, positions)


def _surface(output: str, first: Axis, second: Axis, grid: np.ndarray, values: np.ndarray) -> pa.Table:
    """The joint partial dependence on a grid (p, 2), from the outputs (p, n)."""
    mean, error = mean_and_error(values, axis=1)
    (value, with_value) = (
        [texts[position] for position in grid[:, side].tolist()]
        for side, texts in enumerate(
            dict(zip(axis.positions.tolist(), axis.texts, strict=True)) for axis in (first, second)
        )
    )
    return effect_rows(
        len(grid),
        output=output,
        feature=first.feature.name,
        with_feature=second.feature.name,
        point=np.arange(len(grid)),
        position=grid[:, 0],
        value=value,
        with_position=grid[:, 1],
        with_value=with_value,
        effect=mean,
        error=error,
        n_rows=values.shape[1],
    )


TECHNIQUE = Technique(
    name="interactions",
    title=TITLE,
    modality="table",
    scope="shape",
    settings=InteractionsSettings,
    prepare=prepare,
    unfit=unfit,
    source="Friedman and Popescu 2008, Predictive learning via rule ensembles, https://doi.org/10.1214/07-AOAS148",
)
