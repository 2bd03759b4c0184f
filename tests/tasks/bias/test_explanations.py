"""Explanations through the whole stage and into a policy: rows of the tables, corrections, findings."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from tasks.bias import holm, measure_bias
from tasks.policy import judge
from tasks.watch import Watch

N = 400
FEATURES = ("work", "sport", "noise")
RNG = np.random.default_rng(4)
SEX = np.where(np.arange(N) < 150, "Female", "Male")
RACE = np.array(["p", "q", "r"])[np.arange(N) % 3]
SELECTED = RNG.random(N) < np.where(SEX == "Male", 0.7, 0.3)
#: work carries −0.4 between Female and Male, sport +0.05, noise nothing
PHI = RNG.normal(0, 0.1, (N, 3)) + np.where(SEX[:, None] == "Male", [[0.2, -0.025, 0]], [[-0.2, 0.025, 0]])


def _write(workspace, technique: str, values: np.ndarray = PHI, output: str = "yes") -> None:
    n, d = values.shape
    workspace.write_table(
        f"attributions/{technique}",
        pa.table({
            "row_id": np.repeat(np.arange(n), d), "output": [output] * (n * d), "feature": list(FEATURES) * n,
            "attribution": values.ravel(),
        }),
    )  # fmt: skip


@pytest.fixture
def explained(audit):
    def run(policy=(), techniques=("lime", "shap"), **options):
        found = audit(
            {"sex": SEX, "race": RACE}, label=np.where(SELECTED, "yes", "no").tolist(),
            decision=np.where(SELECTED, "yes", "no").tolist(), score=SELECTED * 0.8 + 0.1, policy=list(policy),
            **options,
        )  # fmt: skip
        for technique in techniques:
            _write(found.workspace, technique)
        found.done = measure_bias(found.config, found.workspace, Watch())
        found._rows.clear()
        return found

    return run


def _rows(found, table: str, **wanted) -> list[dict]:
    return [row for row in found.table(table) if all(row[key] == value for key, value in wanted.items())]


def test_gaps_of_features(explained) -> None:
    found = explained()
    (mean,) = _rows(found, "group_metrics", metric="mean_attribution", group="Female", feature="work", technique="shap")
    own = PHI[:150, 0]
    assert (mean["value"], mean["numerator"]) == (pytest.approx(own.mean()), pytest.approx(own.sum()))
    assert (mean["denominator"], mean["n"], mean["output"], mean["method"]) == (150, 150, "yes", "student")
    overall = _rows(found, "group_metrics", metric="mean_attribution", attribute=None, feature="work", technique="shap")
    assert [row["value"] for row in overall] == [pytest.approx(PHI[:, 0].mean())]

    family = {"metric": "attribution_gap", "attribute": "sex", "technique": "shap", "output": "yes"}
    theirs = [stats.ttest_ind(PHI[:150, j], PHI[150:, j], equal_var=False) for j in range(3)]
    corrected = holm(np.array([one.pvalue for one in theirs]))
    for j, feature in enumerate(FEATURES):
        (pair,) = _rows(found, "disparities", **family, feature=feature, group="Female")
        difference = PHI[:150, j].mean() - PHI[150:, j].mean()
        assert (pair["reference"], pair["value"]) == ("Male", pytest.approx(difference))  # group − reference
        interval = theirs[j].confidence_interval(0.95)
        assert (pair["ci_low"], pair["ci_high"]) == pytest.approx((interval.low, interval.high))
        assert (pair["p_value"], pair["test"]) == (pytest.approx(theirs[j].pvalue), "welch")
        # Three hypotheses of the family, though each is tested by two rows; the other technique's are another family.
        assert pair["p_adjusted"] == pytest.approx(corrected[j])
        (whole,) = _rows(found, "disparities", **family, feature=feature, group=None)
        assert (whole["value"], whole["p_value"]) == (pytest.approx(abs(difference)), pair["p_value"])
        assert whole["ci_low"] == pytest.approx(_near(interval))
    (own_row,) = _rows(found, "disparities", **family, feature="work", group="Male")
    assert (own_row["value"], own_row["reason"]) == (0.0, "the reference group")


def _near(interval) -> float:
    """The near end of an interval without its sign."""
    return 0.0 if interval.low <= 0 <= interval.high else min(abs(interval.low), abs(interval.high))


def test_of_three_groups_the_widest_gap_has_an_interval(explained) -> None:
    (row,) = _rows(explained(), "disparities", metric="attribution_gap", attribute="race", group=None,
                   feature="noise", technique="shap")  # fmt: skip
    means = [PHI[name == RACE, 2].mean() for name in "pqr"]
    assert row["value"] == pytest.approx(max(means) - min(means))
    assert 0 <= row["ci_low"] <= row["value"] < row["ci_high"]
    assert (row["status"], row["test"]) == ("ok", "wald")


def test_too_few_explained_rows_are_insufficient(explained, audit) -> None:
    found = explained(techniques=())
    assert not _rows(found, "disparities", metric="attribution_gap")
    assert not _rows(found, "group_metrics", metric="mean_attribution")
    assert not any(f.code == "features_carry_disparity" for f in found.done.findings)
    kept = PHI[130:250]  # 20 women
    table = pa.table({"row_id": np.repeat(np.arange(130, 250), 3), "output": ["yes"] * 360,
                      "feature": list(FEATURES) * 120, "attribution": kept.ravel()})  # fmt: skip
    found.workspace.write_table("attributions/shap", table)
    found.done = measure_bias(found.config, found.workspace, Watch())
    found._rows.clear()
    (row,) = _rows(found, "disparities", metric="attribution_gap", attribute="sex", group="Female", feature="work")
    assert (row["status"], row["reason"]) == ("insufficient_data", "Female: rests on 20 rows; 30 are needed")
    assert row["value"] is not None
    assert not any(f.code == "features_carry_disparity" for f in found.done.findings)


def test_which_features_carry_the_disparity_is_told(explained) -> None:
    findings = [f for f in explained().done.findings if f.code == "features_carry_disparity"]
    total = PHI[:150].mean(0) - PHI[150:].mean(0)
    assert [f.text for f in findings] == [
        "Between Female and Male (sex), work carries most of the difference in the model's output for yes, by shap:"
        f" attribution gap {total[0]:.3f} of {total.sum():.3f}, over 150 and 250 explained rows."
    ]
    assert findings[0].severity == "info"
    # LIME's attributions do not add up to the output.
    assert not [f for f in explained(techniques=("lime",)).done.findings if f.code == "features_carry_disparity"]


def test_the_same_twice_and_weights_by_scale(explained) -> None:
    def numbers(found) -> list[tuple]:
        return [
            (r["attribute"], r["feature"], r["group"], r["value"], r["ci_low"], r["ci_high"], r["p_value"])
            for r in _rows(found, "disparities", metric="attribution_gap", technique="shap")
        ]

    assert numbers(explained()) == numbers(explained())


def test_a_policy_on_attributions(explained) -> None:
    gap = {"metric": "attribution_gap", "attribute": "sex"}
    checks = [
        {**gap, "max": 0.3}, {**gap, "max": 0.5}, {**gap, "max": 0.3, "feature": "sport"},
        {**gap, "max": 0.3, "feature": "work", "technique": "shap", "group": "Female"},
        {**gap, "max": 0.0, "feature": "noise", "technique": "lime"}, {**gap, "max": 0.3, "feature": "nothing"},
        {"metric": "mean_attribution", "max": 0.15, "technique": "shap", "feature": "work", "attribute": "sex"},
    ]  # fmt: skip
    found = explained(checks)
    worst, fine, sport, work, noise, nothing, mean = judge(found.config, found.workspace).facts["checks"]
    assert (worst["verdict"], worst["feature"], worst["group"]) == ("not_satisfied", "work", None)
    assert worst["technique"] in {"lime", "shap"}
    assert worst["family"] == 6  # three features by two techniques
    assert worst["p_family"] == pytest.approx(min(1, worst["p_value"] * 6), rel=1e-6)
    assert worst["sentence"].startswith(
        f"Largest difference in mean attribution of work ({worst['technique']}, yes) by sex is 0."
    )
    assert "mean attribution lowest for Female, -0." in worst["sentence"]
    assert "over 150 rows, and highest for Male, 0." in worst["sentence"]
    assert fine["verdict"] == "satisfied"
    assert (sport["verdict"], sport["feature"], sport["family"]) == ("satisfied", "sport", 2)
    assert (work["verdict"], work["group"], work["reference"]) == ("not_satisfied", "Female", "Male")
    assert work["value"] < 0  # compared by its size
    assert (noise["verdict"], noise["family"]) == ("insufficient_data", 1)
    assert "the data are too few to tell" in noise["sentence"]
    assert (nothing["verdict"], nothing["reason"]) == (
        "insufficient_data", "the audit has no such number of nothing",
    )  # fmt: skip
    assert (mean["verdict"], mean["feature"]) == ("not_satisfied", "work")


def test_several_outputs_the_worst_decides(audit) -> None:
    classes = ["a", "b", "c"]
    label = [classes[k % 3] for k in range(N)]
    policy = [{"metric": "attribution_gap", "attribute": "sex", "max": 0.3}]
    found = audit(
        {"sex": SEX}, label=label, decision=label, task="multiclass", classes=classes, favorable="a", policy=policy,
        score={name: np.full(N, 1 / 3) for name in classes},
    )  # fmt: skip
    d = len(FEATURES)
    values = np.stack([PHI * 0, PHI, PHI / 2], 1)
    found.workspace.write_table("attributions/shap", pa.table({
        "row_id": np.repeat(np.arange(N), 3 * d), "output": np.tile(np.repeat(classes, d), N),
        "feature": list(FEATURES) * (3 * N), "attribution": values.ravel(),
    }))  # fmt: skip
    measure_bias(found.config, found.workspace, Watch())
    (check,) = judge(found.config, found.workspace).facts["checks"]
    assert (check["verdict"], check["output"], check["feature"]) == ("not_satisfied", "b", "work")


def test_a_fidelity_gap_is_measured_and_judged(explained) -> None:
    policy = [{"metric": "explanation_fidelity_gap", "attribute": "sex", "max": 0.1},
              {"metric": "faithfulness", "attribute": "sex", "min": 0.0}]  # fmt: skip
    found = explained(policy)
    assert judge(found.config, found.workspace).facts["verdict"] == "inconclusive"  # not measured: not vouched for
    judged = np.arange(0, N, 2)
    values = RNG.normal(np.where(SEX[judged] == "Male", 0.4, 0.1), 0.1)
    found.workspace.write_table("faithfulness", pa.table({
        "row_id": judged, "technique": ["shap"] * 200, "output": ["yes"] * 200,
        "measure": ["insertion_minus_deletion"] * 200, "value": values,
    }))  # fmt: skip
    measure_bias(found.config, found.workspace, Watch())
    found._rows.clear()
    (row,) = _rows(found, "disparities", metric="explanation_fidelity_gap", group="Female")
    theirs = stats.ttest_ind(values[:75], values[75:], equal_var=False)
    assert (row["technique"], row["feature"], row["output"]) == ("shap", None, "yes")
    assert (row["value"], row["p_value"]) == (
        pytest.approx(values[:75].mean() - values[75:].mean()), pytest.approx(theirs.pvalue),
    )  # fmt: skip
    gap, faith = judge(found.config, found.workspace).facts["checks"]
    assert (gap["verdict"], gap["technique"]) == ("not_satisfied", "shap")
    assert (faith["verdict"], faith["group"]) == ("satisfied", "Female")


def test_too_many_groups_are_said(audit) -> None:
    many = [str(k % 260) for k in range(N)]
    found = audit({"many": many}, label=["yes", "no"] * (N // 2), decision=["yes", "no"] * (N // 2))
    _write(found.workspace, "shap")
    done = measure_bias(found.config, found.workspace, Watch())
    assert [note for note in done.limitations if "attributions are not compared (shap)" in note]
