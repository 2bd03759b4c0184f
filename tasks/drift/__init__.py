"""Drift: what has changed between the reference data and the audited data, and in the model's answers."""

from tasks.drift.stage import drift_table, feature_drift, measure_drift, score_drift

__all__ = ["drift_table", "feature_drift", "measure_drift", "score_drift"]
