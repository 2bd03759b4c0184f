"""Performance over all rows: metrics with intervals, decisions against labels, scores and their calibration."""

from __future__ import annotations

from tasks.report.document import (
    Block,
    Column,
    Figure,
    Paragraph,
    Section,
    Table,
    line,
    muted,
    name,
    num,
    said,
    status,
)
from tasks.report.figures import Calibration, Histogram, Strip
from tasks.report.numbers import count, fraction, interval, limit, number
from tasks.report.reading import Reading, Row
from tasks.report.scores import Scores, scores_of
from tasks.report.sections.policy_marks import decision_threshold
from tasks.report.sections.shared import checks_on, dash, left_out, limit_text, nearest_bound, top, unsure
from tasks.report.words import method_label, metric_label

_CLASSES = 12  # a matrix of more classes is read by nobody
_OUTPUTS = 12


def performance(reading: Reading) -> Section:
    overall = [r for r in reading.group_metrics if r["attribute"] is None]
    blocks: list[Block] = []
    whole = [r for r in overall if r["output"] is None]
    if whole:
        blocks.append(_metrics(reading, whole))
    blocks += _by_output(reading, [r for r in overall if r["output"] is not None])
    scores = scores_of(reading)
    if not blocks and scores is None:
        return Section("performance", "Performance", (Paragraph((said(reading.why_absent("bias")),)),))
    if not blocks:
        blocks.append(Paragraph((said(f"No metric was computed. {reading.why_absent('bias')}"),)))
    if scores is not None:
        blocks += _score_blocks(reading, scores)
    return Section("performance", "Performance", tuple(blocks))


def _metrics(reading: Reading, rows: list[Row]) -> Table:
    columns = (
        Column("Metric", weight=1.5),
        Column("Value", "right"),
        Column("Interval", weight=1.2),
        Column("Counts or sums", weight=1.3),
        Column("Method", weight=1.1),
        Column("Policy", weight=1.2),
    )
    cells = []
    for row in rows:
        checks = checks_on(reading.checks, None, row["metric"])
        state = row["status"] or "ok"
        beside = nearest_bound(row["value"], checks[0]) if checks else None
        judged = tuple(span for c in checks for span in (status(str(c["verdict"])), muted(f" {limit_text(c)}")))
        reason = (muted(f" {row['reason']}"),) if row["reason"] and state != "ok" else ()
        cells.append(
            (
                line(metric_label(row["metric"])),
                (num(number(row["value"], beside=beside)),) if state == "ok" else (*unsure(row), *reason),
                (num(interval(row["ci_low"], row["ci_high"])),),
                (num(fraction(row["numerator"], row["denominator"])),),
                line(method_label(row["method"])),
                judged or dash(),
            )
        )
    return Table("overall", "Over all rows", columns, tuple(cells), sources=("group_metrics",))


def _by_output(reading: Reading, rows: list[Row]) -> list[Block]:
    """Each class against the rest: a row an output, a column a metric."""
    outputs = list(dict.fromkeys(r["output"] for r in rows))
    metrics = list(dict.fromkeys(r["metric"] for r in rows))[:7]
    if not outputs:
        return []
    found = {(r["output"], r["metric"]): r for r in rows}
    shown, more = top(outputs, _OUTPUTS)
    cells = []
    for output in shown:
        values = []
        for metric in metrics:
            row = found.get((output, metric))
            if row is None:
                values.append(dash())
            elif (row["status"] or "ok") == "ok":
                values.append((num(number(row["value"])),))
            else:
                values.append(unsure(row))
        cells.append(((name(output),), *values))
    columns = (Column("Output", weight=1.3), *(Column(metric_label(m), "right") for m in metrics))
    table = Table(
        "per-output",
        "Each output against the rest",
        columns,
        tuple(cells),
        left_out(more, "outputs"),
        ("group_metrics",),
    )
    return [table]


def _score_blocks(reading: Reading, scores: Scores) -> list[Block]:
    blocks: list[Block] = []
    if scores.confusion:
        blocks.append(_confusion(scores))
    if scores.strips:
        threshold = decision_threshold(reading)
        panels: list[Histogram | Calibration] = [
            Histogram(
                title=f"Scores of {scores.output}" if scores.is_probability else "Predicted values",
                edges=scores.edges,
                strips=tuple(Strip(s.label, f"{s.rows:,} rows", s.counts) for s in scores.strips),
                limit=threshold,
                limit_text="" if threshold is None else f"decision from {limit(threshold)}",
                description="How scores are distributed among the rows of each label: "
                + "; ".join(f"{s.label}: {s.rows:,} rows" for s in scores.strips)
                + ".",
            )
        ]
        points = tuple((b.score, b.share, b.low, b.high) for b in scores.bins if b.rows)
        if points:
            panels.append(
                Calibration(
                    title="Calibration",
                    points=points,
                    description="Share of rows that came true for each bin of scores, with its interval; the dotted"
                    " diagonal is a score that means what it says. The values are in the table below.",
                )
            )
        blocks.append(
            Figure(
                "score-figure",
                "Scores",
                tuple(panels),
                line("Each strip is scaled to its own highest bar."),
                ("predictions",),
            )
        )
    if scores.bins:
        blocks.append(_calibration(scores))
    return blocks


def _confusion(scores: Scores) -> Table:
    """Decisions against labels, in counts."""
    if len(scores.classes) <= _CLASSES:
        columns = (
            Column("Label"),
            *(Column(f"decided {c}", "right") for c in scores.classes),
            Column("rows", "right"),
        )
        rows = tuple(
            (
                (name(label),),
                *((num(count(scores.confusion.get((label, decided), 0))),) for decided in scores.classes),
                (num(count(sum(n for (truth, _), n in scores.confusion.items() if truth == label))),),
            )
            for label in scores.classes
        )
        return Table("confusion", "Labels and decisions, in rows", columns, rows, sources=("predictions",))
    wrong = sorted(((n, t, d) for (t, d), n in scores.confusion.items() if t != d), key=lambda e: (-e[0], e[1], e[2]))
    shown, more = top(wrong)
    rows = tuple(((name(truth),), (name(decided),), (num(count(n)),)) for n, truth, decided in shown)
    columns = (Column("Label"), Column("Decided"), Column("Rows", "right"))
    return Table(
        "confusion",
        "The most frequent errors",
        columns,
        rows,
        left_out(more, "kinds of error"),
        ("predictions",),
    )


def _calibration(scores: Scores) -> Table:
    columns = (
        Column("Scores"),
        Column("Rows", "right"),
        Column("Mean score", "right"),
        Column("Share that came true", "right"),
        Column("Interval"),
    )
    rows = tuple(
        (
            line(f"{limit(b.left)} to {limit(b.right)}"),
            (num(count(b.rows)),),
            (num(number(b.score)),) if b.rows else dash(),
            (num(number(b.share)),) if b.rows else (status("undefined"),),
            (num(interval(b.low, b.high)),) if b.rows else dash(),
        )
        for b in scores.bins
    )
    note = line("Wilson intervals at the confidence of the audit.")
    return Table("calibration", f"Calibration of {scores.output}", columns, rows, note, ("predictions",))
