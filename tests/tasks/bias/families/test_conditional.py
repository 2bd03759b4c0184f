"""Conditional demographic disparity: by hand, Simpson's paradox, against statsmodels' formulas, coverage, from rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.schema import AuditConfig
from tasks.bias import check_policy
from tasks.bias.disparities import Gap
from tasks.bias.families.conditional import NAMES, disparities, mantel_haenszel, stratified
from tasks.bias.registry import applicable_disparities
from tasks.errors import ConfigError, DataRefused

LABELS, PREDICTIONS = NAMES


def of(found, name: str, group: int | None = None) -> Gap:
    return next(gap for gap in found.gaps[name] if gap.group == group)


def table_of(counts: np.ndarray):
    """(strata, groups, 2) rejected and accepted as a table of strata."""
    cells = np.asarray(counts, float)
    pair = np.repeat(np.arange(cells.shape[0] * cells.shape[1]), 2)
    outcome = np.tile([0, 1], cells.shape[0] * cells.shape[1])
    held = cells.ravel() > 0
    return stratified(pair[held], outcome[held], np.stack([cells.ravel()[held]] * 3, -1), cells.shape[1])


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(stratum, group, outcome) of each row."""
    cells = np.asarray(counts)
    index = np.repeat(np.arange(cells.size), cells.ravel())
    return tuple(np.array(part) for part in np.unravel_index(index, cells.shape))  # type: ignore[return-value]


#: rejected and accepted of two groups in two departments: Berkeley's paradox in round numbers
PARADOX = np.array([[[20, 80], [5, 25]], [[24, 6], [75, 25]]])


def test_by_hand() -> None:
    found = disparities(table_of(PARADOX), 0.95, weighted=False)
    easy = 5 / 25 - 25 / 105
    hard = 75 / 99 - 25 / 31
    assert found.value[1] == pytest.approx((130 * easy + 130 * hard) / 260)
    assert found.value[0] == pytest.approx(-found.value[1])
    assert found.value[1] < 0  # within departments the second group is better off …
    pooled = PARADOX.sum(0)
    assert pooled[1, 0] / pooled[1].sum() > pooled[0, 0] / pooled[0].sum()  # … and looks worse off without them


def test_one_stratum_is_the_demographic_disparity() -> None:
    counts = np.array([[[30, 70], [50, 50], [20, 10]]])
    found = disparities(table_of(counts), 0.95, weighted=False)
    assert found.value == pytest.approx([30 / 100 - 70 / 130, 50 / 100 - 50 / 130, 20 / 100 - 10 / 130])
    assert found.value.sum() == pytest.approx(0)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_strata_of_one_outcome_leave_and_are_counted() -> None:
    counts = np.concatenate([PARADOX, [[[7, 0], [9, 0]], [[0, 3], [0, 0]]]])
    table = table_of(counts)
    assert table.left == 2
    assert disparities(table, 0.95, weighted=False).value == pytest.approx(
        disparities(table_of(PARADOX), 0.95, weighted=False).value
    )


def test_the_test_is_cochrans_mantels_and_haenszels() -> None:
    """As in Agresti 2013, section 6.4.2, computed term by term."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 40, (4, 3, 2))
    found = mantel_haenszel(table_of(counts))
    from scipy.stats import chi2

    for g in range(3):
        apart = variance = 0.0
        for stratum in counts:
            n, mine, accepted = stratum.sum(), stratum[g].sum(), stratum[:, 1].sum()
            apart += stratum[g, 1] - mine * accepted / n
            variance += mine * (n - mine) * accepted * (n - accepted) / (n**2 * (n - 1))
        assert found[g] == pytest.approx(chi2.sf(apart**2 / variance, 1))


def test_labels_and_predictions_have_their_own(comparing) -> None:
    stratum, group, outcome = rows_of(PARADOX)
    found = comparing(group, outcome, 1 - group, NAMES, strata=stratum)
    by_label = of(found, LABELS, 1)
    assert by_label.value == pytest.approx(disparities(table_of(PARADOX), 0.95, weighted=False).value[1])
    assert by_label.reference is None  # everybody
    assert of(found, PREDICTIONS, 1).value == pytest.approx(1)  # all of b, and nobody else, are rejected
    whole = of(found, LABELS)
    assert abs(whole.value) == pytest.approx(abs(by_label.value))
    assert (whole.test, whole.p) == ("mantel_haenszel", pytest.approx(by_label.p))
    assert len({gap.hypothesis for gap in found.gaps[LABELS]}) == 1  # two groups ask one thing


def test_more_groups_are_corrected_for(comparing) -> None:
    counts = np.array([[[30, 70], [50, 50], [40, 40]], [[30, 20], [60, 20], [20, 20]]])
    stratum, group, outcome = rows_of(counts)
    found = comparing(group, outcome, outcome, [LABELS], strata=stratum)
    ps = [of(found, LABELS, g).p for g in range(3)]
    whole = of(found, LABELS)
    assert (whole.p, whole.test) == (pytest.approx(3 * min(ps)), "mantel_haenszel, bonferroni")
    assert whole.value == max((of(found, LABELS, g).value for g in range(3)), key=abs)
    farthest = next(g for g in range(3) if of(found, LABELS, g).value == whole.value)
    strict = disparities(table_of(counts), 1 - 0.05 / 3, weighted=False)
    assert (whole.low, whole.high) == pytest.approx((strict.low[farthest], strict.high[farthest]))


def test_the_farthest_of_groups_that_are_alike_is_covered(comparing) -> None:
    """200 samples of six groups that are alike: 182 or more are covered in 99.9 % of tests of a perfect interval; with
    the interval of a group that was named beforehand 141 are."""
    rng = np.random.default_rng(20_261_122)
    covered = 0
    for _ in range(200):
        group, stratum, outcome = rng.integers(0, 6, 600), rng.integers(0, 2, 600), rng.integers(0, 2, 600)
        whole = of(comparing(group, outcome, outcome, [LABELS], strata=stratum, resamples=0), LABELS)
        covered += whole.low <= 0 <= whole.high
    assert covered >= 182, covered


def test_what_leaves_is_said(comparing) -> None:
    counts = np.concatenate([PARADOX, [[[7, 0], [9, 0]]]])
    stratum, group, outcome = rows_of(counts)
    found = comparing(group, outcome, outcome, [LABELS], strata=stratum)
    assert of(found, LABELS, 1).reason == "1 strata left out, in which none or all are accepted"
    small = comparing(group, outcome, outcome, [LABELS], strata=stratum, least=150)
    assert {gap.status for gap in small.gaps[LABELS]} == {"insufficient_data"}
    nobody = comparing(group, np.zeros(len(group), int), outcome, [LABELS], strata=stratum)
    assert {gap.status for gap in nobody.gaps[LABELS]} == {"undefined"}
    assert "3 strata left out" in of(nobody, LABELS).reason


def test_weights_count_and_their_scale_does_not(comparing) -> None:
    stratum, group, outcome = rows_of(PARADOX)
    ones = comparing(group, outcome, outcome, [LABELS], strata=stratum)
    rng = np.random.default_rng(0)
    twice = comparing(group, outcome, outcome, [LABELS], strata=stratum, weight=np.full(len(group), 2.0))
    assert of(twice, LABELS, 1).value == pytest.approx(of(ones, LABELS, 1).value)
    assert of(twice, LABELS, 1).low == pytest.approx(of(ones, LABELS, 1).low)
    assert of(twice, LABELS, 1).test == "wald, linearised"
    assert of(twice, LABELS, 1).p == pytest.approx(of(ones, LABELS, 1).p, abs=0.02)
    weight = rng.exponential(size=len(group))
    one, other = (comparing(group, outcome, outcome, [LABELS], strata=stratum, weight=w) for w in (weight, weight * 9))
    for mine, theirs in zip(one.gaps[LABELS], other.gaps[LABELS], strict=True):
        assert (mine.value, mine.low, mine.high, mine.p) == pytest.approx(
            (theirs.value, theirs.low, theirs.high, theirs.p)
        )


def _truth(shares: np.ndarray) -> np.ndarray:
    size = shares.sum((1, 2))
    split = shares / shares.sum(1, keepdims=True)
    return (size[:, None] * (split[..., 0] - split[..., 1])).sum(0) / size.sum()


@pytest.mark.parametrize(("strata", "n", "tilt"), [(1, 100, 1.0), (3, 200, 1.0), (3, 200, 1.8), (8, 400, 2.5)])
def test_coverage_and_size(strata: int, n: int, tilt: float) -> None:
    """1,000 samples: 927 or more are covered in 99.9 % of tests of a perfect interval, and 72 or fewer rejected."""
    rng = np.random.default_rng(20_261_122 + strata)
    accepted = rng.uniform(0.35, 0.65, strata)
    shares = rng.dirichlet([8] * strata)[:, None, None] * np.array([0.5, 0.3, 0.2])[None, :, None]
    shares = shares * np.stack([1 - accepted, accepted], -1)[:, None, :]
    shares[:, 2, 0] *= tilt
    shares /= shares.sum()
    truth = _truth(shares)
    covered, rejected = np.zeros(3), np.zeros(3)
    for _ in range(1000):
        found = disparities(table_of(rng.multinomial(n, shares.ravel()).reshape(shares.shape)), 0.95, weighted=False)
        covered += (found.low <= truth) & (truth <= found.high)
        rejected += found.p < 0.05
    assert covered.min() >= 927, covered
    if tilt == 1:
        assert rejected.max() <= 72, rejected


# ---------------------------------------------------------------- from rows, and the config


def test_german_credit_from_rows(audit) -> None:
    """Women, by housing: the sum of METRICS.md written out over the rows."""
    from pathlib import Path

    import pyarrow.parquet as pq

    path = Path(__file__).resolve().parents[4] / "data/german_credit/german_credit.parquet"
    sex, housing, credit = (pq.read_table(path).column(n).to_pylist() for n in ("sex", "housing", "credit"))
    found = audit(
        {"sex": sex, "housing": housing}, label=credit, decision=credit, score=[0.5] * 1000, classes=["bad", "good"],
        favorable="good", sensitive={"sex": {"column": "sex"}},
        bias={"strata": {"column": "housing"}, "resamples": 50},
    )  # fmt: skip
    expected = 0.0
    for kind in set(housing):
        rows = [(s, c) for s, h, c in zip(sex, housing, credit, strict=True) if h == kind]
        bad, good = ([s for s, c in rows if c == wanted] for wanted in ("bad", "good"))
        expected += len(rows) / 1000 * (bad.count("female") / len(bad) - good.count("female") / len(good))
    row = found.gap(LABELS, "sex", "female")
    assert row["value"] == pytest.approx(expected, rel=1e-12)
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert (row["reference"], row["status"]) == (None, "ok")
    assert found.gap(PREDICTIONS, "sex", "female")["value"] == pytest.approx(expected, rel=1e-12)


def config(**bias) -> AuditConfig:
    return AuditConfig.model_validate({
        "name": "t", "model": {"path": "m", "task": "binary"},
        "data": {"path": "d", "target": {"column": "y", "favorable": "yes"}, "sensitive": {"sex": {"column": "sex"}}},
        "bias": bias, "policy": [{"metric": LABELS, "attribute": "sex", "max": 0.1}],
    })  # fmt: skip


def test_without_strata_it_is_not_applicable_and_says_why(audit) -> None:
    assert not {entry.name for entry in applicable_disparities(config())} & set(NAMES)
    with pytest.raises(ConfigError, match=r"needs bias\.strata: the column that it is conditional on"):
        check_policy(config())
    check_policy(config(strata={"column": "age", "bins": [40]}))
    found = audit({"g": ["a", "b"] * 40}, label=["yes", "no"] * 40, decision=["no", "yes"] * 40)
    absent = {name: said["reason"] for said in found.done.facts["not_applicable"] for name in said["metrics"]}
    assert {absent[name] for name in NAMES} == {"needs bias.strata: the column that it is conditional on"}


def test_strata_are_bins_and_the_missing_have_their_own(audit) -> None:
    found = audit(
        {"g": ["a", "b"] * 40, "age": [20, 30, None, 50] * 20}, label=["yes", "no", "no", "yes"] * 20,
        decision=["no", "yes"] * 40, sensitive={"g": {"column": "g"}},
        bias={"strata": {"column": "age", "bins": [25, 40]}, "min_group_size": 1},
    )  # fmt: skip
    assert "4 strata left out" in found.gap(LABELS, "g", "a")["reason"]
    with pytest.raises(DataRefused, match=r"bias\.strata.*there is no column nowhere"):
        audit(
            {"g": ["a", "b"]}, label=["yes", "no"], decision=["no", "yes"],
            bias={"strata": {"column": "nowhere"}},
        )  # fmt: skip


# ---------------------------------------------------------------- properties

cell = st.integers(0, 9)
tables = st.tuples(st.integers(1, 4), st.integers(2, 4)).flatmap(
    lambda shape: st.lists(cell, min_size=shape[0] * shape[1] * 2, max_size=shape[0] * shape[1] * 2).map(
        lambda counts: np.array(counts).reshape(*shape, 2)
    )
)
quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(tables, st.booleans())
def test_any_table_gives_numbers_or_reasons(comparing, counts: np.ndarray, weighted: bool) -> None:
    if not counts.sum():
        return
    stratum, group, outcome = rows_of(counts)
    weight = np.linspace(0, 2, len(group)) if weighted else None
    found = comparing(
        group, outcome, outcome, NAMES, strata=stratum, groups=counts.shape[1], resamples=0, weight=weight
    )
    for name in NAMES:
        for gap in found.gaps[name]:
            assert np.isnan(gap.value) == (gap.status == "undefined"), name
            assert gap.status == "ok" or gap.reason
            assert np.isnan(gap.value) or -1 - 1e-9 <= gap.low - 1e-9 <= gap.value <= gap.high + 1e-9 <= 1 + 2e-9
            assert np.isnan(gap.p) or 0 <= gap.p <= 1


@quick
@given(tables)
def test_all_groups_together_have_no_disparity_and_outcomes_mirror(counts: np.ndarray) -> None:
    one, other = (disparities(table_of(c), 0.95, weighted=False) for c in (counts, counts[..., ::-1]))
    assert np.nansum(one.value) == pytest.approx(0, abs=1e-12)
    assert one.value == pytest.approx(-other.value, nan_ok=True, abs=1e-12)
    assert one.low == pytest.approx(-other.high, nan_ok=True, abs=1e-9)
    assert one.p == pytest.approx(other.p, nan_ok=True)
