"""Runs in the states that regulation packs tell apart, and their controls by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.schema import AuditConfig
from tasks.contracts import Done, NotApplicable
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS
from tasks.report.regulations.base import Control, Findings
from tests.tasks.report.report_builder import config_of, loaded, predicted, record_of, table, workspace_of
from tests.tasks.report.report_runs import image_run, incomplete_run, refused_run, tabular_run, unreadable_run

PACKS = ("sr_26_2", "eu_ai_act", "gdpr", "colorado", "nist_ai_rmf", "iso_42001", "model_card")
SIGNED = {"statement": "It is so", "who": "A. Person", "role": "head of models", "date": "2026-11-20"}
MEASURES = {
    "insertion_minus_deletion": 0.25, "mu_fidelity": 0.8, "parameter_randomisation": 0.2, "max_sensitivity": 0.1,
    "seed_stability": 0.9,
}  # fmt: skip


def judge(pack: str, reading: Reading) -> Findings:
    return REGULATIONS[pack].judge(reading)


def controls(pack: str, reading: Reading) -> dict[str, Control]:
    return {c.id: c for c in judge(pack, reading).controls}


def statuses(pack: str, reading: Reading) -> dict[str, str]:
    return {id: c.status for id, c in controls(pack, reading).items()}


def changed(reading: Reading, **blocks: Any) -> Reading:
    """The run under a config with other blocks; the tables stay."""
    values = reading.config.model_dump()
    for key, value in blocks.items():
        values[key] = {**(values[key] or {}), **value} if isinstance(value, Mapping) else value
    return Reading(AuditConfig.model_validate(values), reading.workspace, reading.record)


def attesting(reading: Reading, **stated: Any) -> Reading:
    return changed(reading, report={"attestations": stated})


def with_facts(reading: Reading, stage: str, **facts: Any) -> Reading:
    """The run with other facts of a stage."""
    results = tuple(
        replace(r, facts={**r.facts, **facts}) if isinstance(r, Done) and r.stage == stage else r
        for r in reading.record.results
    )
    return Reading(reading.config, reading.workspace, replace(reading.record, results=results))


def tabular(folder: Path) -> Reading:
    """Not satisfied; no test of explanations, no reasons."""
    return Reading(*tabular_run(folder))


def full(folder: Path) -> Reading:
    """As the tabular run, with every test and table that a pack asks for, nothing drifted and every check satisfied."""
    config, workspace, record = tabular_run(folder, schedule={"cron": "0 6 * * 1"})
    quality = [
        {"technique": technique, "output": ">50K", "measure": measure, "value": value, "std_error": 0.01,
         "direction": "higher", "n_rows": 30, "status": "ok"}
        for technique in ("shap", "lime", "random")
        for measure, value in MEASURES.items()
    ]  # fmt: skip
    workspace.write_table("explanation_quality", table("explanation_quality", quality))
    reasons = [
        {"row_id": row, "rank": rank, "code": f"r{rank}", "text": "Income too low", "features": ["income"],
         "contribution": -0.1}
        for row in range(3)
        for rank in (1, 2)
    ]  # fmt: skip
    stated = Done(
        "reasons", (workspace.write_table("reason_codes", table("reason_codes", reasons)),),
        facts={"adverse": 3, "stated": 3},
    )  # fmt: skip
    workspace.write_table("counterfactuals", table("counterfactuals", changes(found=2, none=1)))
    validation = [
        {"expectation": "expect_column_values_to_not_be_null", "column": "occupation", "severity": "info",
         "success": False, "element_count": 15540, "unexpected_count": 966, "unexpected_percent": 6.2, "detail": "d"}
    ]  # fmt: skip
    results = []
    for result in (*record.results, stated):
        if result.stage == "validate":
            result = replace(result, tables=(workspace.write_table("validation", table("validation", validation)),))
        results.append(result)
    reading = Reading(config, workspace, replace(record, results=tuple(results), verdict="satisfied"))
    checks = [{**check, "verdict": "satisfied"} for check in reading.checks]
    reading = with_facts(reading, "policy", checks=checks, verdict="satisfied")
    reading = with_facts(reading, "drift", drifted=[])
    return with_facts(reading, "agreement", verdicts={"shap": "passes", "lime": "passes"}, disagreements=[])


def changes(*, found: int, none: int) -> list[dict[str, Any]]:
    """Lines of counterfactuals: rows with a change of two features, then rows for which none was found."""
    lines = [
        {
            "row_id": row,
            "rank": 1,
            "feature": feature,
            "from": "1",
            "to": "2",
            "score": 0.6,
            "crosses": True,
            "text": "t",
        }
        for row in range(found)
        for feature in ("age", "capital_gain")
    ]
    return lines + [{"row_id": found + row, "rank": 1, "crosses": False, "text": "none"} for row in range(none)]


def plain(folder: Path) -> Reading:
    """As the full run, but without policy, reference, sensitive attributes and a schedule."""
    reading = full(folder)
    gone = ("bias", "drift", "advice", "sources")
    whole = [r for r in reading.group_metrics if r["attribute"] is None]
    for name in ("disparities", "drift", "thresholds", "tradeoffs", "slices", "proxies"):
        reading.workspace.table_path(name).unlink()
    bias = Done("bias", (reading.workspace.write_table("group_metrics", table("group_metrics", whole)),))
    kept = [r for r in reading.record.results if r.stage not in gone]
    drift = NotApplicable("drift", "no_reference", "There is no reference data (data.reference).")
    results = [
        replace(r, facts={**r.facts, "reference": None})
        if r.stage == "load_data"
        else replace(r, facts={"checks": [], "verdict": "satisfied"})
        if r.stage == "policy"
        else r
        for r in kept
    ]
    record = replace(reading.record, results=(*results, bias, drift))
    made = Reading(reading.config, reading.workspace, record)
    return changed(made, data={"reference": None, "sensitive": {}, "intersections": []}, policy=[], schedule=None)


def regression(folder: Path) -> Reading:
    """A finished audit of a regression: no decision, no accuracy, groups compared by error."""
    config = config_of(
        model={"task": "regression", "classes": None},
        data={"target": {"column": "income", "favorable": None}},
        bias={"decision": {}},
        policy=[{"metric": "mean_absolute_error", "max": 5.0}],
    )
    workspace = workspace_of(folder)

    def error(value: float, n: int, **where: Any) -> list[dict[str, Any]]:
        shared = {"n": n, "status": "ok", "method": "student", **where}
        return [
            {**shared, "metric": "mean_absolute_error", "value": value, "ci_low": value - 0.5, "ci_high": value + 0.5},
            {**shared, "metric": "r2", "value": 0.6, "ci_low": 0.5, "ci_high": 0.7},
        ]

    metrics = error(4.0, 200) + error(3.0, 120, attribute="sex", group="Male")
    metrics += error(5.5, 80, attribute="sex", group="Female")
    gaps = [{"attribute": "sex", "metric": "mean_absolute_error_difference", "comparison": "difference", "value": 2.5,
             "group": "Female", "reference": "Male", "status": "ok"}]  # fmt: skip
    refs = (
        workspace.write_table("group_metrics", table("group_metrics", metrics)),
        workspace.write_table("disparities", table("disparities", gaps)),
    )
    check = {"metric": "mean_absolute_error", "attribute": None, "max": 5.0, "verdict": "satisfied", "value": 4.0}
    results = [
        *loaded(config, 200),
        predicted(workspace, rows=200, output="value"),
        Done("bias", refs),
        NotApplicable("reasons", "regression", "a regression decides nothing"),
        Done("policy", facts={"checks": [check], "verdict": "satisfied"}),
    ]
    return Reading(config, workspace, record_of(results, "satisfied"))


def weighted(folder: Path) -> Reading:
    """The tabular run with rows that have weights."""
    return changed(tabular(folder), data={"weight": "w"})


RUNS: dict[str, Callable[[Path], Reading]] = {
    "tabular": tabular,
    "full": full,
    "plain": plain,
    "regression": regression,
    "weighted": weighted,
    "image": lambda folder: Reading(*image_run(folder)),
    "refused": lambda folder: Reading(*refused_run(folder)),
    "unreadable": lambda folder: Reading(*unreadable_run(folder)),
    "incomplete": lambda folder: Reading(*incomplete_run(folder)),
}

_LETTERS = {
    "satisfied": "s",
    "not_satisfied": "n",
    "insufficient_data": "i",
    "human_required": "h",
    "not_applicable": "-",
}


def letters(pack: str, reading: Reading) -> dict[str, str]:
    """Control → its status as a letter."""
    return {id: _LETTERS[status] for id, status in statuses(pack, reading).items()}


def expected(table_of: Mapping[str, tuple[str, str]], run: str) -> dict[str, str]:
    """Control → its letter in one kind of run, from rows of (clause, a letter for each of RUNS in its order)."""
    place = list(RUNS).index(run)
    return {id: states[place] for id, (_, states) in table_of.items()}


def clauses(pack: str, reading: Reading) -> dict[str, str]:
    return {id: control.clause for id, control in controls(pack, reading).items()}


def topics(pack: str, reading: Reading) -> set[str]:
    """What people are asked to state."""
    return {c.attestation for c in judge(pack, reading).controls if c.attestation is not None}


def attested_by_all(pack: str, reading: Reading) -> Reading:
    """The run with every statement that a pack asks for, signed; terms as the law asks at least."""
    stated: dict[str, Any] = dict.fromkeys(topics(pack, reading), SIGNED)
    if "retention" in stated:
        stated["retention"] = {**SIGNED, "logs_months": 6, "records_years": 3, "documents_years": 10}
    return attesting(reading, **stated)


class PackStatuses:
    """What holds for every pack that has a table: control → clause, and a letter for each of RUNS in its order."""

    pack: str
    table: Mapping[str, tuple[str, str]]

    @pytest.mark.parametrize("run", RUNS)
    def test_statuses(self, tmp_path: Path, run: str) -> None:
        assert letters(self.pack, RUNS[run](tmp_path)) == expected(self.table, run)

    def test_clauses(self, tmp_path: Path) -> None:
        assert clauses(self.pack, RUNS["full"](tmp_path)) == {id: clause for id, (clause, _) in self.table.items()}

    def test_what_people_state_is_taken_with_who_role_and_date(self, tmp_path: Path) -> None:
        found = controls(self.pack, attested_by_all(self.pack, RUNS["full"](tmp_path)))
        assert {c.status for c in found.values()} == {"satisfied"}
        for control in found.values():
            if control.attestation is not None:
                assert "Attested by A. Person, head of models, 2026-11-20: It is so. Not checked" in control.rationale
