"""The p-values of a technique's importances, beside them, whatever its features are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.contracts import Done
from tasks.report.document import Figure, Section
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
