"""How good the explanations are, and matrices of agreement: what stands in which cell, and the words for failing."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

from tasks.agreement.quality import DIRECTIONS
from tasks.contracts import Done, Finding
from tasks.report.document import Bullets, Callout, Paragraph, Section, Table
from tasks.report.reading import Reading
from tasks.report.sections.agreement import agreement
from tasks.report.sections.explanations import explanations
from tasks.report.sections.quality import MORE, PRIMARY, quality
from tasks.report.words import QUALITIES
from tests.tasks.report.report_builder import config_of, record_of, table, workspace_of


def text_of(content: Any) -> str:
    return "".join(span.text for span in content)


def tables_of(section: Section) -> dict[str, Table]:
    found = {b.id: b for b in section.blocks if isinstance(b, Table)}
    for child in section.sections:
        found |= tables_of(child)
    return found


def cells(found: Table) -> list[list[str]]:
    return [[text_of(cell) for cell in row] for row in found.rows]


def reading_of(folder: Path, rows: dict[str, list[dict[str, Any]]], *results: Any) -> Reading:
    workspace = workspace_of(folder)
    for name, lines in rows.items():
        workspace.write_table(name, table(name, lines))
    return Reading(config_of(), workspace, record_of(results, "satisfied"))


def row(technique: str, output: str | None, measure: str, value: float | None, state: str = "ok") -> dict[str, Any]:
    return {
        "technique": technique, "output": output, "measure": measure, "value": value, "std_error": 0.01,
        "direction": DIRECTIONS.get(measure), "n_rows": 9, "status": state,
    }  # fmt: skip


ROWS = [
    row("shap", None, "insertion_minus_deletion", 0.2),
    row("shap", "a", "insertion_minus_deletion", 0.1),
    row("random", None, "insertion_minus_deletion", 0.4),
    row("lime", None, "insertion_minus_deletion", 0.41),
    row("lime", None, "mu_fidelity", None, "undefined"),
    row("shap", None, "infidelity", 1.5),
    row("lime", "a", "local_r2", 0.5, "insufficient_data"),
    row("gradcam", "a", "empty_map", 0.0),
]
FACTS = {
    "verdicts": {"shap": "passes", "lime": "fails", "gradcam": "not_judged"},
    "judged_rows": 40,
    "rerun_rows": {"shap": 8, "lime": 6},
    "not_measured": [
        {"technique": "shap", "measures": ["seed_stability", "mu_fidelity"], "reason": "it takes too long"},
        {"technique": "lime", "measures": ["seed_stability"], "reason": "it draws nothing"},
    ],
}
FAILED = Finding("warning", "no_better_than_random", "lime is no better than a random attribution.", stage="agreement")


def test_a_row_a_technique_and_the_random_one_last(tmp_path: Path) -> None:
    made = quality(reading_of(tmp_path, {"explanation_quality": ROWS}, Done("agreement", (), (), (FAILED,), (), FACTS)))
    assert made is not None
    sheets = tables_of(made)
    assert list(sheets) == ["quality-table", "quality-more", "quality-own"]
    first = sheets["quality-table"]
    assert [c.label for c in first.columns] == [
        "Technique", "Judgement", "Insertion minus deletion (higher is better)", "µ-fidelity (higher is better)",
    ]  # fmt: skip
    assert cells(first) == [
        ["SHAP", "passes", "0.200± 0.010", "–"],
        ["LIME", "fails", "0.410± 0.010", "undefined"],
        ["Random attribution", "–", "0.400± 0.010", "–"],
    ]
    assert text_of(first.note) == (
        "Means over rows with their standard errors. SHAP without µ-fidelity: it takes too long."
    )
    assert cells(sheets["quality-more"]) == [["SHAP", "1.500± 0.010"]]
    assert cells(sheets["quality-own"]) == [
        ["LIME", "0.500, insufficient data", "–"],
        ["Grad-CAM", "–", "0.000± 0.010"],
    ]
    assert "Of the output a." in text_of(sheets["quality-own"].note)
    (callout,) = [b for b in made.blocks if isinstance(b, Callout)]
    assert [text_of(item) for item in callout.items] == ["LIME is no better than a random attribution."]
    lead = next(text_of(b.content) for b in made.blocks if isinstance(b, Paragraph))
    assert "40 rows" in lead
    assert "up to 8 of them" in lead
    (meanings,) = [b for b in made.blocks if isinstance(b, Bullets)]
    assert [text_of(item).partition(":")[0] for item in meanings.items] == [
        "Insertion minus deletion", "µ-fidelity", "Infidelity", "Local R²", "Empty map",
    ]  # fmt: skip


def test_without_measurements_or_judgement(tmp_path: Path) -> None:
    assert quality(reading_of(tmp_path / "none", {})) is None
    made = quality(reading_of(tmp_path / "some", {"explanation_quality": ROWS[:1]}, Done("agreement")))
    assert made is not None
    assert [c.label for c in tables_of(made)["quality-table"].columns] == [
        "Technique", "Insertion minus deletion (higher is better)",
    ]  # fmt: skip


def test_a_failing_technique_is_marked_where_its_importance_stands(tmp_path: Path) -> None:
    importance = [
        {"technique": t, "output": "a", "feature": f, "importance": 1.0, "rank": i + 1, "n_rows": 9}
        for t in ("shap", "lime")
        for i, f in enumerate(("x", "y"))
    ]
    done = (Done("explain/shap"), Done("explain/lime"), Done("agreement", facts=FACTS))
    reading = reading_of(tmp_path, {"importance": importance, "explanation_quality": ROWS}, *done)
    sheet = tables_of(explanations(reading))["importance-1-table"]
    assert [c.label for c in sheet.columns] == ["Feature", "SHAP", "LIME (failing)"]


def test_every_measure_has_its_meaning() -> None:
    assert set(PRIMARY) | set(MORE) <= set(QUALITIES)
    assert set(QUALITIES) <= set(DIRECTIONS)


# ---------------------------------------------------------------- many pairs


def pair(a: str, b: str, output: str | None, measure: str, k: int | None, value: float | None) -> dict[str, Any]:
    return {
        "technique_a": a, "technique_b": b, "output": output, "measure": measure, "k": k, "value": value,
        "ci_low": 0.1, "ci_high": 0.3, "n_rows": 9,
    }  # fmt: skip


def test_many_pairs_are_a_matrix_a_measure(tmp_path: Path) -> None:
    techniques = ("gradcam", "lime", "other", "shap", "thing")
    rows = [
        pair(a, b, output, measure, None, value)
        for a, b in combinations(techniques, 2)
        for output, value in ((None, 0.2), ("a", 0.9))
        for measure in ("spearman", "ssim")
    ]
    rows += [pair(a, b, o, "importance_spearman", None, v) for a, b in combinations(techniques, 2)
             for o, v in (("a", 0.4), ("b", 0.6))]  # fmt: skip
    made = agreement(reading_of(tmp_path, {"agreement": rows}))
    sheets = tables_of(made)
    assert list(sheets) == [
        "agreement-table-spearman",
        "agreement-table-ssim",
        "agreement-importance-importance_spearman",
    ]
    first = sheets["agreement-table-spearman"]
    assert [c.label for c in first.columns] == ["Technique", "Grad-CAM", "LIME", "other", "SHAP"]
    shown = "0.2000.100 to 0.300"
    assert cells(first) == [
        ["LIME", shown, "", "", ""],
        ["other", shown, shown, "", ""],
        ["SHAP", shown, shown, shown, ""],
        ["thing", shown, shown, shown, shown],
    ]
    # Of importances each output counts.
    assert cells(sheets["agreement-importance-importance_spearman"])[0] == ["LIME", "0.500", "", "", ""]


def test_of_several_outputs_the_highest_counts(tmp_path: Path) -> None:
    rows = [pair("lime", "shap", o, "spearman", None, v) for o, v in ((None, 0.2), ("a", 0.9), ("b", 0.8))]
    made = agreement(reading_of(tmp_path, {"agreement": rows}))
    assert cells(tables_of(made)["agreement-table"]) == [
        ["LIME and SHAP", "each row’s highest", "0.2000.100 to 0.300"],
    ]


def test_a_wide_matrix_leaves_its_intervals_to_the_table(tmp_path: Path) -> None:
    rows = [pair(a, b, "a", "spearman", None, 0.2) for a, b in combinations("abcdefgh", 2)]
    made = agreement(reading_of(tmp_path, {"agreement": rows}))
    assert cells(tables_of(made)["agreement-table-spearman"])[0] == ["b", "0.200", *[""] * 6]
