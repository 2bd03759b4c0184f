"""ECOA and FCRA: each control's status by what the table of reasons and the facts of its stage say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts import Done
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS
from tests.tasks.report.pack_runs import attesting, changed
from tests.tasks.report.report_builder import table
from tests.tasks.report.report_runs import HOSTILE, image_run, refused_run, tabular_run

FACTS = {
    "adverse": 3, "stated": 3, "codes_version": "2026-11", "background": "the approved rows just above the cut-off",
    "background_rows": 100, "background_sha256": "a" * 64,
}  # fmt: skip
#: (row, rank, text, features, contribution)
REASONS = [
    (row, rank, text, [feature], -size)
    for row in range(3)
    for rank, (text, feature, size) in enumerate(
        (("Age of the oldest account", "age", 0.9), ("Length of employment", "workclass", 0.4)), 1
    )
]
NOTHING = {"proxies": []}


def run(folder: Path, reasons: list[tuple] | None = None, **facts: Any) -> Reading:
    """The tabular run with reasons; facts of the stage that are None are absent."""
    config, workspace, record = tabular_run(folder)
    lines = [
        dict(zip(("row_id", "rank", "text", "features", "contribution"), one, strict=True), code=f"R{one[1]}")
        for one in (REASONS if reasons is None else reasons)
    ]
    ref = workspace.write_table("reason_codes", table("reason_codes", lines))
    told = {key: value for key, value in {**FACTS, **facts}.items() if value is not None}
    stage = Done("reasons", (ref,), facts=told)
    return Reading(config, workspace, replace(record, results=(*record.results, stage)))


def controls(pack: str, reading: Reading) -> dict[str, Any]:
    return {c.id: c for c in REGULATIONS[pack].judge(reading).controls}


def one(row: int = 0, rank: int = 1, text: str = "Length of employment", *features: str, size: float = 1.0) -> tuple:
    return (row, rank, text, list(features or ("workclass",)), -size)


@pytest.mark.parametrize(
    ("reasons", "facts", "states"),
    [
        (None, {}, {"specific": "satisfied", "stated": "satisfied", "four": "satisfied", "scored": "satisfied",
                    "none-left-out": "satisfied", "how": "satisfied"}),
        (None, {"codes_version": None}, {"specific": "insufficient_data"}),
        (None, {"refused_texts": 2}, {"specific": "not_satisfied"}),
        ([one(text="You did not meet our internal standards")], {"adverse": 1, "stated": 1},
         {"specific": "not_satisfied", "stated": "satisfied"}),
        (None, {"adverse": 9, "stated": 3}, {"stated": "insufficient_data"}),
        (None, {"adverse": 4, "stated": 4}, {"stated": "insufficient_data"}),
        (None, {"adverse": None, "stated": None}, {"stated": "insufficient_data"}),
        ([one(rank=rank, size=10 - rank) for rank in range(1, 6)], {}, {"four": "not_satisfied"}),
        ([one(rank=rank, size=10 - rank) for rank in range(1, 5)], {}, {"four": "satisfied"}),
        ([one(0, 1, "Postcode", "postcode")], {}, {"scored": "not_satisfied"}),
        ([one(rank=1), one(rank=3, size=0.5)], {}, {"none-left-out": "not_satisfied"}),
        ([one(rank=1, size=0.1), one(rank=2, size=0.5)], {}, {"none-left-out": "not_satisfied"}),
        ([one(0, 2, size=0.5), one(1, 1), one(0, 1)], {}, {"none-left-out": "satisfied"}),  # rows in any order
        (None, {"background_sha256": None}, {"how": "insufficient_data"}),
    ],
)  # fmt: skip
def test_the_reasons_decide(tmp_path: Path, reasons: list | None, facts: dict, states: dict[str, str]) -> None:
    found = controls("ecoa_reg_b", run(tmp_path, reasons, **facts))
    assert {key: found[f"ecoa-{key}"].status for key in states} == states


def _proxies(reading: Reading, **of: int) -> Reading:
    """The run whose policy stage counted these strong proxies among the reasons."""
    results = tuple(
        replace(r, facts={**r.facts, "reasons": {"proxies": of}}) if r.stage == "policy" and isinstance(r, Done) else r
        for r in reading.record.results
    )
    return Reading(reading.config, reading.workspace, replace(reading.record, results=results))


def test_a_protected_attribute_among_the_reasons_is_not_satisfied_and_stays(tmp_path: Path) -> None:
    reading = run(tmp_path, [one(0, 1, "Sex", "sex"), one(0, 2, "Length of employment", size=0.5)], adverse=1, stated=1)
    found = controls("ecoa_reg_b", reading)
    assert found["ecoa-basis"].status == "not_satisfied"
    assert "principal reasons: sex (1\u00a0decision)." in found["ecoa-basis"].rationale
    assert found["ecoa-none-left-out"].status == "satisfied"
    assert "never filtered: sex" in found["ecoa-none-left-out"].rationale


def test_a_proxy_among_the_reasons_is_for_people_to_weigh(tmp_path: Path) -> None:
    reading = run(tmp_path, [one(0, 1, "Length of employment", "workclass")])
    assert controls("ecoa_reg_b", reading)["ecoa-basis"].status == "satisfied"
    basis = controls("ecoa_reg_b", _proxies(reading, workclass=1))["ecoa-basis"]
    assert (basis.status, "workclass (1\u00a0decision)" in basis.rationale) == ("insufficient_data", True)


def test_without_sensitive_attributes_nothing_can_be_looked_for(tmp_path: Path) -> None:
    reading = changed(run(tmp_path), data={"sensitive": {}, "intersections": []}, policy=[])
    assert controls("ecoa_reg_b", reading)["ecoa-basis"].status == "insufficient_data"


def test_age_is_for_people_to_state(tmp_path: Path) -> None:
    reading = run(tmp_path)
    assert controls("ecoa_reg_b", reading)["ecoa-age"].status == "not_applicable"
    sensitive = {"age": {"column": "age"}, "sex": {"column": "sex"}}
    aged = changed(reading, data={"sensitive": sensitive, "intersections": []}, policy=[])
    found = controls("ecoa_reg_b", aged)
    assert found["ecoa-age"].status == "human_required"
    assert "age (3\u00a0decisions)" in found["ecoa-age"].rationale
    assert found["ecoa-basis"].status == "satisfied"
    assert found["ecoa-basis"].rationale.startswith("Beside age, no sensitive attribute is among the principal reasons")
    stated = attesting(aged, age_in_scoring={"statement": "Older age counts for", "who": "B"})
    assert controls("ecoa_reg_b", stated)["ecoa-age"].status == "satisfied"


@pytest.mark.parametrize(("months", "status"), [(25, "satisfied"), (24, "not_satisfied"), ("many", "human_required")])
def test_records_are_kept_for_25_months(tmp_path: Path, months: object, status: str) -> None:
    stated = attesting(run(tmp_path), retention={"statement": "kept", "records_months": months})
    assert controls("ecoa_reg_b", stated)["ecoa-records"].status == status


@pytest.mark.parametrize("pack", ["ecoa_reg_b", "fcra"])
@pytest.mark.parametrize("made", [image_run, refused_run, tabular_run])
def test_without_reasons_nothing_of_them_is_satisfied(tmp_path: Path, pack: str, made: Any) -> None:
    found = controls(pack, Reading(*made(tmp_path)))
    about = [c for c in found.values() if "reason_codes" in c.rationale or "no reasons" in c.rationale]
    assert about
    assert {c.status for c in about} == {"insufficient_data"}
    assert all(c.status != "satisfied" or c.evidence for c in found.values())


def test_what_people_state_is_asked_for(tmp_path: Path) -> None:
    reading = run(tmp_path)
    asked = {c.attestation for pack in ("ecoa_reg_b", "fcra") for c in controls(pack, reading).values()}
    assert asked - {None} == {
        "credit_system_soundness", "credit_decided", "adverse_notice", "notice_content", "retention", "score_scale",
        "score_range", "score_date", "score_provider", "score_disclosure",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reasons", "states"),
    [
        (None, {"factors": "satisfied", "four": "satisfied", "score": "human_required", "range": "human_required"}),
        ([one(rank=rank, size=10 - rank) for rank in range(1, 6)], {"four": "not_satisfied"}),
        ([one(rank=1, size=0.1), one(rank=2, size=0.5)], {"factors": "not_satisfied"}),
    ],
)
def test_key_factors_of_a_score(tmp_path: Path, reasons: list | None, states: dict[str, str]) -> None:
    found = controls("fcra", run(tmp_path, reasons))
    assert {key: found[f"fcra-{key}"].status for key in states} == states
    assert {c.source for c in found.values()} == {"S"}


def test_the_range_of_scores_is_told(tmp_path: Path) -> None:
    stated = attesting(run(tmp_path), score_range={"statement": "300 to 850", "who": "C"})
    found = controls("fcra", stated)["fcra-range"]
    assert found.status == "satisfied"
    assert "The model’s score is a probability, 0 to 1; " in found.rationale
    assert "300 to 850" in found.rationale


def test_hostile_features_stay_short_and_whole(tmp_path: Path) -> None:
    reasons = [one(row, 1, name, name) for row, name in enumerate(HOSTILE)]
    found = controls("ecoa_reg_b", run(tmp_path, reasons))
    assert found["ecoa-scored"].status == "not_satisfied"
    assert len(found["ecoa-scored"].rationale) < 300
