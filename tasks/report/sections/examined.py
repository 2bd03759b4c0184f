"""What was examined, and what was not."""

from __future__ import annotations

from typing import Any

from tasks.contracts import Failed, NotApplicable
from tasks.report.document import (
    Block,
    Bullets,
    Column,
    Content,
    Facts,
    Paragraph,
    Section,
    Span,
    Table,
    code,
    line,
    name,
    num,
    said,
    status,
)
from tasks.report.numbers import NOT_GIVEN, count
from tasks.report.reading import Reading
from tasks.report.words import metric_label

_COLUMNS_SHOWN = 40

#: texts of a model card that are shown
_CARD = {
    "predicts": "Predicts",
    "intended_use": "Intended use",
    "architecture": "Architecture",
    "training": "Training",
}


def examined(reading: Reading) -> Section:
    parts = (
        Section("subject-model", "The model", _model(reading)),
        Section("subject-data", "The data", _data(reading)),
        Section("not-examined", "What was not examined", _not_examined(reading)),
    )
    return Section("examined", "What was examined, and what was not", sections=parts)


def listed(items: Any, *, limit: int = _COLUMNS_SHOWN) -> Content:
    """Names, separated by commas."""
    items = list(items)
    parts: list[Span | str] = []
    for item in items[:limit]:
        parts += [name(item), ", "]
    parts = parts[:-1]
    if len(items) > limit:
        parts.append(f" and {len(items) - limit:,} more")
    return line(*parts) if parts else line("none")


def _model(reading: Reading) -> tuple[Block, ...]:
    fact = {
        k: reading.record.fact("load_model", k) for k in ("path", "version", "sha256", "format", "takes", "features")
    }
    if fact["sha256"] is None:
        return (Paragraph((said(reading.why_absent("load_model")),)),)
    model = reading.config.model
    card = reading.record.fact("load_model", "card", {})
    pairs: list[tuple[str, Content]] = [
        ("File", (name(fact["path"]),)),
        (
            "Version",
            line(num(str(fact["version"])) if fact["version"] is not None else "none: no version folders"),
        ),
        ("SHA-256", (code(fact["sha256"]),)),
        ("Task", line(model.task)),
        ("Parameters", (num(count(reading.record.fact("load_model", "parameters"))),)),
    ]
    if reading.record.fact("load_model", "preprocessor"):
        digest = reading.record.fact("load_model", "preprocessor_sha256")
        pairs.append(("Preprocessor", (name(reading.record.fact("load_model", "preprocessor")),)))
        pairs.append(("Preprocessor’s SHA-256", (code(digest),) if digest else line("none: it is code, not a file")))
    if fact["features"]:
        pairs.append(("Features", listed(fact["features"])))
    if model.classes:
        pairs.append(("Classes", listed(model.classes)))
    told = {key: card.get(key) for key in _CARD} if isinstance(card, dict) else {}
    pairs += [(f"{_CARD[key]} (model card)", (said(text),)) for key, text in told.items() if isinstance(text, str)]
    blocks: list[Block] = [Facts(tuple(pairs))]
    limits = card.get("limits") if isinstance(card, dict) else None
    if isinstance(limits, list) and limits:
        blocks.append(Paragraph(line("The model card states these limits:")))
        blocks.append(Bullets(tuple((said(text),) for text in limits[:20])))
    elif not card:
        blocks.append(Paragraph(line("The model has no card: its maker states neither purpose nor limits.")))
    return tuple(blocks)


def _data(reading: Reading) -> tuple[Block, ...]:
    data = reading.record.fact("load_data", "data")
    if not data:
        return (Paragraph((said(reading.why_absent("load_data")),)),)
    config = reading.config
    reference = reading.record.fact("load_data", "reference")
    pairs: list[tuple[str, Content]] = [
        ("Audited data", (name(data.get("path", config.data.path)),)),
        ("Rows", (num(count(data.get("rows"))),)),
        ("SHA-256", (code(data.get("sha256", NOT_GIVEN)),)),
    ]
    if data.get("columns"):
        pairs.append(("Columns", listed(c["name"] if isinstance(c, dict) else c for c in data["columns"])))
    if reference:
        pairs += [
            ("Reference data", (name(reference.get("path", config.data.reference)),)),
            ("Rows of the reference", (num(count(reference.get("rows"))),)),
            ("Reference’s SHA-256", (code(reference.get("sha256", NOT_GIVEN)),)),
        ]
    else:
        pairs.append(("Reference data", line("none was given: background rows come from the audited data")))
    pairs.append(("Target", (name(config.data.target.column),)))
    if reading.favorable:
        pairs.append(("Favourable outcome", listed(reading.favorable)))
    if reading.positive and reading.positive != reading.favorable:
        pairs.append(("Positive outcome", listed(reading.positive)))
    pairs.append(("Decision", line(_decision(reading))))
    if config.data.weight:
        pairs.append(("Weights", (name(config.data.weight),)))
    attributes = listed(reading.attributes) if reading.attributes else line("none declared")
    pairs.append(("Groups compared by", attributes))
    return (Facts(tuple(pairs)),)


def _decision(reading: Reading) -> str:
    rule = reading.config.bias.decision
    if rule.column:
        return f"as recorded in the column {rule.column}"
    if rule.top_k:
        return f"the {rule.top_k:,} highest scores of the favourable outcome"
    if rule.favorable_when:
        return f"favourable when the value is {rule.favorable_when}"
    if reading.config.model.task == "binary":
        return f"score of at least {0.5 if rule.threshold is None else rule.threshold:g}"
    return "the class with the highest score" if reading.config.model.task == "multiclass" else "none: a regression"


def _not_examined(reading: Reading) -> tuple[Block, ...]:
    left = [r for r in reading.record.results if isinstance(r, Failed | NotApplicable)]
    blocks: list[Block] = []
    if left:
        rows = tuple(
            (
                line(reading.stage_title(r.stage)),
                (status("not_applicable" if isinstance(r, NotApplicable) else _state(r)),),
                (said(r.reason),),
            )
            for r in left
        )
        columns = (Column("Planned", weight=1.2), Column("State"), Column("Why", weight=3))
        blocks.append(Table("left-undone", "Planned, and not done", columns, rows))
    else:
        blocks.append(Paragraph(line("Everything that was planned was done.")))
    absent = reading.record.fact("bias", "not_applicable", [])
    if absent:
        metrics = tuple((line(", ".join(metric_label(m) for m in a["metrics"])), (said(a["reason"]),)) for a in absent)
        blocks.append(
            Table(
                "left-metrics",
                "Metrics that do not apply",
                (Column("Metrics", weight=2), Column("Why")),
                metrics,
            )
        )
    blocks.append(Paragraph(line("No audit of this kind examines the following, and this one did not either:")))
    blocks.append(
        Bullets(
            (
                line("how the data were collected, and whether labels and groups were recorded rightly;"),
                line("how people use the model’s output, and what follows from it for those concerned;"),
                line("rows and groups that the audited data do not contain;"),
                line("whether another model or another process would treat people better."),
            )
        )
    )
    return tuple(blocks)


def _state(failed: Failed) -> str:
    return "not_reached" if failed.code == "not_reached" else "failed"
