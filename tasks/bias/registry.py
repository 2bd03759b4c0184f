"""Every metric and every comparison of groups, by its id.

A new family is a file and a line here. Beside what is listed, each metric has `<metric>_difference` and, where it
cannot be negative, `<metric>_ratio`, and there is `scoring_impact_ratio`: they are computed where a policy names them.
"""

from __future__ import annotations

from collections.abc import Iterable

from configs.schema import AuditConfig
from tasks.bias.base import Metric
from tasks.bias.disparities import Disparity
from tasks.bias.families import (
    abroca,
    acceptance,
    calibration,
    calibration_error,
    conditional,
    explained,
    gaps,
    inequality,
    labels,
    macro,
    neighbours,
    odds,
    ranking,
    rates,
    regression,
    scores,
)
from tasks.errors import ConfigError, nearest

_FAMILIES = (
    rates,
    acceptance,
    inequality,
    macro,
    scores,
    ranking,
    calibration,
    calibration_error,
    neighbours,
    regression,
)

#: id → metric of a group, in the order of tables
METRICS: dict[str, Metric] = {metric.name: metric for family in _FAMILIES for metric in family.METRICS}

_of = METRICS.__getitem__
_ODDS = (_of("true_positive_rate"), _of("false_positive_rate"))
_AHEAD = "lead of the best-off group"

#: id → comparison of groups, in the order of tables
DISPARITIES: dict[str, Disparity] = {
    entry.name: entry
    for entry in (
        gaps.difference("demographic_parity_difference", "gap in selection rate", _of("selection_rate")),
        gaps.quotient("demographic_parity_ratio", "ratio of selection rates", _of("selection_rate")),
        gaps.quotient("impact_ratio", "impact ratio", _of("selection_rate")),
        gaps.against_best_off("predicted_rate_difference", f"{_AHEAD} in selection rate", _of("selection_rate"),
                              "difference", attained=True),
        gaps.against_best_off("disparate_impact", "disparate impact", _of("selection_rate"), "ratio", attained=True),
        odds.equalized("equalized_odds_difference", "equalized odds difference", "difference", _ODDS),
        odds.equalized("equalized_odds_ratio", "equalized odds ratio", "ratio", _ODDS),
        odds.average("average_odds_difference", f"{_AHEAD} in average odds", _ODDS),
        odds.average_absolute("average_absolute_odds_difference", "mean gap in odds", _ODDS),
        gaps.difference("equal_opportunity_difference", "gap in true positive rate", _of("true_positive_rate")),
        gaps.quotient("equal_opportunity_ratio", "ratio of true positive rates", _of("true_positive_rate")),
        gaps.difference("predictive_parity_difference", "gap in precision", _of("precision")),
        gaps.against_best_off("accuracy_difference", f"{_AHEAD} in accuracy", _of("accuracy"), "difference"),
        gaps.against_best_off("recall_difference", f"{_AHEAD} in true positive rate", _of("true_positive_rate"),
                              "difference"),
        # Clarify's sign: the group's rate less that of the best-off
        gaps.against_best_off("specificity_difference", "lead over the best-off group in true negative rate",
                              _of("true_negative_rate"), "difference", from_reference=False),
        acceptance.acceptance("conditional_acceptance", "lead of the best-off group in conditional acceptance",
                              _of("acceptance_coefficient")),
        # Clarify's signs: the group less the best-off
        acceptance.rejection("conditional_rejection", "lead over the best-off group in conditional rejection",
                             _of("rejection_coefficient")),
        gaps.against_best_off("acceptance_rate_difference", f"{_AHEAD} in acceptance rate", _of("acceptance_rate"),
                              "difference"),
        gaps.against_best_off("rejection_rate_difference", "lead over the best-off group in rejection rate",
                              _of("rejection_rate"), "difference", from_reference=False),
        acceptance.treatment_equality("treatment_equality", "lead over the best-off group in misses per false alarm",
                                      _of("error_ratio")),
        inequality.between("between_group_generalized_entropy", "generalized entropy between groups",
                           _of("generalized_entropy")),
        conditional.demographic_disparity("conditional_demographic_disparity_predictions",
                                          "conditional demographic disparity", _of("selection_rate"), "decision"),
        labels.imbalance("class_imbalance", "class imbalance"),
        gaps.against_best_off("label_rate_difference", f"{_AHEAD} in favourable labels", _of("label_rate"),
                              "difference"),
        gaps.against_best_off("label_impact_ratio", "impact ratio of labels", _of("label_rate"), "ratio"),
        labels.divergence("kl_divergence", "divergence of labels (Kullback–Leibler)", _of("label_rate")),
        labels.divergence("js_divergence", "divergence of labels (Jensen–Shannon)", _of("label_rate")),
        labels.divergence("lp_norm", "distance of labels (Euclidean)", _of("label_rate")),
        labels.divergence("total_variation", "total variation of labels", _of("label_rate")),
        labels.divergence("kolmogorov_smirnov", "largest gap in a label's share", _of("label_rate")),
        conditional.demographic_disparity("conditional_demographic_disparity_labels",
                                          "conditional demographic disparity of labels", _of("label_rate"), "label"),
        neighbours.flip_test("flip_test", "flip test against the nearest rows of the reference group"),
        abroca.gap("abroca", "area between the ROC curves"),
        calibration_error.gap("calibration_gap", "gap in calibration error"),
        gaps.difference("mean_prediction_difference", "gap in mean prediction", _of("mean_prediction")),
        gaps.difference("mean_error_difference", "gap in mean error", _of("mean_error")),
        gaps.difference("mean_absolute_error_difference", "gap in mean absolute error", _of("mean_absolute_error")),
    )
}  # fmt: skip


def _derived() -> dict[str, Disparity]:
    """`<metric>_difference` and `<metric>_ratio` of every metric that has none in the table."""
    found = {}
    for metric in METRICS.values():
        if metric.name == "count":
            continue
        for suffix, make, words in (("difference", gaps.difference, "gap in"), ("ratio", gaps.quotient, "ratio of")):
            name = f"{metric.name}_{suffix}"
            if name not in DISPARITIES and (suffix == "difference" or metric.lowest >= 0):
                found[name] = make(name, f"{words} {metric.title}", metric)
    return found


DERIVED: dict[str, Disparity] = _derived()
#: Local Law 144's impact ratio of scores
DERIVED["scoring_impact_ratio"] = gaps.quotient(
    "scoring_impact_ratio", "impact ratio of scoring rates", _of("scoring_rate")
)

#: comparisons that several classes have one by one, each against the rest
BY_CLASS: tuple[Disparity, ...] = (
    DISPARITIES["impact_ratio"],
    DISPARITIES["demographic_parity_difference"],
    DISPARITIES["equal_opportunity_difference"],
    DISPARITIES["equalized_odds_difference"],
    DISPARITIES["predictive_parity_difference"],
    DERIVED["roc_auc_difference"],
)

#: what explanations say of groups: read from their tables, not measured from labels and decisions
EXPLAINED: dict[str, Metric | Disparity] = {**explained.METRICS, **explained.GAPS}


def find(name: str) -> Metric | Disparity | None:
    """The metric or comparison of an id."""
    return METRICS.get(name) or DISPARITIES.get(name) or DERIVED.get(name) or EXPLAINED.get(name)


def applicable_metrics(config: AuditConfig) -> list[Metric]:
    """The metrics of a group that this audit has."""
    return [metric for metric in METRICS.values() if why_not(config, metric) is None]


def applicable_disparities(config: AuditConfig) -> list[Disparity]:
    """The comparisons that this audit makes: those of the table, and those that its policy names."""
    asked = [DERIVED[check.metric] for check in config.policy if check.metric in DERIVED]
    return [entry for entry in (*DISPARITIES.values(), *dict.fromkeys(asked)) if why_not(config, entry) is None]


def why_not(config: AuditConfig, entry: Metric | Disparity) -> str | None:
    """Why an audit cannot have a metric or comparison; None where it can."""
    if entry.name in EXPLAINED:
        return explained.why_not(config, entry.name)
    if isinstance(entry, Disparity):
        if entry.name in conditional.NAMES and config.bias.strata is None:
            return f"{entry.name} needs bias.strata: the column that it is conditional on"
        reasons = (why_not(config, METRICS[base]) for base in entry.bases)
        return next((reason for reason in reasons if reason), None)
    task = config.model.task
    if task not in entry.tasks:
        return f"{entry.name} is not for {task} models"
    if entry.unweighted and config.data.weight is not None:
        return f"{entry.name} counts people, and data.weight is declared"
    if entry.of is None or entry.of in questions(config):
        return None
    if task == "regression":
        return f'{entry.name} needs decisions; name bias.decision.favorable_when, such as ">= 3.5"'
    return f"{entry.name} needs data.target.{'favorable' if entry.of == 'favorable' else 'positive'}"


def questions(config: AuditConfig) -> set[str]:
    """Which yes-or-no questions labels and decisions answer: is it favourable, positive, correct?"""
    if config.model.task == "regression":
        decision = config.bias.decision
        if decision.favorable_when is not None:
            return {"favorable", "positive"}
        return {"favorable"} if decision.column is not None and config.favorable else set()
    declared = {"favorable"} if config.favorable else set()
    if config.positive or config.model.task == "binary":
        declared.add("positive")
    return declared | {"correct"}


def known_metrics(task: str | None = None) -> list[str]:
    """Every id that a policy may name, for one kind of model or for all."""

    def fits(entry: Metric | Disparity) -> bool:
        bases = (entry,) if isinstance(entry, Metric) else tuple(METRICS[base] for base in entry.bases)
        return task is None or all(task in base.tasks for base in bases)

    everything: Iterable[Metric | Disparity] = (*METRICS.values(), *DISPARITIES.values(), *DERIVED.values())
    return [*(entry.name for entry in everything if fits(entry)), *EXPLAINED]


def check_policy(config: AuditConfig) -> None:
    """Whether every check of the policy can be judged, before anything is run.

    Raises:
        ConfigError: a metric that is not known, that this model cannot have, or that compares no groups.
    """
    for number, check in enumerate(config.policy):
        if check.kind == "reasons":
            continue  # of no metric: nothing of it depends on the model
        where = f"policy.{number}.metric"
        entry = find(check.metric)
        if entry is None:
            known = known_metrics(config.model.task)
            hint = nearest(check.metric, known)
            raise ConfigError(
                f"{check.metric} is not a metric", where=where, code="unknown_metric", hint=hint,
                available=() if hint else known,
            )  # fmt: skip
        reason = why_not(config, entry)
        if reason is not None:
            raise ConfigError(reason, where=where, code="metric_not_applicable")
        explained.check_names(config, check, f"policy.{number}")
        if isinstance(entry, Disparity) and check.attribute is None:
            raise ConfigError(
                f"{check.metric} compares groups and needs an attribute", where=where,
                available=[" × ".join(keys) for keys in config.data.attributes], hint="add attribute:",
                code="attribute_needed",
            )  # fmt: skip
