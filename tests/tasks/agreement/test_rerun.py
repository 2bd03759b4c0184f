"""Broken techniques are marked and sound ones are not, by techniques that are really run, and run again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tasks.explain
from configs.schema import AuditConfig
from flows.request import load_config
from tasks.agreement import compare_techniques
from tasks.agreement.explanations import read_attributions
from tasks.agreement.judged import judged_tables
from tasks.agreement.rerun import moved_rows
from tasks.contracts import Done
from tasks.errors import OutputError
from tasks.explain.base import Attribution, Prepared, Problem, Saliency, Settings, Technique
from tasks.load import open_subject
from tasks.persist import Workspace
from tasks.watch import Watch


def technique(name: str, modality: str, explain: Any, batch: int = 256) -> Technique:
    """A technique of the tests: `explain(problem, rows, explained)`."""

    def prepare(problem: Problem, settings: Settings, watch: Watch) -> Prepared:
        return Prepared(lambda rows, explained: explain(problem, rows, explained))

    return Technique(name, name.title(), modality, "local", Settings, prepare, "these tests", batch=batch)  # type: ignore[arg-type]


def noise(problem: Problem, rows: np.ndarray, explained: np.ndarray) -> Attribution:
    """Knows nothing of the model."""
    values = problem.generator("noise").normal(size=(*explained.shape, len(problem.players)))
    return Attribution(values, np.zeros(explained.shape), evaluations=len(rows))


def distance(problem: Problem, rows: np.ndarray, explained: np.ndarray) -> Attribution:
    """How far each feature lies from the background, whatever the model does with it."""
    values = np.nan_to_num(rows) - np.nan_to_num(problem.background).mean(axis=0)
    values = problem.by_player(values)[:, None, :].repeat(explained.shape[1], axis=1)
    return Attribution(values, np.zeros(explained.shape), evaluations=len(rows))


def breaks(problem: Problem, rows: np.ndarray, explained: np.ndarray) -> Attribution:
    """Works once, on the audit's own rows, and never again."""
    if len(rows) < 30 or not np.array_equal(rows[:30], problem.rows[:30]) or len(problem.rows) != 40:
        raise OutputError("has had enough")
    return noise(problem, rows, explained)


def edges(problem: Problem, rows: np.ndarray, explained: np.ndarray) -> Saliency:
    """An edge detector: it finds strokes, and never asks the model."""
    across, down = np.diff(rows[..., 0], axis=2)[:, :-1], np.diff(rows[..., 0], axis=1)[:, :, :-1]
    maps = (np.abs(across) + np.abs(down))[:, None].repeat(explained.shape[1], axis=1)
    return Saliency(maps.astype(np.float32), evaluations=len(rows))


def audited(
    config: AuditConfig, folder: Path, names: list[str]
) -> tuple[Done, dict[tuple[Any, ...], dict[str, Any]], Workspace]:
    """Techniques run as an audit does, compared."""
    workspace = Workspace(folder, "x")
    done = [tasks.explain.explain(name, config, workspace, Watch()) for name in names]
    assert all(isinstance(one, Done) for one in done)
    found = compare_techniques(config, workspace, Watch(), explained=done)  # type: ignore[arg-type]
    assert isinstance(found, Done)
    rows = workspace.read_table("explanation_quality").to_pylist()
    return found, {(r["technique"], r["output"], r["measure"]): r for r in rows}, workspace


@pytest.fixture(scope="module")
def tables() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        own = (
            technique("noise", "table", noise),
            technique("distance", "table", distance),
            technique("breaks", "table", breaks),
            technique("edges", "image", edges),
        )
        patch.setattr(tasks.explain, "TECHNIQUES", (*tasks.explain.TECHNIQUES, *own))
        yield patch


def adult(**explain: Any) -> AuditConfig:
    config = load_config("configs/adult_income.yaml")
    given = {"rows": 40, "background": 20, **explain}
    return config.model_copy(update={"explain": config.explain.model_copy(update=given)})


OUT = ">50K"


@pytest.mark.usefixtures("tables")
def test_broken_techniques_of_tables_are_marked_and_exact_shapley_values_are_not(tmp_path: Path) -> None:
    names = ["shap", "noise", "distance", "breaks"]
    config = adult(techniques={"shap": {}, "noise": {}, "distance": {}, "breaks": {}})
    found, quality, _ = audited(config, tmp_path, names)
    reasons = {(f["technique"], f["reason"]) for f in found.facts["failing"]}
    assert ("noise", "no_better_than_random") in reasons
    assert ("distance", "unchanged_by_randomisation") in reasons
    verdicts = found.facts["verdicts"]
    assert (verdicts["shap"], verdicts["noise"], verdicts["distance"]) == ("passes", "fails", "fails")
    codes = {finding.code for finding in found.findings if finding.severity == "warning"}
    assert {"no_better_than_random", "unchanged_by_randomisation"} <= codes
    assert quality["distance", OUT, "parameter_randomisation"]["value"] == pytest.approx(1)
    assert quality["shap", OUT, "parameter_randomisation"]["value"] < 0.6
    assert quality["distance", OUT, "max_sensitivity"]["value"] > 0
    # What the measures must come to, whichever rows: exact values fit falls best, noise not at all.
    assert quality["shap", OUT, "mu_fidelity"]["value"] > 0.6
    assert abs(quality["noise", OUT, "mu_fidelity"]["value"]) < 0.3
    assert quality["shap", OUT, "completeness_error"]["value"] < 1e-6
    assert quality["noise", OUT, "seed_stability"]["value"] < 0.5
    assert ("distance", OUT, "seed_stability") not in quality  # it draws nothing
    for key in (key for key in quality if key[0] == "shap" and key[2] != "completeness_error"):
        assert ("random", *key[1:]) in quality  # every measure stands beside the random attribution
    # What failed on the way has a row without a value, a reason and a limitation.
    lost = quality["breaks", OUT, "max_sensitivity"]
    assert (lost["value"], lost["status"], lost["n_rows"]) == (None, "undefined", 0)
    assert any("has had enough" in sentence for sentence in found.limitations)
    told = {(e["technique"], *e["measures"]): e["reason"] for e in found.facts["not_measured"]}
    assert told["distance", "seed_stability"] == "it draws no random numbers"


@pytest.mark.usefixtures("tables")
def test_groups_of_features_are_judged_as_one(tmp_path: Path) -> None:
    groups = {"work": ["workclass", "occupation", "hours_per_week"]}
    config = adult(techniques={"shap": {}}, feature_groups=groups)
    found, quality, workspace = audited(config, tmp_path, ["shap"])
    assert found.facts["verdicts"] == {"shap": "passes"}
    subject = open_subject(config)
    problem = tasks.explain.problem_of(subject)
    explained = read_attributions(workspace, "shap")
    judged = judged_tables(subject, problem, explained, 5, Watch())
    assert judged is not None
    assert judged.players == len(problem.players) == len(subject.features) - 2
    assert judged.attributions["shap"].sum(axis=1) + explained[0].base[0] == pytest.approx(judged.own, abs=1e-6)
    # With all players present it is the row itself; with none, it does not depend on the row.
    everyone, nobody = np.ones((5, 1, judged.players), bool), np.zeros((5, 1, judged.players), bool)
    assert judged.masked(judged.rows, everyone, judged.output)[:, 0] == pytest.approx(judged.own, abs=1e-6)
    assert np.ptp(judged.masked(judged.rows, nobody, judged.output)) < 1e-6
    assert quality["shap", OUT, "entropy"]["value"] <= math.log(judged.players)


@pytest.mark.usefixtures("tables")
def test_an_edge_detector_is_marked_and_gradcam_is_not(tmp_path: Path) -> None:
    config = load_config("configs/digit_scenes.yaml")
    given = {"rows": 16, "background": 10, "techniques": {"gradcam": {}, "edges": {}}}
    config = config.model_copy(update={"explain": config.explain.model_copy(update=given)})
    found, quality, workspace = audited(config, tmp_path, ["gradcam", "edges"])
    assert [(f["technique"], f["reason"]) for f in found.facts["failing"]] == [("edges", "unchanged_by_randomisation")]
    assert found.facts["verdicts"]["gradcam"] == "passes"
    assert quality["edges", None, "random_logit"]["value"] == pytest.approx(1)  # the same whatever the class
    assert quality["gradcam", None, "random_logit"]["value"] < 0.5
    own = {key[1] for key in quality if key[2] == "insertion_minus_deletion" and key[1] is not None}
    assert own <= set("0123456789")
    agreement = workspace.read_table("agreement").to_pylist()
    decided = {r["measure"]: r for r in agreement if r["output"] is None}
    assert set(decided) == {"spearman", "ssim"}
    assert decided["spearman"]["n_rows"] == 16


def test_moves_are_small_and_only_of_numbers() -> None:
    subject = open_subject(adult())
    problem = tasks.explain.problem_of(subject)
    moved = moved_rows(problem, problem.rows[:7])
    assert moved.shape == (7, 4, len(subject.features))
    for j, feature in enumerate(subject.features):
        step = np.abs(moved[:, :, j] - problem.rows[:7, None, j])
        if feature.kind == "number":
            assert 0 < step.max() <= 0.1 * np.nanstd(problem.reference[:, j]) * 1.05
        else:
            assert np.nanmax(step, initial=0) == 0
    assert np.array_equal(moved, moved_rows(problem, problem.rows[:7]), equal_nan=True)
