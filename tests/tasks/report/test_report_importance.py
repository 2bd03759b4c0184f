"""The p-values of a technique's importances, beside them, whatever its features are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.contracts import Done
from tasks.report.document import Figure, Paragraph, Section, Table
from tasks.report.reading import Reading
from tasks.report.sections.explanations import explanations
from tests.tasks.report.report_builder import config_of, record_of, table, workspace_of

HOSTILE = "<script>alert('x')</script> | **"


def text_of(content: Any) -> str:
    return "".join(span.text for span in content)


def importance_of(folder: Path, facts: dict[str, Any]) -> tuple[list[list[str]], str]:
    """The cells of the importance table, and the note of its figure."""
    rows = [
        {"technique": t, "output": None, "feature": f, "importance": 1.0 - i, "rank": i + 1, "n_rows": 9,
         "ci_low": 0.5, "ci_high": 1.5}
        for t in ("permutation", "shap") for i, f in enumerate((HOSTILE, "y", "z"))
    ]  # fmt: skip
    workspace = workspace_of(folder)
    workspace.write_table("importance", table("importance", rows))
    done = (Done("explain/permutation", facts=facts), Done("explain/shap"))
    section = explanations(Reading(config_of(), workspace, record_of(done, "satisfied")))
    (found,) = [part for part in section.sections if isinstance(part, Section) and part.id == "importance"]
    figure, sheet = found.blocks[-2:]
    assert isinstance(figure, Figure)
    return [[text_of(cell) for cell in row] for row in sheet.rows], text_of(figure.note)


def test_adjusted_p_values_stand_beside_the_importance(tmp_path: Path) -> None:
    chances = {
        HOSTILE: {"p_value": 1e-9, "p_adjusted": 3e-9, "n": 9, "changed": 8},
        "y": {"p_value": 0.02, "p_adjusted": 0.04, "n": 9, "changed": 8},
        "z": {"p_value": None, "p_adjusted": None, "n": 9, "changed": 0},
    }
    rows, note = importance_of(tmp_path, {"p_values": chances})
    assert [row[0] for row in rows] == [HOSTILE, "y", "z"]
    assert [row[1].partition("; p ")[2].rstrip(")") for row in rows] == ["< 0.0001", "0.0400", ""]
    assert not any("; p " in row[2] for row in rows)
    assert " p: how likely" in note


def test_without_p_values_nothing_is_said_of_them(tmp_path: Path) -> None:
    for number, facts in enumerate(({}, {"p_values": None})):
        rows, note = importance_of(tmp_path / str(number), facts)
        assert not any("; p " in cell for row in rows for cell in row)
        assert " p: " not in note


def test_rounding_dust_is_nought(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    rows = [
        {"technique": "permutation", "output": None, "feature": f, "importance": value, "rank": i, "n_rows": 9,
         "ci_low": None, "ci_high": None}
        for i, (f, value) in enumerate({"x": 0.5, "y": 4.4e-17, "z": 1e-5}.items(), 1)
    ]  # fmt: skip
    workspace.write_table("importance", table("importance", rows))
    section = explanations(Reading(config_of(), workspace, record_of((Done("explain/permutation"),), "satisfied")))
    (sheet,) = [b for b in section.sections[0].blocks if isinstance(b, Table)]
    assert [text_of(row[1]) for row in sheet.rows] == ["0.500rank 1", "0.000rank 2", "1.0 × 10⁻⁵rank 3"]


def test_a_conditional_importance_says_within_which_rows(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    rows = [
        {"technique": "permutation", "output": None, "feature": f, "importance": 0.5, "rank": 1, "n_rows": 9,
         "ci_low": None, "ci_high": None}
        for f in (HOSTILE, "y")
    ]  # fmt: skip
    workspace.write_table("importance", table("importance", rows))
    told = {
        HOSTILE: {"given": ["y", "z"], "strata": 1204, "smallest": 30, "movable": 900, "rows": 1000},
        "y": {"given": [], "strata": 1, "smallest": 1000, "movable": 1000, "rows": 1000},
    }
    done = (Done("explain/permutation", facts={"conditional": told}),)
    section = explanations(Reading(config_of(), workspace, record_of(done, "satisfied")))
    sheet = next(b for b in section.sections[0].blocks if isinstance(b, Table) and b.id == "importance-strata")
    assert [[text_of(cell) for cell in row] for row in sheet.rows] == [
        [HOSTILE, "y, z", "1,204", "900 of 1,000"],
        ["y", "–", "1", "1,000 of 1,000"],
    ]


def test_the_lead_tells_rows_from_the_whole_and_names_the_groups(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    effects = workspace.write_table("effects/ale", table("effects/ale", []))
    done = (Done("explain/shap"), Done("explain/lime"), Done("explain/ale", tables=(effects,)))
    config = config_of(explain={"feature_groups": {"home": ["marital_status", HOSTILE], "work": ["a", "b"]}})
    section = explanations(Reading(config, workspace, record_of(done, "satisfied")))
    assert [text_of(b.content) for b in section.blocks if isinstance(b, Paragraph)][:2] == [
        "SHAP and LIME explained the same rows of the same model. As a whole it is described, over such rows, by"
        " Accumulated local effects.",
        f"Columns that the config binds together are explained as one: home (marital_status, {HOSTILE}), work (a, b).",
    ]
