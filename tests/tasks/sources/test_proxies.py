"""Proxies: areas as scikit-learn counts them, honest where nothing is told, and what is marked and left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2_contingency
from sklearn.metrics import roc_auc_score

from tasks.sources.areas import FOLDS, area_and_pulls, cell_areas, cramers_v, folds_of, model_areas
from tasks.sources.features import Part
from tasks.sources.proxies import Settings, proxies_of

SETTINGS = Settings(confidence=0.95, least=30, seed=0)


def part(name, codes, *, kind="feature", column=None, values=None, known=None, ordered=False) -> Part:
    codes = np.asarray(codes, np.int32)
    size = int(codes.max()) + 1
    values = values or tuple(f"v{k}" for k in range(size))
    known = np.ones(size, bool) if known is None else np.array(known)
    return Part(name, kind, column or name, values, codes, ordered, None, known)


def cells_of(folds, codes, groups, weight=None):
    shape = (FOLDS, int(codes.max()) + 1, int(groups.max()) + 1)
    key = np.ravel_multi_index((folds, codes, groups), shape)
    w = np.ones(len(codes)) if weight is None else weight
    return tuple(np.bincount(key, v, int(np.prod(shape))).reshape(shape) for v in (w, w * w))


def told(seed=0, n=900, bins=6, groups=3):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, bins, n)
    return codes, np.minimum(rng.poisson(0.3 + codes / bins), groups - 1), rng.exponential(size=n)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_feature_alone_by_scikit_learn(weighted):
    codes, groups, weight = told()
    weight = weight if weighted else np.ones(len(codes))
    folds = folds_of(groups, [1])
    areas = cell_areas(*cells_of(folds, codes, groups, weight), float(weight.mean()), np.ones(3, bool), 0.95)
    pulls = np.zeros((len(codes), 3))
    for g in range(3):
        found = []
        for k in range(FOLDS):
            own = folds == k
            hit = (groups == g).astype(float)
            base = weight[~own] @ hit[~own] / weight[~own].sum()
            share = [
                (weight[~own & (codes == b)] @ hit[~own & (codes == b)] + base * weight.mean())
                / (weight[~own & (codes == b)].sum() + weight.mean())
                for b in range(6)
            ]
            score = np.array(share)[codes[own]]
            found.append(roc_auc_score(hit[own], score, sample_weight=weight[own]))
            area, pulls[own, g] = area_and_pulls(score, hit[own] > 0, weight[own])
            assert area == pytest.approx(found[-1], abs=1e-12)
        assert areas.groups[g].value == pytest.approx(np.mean(found), abs=1e-12)
    assert areas.mean.value == pytest.approx(np.mean([area.value for area in areas.groups]), abs=1e-12)
    # The pulls of rows, one by one, give the interval that came from cells.
    for area, pull in [*zip(areas.groups, pulls.T, strict=True), (areas.mean, pulls.sum(1) / 3)]:
        spread = np.sqrt((pull**2).sum()) / FOLDS * 1.5  # 1.5: Nadeau and Bengio's, for five folds
        v = area.value
        assert np.log(area.high / (1 - area.high)) - np.log(v / (1 - v)) == pytest.approx(
            1.959964 * spread / (v * (1 - v)), rel=1e-5
        )


def test_pulls_are_delongs():
    # DeLong's variance by its definition: placements of every pair.
    rng = np.random.default_rng(3)
    score, hit = rng.integers(0, 8, 60).astype(float), rng.random(60) < 0.4
    up, down = score[hit][:, None], score[~hit][None, :]
    wins = (up > down) + 0.5 * (up == down)
    variance = wins.mean(1).var(ddof=1) / hit.sum() + wins.mean(0).var(ddof=1) / (~hit).sum()
    area, pulls = area_and_pulls(score, hit, None)
    assert area == pytest.approx(wins.mean(), abs=1e-14)
    assert (pulls**2).sum() == pytest.approx(variance, rel=1e-12)
    assert np.isnan(area_and_pulls(score, np.ones(60, bool), None)[0])


def test_folds_have_their_share_of_every_group():
    groups = np.random.default_rng(0).integers(0, 7, 1000)
    folds = folds_of(groups, [3])
    counts = np.array([np.bincount(folds[groups == g], minlength=FOLDS) for g in range(7)])
    assert (np.ptp(counts, axis=1) <= 1).all()
    assert (folds == folds_of(groups, [3])).all()
    assert (folds != folds_of(groups, [4])).any()


def _null(draws: int, bins: int, groups: int, n: int) -> tuple[int, int, np.ndarray]:
    rejected, above, values = 0, 0, np.empty(draws)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        codes, own = rng.integers(0, bins, n), rng.integers(0, groups, n)
        area = cell_areas(*cells_of(folds_of(own, [seed]), codes, own), 1.0, np.ones(groups, bool), 0.95).mean
        rejected += area.p < 0.05
        above += area.low > 0.5
        values[seed] = area.value
    return rejected, above, values


@pytest.mark.parametrize(("bins", "groups", "n"), [(2, 2, 400), (8, 2, 400), (30, 4, 900)])
def test_where_nothing_is_told_nothing_is_claimed(bins, groups, n):
    draws = 400
    rejected, above, values = _null(draws, bins, groups, n)
    assert rejected <= binom.ppf(0.999, draws, 0.05)
    assert above <= binom.ppf(0.999, draws, 0.025)
    assert abs(values.mean() - 0.5) < 3.3 * values.std() / np.sqrt(draws)


@pytest.mark.soak
@pytest.mark.parametrize(("bins", "groups", "n"), [(2, 2, 400), (8, 2, 400), (30, 4, 900)])
def test_where_nothing_is_told_nothing_is_claimed_in_many_draws(bins, groups, n):
    rejected, above, _ = _null(10_000, bins, groups, n)
    assert rejected <= binom.ppf(0.999, 10_000, 0.05)
    assert above <= binom.ppf(0.999, 10_000, 0.025)


def test_cramers_v():
    rng = np.random.default_rng(1)
    table = rng.integers(5, 60, (4, 3))
    chi = chi2_contingency(table, correction=False)
    n, r, c = table.sum(), 4, 3
    left = chi.statistic / n - (r - 1) * (c - 1) / (n - 1)
    narrow = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    value, p = cramers_v(table)
    assert value == pytest.approx(np.sqrt(max(0, left) / narrow), rel=1e-12)
    assert p == pytest.approx(chi.pvalue, rel=1e-9)
    assert cramers_v(np.vstack([table, np.zeros((1, 3), int)])) == (value, p)
    assert cramers_v(np.diag([50, 50]))[0] == pytest.approx(1)
    assert cramers_v(np.full((2, 2), 25)) == (0.0, 1.0)
    assert np.isnan(cramers_v(np.array([[3, 4]]))).all()


def test_all_features_together_tell_what_none_tells_alone():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 2, 2000), rng.integers(0, 2, 2000)
    sex = part("sex", a ^ b, kind="attribute")
    found = proxies_of(sex, [part("a", a), part("b", b), part("noise", rng.integers(0, 5, 2000))], None, SETTINGS)
    value = {row.feature: row for row in found.rows if row.group is None and row.measure == "auc"}
    assert value[None].value == 1.0
    assert value[None].low < 1.0
    assert value[None].p < 1e-10
    assert all(value[name].low < 0.5 < value[name].high for name in ("a", "b", "noise"))


def test_the_classifier_gives_the_same_bits_at_any_number_of_threads():
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 30, (3000, 6)).astype(float)
    groups = (inputs[:, 0] + rng.normal(0, 8, 3000) > 15).astype(np.int64)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="openmp"):
            found.append(
                model_areas(inputs, np.array([True] + [False] * 5), groups, 2, folds_of(groups, [0]), None,
                            np.ones(2, bool), 0.95)
            )  # fmt: skip
    assert found[0].groups == found[1].groups
    assert found[0].mean == found[1].mean
    assert found[0].mean.low > 0.7


def test_its_own_column_is_marked_and_left_out_of_all_together():
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 2, 1000)
    features = [part("gender", codes, column="g"), part("noise", rng.integers(0, 4, 1000))]
    found = proxies_of(part("sex", codes, kind="attribute", column="g"), features, None, SETTINGS)
    assert found.own == ("gender",)
    own = [row for row in found.rows if row.feature == "gender"]
    assert {row.reason for row in own} == {"the attribute's own column"}
    assert all(np.isnan(row.p_adjusted) for row in own)
    [joint] = [row for row in found.rows if row.feature is None and row.group is None]
    assert joint.low < 0.5 < joint.high
    alone = proxies_of(part("sex", codes, kind="attribute", column="g"), features[:1], None, SETTINGS)
    joint = alone.rows[-1]
    assert (joint.feature, joint.status) == (None, "undefined")
    assert "no feature beside" in str(joint.reason)


def test_small_groups_are_told_as_such_and_left_out_of_the_mean():
    rng = np.random.default_rng(5)
    groups = np.concatenate([np.zeros(400), np.ones(400), np.full(10, 2)]).astype(int)
    feature = part("x", rng.integers(0, 3, 810))
    found = proxies_of(part("race", groups, kind="attribute"), [feature], None, SETTINGS)
    rows = {row.group: row for row in found.rows if row.feature == "x" and row.measure == "auc"}
    assert rows["v2"].status == "insufficient_data"
    assert np.isfinite(rows["v2"].value)
    assert rows[None].value == pytest.approx((rows["v0"].value + rows["v1"].value) / 2, abs=1e-15)
    assert "over 2 of 3 groups" in str(rows[None].reason)


def test_one_group_is_undefined_and_unknown_ones_are_left_out():
    feature = part("x", np.arange(200) % 3)
    found = proxies_of(part("sex", np.zeros(200), kind="attribute"), [feature], None, SETTINGS)
    assert {row.status for row in found.rows} == {"undefined"}
    assert all(np.isnan(row.value) for row in found.rows)
    attribute = part("sex", np.arange(200) % 3, kind="attribute", known=[True, True, False])
    found = proxies_of(attribute, [feature], None, SETTINGS)
    assert {row.group for row in found.rows} == {None, "v0", "v1"}
    assert {row.n for row in found.rows} == {134}
    assert found.left_out == 1


def test_two_groups_and_their_mean_are_one_question():
    rng = np.random.default_rng(6)
    sex = rng.integers(0, 2, 600)
    features = [part(f"x{j}", np.where(rng.random(600) < 0.04 * j, sex, rng.integers(0, 2, 600))) for j in range(3)]
    found = proxies_of(part("sex", sex, kind="attribute"), features, None, SETTINGS)
    mean = {row.feature: row for row in found.rows if row.group is None and row.measure == "auc"}
    ordered = sorted(mean.values(), key=lambda row: row.p)
    running = 0.0
    for place, row in enumerate(ordered):
        running = max(running, min(1.0, row.p * (4 - place)))
        assert row.p_adjusted == pytest.approx(running, rel=1e-12)


def test_scaling_the_weights_changes_nothing():
    codes, groups, weight = told(7)
    attribute, feature = part("g", groups, kind="attribute"), part("x", codes)
    once = proxies_of(attribute, [feature], weight, SETTINGS).rows
    eight = proxies_of(attribute, [feature], weight * 8, SETTINGS).rows
    plain = proxies_of(attribute, [feature], None, SETTINGS).rows
    np.testing.assert_allclose([r.value for r in once], [r.value for r in eight], rtol=1e-9)
    np.testing.assert_allclose([r.low for r in once], [r.low for r in eight], rtol=1e-9)
    assert [r.value for r in once] != [r.value for r in plain]
