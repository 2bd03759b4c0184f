"""Proxies: how well features tell the groups of an attribute, beside how much the model relies on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from configs.schema import CROSSING
from tasks.report.document import Block, Column, Content, Paragraph, Section, Table, aside, line, name, num
from tasks.report.numbers import p_value
from tasks.report.reading import Reading, Row
from tasks.report.sections.quality import marked, verdicts
from tasks.report.sections.shared import dash, left_out, top, value_cell
from tasks.report.words import measure_label

_SHOWN = 8  # features of an attribute
_PREFERRED = "shap"  # of techniques that do not fail: its contributions add up to the output
_PROXIES = (
    "A feature that tells a group from the others can stand for the attribute even where the model is not given it."
    " Beside how well it does so stands how much the model relies on it: both together make a proxy."
)
_SCALE = (
    "AUC: the chance that the feature ranks a row of a group above one of another, mean over the groups; 0.5 tells"
    " nothing, 1 tells all. "
)
#: how the stage says that a feature is the attribute itself
_OWN = "the attribute's own column"


def proxies(reading: Reading) -> Section | None:
    """A table an attribute; None where nothing was measured."""
    rows = reading.rows("proxies")
    if not rows:
        return None
    ranks = _ranks(reading)
    blocks: list[Block] = [Paragraph(line(_PROXIES))]
    for position, attribute in enumerate(single_attributes(reading, rows), 1):
        own = [r for r in rows if r["attribute"] == attribute and r["group"] is None]
        if own:
            blocks.append(_proxy_table(own, attribute, f"proxies-{position}", ranks))
    return Section("proxies", "Proxies", tuple(blocks)) if len(blocks) > 1 else None


def _ranks(reading: Reading) -> Mapping[str, tuple[str, int]]:
    """Feature → (technique, rank) by the technique that leads in importance."""
    technique = leading_technique(reading, reading.importance)
    return {
        r["feature"]: (marked(reading, str(technique)), r["rank"])
        for r in reversed(reading.importance)
        if r["technique"] == technique and r["rank"] is not None
    }


def _proxy_table(rows: Sequence[Row], attribute: str, id: str, ranks: Mapping[str, tuple[str, int]]) -> Table:
    """All features together first, then the strongest, last the attribute's own column; a column a measure."""
    measures = list(dict.fromkeys(r["measure"] for r in rows))[:3]
    found = {(r["feature"], r["measure"]): r for r in rows}
    own = {r["feature"] for r in rows if _OWN in (r["reason"] or "")}
    features = sorted(
        dict.fromkeys(r["feature"] for r in rows),
        key=lambda f: (f is not None, f in own, -size_of(found.get((f, measures[0]))), f or ""),
    )
    shown, more = top(features, _SHOWN)
    technique = next(iter(ranks.values()), ("", 0))[0]
    columns = (
        Column("Feature", weight=1.5),
        *(Column(measure_label(m), weight=1.4) for m in measures),
        Column("p adjusted", "right"),
        *((Column(f"Rank of importance ({technique})", "right", weight=1.2),) if ranks else ()),
    )
    cells = []
    for feature in shown:
        first = next(row for m in measures if (row := found.get((feature, m))) is not None)
        rank: Content = (num(str(ranks[feature][1])),) if feature in ranks else dash()
        cells.append(
            (
                line("all features together")
                if feature is None
                else (name(feature), *((aside(_OWN),) if feature in own else ())),
                *(_strength(found.get((feature, m))) for m in measures),
                (num(p_value(first["p_adjusted"])),),
                *((rank,) if ranks else ()),
            )
        )
    caption = f"How well features tell the groups of {attribute}"
    note = line(_SCALE) + left_out(more, "features")
    return Table(id, caption, columns, tuple(cells), note, ("proxies", "importance") if ranks else ("proxies",))


def _strength(row: Row | None) -> Content:
    return dash() if row is None else value_cell({**row, "denominator": None}, counts=False)


def single_attributes(reading: Reading, rows: Sequence[Row]) -> list[str]:
    """The attributes that are shown: those that are no crossings, which are left to the table, if there are any."""
    present = {r["attribute"] for r in rows}
    every = [a for a in reading.attributes if a in present]
    crossed = {CROSSING.join(keys) for keys in reading.config.data.attributes if len(keys) > 1}
    return [a for a in every if a not in crossed] or every


def leading_technique(reading: Reading, rows: Sequence[Row]) -> str | None:
    """The technique whose attributions are shown: one that does not fail, SHAP before others, else as planned."""
    present = list(dict.fromkeys(r["technique"] for r in rows if r["technique"] is not None))
    planned = [r.stage.removeprefix("explain/") for r in reading.record.results]
    failing = {t for t, state in verdicts(reading).items() if state == "fails"}
    ranked = sorted(
        present, key=lambda t: (t in failing, t != _PREFERRED, planned.index(t) if t in planned else len(planned))
    )
    return ranked[0] if ranked else None


def size_of(row: Row | None) -> float:
    return abs(row["value"] or 0.0) if row is not None and (row["status"] or "ok") == "ok" else -1.0
