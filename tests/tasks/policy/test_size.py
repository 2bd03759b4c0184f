"""How often groups that are all alike are said to differ: rarely, however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from configs.schema import AuditConfig
from tasks.bias import DISPARITIES, METRICS
from tasks.bias.measure import Settings, adjust, compare, measure
from tasks.bias.rows.evidence import Evidence
from tasks.bias.rows.groups import Attribute
from tasks.bias.stage import _disparity_table, _metric_table
from tasks.policy.stage import judge_check
from tasks.policy.tables import Tables

LIMITS = {
    "impact_ratio": {"min": 0.8},
    "demographic_parity_difference": {"max": 0.1},
    "equalized_odds_difference": {"max": 0.1},
}
BASES = [METRICS[name] for name in ("count", "selection_rate", "true_positive_rate", "false_positive_rate")]
TABLES, RESAMPLES = 300, 100


def _verdicts(rng: np.random.Generator, groups: int, rows: int, config: AuditConfig) -> list[str]:
    """Verdicts on groups whose every row is decided by a coin."""
    n = groups * rows
    label, decision = rng.integers(0, 2, n), rng.integers(0, 2, n)
    found = Evidence(
        task="binary", row_id=np.arange(n), position=np.arange(n), classes=("no", "yes"), label=label,
        decision=decision, outputs=("yes",), scores=decision[:, None] * 0.5, truth=None, weight=None, favorable=(1,),
        positive=(1,),
    )  # fmt: skip
    attribute = Attribute("g", tuple(f"g{k}" for k in range(groups)), np.repeat(np.arange(groups), rows))
    chosen = Settings(least=10, resamples=RESAMPLES)
    compared = compare(measure(found, attribute, BASES, chosen), [DISPARITIES[name] for name in LIMITS], chosen)
    gaps = _disparity_table([compared], adjust([compared]))
    tables = Tables.of(_metric_table([compared.found], 10), gaps, list(LIMITS))
    return [judge_check(config, check, tables)["verdict"] for check in config.policy]


@pytest.mark.parametrize(("groups", "rows"), [(5, 60), (7, 100)])
def test_equal_rates_are_rarely_not_satisfied(groups: int, rows: int) -> None:
    config = AuditConfig.model_validate({
        "name": "t", "model": {"path": "m", "task": "binary"},
        "data": {"path": "d", "target": {"column": "y", "favorable": 1}, "sensitive": {"g": {"column": "g"}}},
        "bias": {"resamples": RESAMPLES, "min_group_size": 10},
        "policy": [{"metric": name, "attribute": "g", **limit} for name, limit in LIMITS.items()],
    })  # fmt: skip
    rng = np.random.default_rng(0)
    verdicts = np.array([_verdicts(rng, groups, rows, config) for _ in range(TABLES)])
    rejected = dict(zip(LIMITS, (verdicts == "not_satisfied").mean(0), strict=True))
    assert max(rejected.values()) <= 0.08, rejected
    # They are breached all the same, and not passed over.
    assert (verdicts == "insufficient_data").mean() > 0.3
