"""Checks of kind reasons: a planted protected driver, and what stands for one, fail the policy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig, PolicyCheck
from tasks.bias import measure_bias
from tasks.contracts import TABLES
from tasks.persist import Workspace
from tasks.persist.publish import begin, new_run_id
from tasks.policy import judge
from tasks.policy.reasons import Seen, judge_reasons, strong_proxies
from tasks.predict import predict
from tasks.reasons import state_reasons
from tasks.sources import trace_sources
from tasks.steady import steady_algebra
from tasks.watch import Watch

CHECK = {"kind": "reasons", "max_protected": 0}


@pytest.fixture
def planted(tmp_path: Path):
    """Audits of a model on income, height (which tells sex) and sex, with a weight each."""
    import keras

    draw = np.random.default_rng(1)
    sex = np.repeat([0, 1], 150)
    columns = {"income": draw.normal(size=300), "height": sex * 3 + draw.normal(size=300), "sex": sex}
    pq.write_table(pa.table({**columns, "y": (columns["income"] > 0).astype(np.int64)}), tmp_path / "data.parquet")

    def run(weights: list[float], bias: float, policy: list[dict], **reasons):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
        model.set_weights([np.array(weights, np.float32)[:, None], np.array([bias], np.float32)])
        model.save(tmp_path / "model.keras")
        config = AuditConfig.model_validate(
            {
                "name": "planted",
                "model": {"path": str(tmp_path / "model.keras"), "task": "binary", "classes": [0, 1]},
                "data": {
                    "path": str(tmp_path / "data.parquet"), "features": list(columns),
                    "target": {"column": "y", "favorable": 1}, "sensitive": {"s": {"column": "sex"}},
                },
                "explain": {"rows": 5}, "bias": {"resamples": 0}, "policy": policy, "reasons": reasons,
            }
        )  # fmt: skip
        workspace = begin(tmp_path / "runs", config.name, new_run_id())
        with steady_algebra():
            predict(config, workspace, Watch())
            stated = state_reasons(config, workspace, Watch())
            trace_sources(config, workspace, Watch())
            measure_bias(config, workspace, Watch())
            return stated, judge(config, workspace, stated.facts.get("adverse", 0)), workspace

    return run


def test_a_planted_protected_driver_fails_the_policy(planted) -> None:
    stated, done, _ = planted([1.0, 0.0, 4.0], -2.0, [CHECK, {**CHECK, "max_protected": 300}])
    first, second = done.facts["checks"]
    count = stated.facts["protected_decisions"]
    assert count > 100
    assert (first["verdict"], second["verdict"]) == ("not_satisfied", "satisfied")
    assert (first["metric"], first["value"], first["numerator"], first["max"]) == ("reasons", count, count, 0)
    assert first["denominator"] == first["n"] == stated.facts["adverse"]
    assert first["sentence"] == (
        f"Among the principal reasons of {count} of {stated.facts['adverse']} adverse decisions is a protected"
        f" attribute (sex in {count}), above the declared maximum 0."
    )
    assert done.facts["verdict"] == "not_satisfied"
    found = {finding.code: finding for finding in done.findings}
    assert found["policy_not_satisfied"].evidence == "reason_codes"
    assert "protected_reason" in {finding.code for finding in stated.findings}
    json.dumps(done.facts, allow_nan=False)


def test_a_proxy_is_a_finding_and_fails_the_policy_that_asks_for_it(planted) -> None:
    stated, done, workspace = planted([1.0, 1.0, 0.0], -2.0, [CHECK, {**CHECK, "include_proxies": True}])
    without, with_proxies = done.facts["checks"]
    assert stated.facts["protected"] == {}
    assert strong_proxies(AuditConfig.model_validate(MINIMAL), workspace) == {"height": ("s",)}
    assert (without["verdict"], with_proxies["verdict"]) == ("satisfied", "not_satisfied")
    reasons = workspace.read_table("reason_codes").to_pandas()
    count = int(reasons.features.map(lambda features: "height" in features).sum())
    assert with_proxies["value"] == count == done.facts["reasons"]["proxies"]["height"]
    (finding,) = [finding for finding in done.findings if finding.code == "proxy_reason"]
    assert finding.text.startswith(
        f"height, which stands for s (a strong proxy), is among the principal reasons of {count}"
    )


def test_of_a_sample_without_any_nothing_can_be_told(planted) -> None:
    _, done, _ = planted([1.0, 0.0, 0.0], 0.0, [CHECK], rows=20)
    (check,) = done.facts["checks"]
    assert (check["verdict"], check["value"], check["denominator"]) == ("insufficient_data", 0.0, 20.0)
    assert "reasons are stated for 20 of" in check["sentence"]
    _, done, _ = planted([1.0, 0.0, 4.0], -2.0, [CHECK], rows=20)
    assert done.facts["checks"][0]["verdict"] == "not_satisfied"  # what was seen is enough


MINIMAL = {
    "name": "x", "model": {"path": "m", "task": "binary"},
    "data": {"path": "d", "target": {"column": "y", "favorable": 1}, "sensitive": {"s": {"column": "sex"}}},
}  # fmt: skip


def _seen(**changes) -> Seen:
    known = {"stated": 10, "adverse": 10, "protected": {}, "proxies": {}, "of": {}, "any_protected": 0, "any_either": 0}
    return Seen(**{**known, **changes})


@pytest.mark.parametrize(
    ("seen", "limit", "verdict"),
    [
        (None, 0, "insufficient_data"),
        (_seen(stated=0, adverse=0), 0, "insufficient_data"),
        (_seen(), 0, "satisfied"),
        (_seen(any_protected=1), 0, "not_satisfied"),
        (_seen(any_protected=1), 1, "satisfied"),
        (_seen(stated=5, any_protected=1), 1, "insufficient_data"),
        (_seen(stated=5, any_protected=2), 1, "not_satisfied"),
        (_seen(any_either=3), 0, "satisfied"),  # of proxies nobody asked
    ],
)
def test_the_rule(seen, limit, verdict) -> None:
    found = judge_reasons(PolicyCheck(kind="reasons", max_protected=limit), seen)  # type: ignore[call-arg]
    assert found["verdict"] == verdict
    assert (found["value"] is None) == (seen is None or not seen.stated)


def test_without_reasons_the_check_cannot_be_judged(tmp_path: Path) -> None:
    config = AuditConfig.model_validate({**MINIMAL, "policy": [CHECK]})
    workspace = Workspace(tmp_path, "x")
    for name in ("group_metrics", "disparities"):
        workspace.write_table(name, TABLES[name].empty_table())
    done = judge(config, workspace)
    assert done.facts["checks"][0]["verdict"] == "insufficient_data"
    assert done.facts["reasons"] is None
    assert done.facts["verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ({"kind": "reasons"}, "needs max_protected"),
        ({**CHECK, "metric": "accuracy"}, "metric: not for kind reasons"),
        ({**CHECK, "max": 1}, "max: not for kind reasons"),
        ({**CHECK, "attribute": "s"}, "attribute: not for kind reasons"),
        ({**CHECK, "confidence": "interval"}, "a count has no interval"),
        ({**CHECK, "max_protected": -1}, "greater than or equal to 0"),
        ({"metric": "accuracy", "min": 0.5, "max_protected": 1}, "are for kind reasons"),
        ({"kind": "reason", "max_protected": 0}, "'metric' or 'reasons'"),
    ],
)
def test_checks_that_are_none_are_refused(check, says) -> None:
    with pytest.raises(ValueError, match=says):
        AuditConfig.model_validate({**MINIMAL, "policy": [check]})


def test_a_check_that_was_written_out_is_read_again() -> None:
    config = AuditConfig.model_validate({**MINIMAL, "policy": [CHECK]})
    assert AuditConfig.model_validate(config.model_dump(mode="json")) == config
    data = {**MINIMAL["data"], "sensitive": {}}
    with pytest.raises(ValueError, match=r"policy\.0\.kind: reasons needs data.sensitive"):
        AuditConfig.model_validate({**MINIMAL, "data": data, "policy": [CHECK]})
