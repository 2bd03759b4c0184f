from __future__ import annotations

from tasks.report.reading import Reading
from tests.tasks.report.pack_runs import (
    RUNS,
    PackStatuses,
    controls,
    with_facts,
)
from tests.tasks.report.report_builder import table

PACK = "gdpr"
#: control → clause, and its status in each of RUNS: tabular, full, plain (no policy, reference, groups), regression,
#: weighted, image, refused, unreadable, incomplete. s: satisfied, n: not, i: insufficient data, h: human required.
TABLE = {
    "gdpr-logic": ("Art. 13(2)(f), logic", "issiiiiii"),
    "gdpr-consequences": ("Art. 13(2)(f), consequences", "hhhhhhiih"),
    "gdpr-explanation": ("Art. 15(1)(h), C-203/22", "issiiiiii"),
    "gdpr-automated": ("Art. 22(1)–(2)", "hhhhhhhhh"),
    "gdpr-intervention": ("Art. 22(3), intervention", "hhhhhhhhh"),
    "gdpr-contest": ("Art. 22(3), contest", "ihhiiiiii"),
    "gdpr-special": ("Art. 22(4), with Art. 9", "hhiihhhih"),
}


class TestStatuses(PackStatuses):
    pack, table = PACK, TABLE


def test_a_bare_formula_is_no_explanation(tmp_path) -> None:
    """Importances and tests of explanations do not do where single decisions have no reasons: C-203/22."""
    reading = with_facts(RUNS["tabular"](tmp_path), "agreement", verdicts={"shap": "passes"})
    quality = [{"technique": "shap", "measure": "mu_fidelity", "value": 0.8, "n_rows": 3, "status": "ok"}]
    reading.workspace.write_table("explanation_quality", table("explanation_quality", quality))
    reading = Reading(reading.config, reading.workspace, reading.record)
    found = controls(PACK, reading)
    assert found["gdpr-logic"].status == "satisfied"
    assert found["gdpr-explanation"].status == "insufficient_data"
    assert found["gdpr-explanation"].source == "S"


def test_reasons_without_what_would_change_the_result_are_half_an_explanation(tmp_path) -> None:
    reading = RUNS["full"](tmp_path)
    reading.workspace.table_path("counterfactuals").unlink()
    found = controls(PACK, Reading(reading.config, reading.workspace, reading.record))["gdpr-explanation"]
    assert found.status == "insufficient_data"
    assert "What change would alter the result is not told." in found.rationale


def test_sensitive_inputs_of_the_model_are_named(tmp_path) -> None:
    found = controls(PACK, RUNS["full"](tmp_path))["gdpr-special"]
    assert found.rationale.startswith("Declared for comparing groups: sex, race; inputs of the model: sex.")


def test_decisions_are_counted(tmp_path) -> None:
    reading = RUNS["full"](tmp_path)
    counted = [r["decision"] for r in reading.rows("predictions")]
    told = controls(PACK, reading)["gdpr-consequences"].rationale
    assert f"<=50K ({counted.count('<=50K')}), >50K ({counted.count('>50K')})." in told
