"""A technique run again: the same where nothing changed, another where the seed or the model did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from configs.schema import AuditConfig
from tasks.explain import explained_again, problem_of, technique_of, why_not_again
from tasks.explain.stage import settings_of
from tasks.load import open_subject, randomised
from tasks.watch import Watch


def config_of(audit: dict[str, Any], **techniques: Any) -> AuditConfig:
    return AuditConfig.model_validate({**audit, "explain": {**audit["explain"], "techniques": techniques}})


def test_the_same_technique_says_the_same_again(audit_files: dict[str, Any]) -> None:
    config = config_of(audit_files, shap={})
    subject = open_subject(config)
    problem, technique = problem_of(subject), technique_of("shap", "table")
    assert technique is not None
    rows, explained = problem.rows[3:9], problem.explained[3:9]
    prepared = technique.prepare(problem, settings_of(config, technique), Watch())
    again = explained_again(config, technique, problem, rows, explained)
    assert again.values == pytest.approx(prepared.explain(rows, explained).values, abs=1e-9)  # type: ignore[union-attr]
    assert again.evaluations > 0
    assert np.array_equal(again.values, explained_again(config, technique, problem, rows, explained).values)
    # In batches too.
    small = explained_again(config, replace(technique, batch=4), problem, rows, explained)
    assert small.values == pytest.approx(again.values, abs=1e-9)


def test_another_seed_and_another_model(audit_files: dict[str, Any]) -> None:
    config = config_of(audit_files, lime={"samples": 200})
    subject = open_subject(config)
    problem, technique = problem_of(subject), technique_of("lime", "table")
    assert technique is not None
    given = config, technique, problem, problem.rows[:5], problem.explained[:5]
    own = explained_again(*given)
    assert own.drew
    assert not np.array_equal(own.values, explained_again(*given, seed=problem.seed + 1).values)
    assert np.array_equal(own.values, explained_again(*given, seed=problem.seed).values)
    other = randomised(subject, np.random.default_rng(0))
    assert not np.allclose(own.values, explained_again(*given, predictor=other).values)


def test_maps_and_a_technique_that_draws_nothing() -> None:
    from flows.request import load_config

    config = load_config("configs/digit_scenes.yaml")
    problem, technique = problem_of(open_subject(config)), technique_of("gradcam", "image")
    assert technique is not None
    again = explained_again(config, technique, problem, problem.rows[:3], problem.explained[:3, :2])
    assert again.values.shape == (3, 2, 8, 8)
    assert again.values.dtype == np.float64
    assert not again.drew


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("permutation", {}, "not single rows"),
        ("shap", {"estimator": "shap.kernel"}, "seconds a row"),
        ("shap", {"estimator": "auto"}, None),
        ("lime", {}, None),
    ],
)
def test_what_is_not_run_again(
    audit_files: dict[str, Any], name: str, settings: dict[str, Any], reason: str | None
) -> None:
    technique = technique_of(name, "table")
    assert technique is not None
    found = why_not_again(config_of(audit_files, **{name: settings}), technique)
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)


def test_a_technique_of_the_whole_model_is_refused(audit_files: dict[str, Any]) -> None:
    config = config_of(audit_files, permutation={})
    problem, technique = problem_of(open_subject(config)), technique_of("permutation", "table")
    assert technique is not None
    with pytest.raises(ValueError, match="no single rows"):
        explained_again(config, replace(technique), problem, problem.rows[:9], problem.explained[:9])
