from __future__ import annotations

from fractions import Fraction

import pytest

from tasks.bias import four_fifths
from tasks.contracts import Done
from tasks.errors import ConfigError
from tasks.persist.store import Workspace
from tasks.report import check_regulations
from tasks.report.reading import Reading
from tasks.report.regulations import LATER, REGULATIONS, judged
from tasks.report.regulations.base import Categories, Category, Control, attestations, categories, is_unknown
from tasks.report.regulations.eeoc_four_fifths import verdict_of
from tests.tasks.report.report_builder import config_of, rate, record_of, table


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
        ((7, 17), (215, 412), "insufficient_data", "Flagged, but not significant: focal 7 of 17, ratio 0.789"),
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


#: the selection example of the rule: n, selected → ratio
LL144 = {
    "Hispanic": (408, 204, ".97"), "White": (797, 412, "1.00"), "Black": (390, 170, ".84"), "NHPI": (119, 52, ".85"),
    "Asian": (616, 302, ".95"), "AIAN": (41, 18, ".85"), "two or more": (213, 96, ".87"),
}  # fmt: skip


def _with_rates(run, metric: str, counts: dict[str, dict[str, tuple]]) -> Reading:
    """The run with other counts of a rate: attribute → group → (n, counted, …)."""
    rows = [r for r in run.reading.group_metrics if r["metric"] != metric]
    for attribute, groups in counts.items():
        rows += table("group_metrics", [
            rate(metric, counted[1], counted[0], attribute=attribute, group=group) for group, counted in groups.items()
        ]).to_pylist()  # fmt: skip
    workspace = Workspace(run.workspace.folder.parent / f"with {metric}", "x")
    ref = workspace.write_table("group_metrics", table("group_metrics", rows))
    return Reading(run.reading.config, workspace, record_of([Done("bias", (ref,))], "satisfied"))


def _ratios(reading: Reading, id: str) -> dict[str, str]:
    pack = next(p for p in judged(reading) if p.id == "nyc_ll144")
    block = next(b for b in pack.blocks if getattr(b, "id", None) == id)
    return {row[0][0].text: row[4][0].text for row in block.rows}


def test_the_worked_example_of_local_law_144(tabular) -> None:
    reading = _with_rates(tabular, "selection_rate", {"race": LL144})
    shown = _ratios(reading, "ll144-race")
    # The report shows three digits, the rule two.
    assert {g: float(r) for g, r in shown.items()} == {
        g: pytest.approx(float(r), abs=0.0055) for g, (*_, r) in LL144.items()
    }


#: the scoring example of the rule
LL144_SCORES = {
    "sex": {"Male": (92, 50, "1.00"), "Female": (76, 34, ".82")},
    "race": {
        "Hispanic": (28, 18, "1.00"), "White": (40, 15, ".58"), "Black": (32, 16, ".78"), "NHPI": (8, 5, ".97"),
        "Asian": (24, 10, ".65"), "AIAN": (16, 10, ".97"), "two or more": (20, 10, ".78"),
    },
}  # fmt: skip


def test_the_scoring_example_of_local_law_144(tabular) -> None:
    reading = _with_rates(tabular, "scoring_rate", LL144_SCORES)
    control = next(c for p in judged(reading) for c in p.controls if c.id == "ll144-scores")
    assert control.status == "satisfied"
    for position, attribute in enumerate(LL144_SCORES, 1):
        shown = _ratios(reading, f"ll144-scores-{position}")
        wanted = {g: pytest.approx(float(r), abs=0.0055) for g, (*_, r) in LL144_SCORES[attribute].items()}
        assert {g: float(r) for g, r in shown.items()} == wanted


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
    found = {c.id: c for pack in judged(tabular.reading) for c in pack.controls}
    assert {i: c.status for i, c in found.items()} == {
        "ll144-sex": "satisfied", "ll144-race": "satisfied", "ll144-crossing": "satisfied",
        "ll144-scores": "insufficient_data", "ll144-unknown": "satisfied", "ll144-small": "satisfied",
        "ll144-independence": "human_required",
        "ll144-data": "human_required", "ll144-distribution": "human_required", "ll144-notice": "human_required",
        "eeoc-4d-1": "not_satisfied", "eeoc-4d-2": "not_satisfied", "eeoc-4d-3": "not_satisfied",
    }  # fmt: skip
    assert "The law sets no threshold." in found["ll144-sex"].rationale
    assert "race: 12" in found["ll144-unknown"].rationale
    assert "The table by race adds up to 15,528 assessed" in found["ll144-unknown"].rationale
    assert found["ll144-scores"].rationale.startswith("Not computed")
    assert "Other (0.1" in found["ll144-small"].rationale
    for control in found.values():
        assert control.evidence or control.status == "human_required" or control.id == "ll144-scores"
        for pointer in control.evidence:
            assert tabular.reading.artifact(pointer.table).sha256 == pointer.sha256


def test_a_refused_audit_satisfies_nothing(run_of) -> None:
    statuses = {c.status for pack in judged(run_of("refused").reading) for c in pack.controls}
    assert statuses <= {"insufficient_data", "human_required", "not_applicable"}


def test_nothing_is_satisfied_without_evidence() -> None:
    with pytest.raises(ValueError, match="satisfied without evidence"):
        Control("x", "§", "ask", "satisfied", "why")


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


def test_a_denied_attestation_is_not_satisfied(tabular) -> None:
    config = config_of(report={"attestations": {"independence": False}})
    packs = judged(Reading(config, tabular.workspace, tabular.record))
    control = next(c for p in packs for c in p.controls if c.id == "ll144-independence")
    assert control.status == "not_satisfied"


# ---------------------------------------------------------------- names in the config


def test_known_and_coming_names_are_accepted() -> None:
    check_regulations(config_of(report={"regulations": [*REGULATIONS, *LATER]}))


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
        assert name not in LATER
