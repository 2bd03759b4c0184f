"""Single rows explained. `report.rows` rules how many are printed, and which columns are blacked out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.report.document import (
    Block,
    Column,
    Content,
    Figure,
    Paragraph,
    Section,
    Table,
    line,
    muted,
    name,
    num,
)
from tasks.report.figures import Mark, Waterfall
from tasks.report.numbers import settled
from tasks.report.persons import REDACTED, hidden_features, row_label
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import dash

_SCANNED = 200_000  # lines of an attributions table that rows are chosen from: the first rows of the sample
_STEPS = 8  # features drawn and listed for a row; the rest is one step
#: whose order of features the tables follow, and whose waterfall comes first
_FIRST = ("shap", "lime")


def single_rows(reading: Reading) -> Section | None:
    """A few rows from the lowest to the highest prediction; None for images, whose rows are overlays."""
    tables = reading.tables("attributions")
    if not tables:
        return None
    title = "Single rows explained"
    if reading.config.report.rows.show == 0:
        text = "The config lets the report print no single row (report.rows.show is 0)."
        return Section("rows", title, (Paragraph(line(text)),))
    tables = tuple(sorted(tables, key=lambda t: _FIRST.index(t.split("/")[1]) if t.split("/")[1] in _FIRST else 9))
    chosen = _chosen(reading, tables[0])
    if not chosen:
        return Section("rows", title, (Paragraph(line("The techniques explained no row.")),))
    found = {table: _lines_of(reading, table, [row_id for row_id, _ in chosen]) for table in tables}
    decisions = _decisions(reading, [row_id for row_id, _ in chosen])
    text = (
        f"{len(chosen)} of the explained rows, spread from the lowest to the highest prediction. Each chart leads from"
        " the base value through the features to the model’s output; what a technique leaves unexplained is a step of"
        " its own."
    )
    redacted = reading.config.report.rows.redact
    blocks: list[Block] = [Paragraph(line(text))]
    if redacted:
        listed = [part for column in redacted for part in (name(column), ", ")][:-1]
        blocks.append(Paragraph(line("Values of these columns are not printed: ", *listed, ".")))
    for position, (row_id, output) in enumerate(chosen, 1):
        blocks += _row(reading, position, row_id, output, tables, found, decisions.get((row_id, output)))
    return Section("rows", title, tuple(blocks))


def _chosen(reading: Reading, table: str) -> list[tuple[Any, str]]:
    """(row_id, output) at evenly spaced ranks of the prediction; of several outputs, each row's highest."""
    import pyarrow.parquet as pq

    seen: dict[Any, tuple[float, str]] = {}
    scanned = 0
    with pq.ParquetFile(reading.workspace.table_path(table)) as file:
        for batch in file.iter_batches(batch_size=65_536, columns=["row_id", "output", "prediction"]):
            columns = batch.to_pydict()
            for row_id, output, prediction in zip(
                *(columns[c] for c in ("row_id", "output", "prediction")), strict=True
            ):
                value = prediction if prediction is not None else float("-inf")
                if row_id not in seen or value > seen[row_id][0]:
                    seen[row_id] = (value, output)
            scanned += batch.num_rows
            if scanned >= _SCANNED:
                break
    ranked = sorted(seen.items(), key=lambda item: item[1][0])  # ties keep the sample's order
    wanted = min(reading.config.report.rows.show, len(ranked))
    last = len(ranked) - 1
    places = [round(k * last / (wanted - 1)) for k in range(wanted)] if wanted > 1 else [last]
    return [(ranked[p][0], ranked[p][1][1]) for p in dict.fromkeys(places)]


def _lines_of(reading: Reading, table: str, rows: Sequence[Any]) -> dict[tuple[Any, str], list[Row]]:
    """The lines of the chosen rows, the largest attributions first."""
    found: dict[tuple[Any, str], list[Row]] = {}
    read = reading.table(table, filters=[("row_id", "in", list(rows))])
    for row in [] if read is None else read.to_pylist():
        found.setdefault((row["row_id"], row["output"]), []).append(row)
    return {k: sorted(v, key=lambda r: (-abs(r["attribution"] or 0.0), r["feature"])) for k, v in found.items()}


def _decisions(reading: Reading, rows: Sequence[Any]) -> dict[tuple[Any, str], Row]:
    read = reading.table("predictions", filters=[("row_id", "in", list(rows))])
    return {} if read is None else {(r["row_id"], r["output"]): r for r in read.to_pylist()}


def _row(
    reading: Reading,
    position: int,
    row_id: Any,
    output: str,
    tables: Sequence[str],
    found: dict[str, dict[tuple[Any, str], list[Row]]],
    decided: Row | None,
) -> list[Block]:
    label = row_label(reading, row_id)
    lines = {table: found[table].get((row_id, output), []) for table in tables}
    panels = tuple(_waterfall(reading, table, rows) for table, rows in lines.items() if rows)
    first = next((rows for rows in lines.values() if rows), [])
    if not panels:
        return []
    caption = f"Row {label}: {output}" if label != REDACTED else f"Row {position}, its id not shown: {output}"
    return [
        Paragraph(_sentence(reading, label, output, first[0], decided)),
        Figure(f"row-{position}-figure", caption, panels, (), tuple(t for t, rows in lines.items() if rows)),
        _table(reading, f"row-{position}-table", caption, first, lines),
    ]


def _sentence(reading: Reading, label: str, output: str, row: Row, decided: Row | None) -> Content:
    parts: list = [
        "Row ",
        name(label),
        ": the output for ",
        name(output),
        " is ",
        num(settled(row["prediction"], share=_shares(reading))),
    ]
    decision, label_given = outcome_shown(reading, decided)
    parts += ["; decided as ", name(decision)] if decision is not None else []
    parts += ["; labelled ", name(label_given)] if label_given is not None else []
    return line(*parts, ".")


def outcome_shown(reading: Reading, decided: Row | None) -> tuple[Any, Any]:
    """(decision, label) of a row, each None where there is none, or where it is a value of a redacted column."""
    if decided is None:
        return None, None
    redacted, config = reading.config.report.rows.redact, reading.config
    decision = None if config.bias.decision.column in redacted else decided["decision"]
    return decision, None if config.data.target.column in redacted else decided["y_true"]


def _shown_value(reading: Reading, row: Row) -> str:
    if row["feature"] in hidden_features(reading.config):
        return REDACTED
    return "null" if row["value"] is None else str(row["value"])


def _waterfall(reading: Reading, table: str, rows: Sequence[Row]) -> Waterfall:
    base = rows[0]["base_value"] or 0.0
    prediction = rows[0]["prediction"]
    share = _shares(reading)
    steps = [
        _step(f"{r['feature']} = {_shown_value(reading, r)}", r["attribution"] or 0.0, r["std_error"], share=share)
        for r in rows[:_STEPS]
    ]
    if len(rows) > _STEPS:
        rest = sum(r["attribution"] or 0.0 for r in rows[_STEPS:])
        steps.append(_step(f"{len(rows) - _STEPS} other features", rest, share=share))
    reached = base + sum(r["attribution"] or 0.0 for r in rows)
    if prediction is not None and abs(prediction - reached) > 1e-3 * max(1.0, abs(prediction)):
        steps.append(_step("not explained", prediction - reached, share=share))
    end = reached if prediction is None else prediction
    title = reading.technique(table.partition("/")[2])
    told = "; ".join(f"{s.label}: {s.text}" for s in steps)
    return Waterfall(
        title,
        Mark("base value", settled(base, share=share), base),
        tuple(steps),
        Mark("model’s output", settled(end, share=share), end),
        f"From the base value {settled(base, share=share)} to the output {settled(end, share=share)}. {told}.",
    )


def _shares(reading: Reading) -> bool:
    """Whether outputs and attributions are probabilities, or at least on a scale where a thousandth is nothing."""
    return reading.config.model.task != "regression"


def _step(label: str, value: float, error: float | None = None, *, share: bool) -> Mark:
    return Mark(label, signed(value, error, share=share), value)


def signed(value: float, error: float | None = None, *, share: bool = False) -> str:
    """With its sign, so that direction does not hang on the arrow alone; nought has none."""
    text = settled(value, error, share=share)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def _table(reading: Reading, id: str, caption: str, first: Sequence[Row], lines: dict[str, list[Row]]) -> Table:
    shown = first[:_STEPS]
    by_feature = {table: {r["feature"]: r for r in rows} for table, rows in lines.items()}
    present = [table for table, rows in lines.items() if rows]
    columns = (
        Column("Feature", weight=1.3),
        Column("Value", weight=1.2),
        *(Column(reading.technique(t.partition("/")[2]), "right") for t in present),
    )
    cells = tuple(
        (
            (name(r["feature"]),),
            (muted(REDACTED),) if _shown_value(reading, r) == REDACTED else (name(_shown_value(reading, r)),),
            *(_cell(by_feature[t].get(r["feature"]), share=_shares(reading)) for t in present),
        )
        for r in shown
    )
    note = (
        line(f"The {len(shown)} largest of {len(first)} attributions by the first technique.")
        if len(first) > len(shown)
        else ()
    )
    return Table(id, f"Attributions: {caption}", columns, cells, note, tuple(present))


def _cell(row: Row | None, *, share: bool) -> Content:
    if row is None or row["attribution"] is None:
        return dash()
    shown = num(signed(row["attribution"], row["std_error"], share=share))
    error = "" if row["std_error"] is None else settled(row["std_error"], row["std_error"], share=share)
    return (shown, muted(f" ± {error}")) if error.strip("0.,") else (shown,)
