"""Whole checks on audits written by hand: the cases of LAW.md, and what each kind of metric is held against."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from configs.schema import PolicyCheck
from tasks.bias import DISPARITIES, METRICS
from tasks.policy import judge
from tests.tasks.policy.conftest import Auditor


def _rates(selected: dict[str, tuple[int, int]], audit, checks: list[dict], **blocks):
    """An audit of recorded decisions from (selected, n) by group; the labels are the decisions."""
    groups, decisions = [], []
    for group, (yes, n) in selected.items():
        groups += [group] * n
        decisions += ["yes"] * yes + ["no"] * (n - yes)
    found = audit({"g": groups}, label=decisions, decision=decisions, policy=checks, **blocks)
    return judge(found.config, found.workspace)


IMPACT = {"metric": "impact_ratio", "attribute": "g", "min": 0.8}


@pytest.mark.parametrize(
    ("focal", "reference", "least", "verdict", "flag", "significant"),
    [
        ((12, 40), (48, 80), 30, "not_satisfied", True, True),
        ((170, 390), (412, 797), 30, "satisfied", False, True),
        ((7, 17), (215, 412), 30, "insufficient_data", True, False),
        ((7, 17), (215, 412), 10, "insufficient_data", True, False),  # not for its size: nothing can be told
        ((3, 5), (6, 8), 5, "satisfied", False, False),
        ((3, 5), (6, 8), 30, "insufficient_data", False, False),
        ((40, 100), (60, 100), 30, "not_satisfied", True, True),
    ],
)
def test_the_cases_of_the_law_page(audit, focal, reference, least, verdict, flag, significant) -> None:
    done = _rates({"focal": focal, "reference": reference}, audit, [IMPACT], bias={"min_group_size": least})
    (check,) = done.facts["checks"]
    assert check["verdict"] == verdict
    assert check["flag"] is flag
    assert check["four_fifths"]["significant"] is significant
    assert (check["numerator"], check["denominator"]) == focal
    assert (check["reference_numerator"], check["reference_denominator"]) == reference
    assert (check["group"], check["reference"]) == ("focal", "reference")
    assert check["value"] == focal[0] * reference[1] / (focal[1] * reference[0])
    expected = {"satisfied": "satisfied", "not_satisfied": "not_satisfied", "insufficient_data": "inconclusive"}
    assert done.facts["verdict"] == expected[verdict]
    assert [f.code for f in done.findings] == ([] if verdict == "satisfied" else [f"policy_{verdict}"])


def test_a_significant_difference_is_said_beside_a_satisfied_ratio(audit) -> None:
    done = _rates({"focal": (170, 390), "reference": (412, 797)}, audit, [IMPACT])
    (check,) = done.facts["checks"]
    adjusted = check["p_adjusted"]
    corrected = f"; p = {adjusted:.3f} after correction for the number of tests" if adjusted >= 0.05 else ""
    assert check["sentence"] == (
        "Impact ratio by g, focal against reference, is 0.843 (selection rate 43.6\u00a0%, 170 of 390, against"
        " 51.7\u00a0%, 412 of 797; 95\u00a0% interval 0.738 to 0.959), within the declared minimum 0.8; the groups do"
        f" differ by more than chance (Fisher's exact test, p = 0.009{corrected}). With no disparity at all it would be"
        f" at {check['no_disparity']['expected']:.3f} on average, and below {check['no_disparity']['p95']:.3f} in"
        f" 5\u00a0% of cases. In two groups of these sizes, named beforehand, a ratio of {check['detectable']:.3f}"
        " or less is found with 80\u00a0% probability."
    )
    assert 0.8 < check["no_disparity"]["p95"] < check["no_disparity"]["expected"] < 1
    assert check["value"] > check["detectable"] > 0.8


def test_no_policy_is_satisfied(audit) -> None:
    done = _rates({"a": (1, 2), "b": (2, 2)}, audit, [])
    assert done.facts == {"checks": [], "verdict": "satisfied", "reasons": None}


def test_facts_are_json_with_all_keys(audit) -> None:
    checks = [
        IMPACT,
        {"metric": "equalized_odds_difference", "attribute": "g", "max": 0.1, "severity": "warning"},
        {"metric": "accuracy", "min": 0.9},
        {"metric": "roc_auc", "attribute": "g", "min": 0.5, "confidence": "interval"},
    ]
    done = _rates({"a": (50, 100), "b": (60, 100)}, audit, checks)
    keys = {
        "metric", "attribute", "group", "min", "max", "severity", "confidence", "verdict", "value", "status", "ci_low",
        "ci_high", "numerator", "denominator", "n", "reference", "sentence", "flag",
    }  # fmt: skip
    for check in json.loads(json.dumps(done.facts, allow_nan=False))["checks"]:
        assert keys <= set(check)
        assert check["sentence"].endswith(".")


def test_the_worst_group_is_named_and_the_others_are_mentioned(audit) -> None:
    selected = {"a": (90, 100), "b": (40, 100), "c": (20, 100), "d": (88, 100), "e": (1, 10)}
    (check,) = _rates(selected, audit, [IMPACT]).facts["checks"]
    assert (check["verdict"], check["group"], check["reference"]) == ("not_satisfied", "c", "a")
    assert check["sentence"].endswith("Also not satisfied: b. Not enough data for e.")
    assert [(g["group"], g["verdict"]) for g in check["groups"]] == [
        ("c", "not_satisfied"), ("b", "not_satisfied"), ("e", "insufficient_data"), ("d", "satisfied"),
    ]  # fmt: skip


def test_a_small_group_never_passes_by_being_small(audit) -> None:
    selected = {"a": (90, 100), "b": (85, 100), "tiny": (9, 10)}
    (check,) = _rates(selected, audit, [IMPACT]).facts["checks"]
    assert (check["verdict"], check["group"]) == ("insufficient_data", "tiny")
    assert "it cannot be judged: tiny: rests on 10 rows; 30 are needed" in check["sentence"]


def test_a_check_on_one_group(audit) -> None:
    selected = {"a": (90, 100), "b": (85, 100), "tiny": (9, 10)}
    checks = [{**IMPACT, "group": "b"}, {**IMPACT, "group": "nobody"}, {"metric": "selection_rate", "attribute": "g",
              "group": "a", "min": 0.94}]  # fmt: skip
    one, nobody, rate = _rates(selected, audit, checks).facts["checks"]
    assert (one["verdict"], one["group"]) == ("satisfied", "b")
    assert nobody["verdict"] == "insufficient_data"
    assert nobody["sentence"] == (
        "Impact ratio by g for nobody cannot be judged: no row of the data is in the group nobody."
    )
    assert rate["verdict"] == "insufficient_data"  # 90 of 100 may well come from 94 %
    assert rate["value"] == 0.9


#: TPR a .8, b .5; FPR a .3, b .1; 200 rows each
CELLS = {"a": (80, 20, 30, 70), "b": (50, 50, 10, 90)}


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        ({"metric": "equalized_odds_difference", "max": 0.1}, "not_satisfied"),
        ({"metric": "equalized_odds_difference", "max": 0.29}, "not_satisfied"),  # equal rates are rejected
        ({"metric": "equalized_odds_difference", "max": 0.3}, "satisfied"),
        ({"metric": "equalized_odds_ratio", "min": 0.5}, "not_satisfied"),
        ({"metric": "equal_opportunity_difference", "max": 0.3}, "satisfied"),
        ({"metric": "true_positive_rate_difference", "max": 0.1}, "not_satisfied"),
        ({"metric": "selection_rate_difference", "max": 0.25}, "satisfied"),
        ({"metric": "selection_rate_ratio", "min": 0.8}, "not_satisfied"),
        ({"metric": "accuracy_difference", "max": 0.04}, "insufficient_data"),  # .05, and p is .3
        ({"metric": "accuracy_difference", "max": 0.05}, "satisfied"),
        ({"metric": "label_rate_difference", "max": 0.0}, "satisfied"),
        ({"metric": "class_imbalance", "max": 0.1}, "satisfied"),
        ({"metric": "true_positive_rate", "min": 0.7}, "not_satisfied"),
        ({"metric": "true_positive_rate", "min": 0.55}, "insufficient_data"),
        ({"metric": "false_positive_rate", "max": 0.2}, "not_satisfied"),
        ({"metric": "count", "min": 200}, "satisfied"),
        ({"metric": "count", "min": 201}, "not_satisfied"),
        ({"metric": "balanced_accuracy_difference", "max": 0.06}, "satisfied"),
    ],
)
def test_every_kind_of_metric(audit_cells, check: dict, verdict: str) -> None:
    found = audit_cells(CELLS, least=30, policy=[{"attribute": "g", **check}])
    (result,) = judge(found.config, found.workspace).facts["checks"]
    assert result["verdict"] == verdict, result["sentence"]


def test_an_aggregate_over_three_groups(audit_cells) -> None:
    policy = [{"metric": "accuracy_difference", "attribute": "g", "max": 0.1}]
    cells = {"a": (80, 20, 30, 70), "b": (50, 50, 10, 90), "c": (50, 50, 60, 40)}
    found = audit_cells(cells, least=30, policy=policy)
    (check,) = judge(found.config, found.workspace).facts["checks"]
    assert check["verdict"] == "not_satisfied"
    assert check["value"] == pytest.approx(0.3)
    assert (check["group"], check["test"]) == (None, "chi_squared")
    with_small = audit_cells({**cells, "d": (1, 1, 1, 1)}, least=30, policy=[{**policy[0], "max": 0.5}])
    (check,) = judge(with_small.config, with_small.workspace).facts["checks"]
    assert check["verdict"] == "insufficient_data"
    assert "nothing can be said of d (rests on 4 rows; 30 are needed)" in check["sentence"]


def test_undefined_counts_as_insufficient(audit_cells) -> None:
    policy = [{"metric": "true_positive_rate", "attribute": "g", "min": 0.1}]
    found = audit_cells({"a": (50, 0, 50, 0), "b": (0, 0, 50, 50)}, policy=policy)
    done = judge(found.config, found.workspace)
    (check,) = done.facts["checks"]
    assert (check["verdict"], check["group"], check["value"]) == ("insufficient_data", "b", None)
    assert "0/0: no positive labels" in check["sentence"]
    assert done.facts["verdict"] == "inconclusive"


def test_one_group_only(audit_cells) -> None:
    found = audit_cells({"a": (50, 0, 50, 0)}, policy=[IMPACT])
    (check,) = judge(found.config, found.workspace).facts["checks"]
    assert check["verdict"] == "insufficient_data"
    assert check["sentence"] == "Impact ratio by g cannot be judged: there is only one group."


def test_signed_means_are_judged_by_their_size(audit) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    found = audit(
        {"g": ["a", "b"] * 200}, label=truth, score=truth - 1, task="regression", favorable=None,
        policy=[{"metric": "mean_error", "max": 0.5}, {"metric": "mean_error_difference", "attribute": "g", "max": 0.5},
                {"metric": "root_mean_squared_error", "attribute": "g", "max": 1.5}],
    )  # fmt: skip
    error, gap, rmse = judge(found.config, found.workspace).facts["checks"]
    assert error["verdict"] == "not_satisfied"
    assert error["value"] == pytest.approx(-1)
    assert gap["verdict"] == "satisfied"
    assert rmse["verdict"] == "satisfied"


def test_severity_travels(audit) -> None:
    checks = [{**IMPACT, "severity": level} for level in ("critical", "warning", "info")]
    failed = _rates({"a": (10, 100), "b": (60, 100)}, audit, checks)
    assert [f.severity for f in failed.findings] == ["critical", "warning", "info"]
    unknown = _rates({"a": (1, 10), "b": (60, 100)}, audit, checks)
    assert [f.severity for f in unknown.findings] == ["warning", "warning", "info"]


def test_hostile_names_stay_text(audit) -> None:
    name = "<script>alert('x')</script>|" + "y" * 200
    (check,) = _rates({name: (10, 100), "b": (60, 100)}, audit, [IMPACT]).facts["checks"]
    assert name in check["sentence"]


def test_weights_have_no_integers_to_compare(audit) -> None:
    rng = np.random.default_rng(0)
    n = 300
    decision = rng.choice(["yes", "no"], n)
    found = audit(
        {"g": rng.choice(["a", "b"], n), "w": rng.exponential(size=n)}, label=decision, decision=decision,
        sensitive={"g": {"column": "g"}}, data={"weight": "w"}, policy=[{**IMPACT, "min": 0.99}],
    )  # fmt: skip
    (check,) = judge(found.config, found.workspace).facts["checks"]
    assert check["flag"] is None
    assert check["test"] == "wald, linearised"
    assert check["verdict"] in {"satisfied", "insufficient_data"}


def test_a_value_just_below_the_limit_is_printed_apart_from_it(audit) -> None:
    # 3999/5000 against 1: 0.7998 must not read "0.800, below 0.8"
    (check,) = _rates({"a": (3999, 5000), "b": (5000, 5000)}, audit, [IMPACT]).facts["checks"]
    assert "is 0.7998 (" in check["sentence"]


def test_a_test_that_correction_undoes_is_said_to_be_so(audit) -> None:
    selected = {"a": (60, 100), "b": (45, 100), "c": (58, 100), "d": (57, 100), "e": (59, 100)}
    (check,) = _rates(selected, audit, [{**IMPACT, "group": "b"}]).facts["checks"]
    assert check["p_value"] < 0.05 <= check["p_family"] <= check["p_adjusted"]
    assert check["p_family"] == pytest.approx(4 * check["p_value"])
    assert check["verdict"] == "insufficient_data"  # the best of five groups is always ahead of another
    assert "; p = 0.189 after correction for 4 comparisons)" in check["sentence"]
    two = {name: selected[name] for name in "ab"}
    (check,) = _rates(two, audit, [{**IMPACT, "group": "b"}]).facts["checks"]
    assert (check["verdict"], check["p_family"]) == ("not_satisfied", None)


def test_a_group_too_small_to_be_judged_is_no_further_choice(audit) -> None:
    selected = {"focal": (12, 40), "reference": (48, 80), "tiny": (5, 10)}
    (check,) = _rates(selected, audit, [{**IMPACT, "group": "focal"}]).facts["checks"]
    assert (check["verdict"], check["p_family"]) == ("not_satisfied", None)


def test_the_widest_gap_without_a_disparity_is_said_beside_it(audit_cells) -> None:
    cells = {name: (13 + k, 17 - k, 17 - k, 13 + k) for name, k in zip("abcde", (4, 0, -1, -2, -3), strict=True)}
    policy = [
        {"metric": "equalized_odds_difference", "attribute": "g", "max": 0.1},
        {"metric": "equal_opportunity_difference", "attribute": "g", "max": 0.1},
        {"metric": "equal_opportunity_difference", "attribute": "g", "group": "b", "max": 0.1},
    ]
    found = audit_cells(cells, least=30, policy=policy)
    whole, worst, one = judge(found.config, found.workspace).facts["checks"]
    for check in (whole, worst):
        assert check["verdict"] == "insufficient_data"
        assert check["no_disparity"] == found.done.facts["no_disparity"]["g"][check["metric"]]
        assert 0.15 < check["no_disparity"]["expected"] < check["no_disparity"]["p95"] < 0.5
    assert "With no disparity at all it would be at 0." in whole["sentence"]
    assert "With no disparity at all the worst of 5 groups would be at 0." in worst["sentence"]
    assert one["no_disparity"] is None


def test_a_failed_aggregate_says_what_it_leaves_out(audit_cells) -> None:
    found = audit_cells(
        {**CELLS, "c": (1, 1, 1, 1)}, least=30,
        policy=[{"metric": "equalized_odds_difference", "attribute": "g", "max": 0.1}],
    )  # fmt: skip
    (check,) = judge(found.config, found.workspace).facts["checks"]
    assert check["verdict"] == "not_satisfied"
    assert check["sentence"].endswith("It leaves out c (rests on 2 rows; 30 are needed).")


def test_pooled_z_of_the_law_page(audit) -> None:
    (check,) = _rates({"focal": (40, 100), "reference": (60, 100)}, audit, [IMPACT]).facts["checks"]
    z = check["four_fifths"]["z"]
    assert z == pytest.approx(-2.8284271247, abs=5e-11)
    assert math.erfc(-z / math.sqrt(2)) == pytest.approx(0.004677735, abs=5e-10)
    (check,) = _rates({"focal": (12, 40), "reference": (48, 80)}, audit, [IMPACT]).facts["checks"]
    assert check["p_value"] == pytest.approx(0.0034092217678, abs=5e-14)
    assert check["four_fifths"]["z"] == pytest.approx(-3.0984, abs=5e-5)


def test_the_smallest_disparity_that_could_be_seen(audit) -> None:
    (few,) = _rates({"a": (30, 40), "b": (36, 40)}, audit, [IMPACT]).facts["checks"]
    (many,) = _rates({"a": (3000, 4000), "b": (3600, 4000)}, audit, [IMPACT]).facts["checks"]
    assert few["verdict"] == many["verdict"] == "satisfied"
    assert few["value"] == many["value"]
    assert few["detectable"] < 0.8 < many["detectable"] < 1
    assert f"a ratio of {few['detectable']:.3f} or less is found with 80\u00a0% probability" in few["sentence"]
    # The power at that rate, added up over every table: at least 80 %, and less at a rate nearer to the reference's.
    rate = few["detectable"] * 36 / 40
    assert _power(rate - 1e-6, 0.9, 40) >= 0.8 > _power(rate + 1e-3, 0.9, 40)
    failed = _rates({"a": (10, 40), "b": (36, 40)}, audit, [IMPACT]).facts["checks"][0]
    assert (failed["verdict"], failed["detectable"]) == ("not_satisfied", None)
    (tiny,) = _rates({"a": (2, 3), "b": (3, 3)}, audit, [IMPACT], bias={"min_group_size": 2}).facts["checks"]
    assert (tiny["verdict"], tiny["detectable"]) == ("insufficient_data", None)
    assert "no disparity is found with 80" in tiny["sentence"]


def _power(low: float, high: float, n: int) -> float:
    """Chance that Fisher's test rejects equal rates in two groups of n."""
    k = np.arange(n + 1)
    a, b = stats.binom.pmf(k, n, low), stats.binom.pmf(k, n, high)
    rejects = [[stats.fisher_exact([[x, n - x], [y, n - y]]).pvalue < 0.05 for y in k] for x in k]
    return float(a @ np.array(rejects) @ b)


def test_a_reference_that_is_named_needs_no_correction_for_being_the_best_off(audit) -> None:
    selected = {"a": (60, 100), "b": (45, 100), "c": (58, 100), "d": (57, 100), "e": (59, 100)}
    gap = {"metric": "predicted_rate_difference", "attribute": "g", "max": 0.1}
    checks = [{**gap, "group": "b"}, gap, {**IMPACT, "group": "b"}]
    for reference in ("a", None):
        named = {} if reference is None else {"sensitive": {"g": {"column": "g", "reference": reference}}}
        one, worst, ratio = _rates(selected, audit, checks, **named).facts["checks"]
        assert (one["reference"], one["p_value"]) == ("a", pytest.approx(0.0472, abs=5e-4))
        # The pair was declared; the worst of four pairs, and the highest rate, were not.
        assert one["verdict"] == ("not_satisfied" if reference else "insufficient_data")
        assert (one["p_family"] is None) == (reference is not None)
        assert worst["verdict"] == ratio["verdict"] == "insufficient_data"
        assert worst["p_family"] == ratio["p_family"] == pytest.approx(4 * one["p_value"])


@pytest.mark.parametrize("name", sorted({*DISPARITIES, *METRICS}))
def test_every_registered_number_can_be_judged(everything, name: str) -> None:
    """What has a value gets a verdict by it: beyond the limit, or within."""
    config, workspace, has = everything
    if name not in has:
        pytest.skip("not of this kind of model")
    for limit, beyond in (({"max": 1e6, "min": -1e6}, False), ({"max": -1e6}, True)):
        if beyond and (name in DISPARITIES and DISPARITIES[name].signed):
            limit = {"min": 1e6}
        check = PolicyCheck(metric=name, attribute="g", **limit)
        done = judge(config.model_copy(update={"policy": [check]}), workspace)
        (result,) = json.loads(json.dumps(done.facts, allow_nan=False))["checks"]
        if result["value"] is None:
            assert "cannot be judged" in result["sentence"]
            assert result["verdict"] == "insufficient_data"
        else:
            assert (result["verdict"] == "satisfied") == (not beyond), result["sentence"]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    rng = np.random.default_rng(0)
    score = rng.random(400)
    found = Auditor(tmp_path_factory.mktemp("all"))(
        {"g": ["a", "b"] * 200}, label=np.where(rng.random(400) < score, "yes", "no").tolist(),
        decision=np.where(score >= 0.5, "yes", "no").tolist(), score=score,
    )  # fmt: skip
    names = {row["metric"] for table in ("group_metrics", "disparities") for row in found.table(table)}
    return found.config, found.workspace, names
