"""The stage on tables as the techniques write them: every row of its own two tables, and what is said of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.schema import AuditConfig
from flows.request import load_config
from tasks.agreement import compare_techniques, explanations
from tasks.agreement.explanations import read_attributions
from tasks.contracts import TABLES, Done, NotApplicable
from tasks.errors import Stopped
from tasks.load import Subject, open_subject
from tasks.persist import Workspace
from tasks.watch import Watch

ROWS = 120
OUTPUT = ">50K"


@pytest.fixture(scope="module")
def adult() -> AuditConfig:
    return load_config("configs/adult_income.yaml")


@pytest.fixture(scope="module")
def subject(adult: AuditConfig) -> Subject:
    return open_subject(adult)


@pytest.fixture(scope="module")
def positions(subject: Subject) -> np.ndarray:
    return np.sort(np.random.default_rng(3).choice(len(subject.rows), ROWS, replace=False))


@pytest.fixture(scope="module")
def occlusion(subject: Subject, positions: np.ndarray) -> np.ndarray:
    """What each feature is worth when it alone is taken away: faithful, though no technique of ours."""
    rows, background = subject.rows[positions], subject.reference[:8]  # type: ignore[index]
    own = subject.predictor(rows)[:, 0]
    values = np.empty(rows.shape)
    for j in range(rows.shape[1]):
        mixed = np.repeat(rows, len(background), axis=0)
        mixed[:, j] = np.tile(background[:, j], len(rows))
        values[:, j] = own - subject.predictor(mixed)[:, 0].reshape(len(rows), -1).mean(axis=1)
    return values


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "20261122T000000Z-00000000")


def explain(
    workspace: Workspace,
    subject: Subject,
    technique: str,
    positions: np.ndarray,
    values: np.ndarray,
    *,
    base: float = 0.5,
    prediction: np.ndarray | None = None,
    order: np.ndarray | None = None,
) -> None:
    n, d = values.shape
    prediction = values.sum(axis=1) + base if prediction is None else prediction
    table = pa.table(
        {
            "row_id": pa.array(np.repeat(positions, d)),
            "output": [OUTPUT] * (n * d),
            "feature": [feature.name for feature in subject.features] * n,
            "attribution": values.ravel(),
            "base_value": np.full(n * d, base),
            "prediction": np.repeat(prediction, d),
        }
    )
    workspace.write_table(f"attributions/{technique}", table if order is None else table.take(pa.array(order)))


def run(
    config: AuditConfig, workspace: Workspace, *explained: Done
) -> tuple[Done, dict[tuple[Any, ...], dict[str, Any]], dict[tuple[Any, ...], dict[str, Any]]]:
    done = compare_techniques(config, workspace, Watch(), explained=explained)
    assert isinstance(done, Done)
    agreement, quality = workspace.read_table("agreement"), workspace.read_table("explanation_quality")
    assert agreement.schema.remove_metadata().equals(TABLES["agreement"])
    assert quality.schema.remove_metadata().equals(TABLES["explanation_quality"])
    pairs = [(r["technique_a"], r["technique_b"], r["output"], r["measure"], r["k"]) for r in agreement.to_pylist()]
    assert len(set(pairs)) == len(pairs)
    return (
        done,
        dict(zip(pairs, agreement.to_pylist(), strict=True)),
        {(r["technique"], r["output"], r["measure"]): r for r in quality.to_pylist()},
    )


def test_two_that_agree(
    adult: AuditConfig, subject: Subject, positions: np.ndarray, occlusion: np.ndarray, workspace: Workspace
) -> None:
    explain(workspace, subject, "a", positions, occlusion)
    explain(workspace, subject, "b", positions, 2 * occlusion, prediction=np.zeros(ROWS))
    done, agreement, quality = run(adult, workspace)
    assert {key[3:] for key in agreement} == {
        *((f"{name}_agreement", k) for name in ("feature", "rank", "sign", "signed_rank") for k in (3, 5)),
        ("spearman", None), ("kendall", None), ("pairwise_rank_agreement", None),
    }  # fmt: skip
    for row in agreement.values():
        assert (row["value"], row["n_rows"]) == (pytest.approx(1), ROWS)
        assert row["ci_low"] <= row["value"] <= row["ci_high"] <= 1
    assert done.findings == ()
    assert done.facts["failing"] == done.facts["disagreements"] == []
    assert quality["a", OUTPUT, "completeness_error"]["value"] == pytest.approx(0, abs=1e-12)
    misses = np.abs(2 * occlusion.sum(axis=1) + 0.5)
    row = quality["b", OUTPUT, "completeness_error"]
    assert row["value"] == pytest.approx(misses.mean())
    assert row["std_error"] == pytest.approx(misses.std(ddof=1) / np.sqrt(ROWS))
    assert (row["direction"], row["n_rows"], row["status"]) == ("lower", ROWS, "ok")
    by_row = workspace.read_table("faithfulness")
    assert by_row.schema.remove_metadata().equals(TABLES["faithfulness"])
    for name in ("insertion_minus_deletion", "mu_fidelity"):
        kept = [r["value"] for r in by_row.to_pylist() if (r["technique"], r["measure"]) == ("a", name)]
        assert np.mean(kept) == pytest.approx(quality["a", OUTPUT, name]["value"])
    kept = [r for r in by_row.to_pylist() if r["measure"] == "completeness_error"]
    assert {r["technique"] for r in kept} == {"b"}  # a adds up
    assert [r["value"] for r in kept] == pytest.approx(misses)
    assert [r["row_id"] for r in kept] == positions.tolist()
    # The same order is the same deletion.
    assert quality["a", OUTPUT, "deletion_area"] == {**quality["b", OUTPUT, "deletion_area"], "technique": "a"}
    assert quality["a", OUTPUT, "deletion_area"]["value"] < quality["random", OUTPUT, "deletion_area"]["value"]


def test_one_that_knows_nothing_is_told_apart(
    adult: AuditConfig, subject: Subject, positions: np.ndarray, occlusion: np.ndarray, workspace: Workspace
) -> None:
    explain(workspace, subject, "good", positions, occlusion)
    noise = np.random.default_rng(5).normal(size=occlusion.shape)
    noise[:, 0] = 10.0  # age first, in every row
    explain(workspace, subject, "noise", positions, noise)
    done, agreement, quality = run(adult, workspace)
    assert agreement["good", "noise", OUTPUT, "spearman", None]["value"] < 0.3
    assert [(f["technique"], f["output"], f["measure"]) for f in done.facts["failing"]] == [
        ("noise", OUTPUT, "insertion_minus_deletion")
    ]
    assert (
        quality["noise", OUTPUT, "insertion_minus_deletion"]["status"] == "ok"
    )  # a value's status depends on no judgement
    by_code = {finding.code: finding for finding in done.findings}
    assert set(by_code) == {"techniques_disagree", "no_better_than_random"}
    text = by_code["techniques_disagree"].text
    assert text.startswith("good and noise disagree on which features speak for >50K: over 120 rows ")
    assert "They differ most on " in text
    assert done.facts["disagreements"][0]["features"][0] in text
    assert by_code["no_better_than_random"].text.startswith("noise is no better than a random attribution for >50K: ")
    assert {finding.severity for finding in done.findings} == {"warning"}


def test_it_gives_the_same_twice(
    adult: AuditConfig, subject: Subject, positions: np.ndarray, occlusion: np.ndarray, tmp_path: Path
) -> None:
    tables = []
    for name in ("one", "two"):
        workspace = Workspace(tmp_path / name, "x")
        explain(workspace, subject, "a", positions, occlusion)
        explain(workspace, subject, "b", positions, np.roll(occlusion, 1, axis=1))
        run(adult, workspace)
        tables.append([workspace.read_table(table) for table in ("agreement", "explanation_quality")])
    assert tables[0][0].equals(tables[1][0])
    assert tables[0][1].equals(tables[1][1])


def test_rows_that_only_one_explained_and_rows_without_an_explanation(
    adult: AuditConfig, subject: Subject, positions: np.ndarray, occlusion: np.ndarray, workspace: Workspace
) -> None:
    empty = occlusion.copy()
    empty[:7] = 0.0  # nothing is attributed to anything: no ranking
    explain(workspace, subject, "a", positions, empty)
    explain(workspace, subject, "b", positions[5:][::-1], occlusion[5:][::-1])
    done, agreement, _ = run(adult, workspace)
    row = agreement["a", "b", OUTPUT, "spearman", None]
    assert (row["value"], row["n_rows"]) == (pytest.approx(1), ROWS - 7)
    excluded = {(e["measure"], e["k"]): e["rows"] for e in done.facts["excluded"]}
    assert excluded["spearman", None] == excluded["feature_agreement", 3] == 2


def test_a_table_in_any_order_is_read(
    subject: Subject, positions: np.ndarray, occlusion: np.ndarray, workspace: Workspace
) -> None:
    shuffled = np.random.default_rng(0).permutation(occlusion.size)
    explain(workspace, subject, "a", positions, occlusion, order=shuffled)
    (found,) = read_attributions(workspace, "a")
    names = [feature.name for feature in subject.features]
    rows = np.searchsorted(positions, found.row_id.to_numpy())
    assert np.array_equal(found.at(np.arange(ROWS), tuple(names)), occlusion[rows])
    explain(workspace, subject, "cut", positions, occlusion, order=np.arange(occlusion.size - 1))
    with pytest.raises(ValueError, match="every feature"):
        read_attributions(workspace, "cut")


@pytest.mark.parametrize("shuffled", [False, True])
def test_of_many_rows_some_are_read_evenly(
    subject: Subject,
    positions: np.ndarray,
    occlusion: np.ndarray,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    shuffled: bool,
) -> None:
    monkeypatch.setattr(explanations, "MOST_ROWS", 50)
    monkeypatch.setattr(explanations, "BATCH", 100)  # no whole number of rows
    lines = np.random.default_rng(0).permutation(occlusion.size) if shuffled else np.arange(occlusion.size)
    explain(workspace, subject, "a", positions, occlusion, order=lines)
    (found,) = read_attributions(workspace, "a")
    d = occlusion.shape[1]
    heads = positions[lines[lines % d == lines[0] % d] // d]  # rows in the order of their first feature's lines
    assert set(found.row_id.to_pylist()) == set(heads[::3].tolist())  # 120 rows, no more than 50: every third
    rows = np.searchsorted(positions, found.row_id.to_numpy())
    assert np.array_equal(found.at(np.arange(40), tuple(f.name for f in subject.features)), occlusion[rows])


def test_a_rare_output_keeps_all_its_rows(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "MOST_ROWS", 10)
    output = np.where(np.arange(50) % 7 == 3, "rare", "common")  # 7 rows, 43 rows
    table = {"row_id": np.repeat(np.arange(50), 2), "output": np.repeat(output, 2), "feature": ["f", "g"] * 50}
    workspace.write_table("attributions/a", pa.table({**table, "attribution": np.arange(100.0)}))
    found = {one.output: one for one in read_attributions(workspace, "a")}
    assert found["rare"].row_id.to_pylist() == np.flatnonzero(output == "rare").tolist()
    assert found["common"].row_id.to_pylist() == np.flatnonzero(output == "common")[::5].tolist()
    for one in found.values():
        first = 2.0 * one.row_id.to_numpy()
        assert np.array_equal(one.values, np.column_stack([first, first + 1]))


def test_a_pair_without_a_common_row_has_no_value(
    adult: AuditConfig, subject: Subject, positions: np.ndarray, occlusion: np.ndarray, workspace: Workspace
) -> None:
    explain(workspace, subject, "a", positions[:60], occlusion[:60])
    explain(workspace, subject, "b", positions[60:], occlusion[60:])
    done, agreement, quality = run(adult, workspace)
    assert {(row["value"], row["n_rows"]) for row in agreement.values()} == {(None, 0)}
    assert ("a", OUTPUT, "deletion_area") not in quality
    assert done.findings == ()


def importance(workspace: Workspace, *entries: tuple[str, str | None, list[float]]) -> None:
    rows = [
        {"technique": technique, "output": output, "feature": f"f{j}", "importance": value, "n_rows": 100 + len(values)}
        for technique, output, values in entries
        for j, value in enumerate(values)
    ]
    workspace.write_table("importance", pa.Table.from_pylist(rows, schema=TABLES["importance"]))


def test_importances(adult: AuditConfig, workspace: Workspace) -> None:
    importance(
        workspace,
        ("permutation", None, [0.4, 0.3, 0.2, 0.1]),
        ("shap", OUTPUT, [0.1, 0.2, 0.3, 0.4]),
        ("lime", OUTPUT, [4.0, 2.0, 3.0, 1.0]),
    )
    done, agreement, _ = run(adult, workspace)
    assert agreement["lime", "shap", OUTPUT, "importance_spearman", None]["value"] == pytest.approx(-0.8)
    row = agreement["permutation", "shap", None, "importance_spearman", None]
    assert row == {**row, "value": pytest.approx(-1), "ci_low": None, "ci_high": None, "n_rows": 104}
    assert agreement["lime", "permutation", None, "importance_feature_agreement", 3]["value"] == 1
    assert agreement["permutation", "shap", None, "importance_feature_agreement", 3]["value"] == pytest.approx(2 / 3)
    assert done.facts["pairs"] == 3


def test_an_importance_of_the_whole_model_meets_the_mean_over_outputs(adult: AuditConfig, workspace: Workspace) -> None:
    importance(
        workspace,
        ("permutation", None, [3.0, 2.0, 1.0]),
        ("shap", "x", [1.0, 2.0, 0.0]),
        ("shap", "y", [5.0, 0.0, 0.0]),  # mean: 3, 1, 0
    )
    _, agreement, _ = run(adult, workspace)
    assert agreement["permutation", "shap", None, "importance_spearman", None]["value"] == pytest.approx(1)


def saliency(workspace: Workspace, technique: str, maps: np.ndarray, rows: list[str]) -> None:
    n, height, width = maps.shape
    table = pa.table(
        {
            "row_id": rows,
            "output": ["5"] * n,
            "height": [height] * n,
            "width": [width] * n,
            "heatmap": pa.array([m.ravel().tolist() for m in maps], pa.list_(pa.float32())),
        }
    )
    workspace.write_table(f"saliency/{technique}", table)


def test_maps_are_compared_at_the_coarser_grid(workspace: Workspace) -> None:
    config = load_config("configs/digit_scenes.yaml")
    generator = np.random.default_rng(0)
    coarse = generator.random((12, 8, 8))
    fine = np.kron(coarse, np.ones((1, 4, 4)))
    rows = [f"scene-{i}" for i in range(12)]
    saliency(workspace, "gradcam", coarse, rows)
    saliency(workspace, "shap", fine - 10 * (fine < 0.3), rows)  # what speaks against is not in the other's words
    saliency(workspace, "lime", generator.random((12, 16, 16)), rows)
    done, agreement, _ = run(config, workspace)
    same = agreement["gradcam", "shap", "5", "spearman", None]
    assert same["value"] > 0.9
    assert agreement["gradcam", "shap", "5", "ssim", None]["value"] > 0.5
    assert same["n_rows"] == 12
    assert abs(agreement["gradcam", "lime", "5", "spearman", None]["value"]) < 0.3
    assert [d["techniques"] for d in done.facts["disagreements"]] == [["gradcam", "lime"], ["lime", "shap"]]
    assert "where in the image the evidence lies for 5" in done.findings[0].text


def test_what_the_techniques_say_of_themselves(adult: AuditConfig, workspace: Workspace) -> None:
    importance(workspace, ("a", OUTPUT, [1.0, 2.0]))
    said = {
        "quality": {
            "local_r2": {OUTPUT: {"mean": 0.4, "std_error": 0.01, "n": 1000}},
            "superpixels": [{"output": None, "mean": 20.0, "std_error": 0.5, "n": 50}],
            "relative_error": [{"output": None, "mean": None, "std_error": None, "n": 0}],
        }
    }
    hits = {
        "quality": {
            "box_hit_rate": [
                {"output": None, "mean": 0.2, "std_error": 0.05, "ci_low": 0.11, "ci_high": 0.3, "n": 60},
                {"output": "5", "mean": 0.1, "std_error": 0.05, "ci_low": 0.0, "ci_high": 0.3, "n": 6},
            ],
            "box_mass": [{"output": None, "mean": 0.6, "std_error": 0.01, "ci_low": 0.58, "ci_high": 0.62, "n": 60}],
        },
        "chance": {"output": None, "mean": 0.15, "std_error": 0.01, "ci_low": 0.13, "ci_high": 0.17, "n": 60},
    }
    done, _, quality = run(adult, workspace, Done("explain/lime", facts=said), Done("explain/gradcam", facts=hits))
    assert quality["lime", OUTPUT, "local_r2"] == {
        "technique": "lime", "output": OUTPUT, "measure": "local_r2", "value": 0.4, "std_error": 0.01,
        "direction": "higher", "n_rows": 1000, "status": "ok",
    }  # fmt: skip
    assert quality["lime", None, "superpixels"]["direction"] is None
    assert (quality["lime", None, "relative_error"]["value"], quality["lime", None, "relative_error"]["status"]) == (
        None, "undefined",
    )  # fmt: skip
    assert quality["random", None, "box_hit_rate"]["value"] == 0.15
    assert done.facts["failing"] == []  # regions that a person knows judge the model as much as the explanation
    (finding,) = done.findings
    assert finding.code == "misses_known_regions"
    assert finding.text == ("gradcam finds the known regions no more often than chance: box hit rate 0.2 against 0.15.")


def test_nothing_to_compare(adult: AuditConfig, workspace: Workspace) -> None:
    assert isinstance(compare_techniques(adult, workspace, Watch()), NotApplicable)
    importance(workspace, ("alone", OUTPUT, [1.0, 2.0]))
    done, agreement, _ = run(adult, workspace)
    assert agreement == {}
    assert not workspace.has_table("faithfulness")  # no single row was explained
    assert done.limitations == ("No two techniques explained the same: there is no agreement to report.",)


def test_hostile_names_stay_text(adult: AuditConfig, workspace: Workspace) -> None:
    rows = [
        {"technique": technique, "output": "<b>|\u202e", "feature": name, "importance": float(j), "n_rows": 1}
        for technique in ("a", "b")
        for j, name in enumerate(["<script>", "|", "x" * 200, ""])
    ]
    workspace.write_table("importance", pa.Table.from_pylist(rows, schema=TABLES["importance"]))
    _, agreement, _ = run(adult, workspace)
    assert agreement["a", "b", "<b>|\u202e", "importance_kendall", None]["value"] == pytest.approx(1)


def test_it_hears_that_it_should_stop(
    adult: AuditConfig, subject: Subject, positions: np.ndarray, occlusion: np.ndarray, workspace: Workspace
) -> None:
    explain(workspace, subject, "a", positions, occlusion)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        compare_techniques(adult, workspace, Watch(stop=stop))
