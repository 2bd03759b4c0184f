"""Model card: the nine parts of Mitchell et al., Model Cards for Model Reporting, FAT* 2019, filled from the run.

What a run cannot know (purpose, owner, training, ethics) is taken from report.attestations; what the card beside the
model says is shown as its maker's word, and satisfies nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.schema import CROSSING
from tasks.report.document import Column, Content, Table, aside, code, line, muted, name, num, said, status
from tasks.report.numbers import count, fraction, interval, moment, number
from tasks.report.regulations.base import Control, Findings, Pack, is_unknown
from tasks.report.regulations.evidenced import (
    Ruling,
    absent,
    attestation,
    control,
    groups_counted,
    performance,
    performance_by_group,
    performance_row,
    some,
    stated,
    together,
)
from tasks.report.regulations.evidenced_data import data_identified, gate_passed, identified
from tasks.report.words import metric_label

if TYPE_CHECKING:
    from tasks.report.reading import Reading, Row

#: metrics over all rows that are shown, where the run has them
_METRICS = (
    "accuracy", "balanced_accuracy", "true_positive_rate", "false_positive_rate", "precision", "selection_rate",
    "roc_auc", "brier_score", "expected_calibration_error", "mean_absolute_error", "root_mean_squared_error",
    "mean_error", "r2",
)  # fmt: skip
_GROUPS = 40
_CAVEATS = 20
#: beside how good predictions are, of each group
_BESIDE = ("selection_rate", "true_positive_rate", "false_positive_rate", "mean_error")
_CARD = {
    "predicts": "Predicts",
    "intended_use": "Intended use",
    "training": "Training",
    "architecture": "Architecture",
    "licence": "Licence",
}


def judge(reading: Reading) -> Findings:
    """A control a part, and the card's tables."""
    tables = (
        _details(reading),
        _metrics(reading),
        _groups(reading, crossed=False),
        _groups(reading, crossed=True),
        _caveats(reading),
    )
    return Findings(_parts(reading), tuple(table for table in tables if table.rows))


def _parts(reading: Reading) -> tuple[Control, ...]:
    return (
        stated(
            reading, "model-card-details", "1 Model details", "Who made which model, in which version, and when.",
            "owner", "Its owner is not recorded.", beside=identified(reading), source="M",
        ),
        stated(
            reading, "model-card-use", "2 Intended use", "What it is for, for whom, and what it is not for.",
            "intended_use", _intended(reading), source="M",
        ),
        control(
            reading, "model-card-factors", "3 Factors", "Groups and conditions under which it may fare differently.",
            groups_counted(reading), source="M",
        ),
        control(
            reading, "model-card-metrics", "4 Metrics", "How good it is, from which decision, and how sure that is.",
            performance(reading), source="M",
        ),
        control(
            reading, "model-card-evaluation", "5 Evaluation data", "Data it was evaluated on, and their state.",
            together(identified(reading), gate_passed(reading)), source="M",
        ),
        stated(
            reading, "model-card-training", "6 Training data", "Data it was trained on.", "training_data",
            "Whether these are the data of its training is not recorded.", beside=data_identified(reading), source="M",
        ),
        control(
            reading, "model-card-unitary", "7 Quantitative analyses, unitary", "Results for each group.",
            performance_by_group(reading, crossed=False), source="M",
        ),
        control(
            reading, "model-card-intersectional", "7 Quantitative analyses, intersectional",
            "Results for crossings of groups.", performance_by_group(reading, crossed=True), source="M",
        ),
        stated(
            reading, "model-card-ethics", "8 Ethical considerations", "Lives and data that it touches; risks weighed.",
            "ethical_considerations", "They are not recorded.", source="M",
        ),
        control(
            reading, "model-card-caveats", "9 Caveats and recommendations", "What else a user has to know.",
            _caveats_told(reading), source="M",
        ),
    )  # fmt: skip


def _intended(reading: Reading) -> str:
    card = reading.record.fact("load_model", "card", {})
    told = isinstance(card, dict) and isinstance(card.get("intended_use"), str)
    return "Its maker’s card names a use, which nobody attests." if told else "Its intended use is not recorded."


def _caveats_told(reading: Reading) -> Ruling:
    limits, findings = len(reading.limitations), len(reading.findings)
    if not reading.group_metrics:
        return Ruling("insufficient_data", f"Too little was measured to know them. {absent(reading, 'bias')}")
    why = f"{some(limits, 'limitation')} and {some(findings, 'finding')} of this run are told."
    return Ruling("satisfied", why, ("group_metrics", "validation", "explanation_quality"))


# ---------------------------------------------------------------- tables


def _details(reading: Reading) -> Table:
    """What identifies the model, what people attest of it, and what the card beside it says."""
    fact, config = reading.record.fact, reading.config
    version, digest = fact("load_model", "version"), fact("load_model", "sha256")
    rows: list[tuple[Content, Content, Content]] = [
        (line("Model"), (name(fact("load_model", "path", config.model.path)),), line("run")),
        (line("Version"), (num(str(version)),) if version is not None else (muted("none"),), line("run")),
        (line("SHA-256"), (code(digest),) if digest else (muted("not known"),), line("run")),
        (line("Task"), line(config.model.task), line("config")),
        (line("Audited"), line(moment(reading.record.finished)), line("run")),
    ]
    for topic, label in (("owner", "Owner"), ("intended_use", "Intended use"), ("training_data", "Training data")):
        given = attestation(reading, topic)
        rows.append(
            (
                line(label),
                (said(given.statement),) if given else (status("human_required", "to be supplied"),),
                line("attested" if given else f"report.attestations.{topic}"),
            )
        )
    card = fact("load_model", "card", {})
    told = card if isinstance(card, dict) else {}
    rows += [
        (line(label), (said(told[key]),), line("the maker’s card"))
        for key, label in _CARD.items()
        if isinstance(told.get(key), str)
    ]
    columns = (Column("What"), Column("Value", weight=2.4), Column("From"))
    return Table("model-card-details", "Model card: details and use", columns, tuple(rows))


def _metrics(reading: Reading) -> Table:
    """The main metrics over all rows with their intervals."""
    overall = [r for r in reading.group_metrics if r["attribute"] is None and r["output"] is None]
    found = {r["metric"]: r for r in overall}
    rows = [found[metric] for metric in _METRICS if metric in found]
    # What stands behind a mean of rates, or a mean of scores, is no count of rows.
    cells = tuple(
        (
            line(metric_label(r["metric"])),
            _value(r),
            (num(fraction(r["numerator"], r["denominator"]) if r["method"] == "wilson" else "–"),),
        )
        for r in rows
    )
    note = line("At the confidence of the audit. All metrics are under Performance.")
    columns = (Column("Metric", weight=1.5), Column("Value and interval"), Column("Counts", "right"))
    return Table("model-card-metrics", "Model card: metrics", columns, cells, note, ("group_metrics",))


def _groups(reading: Reading, *, crossed: bool) -> Table:
    """Results by group: how good predictions are, and how often which outcome."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in reading.group_metrics:
        attribute, group = row["attribute"], row["group"]
        if attribute is None or group is None or row["output"] is not None or (CROSSING in attribute) is not crossed:
            continue
        found.setdefault((attribute, group), {})[row["metric"]] = row
    best = performance_row(reading)
    wanted = [*([best["metric"]] if best else []), *_BESIDE]
    metrics = [m for m in dict.fromkeys(wanted) if any(m in rows for rows in found.values())]
    cells = tuple(
        (
            (name(group), *((muted(" not known"),) if is_unknown(group) else ())),
            (name(attribute),),
            (num(count(max(r["n"] or 0 for r in rows.values()))),),
            *(_value(rows[m]) if m in rows else (muted("–"),) for m in metrics),
        )
        for (attribute, group), rows in list(found.items())[:_GROUPS]
    )
    kind = "intersectional" if crossed else "unitary"
    columns = (
        Column("Group", weight=1.3),
        Column("Attribute"),
        Column("Rows", "right"),
        *(Column(metric_label(m)) for m in metrics),
    )
    left = len(found) - len(cells)
    note = line(f"{some(left, 'more group is', 'more groups are')} in the table.") if left else ()
    return Table(f"model-card-{kind}", f"Model card: {kind} results", columns, cells, note, ("group_metrics",))


def _value(row: Row) -> Content:
    """A value with its interval; the word for why it is not to be judged."""
    if (row["status"] or "ok") != "ok":
        return (status(row["status"]),)
    spread = interval(row["ci_low"], row["ci_high"])
    return (num(number(row["value"])), *(() if spread == "–" else (aside(spread),)))


def _caveats(reading: Reading) -> Table:
    """Limits that the run found, and those that the card beside the model states."""
    card = reading.record.fact("load_model", "card", {})
    limits = card.get("limits") if isinstance(card, dict) else None
    told = [text for text in limits if isinstance(text, str)] if isinstance(limits, list) else []
    rows = [(line("run"), (said(sentence),)) for _, sentence in reading.limitations]
    rows += [(line("the maker’s card"), (said(text),)) for text in told]
    left = len(rows) - _CAVEATS
    note = line(f"{some(left, 'more is', 'more are')} under Limits and What was examined.") if left > 0 else ()
    columns = (Column("From", weight=0.6), Column("Caveat", weight=3))
    return Table("model-card-caveats", "Model card: caveats", columns, tuple(rows[:_CAVEATS]), note)


PACK = Pack(
    id="model_card",
    title="Model card",
    legal_status="Not a law: a form by Mitchell et al., 2019.",
    source="M",
    judge=judge,
)
