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
    "consistency": Metric("consistency", "How far rows are decided as the rows most like them: 1 is always."),
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
    "calibration_gap": Metric(
        "calibration gap", "Calibration error of the group minus that of the reference group; over all, the widest.", 0
    ),
    "abroca": Metric(
        "area between ROC curves", "Area between the ROC curves of the group and of the reference group.", 0
    ),
    "flip_test": Metric(
        "flip test",
        "Share of the group favoured where the reference group’s most similar rows are not, minus the reverse.",
        0,
    ),
    "attribution_gap": Metric("attribution gap", "Gap between groups in a feature's mean attribution.", 0),
    "explanation_fidelity_gap": Metric(
        "explanation fidelity gap", "Gap between groups in how faithful a technique's explanations are.", 0
    ),
    "acceptance_rate": Metric("acceptance rate", "Of rows decided favourably, the share whose label is favourable."),
    "rejection_rate": Metric("rejection rate", "Of rows decided unfavourably, the share whose label is unfavourable."),
    "acceptance_coefficient": Metric(
        "conditional acceptance", "Rows with a favourable label for each row decided favourably; 1 is as many."
    ),
    "rejection_coefficient": Metric(
        "conditional rejection", "Rows with an unfavourable label for each row decided unfavourably; 1 is as many."
    ),
    "error_ratio": Metric(
        "misses per false alarm", "Rows denied against a favourable label for each row granted without one."
    ),
    "generalized_entropy": Metric(
        "generalized entropy",
        "How unequal the benefits (decision − label + 1) of rows are; 0 where all are the same. Half the squared"
        " coefficient of variation.",
    ),
    "theil": Metric("Theil index", "How unequal the benefits (decision − label + 1) of rows are, by entropy."),
    "selection_rate_difference": Metric(
        "demographic parity difference", "Highest minus lowest selection rate of an attribute's groups.", 0
    ),
    "average_absolute_odds_difference": Metric(
        "average absolute odds difference", "Mean of the sizes of the gaps in true and in false positive rate.", 0
    ),
    "conditional_acceptance": Metric(
        "difference in conditional acceptance",
        "Favourable labels per favourable decision, of the reference group minus that of the group.",
        0,
    ),
    "conditional_rejection": Metric(
        "difference in conditional rejection",
        "Unfavourable labels per unfavourable decision, of the group minus that of the reference group.",
        0,
    ),
    "acceptance_rate_difference": Metric(
        "acceptance rate difference",
        "Share of favourable decisions that the label bears out, of the reference group minus that of the group.",
        0,
    ),
    "rejection_rate_difference": Metric(
        "rejection rate difference",
        "Share of unfavourable decisions that the label bears out, of the group minus that of the reference group.",
        0,
    ),
    "treatment_equality": Metric(
        "treatment equality", "Misses per false alarm, of the group minus that of the reference group.", 0
    ),
    "between_group_generalized_entropy": Metric(
        "generalized entropy between groups",
        "Generalized entropy of benefits that would be left if all rows of a group had its mean benefit.",
        0,
    ),
    "conditional_demographic_disparity_predictions": Metric(
        "conditional demographic disparity",
        "A group's share of the rejected minus its share of the accepted, averaged over strata of like rows.",
        0,
    ),
    "conditional_demographic_disparity_labels": Metric(
        "conditional demographic disparity of labels",
        "A group's share of unfavourable minus its share of favourable labels, averaged over strata of like rows.",
        0,
    ),
    "class_imbalance": Metric(
        "class imbalance", "Rows of the reference group minus those of the group, over those of both.", 0
    ),
    "label_rate": Metric("rate of favourable labels", "Share of rows whose label is the favourable outcome."),
    "label_rate_difference": Metric(
        "label rate difference", "Rate of favourable labels of the reference group minus that of the group.", 0
    ),
    "label_impact_ratio": Metric(
        "label impact ratio", "Rate of favourable labels of the group divided by that of the reference group.", 1
    ),
    "kl_divergence": Metric(
        "Kullback–Leibler divergence",
        "How surprising a group's labels are to who expects the reference group's.",
        0,
    ),
    "js_divergence": Metric(
        "Jensen–Shannon divergence",
        "How far the labels of a group and of the reference group each are from their mean, by entropy; ln 2 at most.",
        0,
    ),
    "lp_norm": Metric(
        "Lp norm", "Euclidean distance between the shares of labels of a group and of the reference group.", 0
    ),
    "total_variation": Metric(
        "total variation distance",
        "Share of a group's labels that would have to change to be as those of the reference group.",
        0,
    ),
    "kolmogorov_smirnov": Metric(
        "Kolmogorov–Smirnov distance",
        "Largest difference, over the labels, between a group's share of one and the reference group's.",
        0,
    ),
}

#: comparisons that are the same number by several names, over all groups of an attribute
FAMILIES = (
    ("impact_ratio", "demographic_parity_ratio", "disparate_impact"),
    ("demographic_parity_difference", "predicted_rate_difference", "selection_rate_difference"),
    ("equal_opportunity_difference", "recall_difference"),
)


def family(metric: str) -> str:
    """The first name of the comparisons that a metric is the same as over all groups; its own where there are none."""
    return next((names[0] for names in FAMILIES if metric in names), metric)


#: other words of the report → what they mean
TERMS: dict[str, str] = {
    "accumulated local effects": "How the output moves with a feature, told from small steps of it in rows that are"
    " there: no row is made that could not occur.",
    "attribution": "One feature's contribution to one output for one row.",
    "background": "Reference rows that stand for “this feature is absent”.",
    "base value": "What attributions start from: the mean output over the background, or LIME's intercept.",
    "control": "A clause of a regulation with the evidence for it and its status.",
    "decision": "The class that the model's score is turned into.",
    "digest": "SHA-256 of a file's bytes: whoever has the file can compute it and compare.",
    "disparity": "A comparison of two groups, as a difference or a ratio.",
    "evidence": "A table or image of this run, named with its digest.",
    "favourable outcome": "The outcome that people want; selection rates and impact ratios count it.",
    "failing": "Of a technique: its explanations are no better than chance, or ignore what the model learnt.",
    "group": "The rows that share a value of a sensitive attribute, or of a crossing of several.",
    "H²": "Of a pair of features, the share of their joint effect’s variance that is not the sum of both: 0 is no"
    " interaction.",
    "importance": "How much a feature matters over many rows; each technique has a scale of its own.",
    "insufficient data": "Too few rows to judge: neither a pass nor a failure.",
    "interval": "Range that covers the true value with the stated confidence.",
    "p": "A p-value: how likely a result at least so far from chance is, if there is nothing but chance.",
    "partial dependence": "The mean output when a feature is set to a value in every row.",
    "policy": "Thresholds that the owner declared before the run.",
    "proxy": "A feature that tells the groups of an attribute apart, and so can stand for it.",
    "q": "A p-value corrected for a search: among what has q below 5 %, about 5 % are chance finds.",
    "reference group": "The group that others of its attribute are compared with.",
    "Shapley value": "A feature’s share in a prediction: what it adds, averaged over all orders in which features may"
    " come in.",
    "slice": "The rows that share the values of up to three attributes or features.",
    "standard error": "How far a value lies, typically, from what it would be with endless sampling; shown after ±.",
    "superpixel": "A region of like pixels that an image is cut into; LIME explains images by them.",
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
    "mantel_haenszel": "Cochran–Mantel–Haenszel",
    "welch": "Welch's t",
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
    "auc": "AUC",
    "cramers_v": "Cramér’s V",
    "local_r2": "local R²",
    "mu_fidelity": "µ-fidelity",
    "max_sensitivity": "max-sensitivity",
    "parameter_randomisation": "likeness to random weights",
    "random_logit": "likeness to another class",
    "completeness_std_error": "completeness standard error",
    "gini_sparseness": "sparseness (Gini)",
    "entropy": "entropy (nats)",
}


#: measures of the quality of an explanation → what they mean, in a sentence
QUALITIES = {
    "insertion_minus_deletion": "Insertion area minus deletion area: near 0 for an order that knows nothing.",
    "deletion_area": "Mean output while features are taken away, those first that are said to speak for it: low where"
    " they do.",
    "insertion_area": "Mean output while features are added to the background, those first that are said to speak for"
    " it: high where they do.",
    "mu_fidelity": "Whether the output falls as far as the explanation says when some features are taken away:"
    " correlation, 1 at best.",
    "infidelity": "Mean squared miss of the explanation’s account of such falls, its scale fitted: 0 at best.",
    "monotonicity": "Whether features said to matter more change the output more when taken away alone: rank"
    " correlation, 1 at best.",
    "null_feature_share": "Share of the explanation that goes to features which change nothing: 0 at best.",
    "completeness_error": "How far attributions and base value miss the prediction when added up: 0 at best.",
    "completeness_std_error": "Standard error of the sum of an explanation, from the technique’s own sampling: a"
    " completeness error of this size is chance.",
    "max_sensitivity": "How far the explanation moves, over its size, when the row is moved a little, at worst: 0 at"
    " best; 1 is as far as the explanation is long.",
    "average_sensitivity": "How far it moves on average.",
    "seed_stability": "Share of the largest features that two seeds have in common, among all that either has: 1 at"
    " best.",
    "parameter_randomisation": "Rank correlation with the explanation of the same model with random weights: near 0 at"
    " best. From 0.9 on the explanation does not depend on what the model learnt.",
    "random_logit": "Rank correlation with the explanation of another class for the same row: 1 where it does not tell"
    " classes apart.",
    "entropy": "How widely the explanation is spread: 0 where one feature has it all.",
    "gini_sparseness": "How unequal the features’ shares are: 0 where all are equal, towards 1 where few have all.",
    "tolerance_reached": "Share of explanations whose every standard error is within the tolerance.",
    "coalitions": "Coalitions of features that an explanation took.",
    "local_r2": "How well LIME’s local line fits the model around the row: 1 at best.",
    "relative_error": "Standard error of a map over its size, from the technique’s own sampling.",
    "box_hit_rate": "Share of maps whose highest place lies in the known region of the true class. It judges the model"
    " as much as the explanation.",
    "box_mass": "Share of a map that lies in the known region of the true class.",
    "empty_map": "Share of maps in which nothing speaks for the class.",
}


#: measures of agreement → what they mean, in a sentence
AGREEMENTS = {
    "spearman": "whether both put features, or places of an image, in the same order: 1 is the same order, 0 chance.",
    "kendall": "the same, from the share of pairs of features that are in the same order.",
    "feature_agreement": "share of the largest features of one that are the other’s too. Chance alone gives their"
    " number over that of all features.",
    "sign_agreement": "share of the largest features that both have, with the same sign.",
    "ssim": "whether two maps look alike: 1 at most.",
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
