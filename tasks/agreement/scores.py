"""What is measured of every technique on the judged rows: a value a row, beside a random attribution's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np

from tasks.agreement import complexity, faithfulness, robustness
from tasks.agreement.judged import Judged

#: (technique, measure) → (n,) values, NaN where a row has none
Scores = dict[tuple[str, str], np.ndarray]

#: the attribution that knows nothing of the model, beside which the others stand
RANDOM = "random"
#: standard normal attributions a row; what is said of the random attribution is their mean
DRAWS = 3
#: points of a curve beyond the first, and random subsets a row
STEPS = {"table": 32, "image": 16}
SUBSETS = 64
#: players that are taken away one at a time; of more, so many are drawn
SINGLES = 64


def evaluations_of(players: int, techniques: int, modality: str, background: int) -> int:
    """Model evaluations that `faithfulness_scores` costs for a row."""
    curves = 2 * (techniques + DRAWS) * (min(players, STEPS[modality]) - 1)
    singles = min(players, SINGLES) * (2 if modality == "table" else 1)
    return background * (curves + SUBSETS + singles + 1)


def random_attributions(judged: Judged, generator: np.random.Generator) -> np.ndarray:
    """(DRAWS, n, g) standard normal numbers."""
    return generator.standard_normal((DRAWS, len(judged.rows), judged.players))


def faithfulness_scores(
    judged: Judged, modality: str, generator: np.random.Generator, tick: Callable[[], None] = lambda: None
) -> Scores:
    """Deletion and insertion area and their difference, µ-fidelity, infidelity, monotonicity; of tables the share
    given to null features.

    Which subsets are drawn, and which players are taken away alone, is the same for all techniques.
    """
    rows, output, own, masked, g = judged.rows, judged.output, judged.own, judged.masked, judged.players
    steps = faithfulness.steps_of(g, STEPS[modality])
    subsets = faithfulness.random_subsets(g, SUBSETS, generator)
    alone = np.sort(generator.choice(g, min(g, SINGLES), replace=False))
    chances = random_attributions(judged, generator)
    each = np.eye(g, dtype=bool)[alone]
    nobody = masked(rows, np.zeros((len(rows), 1, g), bool), output)
    fallen = faithfulness.falls(masked, rows, output, subsets, own)
    single = faithfulness.falls(masked, rows, output, each, own)
    tick()
    null = np.zeros(g, bool)
    if modality == "table":
        with_one = masked(rows, np.broadcast_to(each, (len(rows), *each.shape)), output) - nobody
        changes = np.maximum(np.abs(single), np.abs(with_one)).max(axis=0)
        null[alone] = changes <= faithfulness.ROUNDING * max(1.0, float(np.abs(own).max()))

    def curve(order: np.ndarray, insert: bool) -> np.ndarray:
        between = faithfulness.curves(masked, rows, output, order, steps[1:-1], insert=insert)
        ends = (nobody, own[:, None]) if insert else (own[:, None], nobody)
        tick()
        return faithfulness.area(np.concatenate([ends[0], between, ends[1]], axis=1), steps)

    def measured(values: np.ndarray) -> dict[str, np.ndarray]:
        order = faithfulness.largest_first(values)
        deleted, inserted = curve(order, False), curve(order, True)
        found = {
            "insertion_minus_deletion": inserted - deleted,
            "deletion_area": deleted,
            "insertion_area": inserted,
            "mu_fidelity": faithfulness.mu_fidelity(values, subsets, fallen),
            "infidelity": faithfulness.infidelity(values, subsets, fallen),
            "monotonicity": faithfulness.monotonicity(values[:, alone], single),
        }
        return found | ({"null_feature_share": faithfulness.null_share(values, null)} if null.any() else {})

    return _beside_chance(judged.attributions, chances, measured)


def plain_scores(judged: Judged, generator: np.random.Generator) -> Scores:
    """What needs no model: entropy and sparseness; how alike the explanations of two classes of a row are."""

    def measured(values: np.ndarray) -> dict[str, np.ndarray]:
        return {"entropy": complexity.entropy(values), "gini_sparseness": complexity.gini(values)}

    found = _beside_chance(judged.attributions, random_attributions(judged, generator), measured)
    if judged.others:
        pairs = {t: (judged.attributions[t], other) for t, other in judged.others.items()}
        found |= {(t, "random_logit"): robustness.correlation(own, other) for t, (own, other) in pairs.items()}
        first, second = random_attributions(judged, generator), random_attributions(judged, generator)
        chance = [robustness.correlation(a, b) for a, b in zip(first, second, strict=True)]
        found[RANDOM, "random_logit"] = mean_of(np.stack(chance))
    return found


def _beside_chance(
    attributions: Mapping[str, np.ndarray],
    chances: np.ndarray,
    measured: Callable[[np.ndarray], dict[str, np.ndarray]],
) -> Scores:
    found = {(t, name): row for t, values in attributions.items() for name, row in measured(values).items()}
    by_chance = [measured(values) for values in chances]
    return found | {(RANDOM, name): mean_of(np.stack([one[name] for one in by_chance])) for name in by_chance[0]}


def mean_of(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is defined; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing but NaN
        return np.nanmean(values, axis=0)
