"""How good the explanations are, and matrices of agreement: what stands in which cell, and the words for failing."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tasks.agreement.quality import DIRECTIONS
from tasks.contracts import Done, Finding
from tasks.report.document import Bullets, Callout, Paragraph, Section, Table
from tasks.report.reading import Reading
from tasks.report.sections.agreement import agreement
from tasks.report.sections.explanations import explanations
from tasks.report.sections.overview import overview
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


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.2, 0.009, "0.200± 0.009"),
        (0.003, 0.00029, "0.0030± 0.0003"),
        (0.654, 0.00099, "0.6540± 0.0010"),
        (-0.2, 0.02, "−0.200± 0.020"),
        (-0.0002, 0.02, "0.000± 0.020"),
        (1.8e-17, 9e-19, "< 0.0001± < 0.0001"),
        (-1e-9, None, "0.000"),
        (0.0, None, "0.000"),
        (0.0, 0.0, "0.000"),
        (1.742, 0.107, "1.742± 0.107"),
        (None, None, "undefined"),
    ],
)
def test_a_measure_has_the_digits_that_its_error_leaves_it(
    tmp_path: Path, value: float | None, error: float | None, text: str
) -> None:
    measured = row("shap", None, "infidelity", value) | {"std_error": error}
    made = quality(reading_of(tmp_path, {"explanation_quality": [measured]}))
    assert made is not None
    assert cells(tables_of(made)["quality-more"]) == [["SHAP", text]]


def _apart(verdicts: dict[str, str], pairs: list[list[str]]) -> Done:
    return Done("agreement", facts={"verdicts": verdicts, "disagreements": [{"techniques": p} for p in pairs]})


@pytest.mark.parametrize(
    ("verdicts", "techniques", "disagree", "said"),
    [
        (
            {"shap": "passes", "lime": "passes", "ale": "not_judged"},
            ["lime", "shap"],
            [],
            [
                "Every technique that was judged explains better than chance does (how good the explanations are).",
                "The two techniques that were compared do not disagree much (whether the techniques agree).",
            ],
        ),
        (
            {"shap": "passes", "lime": "fails", "random": "not_judged"},
            ["gradcam", "lime", "shap"],
            [["lime", "shap"], ["lime", "shap"]],
            [
                "Not to be relied on, as marked: LIME (how good the explanations are).",
                "Of 3 pairs of techniques, 1 disagrees (whether the techniques agree).",
            ],
        ),
        (
            {"shap": "not_judged"},
            ["gradcam", "lime", "shap"],
            [],
            ["Of 3 pairs of techniques, none disagrees (whether the techniques agree)."],
        ),
        ({"shap": "not_judged"}, [], [], []),
    ],
)
def test_the_summary_says_what_the_explanations_are_worth(
    tmp_path: Path, verdicts: dict[str, str], techniques: list[str], disagree: list[list[str]], said: list[str]
) -> None:
    rows = [
        {"technique_a": a, "technique_b": b, "output": None, "measure": "spearman", "k": None, "value": 0.5,
         "ci_low": None, "ci_high": None, "n_rows": 9}
        for a, b in combinations(techniques, 2)
    ]  # fmt: skip
    made = overview(reading_of(tmp_path, {"agreement": rows} if rows else {}, _apart(verdicts, disagree)))
    bullets = [text_of(item) for b in made.blocks if isinstance(b, Bullets) for item in b.items]
    about = ("how good the explanations are", "whether the techniques agree")
    assert [text for text in bullets if any(words in text for words in about)] == said


def test_techniques_that_rank_the_same_features_first_share_a_sentence(tmp_path: Path) -> None:
    rows = [
        {"technique": technique, "output": "a", "feature": feature, "importance": 1.0 / rank, "std_error": None,
         "ci_low": None, "ci_high": None, "rank": rank, "score": "mean |attribution|", "n_rows": 9}
        for technique, order in (("shap", "xyz"), ("lime", "zyx"), ("smooth", "xyz"))
        for rank, feature in enumerate(order, 1)
    ]  # fmt: skip
    facts = {"verdicts": {"smooth": "fails"}}
    made = overview(reading_of(tmp_path, {"importance": rows}, Done("agreement", facts=facts)))
    bullets = [text_of(item) for b in made.blocks if isinstance(b, Bullets) for item in b.items]
    assert [text for text in bullets if "features first" in text] == [
        "SHAP and smooth (failing) rank these features first: x, y, z.",
        "LIME ranks these features first: z, y, x.",
    ]


def test_the_lead_of_agreement_names_the_ends_and_the_foot_what_is_shown(tmp_path: Path) -> None:
    values = {("lime", "shap"): 0.2, ("gradcam", "lime"): 0.9, ("gradcam", "shap"): 0.5}
    rows = [
        {"technique_a": a, "technique_b": b, "output": "a", "measure": "spearman", "k": None, "value": value,
         "ci_low": None, "ci_high": None, "n_rows": 9}
        for (a, b), value in values.items()
    ]  # fmt: skip
    # One about each row's highest output counts alone where there is one.
    rows = [r | {"output": None} for r in rows] + [r | {"value": -r["value"]} for r in rows]
    made = agreement(reading_of(tmp_path, {"agreement": rows}))
    lead = next(text_of(b.content) for b in made.blocks if isinstance(b, Paragraph))
    assert lead.endswith(
        " Row by row, Grad-CAM and LIME (0.900) agree most and LIME and SHAP (0.200) least, by the rank correlation of"
        " what they say."
    )
    (meanings,) = [b for b in made.blocks if isinstance(b, Bullets)]
    assert [text_of(item).partition(":")[0] for item in meanings.items] == ["Spearman correlation"]


def test_the_quality_section_counts_those_that_pass_and_names_the_best(tmp_path: Path) -> None:
    made = quality(reading_of(tmp_path, {"explanation_quality": ROWS}, Done("agreement", (), (), (FAILED,), (), FACTS)))
    assert made is not None
    told = [text_of(b.content) for b in made.blocks if isinstance(b, Paragraph)]
    assert (
        "2 techniques were judged, and 1 of them passes. The features that SHAP names first move the output most:"
        " insertion minus deletion 0.200, against 0.400 for a random order." in told
    )
