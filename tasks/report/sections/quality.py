"""How good the explanations are: what was measured of each technique, and which of them fail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tasks.report.document import (
    Block,
    Bullets,
    Callout,
    Column,
    Content,
    Paragraph,
    Section,
    Table,
    aside,
    line,
    muted,
    name,
    num,
    said,
    status,
    strong,
)
from tasks.report.numbers import MINUS, number
from tasks.report.reading import Reading, Row, upper_first
from tasks.report.sections.shared import TOP, dash, joined, plural
from tasks.report.words import QUALITIES, measure_label

#: measures of the first table, and of the second; what else was measured is in a third
PRIMARY = (
    "insertion_minus_deletion", "mu_fidelity", "max_sensitivity", "seed_stability", "parameter_randomisation",
    "entropy",
)  # fmt: skip
MORE = (
    "deletion_area", "insertion_area", "infidelity", "monotonicity", "null_feature_share", "average_sensitivity",
    "random_logit", "gini_sparseness",
)  # fmt: skip
RANDOM = "random"
_PLURALS = {"draws": "draw", "takes": "take", "has": "have", "is": "are", "cannot": "cannot"}
_LEAST = 1e-4  # smaller sizes are told as smaller than this
_ORDER = "insertion_minus_deletion"
#: findings that say why a technique fails
FAILURES = ("no_better_than_random", "unchanged_by_randomisation")
_RULES = (
    "A technique is marked as failing for two reasons only. Its insertion minus deletion is no better than that of a"
    " random attribution on the same rows (one test a technique, corrected for their number). Or its explanations stay"
    " the same when the model’s weights are drawn at random. All other measures inform; they do not decide."
)
_LABELS = {"passes": ("passed", "passes"), "fails": ("failed", "fails"), "not_judged": ("not_evaluated", "not judged")}


def verdicts(reading: Reading) -> Mapping[str, str]:
    """Technique → passes, fails or not_judged; empty where nothing was judged."""
    return reading.record.fact("agreement", "verdicts", {}) or {}


def marked(reading: Reading, technique: str) -> str:
    """What a technique is called, with a word where it fails."""
    title = reading.technique(technique)
    return f"{title} (failing)" if verdicts(reading).get(technique) == "fails" else title


def quality(reading: Reading) -> Section | None:
    """Tables of a row a technique, the random attribution last; None where nothing was measured."""
    rows = reading.rows("explanation_quality")
    if not rows:
        return None
    found = _chosen(rows)
    blocks: list[Block] = [Paragraph(line(_lead(reading, several=_several(found))))]
    failing = [f for f in reading.findings if f.code in FAILURES]
    standing = _standing(reading, found)
    if standing:
        blocks.append(Paragraph(line(standing)))
    if failing:
        told = tuple((said(reading.with_titles(f)),) for f in failing[:TOP])
        blocks.append(Callout("Explanations that fail", "bad", told))
    blocks.append(Paragraph(line(_RULES)))
    own = tuple(dict.fromkeys(m for m, _ in found if m not in PRIMARY and m not in MORE))
    captions = ("Quality of the explanations", "Further measures of quality", "Other measures")
    shown: list[str] = []
    for id, caption, measures in zip(("table", "more", "own"), captions, (PRIMARY, MORE, own), strict=True):
        here = [m for m in measures if any(m == measure for measure, _ in found)]
        if here:
            blocks.append(_table(reading, f"quality-{id}", caption, here, found, judged=id == "table"))
            shown += here
    meanings = [(m, text) for m, text in QUALITIES.items() if m in shown]
    if meanings:
        blocks.append(Bullets(tuple(line(strong(_label(m)), f": {text}") for m, text in meanings)))
    return Section("quality", "How good the explanations are", tuple(blocks))


def _standing(reading: Reading, found: Mapping[tuple[str, str], Row]) -> str:
    """How many techniques pass, and how far the best of them is from chance; empty where none was judged."""
    states = {t: state for t, state in verdicts(reading).items() if state != "not_judged"}
    if not states:
        return ""
    passed = [t for t, state in states.items() if state == "passes"]
    text = (
        f"{plural(len(states), 'technique was', 'techniques were')} judged, and {_how_many(len(passed), len(states))}."
    )
    known = {t: row["value"] for t in (*passed, RANDOM) if (row := found.get((_ORDER, t))) and row["value"] is not None}
    chance = known.pop(RANDOM, None)
    if not known or chance is None:
        return text
    best = max(known, key=lambda t: known[t])
    return (
        f"{text} The features that {reading.technique(best)} names first move the output most: insertion minus deletion"
        f" {number(known[best])}, against {number(chance)} for a random order."
    )


def _how_many(passed: int, judged: int) -> str:
    if passed == judged:
        return "it passes" if judged == 1 else "all pass"
    return "it fails" if judged == 1 else f"{passed} of them {'passes' if passed == 1 else 'pass'}"


def _chosen(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """(measure, technique) → the row over all outputs; the only output's where there is one; else the first's."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row["measure"], row["technique"]
        if key not in found or (row["output"] is None and found[key]["output"] is not None):
            found[key] = row
    return found


def _several(found: Mapping[tuple[str, str], Row]) -> bool:
    """Whether rows were judged by several outputs."""
    return any(row["output"] is None for (m, _), row in found.items() if m in PRIMARY)


def _lead(reading: Reading, *, several: bool) -> str:
    judged = reading.record.fact("agreement", "judged_rows", 0) or 0
    again = reading.record.fact("agreement", "rerun_rows", {}) or {}
    text = "What the explanations are worth, measured on the model itself, beside an attribution drawn at random."
    if not judged:
        return text
    images = bool(reading.tables("saliency"))
    text += f" Measured on {judged:,} {'images' if images else 'rows'}"
    text += ", each with the output that scores highest among those explained" if several else ""
    text += f"; on up to {max(again.values())} of them the techniques were run again." if again else "."
    return text + (" The features of an image are the cells of a grid of 8 × 8." if images else "")


def _table(
    reading: Reading,
    id: str,
    caption: str,
    measures: Sequence[str],
    found: Mapping[tuple[str, str], Row],
    *,
    judged: bool,
) -> Table:
    techniques = list(dict.fromkeys(t for m, t in found if m in measures and t != RANDOM))
    techniques += [RANDOM] if any((m, RANDOM) in found for m in measures) else []
    states = verdicts(reading) if judged else {}
    columns = (
        Column("Technique", weight=1.3),
        *((Column("Judgement"),) if states else ()),
        *(Column(_label(m) + _better(found, m)) for m in measures),
    )
    cells = []
    for technique in techniques:
        state = _LABELS.get(states.get(technique, ""))
        verdict = (((status(*state),) if state else dash()),) if states else ()
        title = line(reading.technique(technique))
        cells.append((title, *verdict, *(_measured(found.get((m, technique))) for m in measures)))
    note = "Means over rows with their standard errors."
    reasons = _not_measured(reading, measures)
    outputs = {r["output"] for (m, _), r in found.items() if m in measures and r["output"] is not None}
    about: Content = line(" Of the output ", name(outputs.pop()), ".") if len(outputs) == 1 else ()
    return Table(id, caption, columns, tuple(cells), (*line(note), *about, *line(reasons)), ("explanation_quality",))


def _label(measure: str) -> str:
    label = measure_label(measure)
    return label if label.startswith("µ") else upper_first(label)


def _better(found: Mapping[tuple[str, str], Row], measure: str) -> str:
    directions = (row["direction"] for (m, _), row in found.items() if m == measure)
    direction = next((d for d in directions if d), None)
    return f" ({direction} is better)" if direction else ""


def _not_measured(reading: Reading, measures: Sequence[str]) -> str:
    """Why there is a dash: techniques by reason."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for entry in reading.record.fact("agreement", "not_measured", []) or []:
        labels = [measure_label(m) for m in entry["measures"] if m in measures]
        if labels:
            by_reason.setdefault((joined(labels), entry["reason"]), []).append(reading.technique(entry["technique"]))
    return "".join(
        f" {upper_first(joined(who))} without {what}: {_of_all(reason) if len(who) > 1 else reason}."
        for (what, reason), who in by_reason.items()
    )


def _of_all(reason: str) -> str:
    """A reason about one technique, said of several."""
    first, _, rest = reason.partition(" ")
    verb, _, end = rest.partition(" ")
    return f"they {_PLURALS[verb]} {end}" if first == "it" and verb in _PLURALS else reason


def _measured(row: Row | None) -> Content:
    if row is None:
        return dash()
    state = row["status"] or "ok"
    if row["value"] is None:
        return (status("undefined"),)
    if state != "ok":
        return (muted(f"{number(row['value'])}, "), status(state))
    return (
        num(_small(row["value"], row["std_error"])),
        *((aside(f"± {_small(row['std_error'])}"),) if row["std_error"] else ()),
    )


def _small(value: float, error: float | None = None) -> str:
    """A measure with digits down to the first one of its standard error, five decimals at most."""
    if 0 < abs(value) < _LEAST:
        return f"< {_LEAST:f}".rstrip("0") if value > 0 else number(0.0)
    size = error or abs(value)
    if size and abs(value) < 1:
        decimals = min(max(math.ceil(-math.log10(size)), 3), 5)
        text = f"{abs(value):.{decimals}f}"
        return (MINUS if value < 0 and float(text) else "") + text
    return number(value)
