"""Where disparities come from: features that carry them, proxies, gaps in faithfulness, the worst slices."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.document import (
    Block,
    Column,
    Content,
    Figure,
    Paragraph,
    Section,
    Table,
    line,
    link,
    name,
    num,
    said,
)
from tasks.report.figures import Forest, Mark
from tasks.report.numbers import number, p_value
from tasks.report.reading import Reading, Row
from tasks.report.sections.proxies import leading_technique, proxies, single_attributes, size_of
from tasks.report.sections.quality import marked
from tasks.report.sections.shared import (
    dash,
    left_out,
    plural,
    top,
    unsure,
    value_cell,
    value_text,
    why_no_interval,
)
from tasks.report.sections.slices import slices

GAP, FIDELITY = "attribution_gap", "explanation_fidelity_gap"
_TITLE = "Where disparities come from"
_SERVED = "Whether explanations serve the groups alike"
_FEATURES = 10  # drawn and listed of each comparison
_NAMED = 3  # features in the summary's sentence
_PANELS = 4  # groups drawn against the reference
_GAPS = (
    "The model’s output differs between groups because features contribute differently on average. Each row below is a"
    " feature’s mean contribution in one group beside that in the reference group; what stands out carries the"
    " disparity. It tells how the model comes to it, not whether that is justified."
)
_SENSE = (
    "Whiskers are intervals. A gap is the mean contribution in the group minus that in the reference group, in units of"
    " the explained output: left of the line the feature speaks less for the output in this group."
)
_FIDELITY = (
    "How faithful the explanations are in each group: where the gap is large, people of one group are given worse"
    " explanations than those of another."
)


def sources(reading: Reading) -> Section:
    """Never empty: where nothing was measured it says why."""
    gaps, fidelity = reading.gaps_of(GAP), reading.gaps_of(FIDELITY)
    sections = [
        made
        for made in (
            _attribution(reading, gaps),
            proxies(reading),
            _fidelity(reading, fidelity),
            slices(reading),
        )
        if made is not None
    ]
    if not sections:
        return Section("sources", _TITLE, (Paragraph((said(reading.why_absent("sources")),)),))
    lead = line(
        "The comparisons above say that groups differ. This chapter traces where the difference arises: in which"
        " features, through which proxies, and in which part of the data."
    )
    return Section("sources", _TITLE, (Paragraph(lead, lead=True),), tuple(sections))


def sources_in_brief(reading: Reading) -> list[Content]:
    """One sentence for the summary: which features set apart the two groups whose contributions differ most."""
    gaps = _shown_gaps(reading, reading.gaps_of(GAP))
    if not gaps:
        return []
    shown = single_attributes(reading, gaps)
    widest = max((r for r in gaps if r["attribute"] in shown), key=size_of)
    if size_of(widest) <= 0:
        return []
    own = [r for r in gaps if (r["attribute"], r["group"]) == (widest["attribute"], widest["group"])]
    features = sorted(own, key=lambda r: (-size_of(r), r["feature"]))[:_NAMED]
    listed = [part for r in features for part in (name(r["feature"]), ", ")][:-1]
    see = link("where disparities come from", "#sources")
    text = line("What sets ", name(widest["group"]), " apart from ", name(widest["reference"]), " is above all ")
    return [(*text, *line(*listed, " (", see, ")."))]


# ---------------------------------------------------------------- attribution gaps


def _attribution(reading: Reading, gaps: Sequence[Row]) -> Section | None:
    rows = _shown_gaps(reading, gaps)
    if not rows:
        return None
    others = len({r["technique"] for r in gaps}) - 1
    told = f" Shown is {marked(reading, rows[0]['technique'])}"
    more = plural(others, "more technique is", "more techniques are")
    told += f"; {more} in the table named as source." if others else "."
    blocks: list[Block] = [Paragraph(line(_GAPS, told))]
    for position, attribute in enumerate(single_attributes(reading, rows), 1):
        own = [r for r in rows if r["attribute"] == attribute]
        judged = {r["group"] for r in own if (r["status"] or "ok") == "ok"}
        able = [r for r in own if r["group"] in judged]
        blocks += _carriers(able, attribute, f"carriers-{position}") if able else []
        if len(able) < len(own):
            blocks.append(_too_few([r for r in own if r["group"] not in judged], attribute))
    return Section("carriers", "Features that carry a disparity", tuple(blocks)) if len(blocks) > 1 else None


def _too_few(rows: Sequence[Row], attribute: str) -> Paragraph:
    """Groups of which nothing can be said, and why, once."""
    lacking = list(dict.fromkeys(r["group"] for r in rows))
    why = next((r["reason"] for r in rows if r["reason"]), None)
    listed = [part for group in lacking[:_FEATURES] for part in (name(group), ", ")][:-1]
    more = f" and {len(lacking) - _FEATURES} more" if len(lacking) > _FEATURES else ""
    told = f" (such as {why})" if why else ""
    return Paragraph(
        line(
            "By ", name(attribute), ", too few rows were explained to say which features set apart ", *listed,
            f"{more}{told}; explain.rows sets how many are.",
        )
    )  # fmt: skip


def _shown_gaps(reading: Reading, gaps: Sequence[Row]) -> list[Row]:
    """Gaps of single groups by the leading technique, of the favourable output where several are explained."""
    technique = leading_technique(reading, gaps)
    rows = [r for r in gaps if r["technique"] == technique and r["group"] is not None and r["group"] != r["reference"]]
    rows = [r for r in rows if r["feature"] is not None]
    outputs = list(dict.fromkeys(r["output"] for r in rows))
    chosen = next((o for o in (*reading.favorable, *reading.positive) if o in outputs), outputs[0] if outputs else None)
    return [r for r in rows if r["output"] == chosen]


def _carriers(rows: Sequence[Row], attribute: str, id: str) -> list[Block]:
    """A panel a group, its features with the widest gaps; a table of those features, a column a group."""
    groups, more = top(_widest_first(rows), _PANELS)
    found = {(r["group"], r["feature"]): r for r in rows}
    panels = [_panel(group, [r for r in rows if r["group"] == group]) for group in groups]
    features = sorted(
        dict.fromkeys(r["feature"] for r in rows if r["group"] in groups),
        key=lambda f: (-max(size_of(found.get((g, f))) for g in groups), f),
    )
    shown, hidden = top(features, _FEATURES)
    against = rows[0]["reference"]
    columns: tuple[Column, ...] = (Column("Feature", weight=1.4),)
    if len(groups) == 1:
        columns += (Column("Gap", "right"), Column("Interval"), Column("p adjusted", "right"))
        cells = tuple(((name(f),), *_gap(found[groups[0], f])) for f in shown)
        note: Content = line("p adjusted: Holm, over all features and groups of the attribute. ")
    else:
        columns += tuple(Column(g, weight=1.5) for g in groups)
        cells = tuple(
            ((name(f),), *(value_cell(found[g, f], counts=False) if (g, f) in found else dash() for g in groups))
            for f in shown
        )
        note = line("Under each gap: its interval. ")
    if more:
        note += line(f"Shown are the {len(groups)} groups with the widest gaps. ")
    note += left_out(hidden * len(groups) + more * len(features), "gaps")
    caption = f"Features that carry the disparity of {attribute}, against {against}"
    return [
        Figure(f"{id}-figure", caption, tuple(panels), line(_SENSE), ("disparities",)),
        Table(f"{id}-table", f"{caption}, in numbers", columns, cells, note, ("disparities",)),
    ]


def _widest_first(rows: Sequence[Row]) -> list[str]:
    """Groups by the widest gap that can be judged in any feature."""
    widest: dict[str, float] = {}
    for row in rows:
        widest[row["group"]] = max(widest.get(row["group"], -1.0), size_of(row))
    return sorted(widest, key=lambda g: -widest[g])


def _panel(group: str, rows: Sequence[Row]) -> Forest:
    shown = sorted(rows, key=lambda r: (-size_of(r), r["feature"]))[:_FEATURES]
    marks = tuple(
        Mark(
            r["feature"], value_text(r), r["value"] if r["status"] != "undefined" else None, r["ci_low"], r["ci_high"],
            "plain" if (r["status"] or "ok") == "ok" else "unsure",
        )
        for r in shown
    )  # fmt: skip
    told = "; ".join(f"{m.label}: {m.text}" for m in marks)
    return Forest(group, marks, 0.0, description=f"{told}.", subtitle=f"against {rows[0]['reference']}")


def _gap(row: Row) -> tuple[Content, ...]:
    """Value, interval, adjusted p."""
    value = (num(number(row["value"])),) if (row["status"] or "ok") == "ok" else unsure(row)
    return value, why_no_interval(row), (num(p_value(row["p_adjusted"])),)


# ---------------------------------------------------------------- fidelity


def _fidelity(reading: Reading, rows: Sequence[Row]) -> Section | None:
    """A row a technique and group; those of attributes as wholes where no group is compared."""
    single = [r for r in rows if r["group"] is not None and r["group"] != r["reference"]] or list(rows)
    if not single:
        return None
    able = [r for r in single if (r["status"] or "ok") == "ok"]
    if not able:
        told = "Too few rows were judged in each group to compare how faithful the explanations are."
        return Section("fidelity-gaps", _SERVED, (Paragraph(line(told)),))
    unable = len(single) - len(able)
    ordered = sorted(
        able,
        key=lambda r: (r["p_adjusted"] if r["p_adjusted"] is not None else 2.0, -size_of(r), r["technique"] or ""),
    )
    shown, more = top(ordered, _FEATURES)
    columns = (
        Column("Technique", weight=1.2),
        Column("Attribute"),
        Column("Group", weight=1.2),
        Column("Reference", weight=1.1),
        Column("Gap", "right"),
        Column("Interval", weight=1.2),
        Column("p adjusted", "right"),
    )
    cells = tuple(
        (
            line(marked(reading, str(r["technique"]))),
            (name(r["attribute"]),),
            (name(r["group"]),) if r["group"] is not None else line("all"),
            (name(r["reference"]),) if r["reference"] is not None else dash(),
            (num(number(r["value"])),) if (r["status"] or "ok") == "ok" else unsure(r),
            why_no_interval(r),
            (num(p_value(r["p_adjusted"])),),
        )
        for r in shown
    )
    few = f"{plural(unable, 'gap rests', 'gaps rest')} on too few judged rows. " if unable else ""
    note = line(f"Those with the smallest adjusted p first. {few}") + left_out(more + unable, "gaps")
    table = Table("fidelity", "Gaps in faithfulness between groups", columns, cells, note, ("disparities",))
    return Section("fidelity-gaps", _SERVED, (Paragraph(line(_FIDELITY)), table))
