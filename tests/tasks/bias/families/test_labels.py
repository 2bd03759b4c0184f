"""Labels before the model: divergences by hand and against scipy, Clarify's and other published numbers, intervals."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.bias import DISPARITIES
from tasks.bias.disparities import Gap
from tasks.bias.families.labels import DIVERGENCES, class_imbalance, farthest
from tasks.bias.statistics.significance import fisher, same_distribution

ROOT = Path(__file__).resolve().parents[4]
NAMES = list(DIVERGENCES)


@cache
def columns(path: str, *names: str) -> tuple[np.ndarray, ...]:
    table = pq.read_table(ROOT / "data" / path, columns=list(names))
    return tuple(table.column(name).to_numpy(zero_copy_only=False) for name in names)


def of(found, name: str, group: int | None = None) -> Gap:
    return next(gap for gap in found.gaps[name] if gap.group == group)


# ---------------------------------------------------------------- the divergences themselves


def test_divergences_by_hand() -> None:
    a, d = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
    assert DIVERGENCES["kl_divergence"](a, d) == pytest.approx(0.25 * np.log(2))
    middle = 0.5 * np.log(0.5 / 0.375) + 0.25 * np.log(0.25 / 0.375)
    assert DIVERGENCES["js_divergence"](a, d) == pytest.approx(middle)
    assert DIVERGENCES["lp_norm"](a, d) == pytest.approx(np.sqrt(0.125))
    assert DIVERGENCES["total_variation"](a, d) == 0.25
    assert DIVERGENCES["kolmogorov_smirnov"](a, d) == 0.25


@pytest.mark.parametrize("seed", range(20))
def test_divergences_are_scipys(seed: int) -> None:
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import entropy

    a, d = np.random.default_rng(seed).dirichlet([0.5] * 6, size=2)
    assert DIVERGENCES["kl_divergence"](a, d) == pytest.approx(entropy(a, d))
    assert DIVERGENCES["js_divergence"](a, d) == pytest.approx(jensenshannon(a, d) ** 2)
    assert DIVERGENCES["lp_norm"](a, d) == pytest.approx(np.linalg.norm(a - d))


def test_opposite_distributions_are_as_far_apart_as_can_be() -> None:
    a, d = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    found = {name: float(function(a, d)) for name, function in DIVERGENCES.items()}
    assert found == pytest.approx({
        "kl_divergence": np.inf, "js_divergence": np.log(2), "lp_norm": np.sqrt(2), "total_variation": 1,
        "kolmogorov_smirnov": 1,
    })  # fmt: skip


def test_nothing_counted_is_nan_and_not_zero() -> None:
    empty, some = np.full(2, np.nan), np.array([0.0, 1.0])
    for name, function in DIVERGENCES.items():
        assert np.isnan(function(empty, some)), name
        assert np.isnan(function(some, empty)), name


def test_the_farthest_group_of_many_tables() -> None:
    tables = np.array([[[5, 5], [5, 5], [1, 9]], [[5, 5], [9, 1], [5, 5]], [[5, 5], [0, 0], [4, 6]]])
    assert farthest(tables, 0, DIVERGENCES["total_variation"]) == pytest.approx([0.4, 0.4, 0.1])
    assert np.isnan(farthest(np.array([[5, 5], [0, 0]]), 0, DIVERGENCES["total_variation"]))


def test_class_imbalance_of_counts_of_two_groups() -> None:
    assert class_imbalance(726, 274) == 0.452
    assert np.isnan(class_imbalance(0, 0))


# ---------------------------------------------------------------- published numbers


#: facet → its group, the groups' order (reference first), class imbalance, DPL
CLARIFY: dict[str, tuple[Callable[[], np.ndarray], float, float]] = {
    "foreign worker": (
        lambda: columns("german_credit/german_credit.parquet", "foreign_worker")[0] == "yes", -0.926, 0.1992646852,
    ),
    "age (40, 75]": (lambda: columns("german_credit/german_credit.parquet", "age")[0] > 40, 0.452, -0.0512758641),
}  # fmt: skip


@pytest.mark.parametrize("facet", CLARIFY)
def test_clarifys_notebook_from_tables(comparing, facet: str) -> None:
    member, imbalance, dpl = CLARIFY[facet]
    group = member().astype(int)
    label = (columns("german_credit/german_credit.parquet", "credit")[0] == "good").astype(int)
    found = comparing(group, label, 1 - group, [*NAMES, "class_imbalance", "label_rate_difference"])
    assert found.reference == 0
    assert of(found, "class_imbalance", 1).value == imbalance
    assert of(found, "label_rate_difference", 1).value == pytest.approx(dpl, abs=5e-11)
    assert of(found, "total_variation", 1).value == pytest.approx(abs(dpl), abs=5e-11)
    assert of(found, "kolmogorov_smirnov", 1).value == pytest.approx(abs(dpl), abs=5e-11)
    assert of(found, "lp_norm", 1).value == pytest.approx(abs(dpl) * np.sqrt(2), abs=1e-10)
    if facet == "foreign worker":
        assert of(found, "lp_norm", 1).value == pytest.approx(0.2818028204, abs=5e-11)


def test_clarifys_notebook_from_rows(audit) -> None:
    foreign, age, credit = columns("german_credit/german_credit.parquet", "foreign_worker", "age", "credit")
    found = audit(
        {"foreign": foreign, "age": age}, label=credit, classes=["bad", "good"], favorable="good",
        decision=["good" if f == "no" and a <= 40 else "bad" for f, a in zip(foreign, age, strict=True)],
        sensitive={"foreign": {"column": "foreign"}, "age": {"column": "age", "bins": [41]}}, score=[0.5] * 1000,
        bias={"resamples": 100},
    )  # fmt: skip
    for attribute, group, imbalance, dpl in (
        ("foreign", "yes", -0.926, 0.1992646852), ("age", "≥ 41", 0.452, -0.0512758641),
    ):  # fmt: skip
        assert found.gap("class_imbalance", attribute, group)["value"] == imbalance
        assert found.gap("label_rate_difference", attribute, group)["value"] == pytest.approx(dpl, abs=5e-11)
        for name, factor in (("total_variation", 1), ("kolmogorov_smirnov", 1), ("lp_norm", np.sqrt(2))):
            row = found.gap(name, attribute, group)
            assert row["value"] == pytest.approx(abs(dpl) * factor, abs=1e-10)
            assert row["status"] == "ok"  # though only 4 bad credits were of natives: the interval needs no draws
            assert row["ci_low"] <= row["value"] <= row["ci_high"]
            assert row["p_value"] == found.gap("label_rate_difference", attribute, group)["p_value"]
    few = found.gap("kl_divergence", "foreign", "yes")
    assert (few["status"], few["ci_low"]) == ("insufficient_data", None)
    assert "fewer than 10 rows in a cell" in few["reason"]


@pytest.mark.parametrize(
    ("member", "difference", "ratio"),
    [
        (lambda age, sex: age < 25, -0.128550, 0.821248),
        (lambda age, sex: age <= 25, -0.149448, 0.794826),
        (lambda age, sex: sex == "female", -0.074801, 0.896567),
    ],
)
def test_german_credit_labels(comparing, member, difference: float, ratio: float) -> None:
    age, sex, credit = columns("german_credit/german_credit.parquet", "age", "sex", "credit")
    group = member(age, sex).astype(int)
    found = comparing(group, (credit == "good").astype(int), 1 - group, ["label_rate_difference", "label_impact_ratio"])
    assert -of(found, "label_rate_difference", 1).value == pytest.approx(difference, abs=5e-7)
    assert of(found, "label_impact_ratio", 1).value == pytest.approx(ratio, abs=5e-7)


def test_adult_labels(comparing) -> None:
    parts = [columns(f"adult/{name}.parquet", "sex", "income") for name in ("train", "test")]
    sex, income = (np.concatenate(column) for column in zip(*parts, strict=True))
    group, label = (sex == "Female").astype(int), (income == ">50K").astype(int)
    counts = [(int(label[group == k].sum()), int((group == k).sum())) for k in (0, 1)]
    assert counts == [(9918, 32650), (1769, 16192)]
    names = ["label_rate_difference", "label_impact_ratio", *NAMES]
    found = comparing(group, label, 1 - group, names, resamples=50)
    assert -of(found, "label_rate_difference", 1).value == pytest.approx(-0.194516, abs=5e-7)
    assert of(found, "label_impact_ratio", 1).value == 1769 * 32650 / (16192 * 9918)
    assert of(found, "label_impact_ratio", 1).value == pytest.approx(0.359655, abs=5e-7)
    assert of(found, "total_variation", 1).value == pytest.approx(0.194516, abs=5e-7)
    p, q = 9918 / 32650, 1769 / 16192
    exact = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert of(found, "kl_divergence", 1).value == pytest.approx(exact)


# ---------------------------------------------------------------- as comparisons of groups


def rows_of(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, labels and decisions of a table groups × classes; the first group is the best-off."""
    counts = np.array(table)
    group = np.repeat(np.arange(len(table)), counts.sum(1))
    label = np.repeat(np.tile(np.arange(counts.shape[1]), len(table)), counts.ravel())
    return group, label, (group == 0).astype(int)


def test_a_label_that_a_group_lacks_makes_kl_infinite_which_is_undefined(comparing) -> None:
    found = comparing(*rows_of([[30, 20, 50], [40, 60, 0], [30, 30, 40]]), NAMES, classes=3)
    gap = of(found, "kl_divergence", 1)
    assert (gap.status, gap.reason) == ("undefined", "infinite: b has no label of a class that a has")
    assert np.isnan(gap.value)
    assert gap.p < 0.001  # the test holds all the same
    whole = of(found, "kl_divergence")
    assert whole.value == of(found, "kl_divergence", 2).value
    assert "leaves out b" in whole.reason
    assert of(found, "js_divergence", 1).value > 0
    # The other way round nothing is infinite.
    other = comparing(*rows_of([[40, 60, 0], [30, 20, 50]]), NAMES, classes=3)
    assert np.isfinite(of(other, "kl_divergence", 1).value)


def test_the_test_is_that_of_equal_distributions(comparing) -> None:
    from scipy.stats import chi2_contingency

    table = [[30, 20, 50], [40, 30, 30], [20, 20, 60]]
    found = comparing(*rows_of(table), NAMES, classes=3)
    pair = chi2_contingency(table[:2], correction=False).pvalue
    whole = chi2_contingency(table, correction=False).pvalue
    for name in NAMES:
        assert (of(found, name, 1).p, of(found, name, 1).test) == (pytest.approx(pair), "chi_squared"), name
        assert (of(found, name).p, of(found, name).test) == (pytest.approx(whole), "chi_squared"), name
    assert len({gap.hypothesis for name in NAMES for gap in found.gaps[name] if gap.hypothesis}) == 3


def test_two_classes_ask_what_the_label_rate_asks(comparing) -> None:
    found = comparing(*rows_of([[30, 20], [15, 35]]), [*NAMES, "label_rate_difference"])
    rate = of(found, "label_rate_difference", 1)
    for name in NAMES:
        gap = of(found, name, 1)
        assert (gap.p, gap.test, gap.hypothesis) == (fisher(20, 50, 35, 50), "fisher", rate.hypothesis), name
    total = of(found, "total_variation", 1)
    assert (total.low, total.high) == pytest.approx((-rate.high, -rate.low))  # Newcombe's, without the sign


def test_few_rows_take_their_test_from_draws() -> None:
    """Against every table of the same margins, with its chance: that of drawing 8 of 15 balls."""
    from math import comb

    rng = np.random.default_rng(0)
    table = np.array([[4, 1, 3], [0, 5, 2]])
    p, test = same_distribution(table, None, rng, 20_000)
    assert test == "chi_squared_permuted"
    expected = np.array([4, 6, 5]) * 8 / 15

    def statistic(first: np.ndarray) -> float:
        return float(((first - expected) ** 2 * (1 / expected + 1 / (np.array([4, 6, 5]) - expected))).sum())

    chances = {
        (i, j, 8 - i - j): comb(4, i) * comb(6, j) * comb(5, 8 - i - j) / comb(15, 8)
        for i in range(5) for j in range(7) if 0 <= 8 - i - j <= 5
    }  # fmt: skip
    observed = statistic(table[0]) - 1e-9
    exact = sum(chance for first, chance in chances.items() if statistic(np.array(first)) >= observed)
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 20_000))
    assert np.isnan(same_distribution(table, None, rng, 0)[0])
    assert np.isnan(same_distribution(np.array([[3, 0], [4, 0]]), None, rng, 10)[0])


def test_weighted_tests_are_wald_and_near_the_plain_ones_where_weights_are_equal() -> None:
    from scipy.stats import chi2_contingency

    table = np.array([[300, 200, 500], [280, 250, 470], [310, 210, 480]], float)
    p, test = same_distribution(table * 3, table * 9, np.random.default_rng(0), 0)
    assert test == "wald, linearised"
    assert p == pytest.approx(chi2_contingency(table).pvalue, abs=0.01)


def test_small_groups_keep_values_and_are_insufficient(comparing) -> None:
    found = comparing(*rows_of([[30, 30], [15, 25], [1, 4]]), NAMES, least=30)
    gap = of(found, "total_variation", 2)
    assert (gap.status, gap.value) == ("insufficient_data", pytest.approx(0.3))
    assert "c: rests on 5 rows; 30 are needed" in gap.reason
    assert of(found, "total_variation").value == of(found, "total_variation", 1).value
    assert "leaves out c" in of(found, "total_variation").reason


def test_no_labels_no_numbers(comparing) -> None:
    group = np.array([0, 0, 1, 1])
    found = comparing(group, np.full(4, -1), np.array([1, 1, 0, 0]), NAMES)
    for name in NAMES:
        assert {gap.status for gap in found.gaps[name]} == {"undefined"}, name
        assert "no labels" in of(found, name).reason


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        ([[0.3, 0.3, 0.4], [0.3, 0.3, 0.4]], (200, 200)),
        ([[0.3, 0.3, 0.4], [0.45, 0.3, 0.25]], (200, 200)),
        ([[0.3, 0.3, 0.4], [0.35, 0.3, 0.35], [0.4, 0.3, 0.3]], (200, 150, 200)),
    ],
)
def test_intervals_cover(comparing, shares: list[list[float]], sizes: tuple[int, ...]) -> None:
    """120 samples: at a coverage of 95 %, 106 or more are covered in 99.9 % of such tests."""
    rng = np.random.default_rng(20_261_122)
    truth = {name: max(function(np.array(shares[0]), np.array(d)) for d in shares[1:])
             for name, function in DIVERGENCES.items()}  # fmt: skip
    covered = dict.fromkeys(NAMES, 0)
    for _ in range(120):
        table = [list(rng.multinomial(n, p)) for n, p in zip(sizes, shares, strict=True)]
        found = comparing(*rows_of(table), NAMES, classes=3, resamples=200)
        for name in NAMES:
            gap = of(found, name)
            covered[name] += gap.low - 1e-12 <= truth[name] <= gap.high + 1e-12
    assert min(covered.values()) >= 106, covered


@pytest.mark.parametrize("shares", [[[0.3, 0.3, 0.4], *[[0.45, 0.3, 0.25]] * 8], [[0.6, 0.4], *[[0.4, 0.6]] * 8]])
def test_the_farthest_of_groups_that_tie_is_not_said_to_be_farther_than_it_is(
    comparing, shares: list[list[float]]
) -> None:
    """100 samples of eight groups as far away as each other: the near end fails in 2.5 % of them, which is in no more
    than 9 in 99.9 % of such tests."""
    rng = np.random.default_rng(20_261_122)
    truth = {name: float(function(np.array(shares[0]), np.array(shares[1]))) for name, function in DIVERGENCES.items()}
    missed = dict.fromkeys(NAMES[1:4], 0)
    for _ in range(100):
        table = [list(rng.multinomial(n, p)) for n, p in zip([2000, *[200] * 8], shares, strict=True)]
        found = comparing(*rows_of(table), list(missed), classes=len(shares[0]), resamples=600)
        for name in missed:
            missed[name] += of(found, name).low > truth[name] + 1e-12
    assert max(missed.values()) <= 9, missed


def test_too_few_draws_for_many_groups_give_no_lower_limit_above_0(comparing) -> None:
    found = comparing(*rows_of([[200, 100], *[[100, 200]] * 8]), ["js_divergence"], resamples=300)
    assert of(found, "js_divergence", 1).low > 0
    assert of(found, "js_divergence").low == 0


def test_the_interval_of_the_largest_imbalance_is_corrected_for_the_number_of_groups(comparing) -> None:
    from tasks.bias.statistics.intervals import wilson

    found = comparing(*rows_of([[30, 30], [10, 10], [15, 15]]), ["class_imbalance"])
    whole, pair = of(found, "class_imbalance"), of(found, "class_imbalance", 1)
    assert whole.value == pair.value == 0.5
    assert (whole.low, whole.high) == pytest.approx(tuple(2 * end - 1 for end in wilson(60 / 80, 80, 0.975)))
    assert whole.low < pair.low < pair.high < whole.high


# ---------------------------------------------------------------- properties

cell = st.integers(0, 30)
tables = st.integers(2, 4).flatmap(
    lambda classes: st.lists(st.lists(cell, min_size=classes, max_size=classes), min_size=2, max_size=4)
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(tables, st.integers(1, 20))
def test_any_table_gives_numbers_or_reasons(comparing, table: list[list[int]], least: int) -> None:
    if not sum(map(sum, table)):
        return
    classes = len(table[0])
    found = comparing(*rows_of(table), NAMES, classes=classes, groups=len(table), least=least, resamples=30)
    for name in NAMES:
        for gap in found.gaps[name]:
            assert np.isnan(gap.value) == (gap.status == "undefined"), name
            assert gap.status == "ok" or gap.reason, name
            assert not np.isinf(gap.value)
            assert np.isnan(gap.value) or gap.value >= 0, name
            assert np.isnan(gap.low) or gap.low - 1e-9 <= gap.value <= gap.high + 1e-9, (name, gap)
            assert np.isnan(gap.p) or 0 <= gap.p <= 1, name


@quick
@given(st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=3), min_size=2, max_size=2))
def test_but_for_kl_swapping_the_groups_changes_nothing(comparing, table: list[list[int]]) -> None:
    one, other = (comparing(*rows_of(t), NAMES, classes=3, resamples=0) for t in (table, table[::-1]))
    for name in NAMES[1:]:
        assert of(one, name, 1).value == pytest.approx(of(other, name, 1).value, abs=1e-12), name
        assert of(one, name, 1).p == pytest.approx(of(other, name, 1).p, nan_ok=True), name
    shares = [np.array(t) / sum(t) for t in table]
    assert of(other, "kl_divergence", 1).value == pytest.approx(
        float(DIVERGENCES["kl_divergence"](shares[1], shares[0])), abs=1e-12
    )


def test_scaling_weights_changes_nothing(comparing) -> None:
    rows = rows_of([[30, 40, 50], [40, 30, 60], [20, 50, 50]])
    weight = np.random.default_rng(0).exponential(size=len(rows[0]))
    one, other = (comparing(*rows, NAMES, classes=3, weight=w) for w in (weight, weight * 1024))
    for name in NAMES:
        for mine, theirs in zip(one.gaps[name], other.gaps[name], strict=True):
            for key in ("value", "low", "high", "p"):
                assert getattr(mine, key) == pytest.approx(getattr(theirs, key), rel=1e-9, nan_ok=True), (name, key)
        assert np.isfinite(of(one, name).low), name
        assert of(one, name, 1).test == "wald, linearised"


def test_the_statistic_is_a_function_of_a_table_of_counts(comparing) -> None:
    table = np.array([[30, 40, 50], [40, 30, 60], [20, 50, 50]])
    found = comparing(*rows_of(table.tolist()), NAMES, classes=3, resamples=0)
    for name in NAMES:
        statistic = partial(farthest, reference=0, divergence=DIVERGENCES[name])
        assert float(statistic(table)) == pytest.approx(of(found, name).value)
        assert name in DISPARITIES
