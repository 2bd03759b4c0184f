"""Principal reasons: why decisions were adverse, how often for which reason, and what those concerned would be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from tasks.contracts import Done
from tasks.report.document import (
    Block,
    Bullets,
    Callout,
    Column,
    Content,
    Facts,
    Paragraph,
    Section,
    Span,
    Table,
    code,
    line,
    link,
    name,
    num,
    said,
)
from tasks.report.numbers import count, percent
from tasks.report.persons import REDACTED, hidden_features, row_label
from tasks.report.reading import Reading, Row
from tasks.report.sections.shared import left_out, plural, top
from tasks.report.sections.single import outcome_shown

#: single decisions whose letter is printed, as far as `report.rows` allows
EXAMPLES = 2
#: changes of a decision that are printed
CHANGES = 3
_METHOD = (
    "A reason is what a feature, or several together, contributed to the model’s margin against the favourable outcome:"
    " its Shapley value against those with whom the decision is compared. The largest come first; none is left out for"
    " being protected."
)


def reasons(reading: Reading) -> Section:
    """Always there: where no reasons were stated it says why."""
    title = "Principal reasons"
    result = reading.record.result("reasons")
    if not isinstance(result, Done) or reading.artifact("reason_codes") is None:
        return Section("reasons", title, (Paragraph((said(reading.why_absent("reasons")),)),))
    facts = result.facts
    stated, adverse = int(facts.get("stated", 0)), int(facts.get("adverse", 0))
    whole = "for all of them" if stated == adverse else f"for a random sample of {stated:,}"
    lead = f"{plural(adverse, 'decision is', 'decisions are')} adverse; principal reasons are stated {whole}."
    if not adverse:
        lead = "No decision is adverse: there is nothing to state reasons for."
    blocks: list[Block] = [Paragraph(line(lead), lead=True), Paragraph(line(_METHOD)), _basis(facts)]
    if stated:
        blocks.append(_by_code(reading, stated))
        blocks.append(_protected(reading, facts, stated))
    sections = [part for part in (_changes(reading, facts, stated), _examples(reading, facts)) if part is not None]
    return Section("reasons", title, tuple(blocks), tuple(sections))


def _basis(facts: Mapping[str, Any]) -> Facts:
    """What the reasons rest on: the comparison, its digest, codes and estimator."""
    compared = f"{facts.get('background', '')} ({plural(int(facts.get('background_rows', 0)), 'row', 'rows')})"
    pairs: list[tuple[str, Content]] = [
        ("Compared with", line(compared)),
        ("Digest of these rows", (code(facts.get("background_sha256", "")),)),
        ("Reasons of a decision", line(f"{facts.get('most')} at most")),
    ]
    if facts.get("language_sha256"):
        pairs += [
            ("Codes and texts", line("version ", name(facts["codes_version"]), ", in ", name(facts["language"]))),
            ("Language file", (code(facts["language_path"]), *line(", SHA-256 "), code(facts["language_sha256"]))),
        ]
    else:
        pairs.append(("Codes and texts", line("made from the names of features; no language file is given")))
    unsettled = int(facts.get("unsettled", 0))
    told = "beyond the error of estimation in every decision"
    if unsettled:
        told = f"within the error of estimation in {plural(unsettled, 'decision', 'decisions')}"
    pairs.append(("Order of the reasons", line(told)))
    return Facts(tuple(pairs))


def _by_code(reading: Reading, stated: int) -> Table:
    """Reasons by how many decisions name them."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    named: Counter[tuple[str, str]] = Counter()
    first: Counter[tuple[str, str]] = Counter()
    with pq.ParquetFile(reading.workspace.table_path("reason_codes")) as file:
        for group in range(file.num_row_groups):  # a row group at a time: a table may have millions of lines
            part = file.read_row_group(group, ["rank", "code", "text"])
            part = part.append_column("first", pc.cast(pc.equal(part["rank"], 1), "int64"))
            counts = part.group_by(["code", "text"]).aggregate([("rank", "count"), ("first", "sum")])
            for row in counts.to_pylist():
                named[row["code"], row["text"]] += row["rank_count"]
                first[row["code"], row["text"]] += row["first_sum"]
    counted = sorted(named, key=lambda key: (-named[key], key))
    shown, more = top(counted)
    columns = (
        Column("Code"), Column("Reason", weight=2.4), Column("Decisions", "right"),
        Column("Of all", "right"), Column("As the first reason", "right"),
    )  # fmt: skip
    rows = tuple(
        (
            (name(key[0]),),
            (name(key[1]),),
            (num(count(named[key])),),
            (num(percent(named[key] / stated)),),
            (num(percent(first[key] / stated)),),
        )
        for key in shown
    )
    caption = "Principal reasons by how many adverse decisions name them"
    return Table("reasons-table", caption, columns, rows, left_out(more, "reasons"), ("reason_codes",))


def _protected(reading: Reading, facts: Mapping[str, Any], stated: int) -> Block:
    """Sensitive attributes among the reasons, and what stands for one; a callout where there are any."""
    protected = dict(facts.get("protected") or {})
    found = reading.record.fact("policy", "reasons", None) or {}
    proxies, of = dict(found.get("proxies") or {}), dict(found.get("of") or {})
    items: list[Content] = [
        line(
            name(column), ", a sensitive attribute, is a principal reason of ", num(count(n)), f" of {stated:,}",
            " decisions.",
        )
        for column, n in sorted(protected.items(), key=lambda item: (-item[1], item[0]))
    ]  # fmt: skip
    shown, more = top(sorted(proxies.items(), key=lambda item: (-item[1], item[0])), 10)
    for column, n in shown:
        stands = _joined(of.get(column, []))
        items.append(
            line(
                name(column), ", a strong proxy of ", *stands, ", is a principal reason of ", num(count(n)),
                f" of {stated:,} decisions.",
            )
        )  # fmt: skip
    if more:
        items.append(line(f"{plural(more, 'further proxy is', 'further proxies are')} a principal reason of some."))
    if not items:
        sensitive = bool(reading.config.data.sensitive)
        none = "No sensitive attribute is among the principal reasons" if sensitive else "No attribute is declared"
        told = ", and no strong proxy of one." if sensitive and found else " as sensitive." if not sensitive else "."
        return Paragraph(line(none + told))
    return Callout("Protected attributes among the principal reasons", "bad" if protected else "unsure", tuple(items))


def _joined(names: Sequence[str]) -> list[Span | str]:
    """`sex, race and age`."""
    parts: list[Span | str] = []
    for place, one in enumerate(names):
        parts += [" and " if place == len(names) - 1 else ", "] if place else []
        parts.append(name(one))
    return parts


# ---------------------------------------------------------------- what would alter the result


def _changes(reading: Reading, facts: Mapping[str, Any], stated: int) -> Section | None:
    """For how many decisions a change of the changeable features would alter the result."""
    told = facts.get("changeable")
    if not told or reading.artifact("counterfactuals") is None or not stated:
        return None
    import pyarrow.compute as pc

    table = reading.table("counterfactuals", columns=["feature", "crosses"], filters=pc.field("crosses"))
    assert table is not None
    counted = {
        r["feature"]: r["feature_count"]
        for r in table.group_by("feature").aggregate([("feature", "count")]).to_pylist()
    }
    shown, more = top(sorted(told["features"].items(), key=lambda item: (-counted.get(item[0], 0), item[0])))
    columns = (
        Column("Feature", weight=1.5),
        Column("What was tried", weight=2.4),
        Column("Part of a change in", "right"),
    )
    rows = tuple(((name(feature),), (said(tried),), (num(f"{counted.get(feature, 0):,}"),)) for feature, tried in shown)
    lead = (
        f"Of {plural(stated, 'decision', 'decisions')}, {told['one']:,} would be favourable after a change of one of"
        f" the features that the config marks as changeable, {told['two']:,} more after a change of two, and for"
        f" {told['none']:,} none was found. Each change was put to the model. It is what the model would answer to: no"
        " promise of a decision, and no advice."
    )
    made = Table(
        "changes-table", "Features that may change", columns, rows, left_out(more, "features"), ("counterfactuals",)
    )
    return Section("reasons-changes", "What change would alter the result", (Paragraph(line(lead)), made))


# ---------------------------------------------------------------- examples


def _examples(reading: Reading, facts: Mapping[str, Any]) -> Section | None:
    """The reasons, letter and changes of one or two decisions, as far as `report.rows` lets a report print them."""
    most = min(EXAMPLES, reading.config.report.rows.show)
    title = "Examples"
    if not facts.get("stated"):
        return None
    if not most:
        text = "The config lets the report print no single row (report.rows.show is 0)."
        return Section("reasons-examples", title, (Paragraph(line(text)),))
    blocks: list[Block] = []
    for number, (row_id, lines) in enumerate(_first_decisions(reading, most), 1):
        blocks += _example(reading, facts, number, row_id, lines)
    if blocks and facts.get("letter"):
        blocks.append(Paragraph(line("All letters are in the table ", link("letters", _path(reading)), ".")))
    return Section("reasons-examples", title, tuple(blocks)) if blocks else None


def _first_decisions(reading: Reading, most: int) -> list[tuple[Any, list[Row]]]:
    """The first decisions of the table, each with its reasons."""
    import pyarrow.parquet as pq

    found: list[tuple[Any, list[Row]]] = []
    with pq.ParquetFile(reading.workspace.table_path("reason_codes")) as file:
        for batch in file.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                if row["rank"] == 1:
                    if len(found) == most:
                        return found
                    found.append((row["row_id"], []))
                found[-1][1].append(row)
    return found


def _example(reading: Reading, facts: Mapping[str, Any], number: int, row_id: Any, lines: Sequence[Row]) -> list[Block]:
    label = row_label(reading, row_id)
    called = name(label) if label != REDACTED else name(f"{number}, its id not shown")
    changes = _changes_of(reading, row_id)
    blocks: list[Block] = [Paragraph(line("Row ", called, ", the principal reasons:"))]
    items = [line(name(r["text"]), " (", name(r["code"]), ")") for r in lines]
    blocks.append(Bullets(tuple(items)))
    if changes:
        blocks += [Paragraph(line("What change would alter the result:")), Bullets(tuple((said(c),) for c in changes))]
    if facts.get("letter"):
        letter = _letter(reading, facts["letter"], label, lines, changes)
        paragraphs = [part for part in letter.split("\n") if part.strip()]
        blocks.append(Callout("The letter", "plain", tuple((name(part),) for part in paragraphs), bullets=False))
    return blocks


def _path(reading: Reading) -> str:
    found = reading.artifact("letters")
    return "" if found is None else found.path


def _letter(reading: Reading, template: str, label: str, lines: Sequence[Row], changes: Sequence[str]) -> str:
    """The letter anew, with the row called as the report calls it: the table's own has the id."""
    from tasks.reasons import letter

    decision, _ = outcome_shown(reading, _decided(reading, lines[0]["row_id"]))
    return letter(
        Template(template), row_id=label, audit=reading.title, decision=decision or REDACTED,
        reasons=[r["text"] for r in lines], changes=changes,
    )  # fmt: skip


def _decided(reading: Reading, row_id: Any) -> Row | None:
    read = reading.table("predictions", filters=[("row_id", "=", row_id)])
    rows = [] if read is None else read.to_pylist()
    return rows[-1] if rows else None


def _changes_of(reading: Reading, row_id: Any) -> list[str]:
    """Sentences on what would alter a decision; values of redacted columns are not printed."""
    if reading.artifact("counterfactuals") is None:
        return []
    read = reading.table("counterfactuals", filters=[("row_id", "=", row_id)])
    hidden = hidden_features(reading.config)
    sentences: dict[int, str] = {}
    for row in [] if read is None else read.to_pylist():
        if row["feature"] in hidden:
            sentences[row["rank"]] = f"A change of {row['feature']}, whose values are not printed."
        else:
            sentences.setdefault(row["rank"], row["text"])
    return [sentences[rank] for rank in sorted(sentences)][:CHANGES]
