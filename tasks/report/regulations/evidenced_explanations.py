"""What several packs ask of the run's explanations: are they there, do they stand tests, do decisions have reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.contracts import Done, Failed, Verdict
from tasks.report.regulations.evidenced import Ruling, absent, named, some, together

if TYPE_CHECKING:
    from tasks.report.reading import Reading

_EXPLAIN = "explain/"
_RANDOM = "random"
_SHOWN = 3  # tables of explanations of rows that a control points to; all are under Evidence
#: kind of test → measures of explanation_quality that are one
_TESTS = {
    "faithfulness": ("insertion_minus_deletion", "mu_fidelity", "infidelity", "monotonicity"),
    "randomisation": ("parameter_randomisation",),
    "stability": ("max_sensitivity", "average_sensitivity", "seed_stability"),
}


def techniques(reading: Reading) -> list[str]:
    """Titles of the techniques that explained the model."""
    stages = (r.stage for r in reading.record.results if isinstance(r, Done) and r.stage.startswith(_EXPLAIN))
    return [reading.technique(stage.removeprefix(_EXPLAIN)) for stage in stages]


def tables_of(reading: Reading) -> tuple[str, ...]:
    """Tables of explanations that the run holds: importances, and the first few of single rows."""
    local = (*reading.tables("attributions"), *reading.tables("saliency"))
    return (*(("importance",) if reading.artifact("importance") else ()), *local[:_SHOWN])


def explained(reading: Reading) -> Ruling:
    """Whether techniques explain the model: insufficient where none does, or where one that was planned failed."""
    found, tables = techniques(reading), tables_of(reading)
    lost = [r for r in reading.record.results if isinstance(r, Failed) and r.stage.startswith(_EXPLAIN)]
    if not found or not tables:
        why = absent(reading, lost[0].stage) if lost else "No technique explained the model."
        return Ruling("insufficient_data", f"No explanation is there. {why}" if lost else why)
    why = f"{some(len(found), 'technique explains', 'techniques explain')} the model ({named(found)})"
    if lost:
        titles = named([reading.technique(r.stage.removeprefix(_EXPLAIN)) for r in lost])
        return Ruling("insufficient_data", f"{why}; {titles} failed.", tables)
    return Ruling("satisfied", f"{why}.", tables)


def validated(reading: Reading) -> Ruling:
    """Whether explanations stand their own tests: not satisfied where no technique that was judged passes."""
    verdicts = dict(reading.record.fact("agreement", "verdicts", {}) or {})
    judged = {t: verdict for t, verdict in verdicts.items() if verdict in ("passes", "fails") and t != _RANDOM}
    tables = ("explanation_quality", "faithfulness")
    if not judged or reading.artifact("explanation_quality") is None:
        return Ruling("insufficient_data", "No explanation was held against a random one or a model of random weights.")
    failing = [reading.technique(t) for t, verdict in judged.items() if verdict == "fails"]
    why = f"Of {some(len(judged), 'technique')} judged against chance, {len(judged) - len(failing):,} pass"
    why += f"; failing: {named(failing)}" if failing else ""
    return Ruling("not_satisfied" if len(failing) == len(judged) else "satisfied", f"{why}.", tables)


def agreed(reading: Reading) -> Ruling:
    """Whether techniques agree: insufficient where fewer than two were compared, or where every pair disagrees."""
    rows = reading.rows("agreement")
    pairs = {(r["technique_a"], r["technique_b"]) for r in rows if not r["measure"].startswith("importance_")}
    pairs = pairs or {(r["technique_a"], r["technique_b"]) for r in rows}
    if not pairs:
        return Ruling("insufficient_data", "No two techniques were compared.")
    told = reading.record.fact("agreement", "disagreements", []) or []
    apart = {tuple(one.get("techniques", ())) for one in told} & pairs
    why = f"{some(len(pairs), 'pair')} of techniques compared; {some(len(apart), 'disagrees', 'disagree')}."
    return Ruling("insufficient_data" if len(apart) == len(pairs) else "satisfied", why, ("agreement",))


def sound(reading: Reading) -> Ruling:
    """Explanations that stand their tests and agree with each other."""
    return together(validated(reading), agreed(reading))


def robust(reading: Reading) -> Ruling:
    """Whether explanations were tested for faithfulness, randomisation and stability, and stood it: insufficient where
    one kind of test is lacking. What the system itself bears is not tested by a run: that is for people to state."""
    rows = [r for r in reading.rows("explanation_quality") if r["technique"] != _RANDOM and r["value"] is not None]
    measured = {r["measure"] for r in rows}
    lacking = [kind for kind, measures in _TESTS.items() if not measured.intersection(measures)]
    if lacking:
        told = "not tested" if len(lacking) == len(_TESTS) else f"not tested for {named(lacking)}"
        return Ruling("insufficient_data", f"Explanations were {told}.", ("explanation_quality",))
    several = some(len({r["technique"] for r in rows}), "technique")
    failing = validated(reading).status == "not_satisfied"
    why = f"Explanations by {several} were tested for faithfulness, randomisation and stability"
    status: Verdict = "insufficient_data" if failing else "satisfied"
    return Ruling(status, f"{why}{', and none passes' if failing else ''}.", ("explanation_quality", "faithfulness"))


def reasons_given(reading: Reading) -> Ruling:
    """Whether adverse decisions have their principal reasons: insufficient where some have none."""
    table = reading.artifact("reason_codes")
    if table is None or not table.rows:
        return Ruling("insufficient_data", f"Single decisions have no reasons. {absent(reading, 'reasons')}")
    adverse, told = (reading.record.fact("reasons", key) for key in ("adverse", "stated"))
    tables = ("reason_codes", "letters")
    if not isinstance(adverse, int) or not isinstance(told, int):
        return Ruling("satisfied", f"Principal reasons are told in {some(table.rows, 'row')}.", tables)
    protected = dict(reading.record.fact("reasons", "protected", {}) or {})
    why = f"Principal reasons are told for {told:,} of {adverse:,} adverse decisions"
    why += f"; a sensitive attribute is among them ({named(list(protected))})" if protected else ""
    return Ruling("satisfied" if told >= adverse else "insufficient_data", f"{why}.", tables)


def changes_told(reading: Reading) -> Ruling:
    """Whether it is told what would alter adverse decisions: insufficient where some have no line, or none a change."""
    import pyarrow.compute as pc

    table = reading.table("counterfactuals", columns=["row_id", "feature", "crosses"])
    if table is None or not table.num_rows:
        return Ruling("insufficient_data", "What change would alter the result is not told.")
    told = pc.count_distinct(table["row_id"]).as_py()
    altered = table.filter(pc.field("feature").is_valid() & pc.field("crosses"))
    found = pc.count_distinct(altered["row_id"]).as_py()
    adverse = reading.record.fact("reasons", "adverse")
    whole = adverse if isinstance(adverse, int) else told
    why = f"A change that would alter the result is told for {found:,} of {whole:,}"
    why += f"; for {told - found:,} none was found." if told > found else "."
    return Ruling("satisfied" if found and told >= whole else "insufficient_data", why, ("counterfactuals",))
