from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from tasks.bias import four_fifths
from tasks.contracts import Done
from tasks.errors import ConfigError
from tasks.report import check_regulations
from tasks.report.html import render_html
from tasks.report.markdown import render_markdown
from tasks.report.reading import Reading
from tasks.report.regulations import REGULATIONS, judged
from tasks.report.regulations.base import (
    Attestation,
    Categories,
    Category,
    Control,
    Pointer,
    attestations,
    categories,
    inputs,
    is_unknown,
)
from tasks.report.regulations.packs.eeoc_four_fifths import verdict_of
from tasks.report.sections.controls import controls
from tests.tasks.report.report_builder import config_of, record_of
from tests.tasks.report.report_pages import parsed
from tests.tasks.report.report_runs import HOSTILE


def held_against(focal: tuple[int, int], reference: tuple[int, int]) -> tuple[str, str]:
    """Verdict and rationale of the four-fifths rule on two groups."""
    groups = [Category("focal", focal[1], focal[0], False), Category("reference", reference[1], reference[0], False)]
    compared = [(groups[0], four_fifths(*focal, *reference))]
    return verdict_of(Categories("a", tuple(groups)), compared)


@pytest.mark.parametrize(
    ("focal", "reference", "verdict", "words"),
    [
        ((12, 40), (48, 80), "not_satisfied", "ratio 0.500, Fisher p 0.0034, −3.10 standard deviations"),
        ((170, 390), (412, 797), "satisfied", "Not flagged, though the difference is significant"),
        ((7, 17), (215, 412), "insufficient_data", "Flagged, but not significant: focal (7 of 17, ratio 0.789"),
        ((3, 5), (6, 8), "satisfied", "No group is flagged."),
        ((40, 100), (60, 100), "not_satisfied", "ratio 0.667, Fisher p 0.0071, −2.83 standard deviations"),
    ],
)
def test_the_four_fifths_cases(focal: tuple, reference: tuple, verdict: str, words: str) -> None:
    found, why = held_against(focal, reference)
    assert found == verdict
    assert words in why


def test_a_group_too_small_to_judge_never_passes() -> None:
    small = Category("small", 10, 6, True)
    large = Category("large", 100, 60, False)
    verdict, why = verdict_of(Categories("a", (small, large)), [(small, four_fifths(6, 10, 60, 100))])
    assert (verdict, "too small to be judged: small" in why) == ("insufficient_data", True)


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ((), "Not evaluated: nothing."),
        ((Category("only", 10, 5, False),), "only one group"),
        ((Category("a", 10, 0, False), Category("b", 10, 0, False)), "Nobody was selected"),
    ],
)
def test_nothing_to_compare_is_no_pass(known: tuple, why: str) -> None:
    found = Categories("a", known, problem=None if known else "nothing")
    compared = [(c, four_fifths(c.selected, c.n, 0, 10)) for c in known[1:]]
    verdict, said = verdict_of(found, compared)
    assert verdict == "insufficient_data"
    assert why in said


def test_rates_are_exact() -> None:
    assert Category("a", 5, 3, False).rate / Category("b", 8, 6, False).rate == Fraction(4, 5)


def test_counts_come_from_the_table_and_the_unknown_stand_apart(tabular) -> None:
    race = categories(tabular.reading, "race")
    counted = {c.group: (c.selected, c.n) for c in race.known}
    assert counted == {"Black": (180, 1561), "White": (3010, 13946), "Other": (6, 21)}
    assert race.unknown == 12
    assert [c.group for c in race.known if c.too_few] == ["Other"]
    assert race.highest().group == "Other"
    assert race.highest(enough=True).group == "White"
    assert categories(tabular.reading, "planet").problem == "the run holds no selection rate for planet"


def test_groups_that_are_declared_unknown_stand_apart_too(tabular) -> None:
    refs = tuple(ref for ref in tabular.record.result("bias").tables if ref.name == "group_metrics")
    facts = {"attributes": [{"attribute": "race", "unknown": [{"group": "Other", "n": 21}]}]}
    reading = Reading(
        tabular.reading.config, tabular.workspace, record_of([Done("bias", refs, facts=facts)], "satisfied")
    )
    race = categories(reading, "race")
    assert [c.group for c in race.known] == ["Black", "White"]
    assert race.unknown == 12 + 21


def test_weights_are_no_people(tabular) -> None:
    config = config_of(data={"weight": "w"})
    assert "counts people" in categories(Reading(config, tabular.workspace, tabular.record), "race").problem


@pytest.mark.parametrize(("group", "unknown"), [("(missing)", True), ("Female × (missing)", True), ("missing", False)])
def test_unknown_categories(group: str, unknown: bool) -> None:
    assert is_unknown(group) is unknown


def test_controls_of_a_run(tabular) -> None:
    packs = [pack for pack in judged(tabular.reading) if pack.id in ("nyc_ll144", "eeoc_four_fifths")]
    found = {c.id: c for pack in packs for c in pack.controls}
    assert {i: c.status for i, c in found.items()} == {
        "ll144-sex": "satisfied", "ll144-race": "satisfied", "ll144-crossing": "satisfied",
        "ll144-classes": "not_applicable", "ll144-scores": "insufficient_data", "ll144-unknown": "satisfied",
        "ll144-small": "satisfied", "ll144-independence": "human_required", "ll144-year": "human_required",
        "ll144-data": "human_required", "ll144-test-data": "human_required",
        "ll144-distribution": "human_required", "ll144-notice": "human_required",
        "eeoc-4d-1": "not_satisfied", "eeoc-4d-2": "not_satisfied", "eeoc-4d-3": "not_satisfied",
    }  # fmt: skip
    assert "The law sets no threshold." in found["ll144-sex"].rationale
    assert "race: 12" in found["ll144-unknown"].rationale
    assert "The table by race adds up to 15,528 assessed" in found["ll144-unknown"].rationale
    assert found["ll144-scores"].rationale.startswith("Not computed")
    assert "Other (0.1" in found["ll144-small"].rationale
    for control in found.values():
        assert control.evidence or control.status in ("human_required", "not_applicable", "insufficient_data")
        for pointer in control.evidence:
            assert tabular.reading.artifact(pointer.table).sha256 == pointer.sha256


def test_a_refused_audit_satisfies_nothing(run_of) -> None:
    statuses = {c.status for pack in judged(run_of("refused").reading) for c in pack.controls}
    assert statuses <= {"insufficient_data", "human_required", "not_applicable"}


def test_nothing_is_satisfied_without_evidence() -> None:
    for more in ({}, {"attestation": "owner"}):
        with pytest.raises(ValueError, match="satisfied without evidence"):
            Control("x", "§", "ask", "satisfied", "why", **more)
    shown = (Pointer("policy", "0" * 64, "input"),)
    assert Control("x", "§", "ask", "satisfied", "why", shown).evidence == shown
    stated = Attestation("owner", "A. Person owns it")
    assert Control("x", "§", "ask", "satisfied", "why", attestation="owner", stated=stated).status == "satisfied"


def test_the_report_claims_no_compliance(tabular) -> None:
    assert "not legal advice" in tabular.page.text
    assert "compliant" not in tabular.page.text.lower()


def test_attestations_in_their_forms() -> None:
    signed = {"statement": "yes", "who": "W", "role": "R", "date": "D", "x": 1}
    stated = {"a": "text", "b": True, "c": False, "d": signed, "e": None, "f": {"who": "W"}, "g": 3}  # fmt: skip
    found = {a.topic: a for a in attestations(stated)}
    assert list(found) == ["a", "b", "c", "d", "g"]
    assert (found["b"].statement, found["c"].statement, found["c"].denied) == ("yes", "no", True)
    assert (found["d"].who, found["d"].role, found["d"].date, found["d"].more) == ("W", "R", "D", {"x": "1"})


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("We are.", "Attested: We are. Not checked"),
        ({"statement": "We are", "date": "2026-11-01"}, "Attested on 2026-11-01: We are. Not checked"),
        ({"statement": "We are", "who": "A", "date": "2026-11-01"}, "Attested by A, 2026-11-01: We are. Not checked"),
    ],
)
def test_who_stated_it_and_when(tabular, stated: object, said: str) -> None:
    config = config_of(report={"attestations": {"independence": stated}})
    packs = judged(Reading(config, tabular.workspace, tabular.record))
    control = next(c for p in packs for c in p.controls if c.id == "ll144-independence")
    assert said in control.rationale


@pytest.mark.parametrize("stated", [False, "no", "No.", {"statement": "NO", "who": "A. Person"}, "false"])
def test_a_denied_attestation_is_not_satisfied(tabular, stated: object) -> None:
    config = config_of(report={"attestations": {"independence": stated}})
    packs = judged(Reading(config, tabular.workspace, tabular.record))
    control = next(c for p in packs for c in p.controls if c.id == "ll144-independence")
    assert control.status == "not_satisfied"


@pytest.mark.parametrize("stated", ["", "  ", "\n\t", {"statement": "   "}])
def test_a_blank_statement_states_nothing(tabular, stated: object) -> None:
    config = config_of(report={"attestations": {"independence": stated}})
    packs = judged(Reading(config, tabular.workspace, tabular.record))
    control = next(c for p in packs for c in p.controls if c.id == "ll144-independence")
    assert (control.status, control.stated) == ("human_required", None)


# ---------------------------------------------------------------- what people state


def _people(reading: Reading, **attested: object) -> str:
    """The text of the chapter on regulations, with these statements in the config."""
    report = reading.config.report.model_copy(update={"attestations": attested})
    config = reading.config.model_copy(update={"report": report})
    return "\n".join(_texts(controls(Reading(config, reading.workspace, reading.record))))


def _texts(node: object) -> list[str]:
    """Every span's text below a node, in order, with the labels of facts."""
    if hasattr(node, "text"):
        return [node.text]
    if isinstance(node, str):
        return [node]
    if isinstance(node, tuple):
        return [text for part in node for text in _texts(part)]
    fields = ("title", "items", "blocks", "sections", "content", "pairs", "rows")
    return [text for key in fields if hasattr(node, key) for text in _texts(getattr(node, key))]


def test_what_only_a_person_can_state_prints_as_a_form(tabular) -> None:
    text = _people(tabular.reading)
    form = text[text.index("\nreport.attestations.independence\n") :].split("To be stated")[0]
    assert "New York City Local Law 144: § 5-300" in form
    for label in ("Statement", "Who, and role", "Date, and signature"):
        assert f"{label}\n________________________" in form
    assert form.count("________________________") == 5


def test_a_form_that_is_filled_in_is_a_statement(tabular) -> None:
    signed = {"statement": "We are independent", "who": "A. Auditor", "role": "partner", "date": "2026-11-20"}
    text = _people(tabular.reading, independence=signed)
    assert "report.attestations.independence" not in text
    assert "A. Auditor\npartner\n2026-11-20\nNew York City Local Law 144: § 5-300" in text


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"indepndence": "yes"}, "asks for what report.attestations states on: \nindepndence"),
        ({"independence": {"statement": "yes", "date": "2026-11-23"}}, "is dated 2026-11-23, after the end of"),
        ({"independence": {"statement": "yes", "date": "2026-11-22"}}, None),
        ({"retention": "two years"}, None),
    ],
)  # fmt: skip
def test_statements_that_nobody_asks_for_are_told(tabular, stated: dict, told: str | None) -> None:
    text = _people(tabular.reading, **stated)
    assert ("Statements to look at" in text) is (told is not None)
    if told is not None:
        assert told in text


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"owner": ["a"]}, "report.attestations.owner: a list is no statement"),
        ({"owner": {"statement": "x", "date": "soon"}}, "owner.date: is no date such as 2026-11-01: soon"),
        ({"owner": {"statement": "x", "date": "2026-13-01"}}, "report.attestations.owner.date: is no date"),
        ({"owner": {"statement": "x", "date": 20261101}}, "report.attestations.owner.date: is no date"),
        ({"owner": {"who": "A"}}, "report.attestations.owner: the statement is missing"),
        ({"owner": {"statment": "x", "who": "A"}}, "did you mean statement?"),
        ({"owner": {"statement": "x", "who": 3}}, "report.attestations.owner.who: is no text"),
        ({"owner": {"statement": {"a": 1}}}, "owner.statement: a mapping where a single value is wanted"),
        ({" ": "x"}, "report.attestations: a statement without a topic"),
    ],
)  # fmt: skip
def test_statements_of_another_form_are_refused(stated: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_regulations(config_of(report={"attestations": stated}))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_statements_in_their_forms_are_accepted() -> None:
    stated = {
        "a": "text", "b": True, "c": None, "d": {"statement": "x", "who": None, "date": "2026-11-01", "years": 3},
        "e": {"statement": None, "who": None},
    }  # fmt: skip
    check_regulations(config_of(report={"attestations": stated}))


def test_hostile_statements_stay_text(tabular) -> None:
    stated = {name: {"statement": name, "who": name, "role": name} for name in HOSTILE[:8]}
    report = tabular.config.report.model_copy(update={"attestations": stated, "formats": ["html"]})
    config = tabular.config.model_copy(update={"report": report})
    from tasks.report.compose import document_of

    document = document_of(Reading(config, tabular.workspace, tabular.record))
    html = render_html(document).decode()
    assert "<script>alert" not in html
    assert HOSTILE[0] in parsed(html).text
    assert b"<script>alert" not in render_markdown(document).replace(b"\\<", b"")


def test_evidence_may_be_an_input_that_the_manifest_names(tabular) -> None:
    record = replace(tabular.record, inputs=(("policy", "a" * 64), ("data", "b" * 64)))
    reading = Reading(tabular.config, tabular.workspace, record)
    assert inputs(reading, "policy", "planet") == (Pointer("policy", "a" * 64, "input"),)


# ---------------------------------------------------------------- names in the config


def test_known_names_are_accepted() -> None:
    check_regulations(config_of(report={"regulations": [*REGULATIONS]}))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["nyc_ll44"], "report.regulations.0: nyc_ll44 is no regulation that is known"),
        (["gdpr", "eu_ai_akt"], "did you mean eu_ai_act?"),
        (["gdpr", "gdpr"], "gdpr is named twice"),
    ],
)
def test_other_names_are_refused_with_the_nearest(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_regulations(config_of(report={"regulations": names}))
    assert message in str(caught.value)


def test_every_pack_is_described() -> None:
    for name, pack in REGULATIONS.items():
        assert pack.id == name
        assert pack.source in ("P", "S", "M")
        assert pack.as_of == "2026-11-22"
