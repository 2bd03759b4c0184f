"""Which techniques fail: the two rules by hand, and how often chance alone would mark or pass one."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.agreement import faithfulness, measures, quality
from tasks.agreement.masked import masked_table
from tasks.agreement.scores import DRAWS, RANDOM, Scores


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 · 0.01; 2 · 0.03; 0.04 is no smaller than what came before
        ([0.9, 0.5], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[float]) -> None:
    assert measures.holm(p_values) == pytest.approx(expected)


def test_the_paired_test_is_scipys() -> None:
    from scipy.stats import ttest_rel

    a, b = np.random.default_rng(0).normal(size=(2, 30))
    assert quality.p_better(a - b) == pytest.approx(ttest_rel(a, b, alternative="greater").pvalue)
    assert quality.p_better(np.full(5, 0.1)) == 0.0
    assert quality.p_better(np.zeros(5)) == 1.0


def test_no_better_than_random_by_hand() -> None:
    generator = np.random.default_rng(0)
    chance = generator.normal(1.0, 0.1, 50)
    scores: Scores = {
        ("good", quality.PRIMARY): chance + 0.5,
        ("same", quality.PRIMARY): chance.copy(),
        ("worse", quality.PRIMARY): chance - 0.2,
        ("good", "insertion_area"): chance,  # no other measure decides
        (RANDOM, quality.PRIMARY): chance,
    }
    found = {one.technique: one for one in quality.no_better(scores, "yes", 0.95)}
    assert set(found) == {"same", "worse"}
    assert found["worse"].better == pytest.approx((-0.2, -0.2, -0.2))
    assert (found["worse"].output, found["worse"].n_rows, found["worse"].p_adjusted) == ("yes", 50, 1.0)
    few: Scores = {key: values[: quality.FEWEST_ROWS - 1] for key, values in scores.items()}
    assert quality.no_better(few, None, 0.95) == []


@pytest.mark.parametrize(
    ("sound", "chance", "own", "expected"),
    [
        ([0.0, 0.2], [0.0, 0.0], [1.0, 1.0], True),
        ([0.0, 0.0], [0.0, -0.2], [1.0, 1.0], True),
        ([0.0, 0.0], [0.0, 0.0], [1.0, 1.0], False),
        ([1e-9, 0.0], [0.0, -1e-9], [1.0, 1.0], False),  # rounding
        ([1e-9, 0.0], [0.0, -1e-9], [1e-8, 1e-8], True),  # outputs in small units
        ([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], False),
        ([0.0, 1e-3], [0.0, 0.0], [0.0, 0.0], True),
    ],
)
def test_whether_orders_matter(sound: list[float], chance: list[float], own: list[float], expected: bool) -> None:
    scores: Scores = {
        ("sound", quality.PRIMARY): np.array(sound),
        ("sound", "deletion_area"): np.array([5.0, 5.0]),
        (RANDOM, quality.PRIMARY): np.array(chance),
    }
    assert quality.orders_matter(scores, np.array(own)) is expected


def test_unchanged_by_randomisation_by_hand() -> None:
    measure = "parameter_randomisation"
    scores: Scores = {
        ("edges", measure): np.array([1.0, np.nan, 0.95]),
        ("near", measure): np.array([1.0, 0.79]),
        ("nothing", measure): np.array([np.nan, np.nan]),
        (RANDOM, measure): np.array([1.0, 1.0]),
    }
    (found,) = quality.unchanged(scores, None, 6)
    assert (found.technique, found.reason, found.n_rows) == ("edges", "unchanged_by_randomisation", 2)
    assert found.value == pytest.approx(0.975)
    assert quality.unchanged(scores, None, 5) == []  # five features are in one order too often by chance


def replicate(seed: int, *, rows: int = 100, knowing: int = 1, blind: int = 4) -> tuple[int, int, int]:
    """A model that is no sum, judged as the stage does: exact attributions to its parts, and blind ones.

    Returns:
        How many knowing techniques are marked, and how many blind ones pass with and without the correction.
    """
    generator = np.random.default_rng(seed)
    weights, d = generator.normal(size=6), 6
    x, background = generator.normal(size=(rows, d)), generator.normal(size=(3, d))

    def model(at: np.ndarray) -> np.ndarray:
        return (1 / (1 + np.exp(-at @ weights - at[:, 0] * at[:, 1])))[:, None]

    masked, output, steps = (
        masked_table(model, background, np.eye(d, dtype=bool)),
        np.zeros(rows, int),
        np.arange(d + 1),
    )

    def area(values: np.ndarray) -> np.ndarray:
        order = faithfulness.largest_first(values)
        deleted, inserted = (
            faithfulness.area(faithfulness.curves(masked, x, output, order, steps, insert=insert), steps)
            for insert in (False, True)
        )
        return inserted - deleted

    exact = weights * (x - background.mean(axis=0))
    scores: Scores = {(f"knows {i}", quality.PRIMARY): area(exact) for i in range(knowing)}
    for i in range(blind):
        scores[f"blind {i}", quality.PRIMARY] = area(generator.standard_normal((rows, d)))
    chance = [area(generator.standard_normal((rows, d))) for _ in range(DRAWS)]
    scores[RANDOM, quality.PRIMARY] = np.mean(chance, axis=0)
    failing = {one.technique for one in quality.no_better(scores, None, 0.95)}
    alone = [quality.p_better(v - scores[RANDOM, quality.PRIMARY]) for (t, _), v in scores.items() if "blind" in t]
    marked = sum(name.startswith("knows") for name in failing)
    return marked, blind - (len(failing) - marked), sum(p <= 0.025 for p in alone)


def test_how_often_chance_decides() -> None:
    """300 audits of one sound and four blind techniques."""
    found = np.array([replicate(seed) for seed in range(300)])
    assert found[:, 0].sum() == 0  # the sound one is never marked
    # In at most 2.5 % of audits does any blind one pass; 5.2 % is three standard errors more.
    assert (found[:, 1] > 0).mean() <= 0.052
    # Without the correction some blind one passes in about 4 · 2.5 %: the test can tell the two apart.
    assert (found[:, 2] > 0).mean() > 0.052
