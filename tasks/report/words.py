"""The words of the report: what a metric or a measure is called and means. Also the glossary's source."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """A metric for people.

    Attributes:
        label: in tables and charts.
        meaning: one sentence for the glossary.
        null: of a comparison, the value of no difference.
    """

    label: str
    meaning: str
    null: Literal[0, 1] | None = None


METRICS: dict[str, Metric] = {
    "count": Metric("rows", "How many rows a group has."),
    "selection_rate": Metric("selection rate", "Share of rows that the decision gives the favourable outcome."),
    "scoring_rate": Metric("scoring rate", "Share of rows whose score lies strictly above the median of all scores."),
    "prevalence": Metric("prevalence", "Share of rows whose label is the positive outcome."),
    "accuracy": Metric("accuracy", "Share of rows whose decision equals the label."),
    "balanced_accuracy": Metric("balanced accuracy", "Mean over the classes of the share decided rightly."),
    "true_positive_rate": Metric("true positive rate", "Of rows whose label is positive, the share decided positive."),
    "false_positive_rate": Metric(
        "false positive rate", "Of rows whose label is not positive, the share decided positive."
    ),
    "true_negative_rate": Metric("true negative rate", "Of rows whose label is not positive, the share decided so."),
    "false_negative_rate": Metric("false negative rate", "Of rows whose label is positive, the share not decided so."),
    "precision": Metric("precision", "Of rows decided positive, the share whose label is positive."),
    "negative_predictive_value": Metric(
        "negative predictive value", "Of rows not decided positive, the share whose label is not positive."
    ),
    "false_discovery_rate": Metric("false discovery rate", "Of rows decided positive, the share whose label is not."),
    "false_omission_rate": Metric("false omission rate", "Of rows not decided positive, the share whose label is."),
    "f1": Metric("F1", "Harmonic mean of precision and true positive rate."),
    "mean_score": Metric("mean score", "Mean of the model's score."),
    "roc_auc": Metric("ROC AUC", "Chance that a positive row has a higher score than one that is not."),
    "log_loss": Metric("log loss", "Mean of −ln of the score given to the true class; lower is better."),
    "brier_score": Metric("Brier score", "Mean squared difference of score and outcome; lower is better."),
    "expected_calibration_error": Metric(
        "calibration error", "Mean difference, over bins of scores, between score and share that came true."
    ),
    "calibration_slope": Metric("calibration slope", "Slope of the outcome on the score's logit; 1 is calibrated."),
    "calibration_intercept": Metric(
        "calibration intercept", "Intercept of the outcome on the score's logit; 0 is calibrated."
    ),
    "mean_prediction": Metric("mean prediction", "Mean of the predicted values."),
    "mean_absolute_error": Metric("mean absolute error", "Mean size of prediction minus label."),
    "root_mean_squared_error": Metric("root mean squared error", "Root of the mean squared prediction minus label."),
    "mean_error": Metric("mean error", "Mean of prediction minus label: the bias of the predictions."),
    "r2": Metric("R²", "Share of the labels' variance that the predictions explain."),
    "impact_ratio": Metric(
        "impact ratio", "Selection rate of a group divided by the highest selection rate of its attribute.", 1
    ),
    "demographic_parity_difference": Metric(
        "demographic parity difference", "Highest minus lowest selection rate of an attribute's groups.", 0
    ),
    "demographic_parity_ratio": Metric(
        "demographic parity ratio", "Lowest divided by highest selection rate of an attribute's groups.", 1
    ),
    "equalized_odds_difference": Metric(
        "equalized odds difference",
        "The larger of the gaps between groups in true and in false positive rate.",
        0,
    ),
    "equalized_odds_ratio": Metric(
        "equalized odds ratio",
        "The smaller of the ratios between groups in true and in false positive rate.",
        1,
    ),
    "equal_opportunity_difference": Metric(
        "equal opportunity difference", "Gap between groups in true positive rate.", 0
    ),
    "equal_opportunity_ratio": Metric("equal opportunity ratio", "Ratio between groups in true positive rate.", 1),
    "predictive_parity_difference": Metric("predictive parity difference", "Gap between groups in precision.", 0),
    "predicted_rate_difference": Metric(
        "selection rate difference", "Selection rate of the reference group minus that of the group.", 0
    ),
    "disparate_impact": Metric(
        "disparate impact", "Selection rate of the group divided by that of the reference group.", 1
    ),
    "accuracy_difference": Metric("accuracy difference", "Gap between groups in accuracy.", 0),
    "recall_difference": Metric("recall difference", "Gap between groups in true positive rate.", 0),
    "specificity_difference": Metric("specificity difference", "Gap between groups in true negative rate.", 0),
    "average_odds_difference": Metric(
        "average odds difference", "Mean of the gaps in true and in false positive rate.", 0
    ),
    "attribution_gap": Metric("attribution gap", "Gap between groups in a feature's mean attribution.", 0),
}

#: comparisons that are the same number by several names, over all groups of an attribute
FAMILIES = (
    ("impact_ratio", "demographic_parity_ratio", "disparate_impact"),
    ("demographic_parity_difference", "predicted_rate_difference"),
    ("equal_opportunity_difference", "recall_difference"),
)


def family(metric: str) -> str:
    """The first name of the comparisons that a metric is the same as over all groups; its own where there are none."""
    return next((names[0] for names in FAMILIES if metric in names), metric)


#: other words of the report → what they mean
TERMS: dict[str, str] = {
    "attribution": "One feature's contribution to one output for one row.",
    "background": "Reference rows that stand for “this feature is absent”.",
    "base value": "What attributions start from: the mean output over the background, or LIME's intercept.",
    "control": "A clause of a regulation with the evidence for it and its status.",
    "decision": "The class that the model's score is turned into.",
    "digest": "SHA-256 of a file's bytes: whoever has the file can compute it and compare.",
    "disparity": "A comparison of two groups, as a difference or a ratio.",
    "evidence": "A table or image of this run, named with its digest.",
    "favourable outcome": "The outcome that people want; selection rates and impact ratios count it.",
    "group": "The rows that share a value of a sensitive attribute, or of a crossing of several.",
    "importance": "How much a feature matters over many rows; each technique has a scale of its own.",
    "insufficient data": "Too few rows to judge: neither a pass nor a failure.",
    "interval": "Range that covers the true value with the stated confidence.",
    "policy": "Thresholds that the owner declared before the run.",
    "reference group": "The group that others of its attribute are compared with.",
    "undefined": "0 divided by 0: there is no value, and none is made up.",
}


#: ids of methods and tests in the tables → what people call them; a part after a comma is kept
METHODS = {
    "wilson": "Wilson",
    "newcombe": "Newcombe",
    "mover": "MOVER",
    "katz": "Katz",
    "delong": "DeLong",
    "bootstrap": "bootstrap",
    "fisher": "Fisher exact",
    "pooled_z": "pooled z",
    "chi_squared": "χ²",
    "chi_squared_permuted": "χ², permuted",
    "wald": "Wald",
    "student": "Student",
}


#: measures of drift, agreement and quality → what people call them
MEASURES = {
    "population_stability_index": "population stability index",
    "kolmogorov_smirnov": "Kolmogorov–Smirnov distance",
    "jensen_shannon": "Jensen–Shannon divergence",
    "total_variation": "total variation distance",
    "spearman": "Spearman correlation",
    "importance_spearman": "Spearman correlation",
    "importance_kendall": "Kendall correlation",
    "importance_feature_agreement": "feature agreement",
    "kendall": "Kendall correlation",
    "ssim": "structural similarity",
    "local_r2": "local R²",
}


def measure_label(measure: str) -> str:
    """What a measure is called."""
    return MEASURES.get(measure, measure.replace("_", " "))


def method_label(method: str | None) -> str:
    """What a method or test is called."""
    if not method:
        return "–"
    first, comma, rest = method.partition(",")
    return METHODS.get(first, first.replace("_", " ")) + comma + rest


def metric_label(metric: str) -> str:
    """What a metric is called; an unknown one by its id."""
    known = METRICS.get(metric)
    if known is not None:
        return known.label
    from tasks.bias import find

    measured = find(metric)
    return measured.title if measured is not None else metric.replace("_", " ")


def metric_null(metric: str, comparison: str | None = None) -> float:
    """The value of a comparison at which groups do not differ."""
    known = METRICS.get(metric)
    if known is not None and known.null is not None:
        return float(known.null)
    return 1.0 if comparison == "ratio" or "ratio" in metric else 0.0
