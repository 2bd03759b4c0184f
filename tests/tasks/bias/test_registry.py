from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tasks.bias.families
from configs.schema import AuditConfig
from tasks.bias import DISPARITIES, METRICS, check_policy, find, known_metrics
from tasks.bias.registry import DERIVED, applicable_disparities, applicable_metrics
from tasks.errors import ConfigError

#: every id of METRICS.md
PER_GROUP = """selection_rate scoring_rate count prevalence accuracy balanced_accuracy true_positive_rate
false_positive_rate true_negative_rate false_negative_rate precision negative_predictive_value false_discovery_rate
false_omission_rate f1 calibration_slope calibration_intercept expected_calibration_error consistency
mean_score roc_auc log_loss brier_score mean_prediction mean_absolute_error root_mean_squared_error mean_error r2
generalized_entropy theil"""
BETWEEN = """demographic_parity_difference demographic_parity_ratio selection_rate_difference predicted_rate_difference
disparate_impact equalized_odds_difference equalized_odds_ratio equal_opportunity_difference equal_opportunity_ratio
impact_ratio predictive_parity_difference accuracy_difference recall_difference specificity_difference
average_odds_difference calibration_gap abroca flip_test class_imbalance label_rate_difference label_impact_ratio
average_absolute_odds_difference conditional_acceptance conditional_rejection acceptance_rate_difference
rejection_rate_difference treatment_equality between_group_generalized_entropy kl_divergence js_divergence lp_norm
total_variation kolmogorov_smirnov"""
EXPLAINED = "attribution_gap explanation_fidelity_gap"
STRATIFIED = "conditional_demographic_disparity_labels conditional_demographic_disparity_predictions"


def config(task: str = "binary", *, policy: list | None = None, favorable="yes", **bias) -> AuditConfig:
    return AuditConfig.model_validate(
        {
            "name": "t",
            "model": {"path": "m", "task": task},
            "data": {
                "path": "d",
                "target": {"column": "y", "favorable": favorable},
                "sensitive": {"sex": {"column": "sex"}, "race": {"column": "race"}},
                "intersections": [["sex", "race"]],
            },
            "bias": bias,
            "policy": policy or [],
        }
    )


def test_the_ids_of_the_contract_are_known() -> None:
    assert set(PER_GROUP.split()) <= set(METRICS)
    for name in f"{PER_GROUP} {BETWEEN} {STRATIFIED} {EXPLAINED}".split():
        assert find(name) is not None, name
        assert name in known_metrics(), name
    assert len(known_metrics()) == len(set(known_metrics()))


def test_every_family_is_registered() -> None:
    folder = Path(tasks.bias.families.__file__).parent
    families = {p.stem for p in folder.glob("*.py") if "\nMETRICS: tuple[Metric, ...]" in p.read_text()}
    assert families == {
        "rates",
        "macro",
        "scores",
        "ranking",
        "calibration",
        "calibration_error",
        "neighbours",
        "regression",
        "acceptance",
        "inequality",
    }
    listed = sum(len(__import__(f"tasks.bias.families.{f}", fromlist=["METRICS"]).METRICS) for f in families)
    assert listed == len(METRICS)


def test_every_entry_says_what_it_is() -> None:
    for entry in (*METRICS.values(), *DISPARITIES.values(), *DERIVED.values()):
        assert entry.title
        assert entry.title[0].islower() or entry.title.startswith(("F1", "Brier")), entry.title
        assert find(entry.name) is entry
    for entry in (*DISPARITIES.values(), *DERIVED.values()):
        assert set(entry.bases) <= set(METRICS)


def test_what_may_be_negative_has_no_ratio() -> None:
    assert find("mean_error_ratio") is None
    assert find("r2_ratio") is None
    assert find("scoring_impact_ratio") is not None
    assert find("roc_auc_ratio") is not None


def test_a_misspelt_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"policy\.1\.metric: impct_ratio is not a metric; did you mean impact_ratio"):
        check_policy(config(policy=[{"metric": "accuracy", "min": 0}, {"metric": "impct_ratio", "min": 0.8}]))
    with pytest.raises(ConfigError, match="zzz is not a metric; available: count, selection_rate"):
        check_policy(config(policy=[{"metric": "zzz", "min": 0.8}]))


def test_a_comparison_needs_an_attribute() -> None:
    with pytest.raises(ConfigError, match="needs an attribute; available: sex, race, sex × race"):
        check_policy(config(policy=[{"metric": "impact_ratio", "min": 0.8}]))


@pytest.mark.parametrize(
    ("audit", "metric", "said"),
    [
        ({"task": "regression"}, "selection_rate", "favorable_when"),
        ({"task": "regression"}, "impact_ratio", "favorable_when"),
        ({"task": "regression", "decision": {"favorable_when": ">= 1"}}, "roc_auc", "not for regression models"),
        ({"task": "binary"}, "r2", "not for binary models"),
        ({"task": "binary"}, "macro_f1", "not for binary models"),
        ({"task": "binary"}, "mean_prediction_difference", "not for binary models"),
    ],
)
def test_a_metric_that_the_model_cannot_have(audit: dict, metric: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_policy(config(**audit, policy=[{"metric": metric, "attribute": "sex", "min": 0.8}]))


@pytest.mark.parametrize(
    ("audit", "metric"),
    [
        ({"task": "regression", "decision": {"favorable_when": ">= 1"}}, "impact_ratio"),
        ({"task": "regression", "decision": {"column": "decided"}}, "impact_ratio"),
        ({"task": "regression"}, "mean_absolute_error_ratio"),
        ({"task": "multiclass"}, "macro_f1_difference"),
        ({"task": "binary"}, "roc_auc_difference"),
        ({"task": "binary"}, "selection_rate_difference"),
        ({"task": "binary"}, "count"),
    ],
)
def test_a_metric_that_it_can_have(audit: dict, metric: str) -> None:
    check_policy(config(**audit, policy=[{"metric": metric, "attribute": "sex × race", "min": 0.8}]))


def test_derived_comparisons_are_made_where_the_policy_names_them() -> None:
    plain = {entry.name for entry in applicable_disparities(config())}
    assert plain == set(BETWEEN.split()) - {"selection_rate_difference"}
    checks = [{"metric": "roc_auc_difference", "attribute": "sex", "max": 0.1}] * 2
    asked = [entry.name for entry in applicable_disparities(config(policy=checks))]
    assert asked.count("roc_auc_difference") == 1


def test_a_regression_without_a_rule_has_no_rates() -> None:
    names = {metric.name for metric in applicable_metrics(config("regression"))}
    assert names == {
        "count", "scoring_rate", "mean_prediction", "mean_error", "mean_absolute_error", "root_mean_squared_error",
        "r2",
    }  # fmt: skip


def test_policies_are_checked_without_heavy_libraries() -> None:
    code = (
        "import sys\n"
        "from tasks.bias import check_policy, known_metrics\n"
        "import tasks.policy\n"
        "known_metrics('binary')\n"
        "heavy = {'tensorflow', 'fairlearn', 'sklearn', 'scipy', 'pandas', 'prefect', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
