"""The page of all runs: what each audit came to last, how its checks went over time, and every run with its files.

It is a typed document like the report, and is rendered by the same code: one file, no script, nothing loaded, every
text escaped. Links are relative, so that they work from a folder and from a site.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tasks.errors import one_line
from tasks.history.entries import SIGNATURE, SUMMARY, CheckEntry, Entry
from tasks.report import document as doc
from tasks.report import figures, metric_label, numbers, render_html

Content = doc.Content
Span = doc.Span

#: runs of an audit that are listed and drawn, the newest; and checks that are drawn
LISTED, DRAWN, CHARTS = 1000, 250, 8
_TITLE = 80  # characters of an audit's title
#: verdicts of audits, the worst first
_WORST = ("incomplete", "refused", "not_satisfied", "inconclusive", "satisfied")
_TONES: dict[str, figures.MarkTone] = {"not_satisfied": "bad", "insufficient_data": "unsure"}
_MARKS = "The marks are runs: a dot is in order, a square is not satisfied, a ring could not be judged."
#: files that a run's line links to, by what they are called there
_FILES = {"report.pdf": "PDF", "report.md": "Markdown", SUMMARY: "summary", SIGNATURE: "signature"}


def index_page(entries: Sequence[Entry]) -> bytes:
    """The page as HTML, UTF-8; the same entries give the same bytes.

    Args:
        entries: the newest last.
    """
    return render_html(index_document(entries))


def index_document(entries: Sequence[Entry]) -> doc.Document:
    """The page before it is rendered. Its verdict is the worst to which an audit came last."""
    audits: dict[str, list[Entry]] = {}
    for entry in entries:
        audits.setdefault(entry.name, []).append(entry)
    # The audit that ran last comes first.
    ordered = sorted(audits.values(), key=lambda runs: (runs[-1].run_id, runs[-1].name), reverse=True)
    # One that cannot be read may have been anything.
    latest = [runs[-1].verdict or "inconclusive" for runs in ordered]
    told = [verdict for verdict in _WORST if verdict in latest]
    sections = [_overview(ordered)] if ordered else [_nothing()]
    sections += [_audit(runs, f"audit-{place}") for place, runs in enumerate(ordered, 1)]
    unread = sum(entry.verdict is None for entry in entries)
    facts: list[tuple[str, Content]] = [
        ("Audits", (doc.num(numbers.count(len(ordered))),)),
        ("Runs", (doc.num(numbers.count(len(entries))),)),
    ]
    facts += [("Newest run", doc.line(_moment(entries[-1])))] if entries else []
    facts += [("Cannot be read", (doc.num(numbers.count(unread)),))] if unread else []
    return doc.Document(
        title="Audits and their runs",
        subtitle="History",
        report_id="of all runs",
        date=one_line(entries[-1].generated_at) if entries else "",
        verdict=told[0] if told else "not_evaluated",
        headline=_headline(ordered),
        facts=tuple(facts),
        banners=(),
        sections=tuple(sections),
        closing=doc.line(
            "This page is made anew after each run, of what lies in the folders. It is no evidence: a run’s own report"
            " is, and keras-audit verify checks it."
        ),
    )


def _headline(audits: Sequence[Sequence[Entry]]) -> Content:
    """How many audits came to what, at the latest run of each."""
    if not audits:
        return doc.line("No audit has been run yet.")
    latest = [runs[-1].verdict for runs in audits]
    counted = Counter("cannot be read" if verdict is None else doc.status(verdict).text for verdict in latest)
    if len(audits) == 1:
        cannot = " cannot be read" if latest[0] is None else ""
        return doc.line("The latest run of ", doc.name(audits[0][0].name), f"{cannot}.")
    told = ", ".join(f"{number:,} {words}" for words, number in counted.most_common())
    return doc.line(f"The worst of the latest runs of {len(latest):,} audits: {told}.")


def _nothing() -> doc.Section:
    text = doc.line("There is no run here. Start one with ", doc.code("keras-audit run CONFIG"), ".")
    return doc.Section("overview", "At a glance", (doc.Paragraph(text),))


# ---------------------------------------------------------------- at a glance


def _overview(audits: Sequence[Sequence[Entry]]) -> doc.Section:
    columns = (
        doc.Column("Audit", weight=1.6),
        doc.Column("Latest verdict", weight=1.3),
        doc.Column("Before", weight=1.1),
        doc.Column("Latest run", weight=1.4),
        doc.Column("Model"),
        doc.Column("Runs", "right"),
    )
    rows = tuple(
        (
            (doc.link(runs[-1].name, f"#audit-{place}"), *_titled(runs)),
            _verdict(runs[-1]),
            _verdict(runs[-2]) if len(runs) > 1 else _dash(),
            _when(runs[-1]),
            _model(runs[-1]),
            (doc.num(numbers.count(len(runs))),),
        )
        for place, runs in enumerate(audits, 1)
    )
    table = doc.Table("audits", "Audits, the one that ran last first", columns, rows)
    return doc.Section("overview", "At a glance", (table,))


def _titled(runs: Sequence[Entry]) -> Content:
    title = next((entry.title for entry in reversed(runs) if entry.title), "")
    return (doc.aside(one_line(title, _TITLE)),) if title and title != runs[-1].name else ()


# ---------------------------------------------------------------- an audit


def _audit(runs: Sequence[Entry], id: str) -> doc.Section:
    blocks: list[doc.Block] = [doc.Paragraph(_lead(runs), lead=True)]
    tracked = _tracked(runs)
    if tracked:
        shown = tracked[:CHARTS]
        left = len(tracked) - len(shown)
        note = f"{_MARKS}{_more(left)}"
        panels = tuple(_trend(key, runs) for key in shown)
        blocks.append(doc.Figure(f"{id}-trends", "The policy’s checks over the runs", panels, doc.line(note)))
        blocks.append(_checks(runs, tracked, f"{id}-checks"))
    blocks.append(_runs(runs, f"{id}-runs"))
    return doc.Section(id, runs[-1].name, tuple(blocks))


def _more(left: int) -> str:
    return f" {left:,} more check{'s are' if left > 1 else ' is'} in the table." if left > 0 else ""


def _lead(runs: Sequence[Entry]) -> Content:
    latest, since = runs[-1], runs[0]
    parts: list[str | Span] = ["The latest run, of ", _moment(latest), ", "]
    parts += ["is ", *_verdict(latest)] if latest.verdict else ["cannot be read"]
    if len(runs) > 1:
        parts.append(f"; {len(runs):,} runs since {_moment(since)}")
    unread = sum(entry.verdict is None for entry in runs)
    if unread:
        parts.append(f", {unread:,} of which cannot be read")
    return doc.line(*parts, ".")


_Key = tuple[str | None, ...]


def _tracked(runs: Sequence[Entry]) -> list[_Key]:
    """The checks of the latest run that can be read, those that fail first, otherwise as declared."""
    latest = next((entry for entry in reversed(runs) if entry.checks), None)
    if latest is None:
        return []
    checks = sorted(latest.checks, key=lambda check: check not in latest.failed)
    return list(dict.fromkeys(check.key for check in checks))


def _of(entry: Entry, key: _Key) -> CheckEntry | None:
    return next((check for check in entry.checks if check.key == key), None)


def _check_name(key: _Key) -> str:
    metric, attribute, group, technique, feature = key
    text = metric_label(str(metric))
    text += f" by {attribute}" if attribute else ""
    return text + "".join(f", {part}" for part in (group, feature, technique) if part)


def _trend(key: _Key, runs: Sequence[Entry]) -> figures.Trend:
    found = [(entry, check) for entry in runs if (check := _of(entry, key)) is not None][-DRAWN:]
    moments = tuple(
        figures.Moment(
            check.value,
            _TONES.get(check.verdict, "plain"),
            check.min,
            check.max,
            f"{_moment(entry)}: {_value(check)}, {doc.status(check.verdict).text}",
        )
        for entry, check in found
    )
    latest = found[-1][1]
    words = f"{_value(latest)}, {doc.status(latest.verdict).text}; {_limit(latest)}"
    values = [check.value for _, check in found if check.value is not None]
    reach = f"between {numbers.number(min(values))} and {numbers.number(max(values))}" if values else "undefined"
    told = f"Over {len(found):,} run{'s' if len(found) > 1 else ''}: {reach}. Latest: {words}."
    return figures.Trend(_check_name(key), moments, _day(found[0][0]), _day(found[-1][0]), told, f"Latest: {words}")


def _checks(runs: Sequence[Entry], tracked: Sequence[_Key], id: str) -> doc.Table:
    """Every number of the charts, and what changed."""
    columns = (
        doc.Column("Check", weight=1.8),
        doc.Column("Limit", weight=1.1),
        doc.Column("Latest", "right"),
        doc.Column("Verdict", weight=1.3),
        doc.Column("Before", weight=1.3),
        doc.Column("Least to greatest", weight=1.3),
    )
    rows = []
    for key in tracked:
        found = [check for entry in runs if (check := _of(entry, key)) is not None]
        latest, values = found[-1], [check.value for check in found if check.value is not None]
        before = _dash()
        if len(found) > 1:
            before = (doc.status(found[-2].verdict), doc.aside(_value(found[-2])))
        reach = (
            doc.line(f"{numbers.number(min(values))} to {numbers.number(max(values))}") if len(values) > 1 else _dash()
        )
        rows.append(
            (
                (doc.name(_check_name(key)),),
                doc.line(_limit(latest) or "–"),
                (doc.num(_value(latest)),),
                (doc.status(latest.verdict),),
                before,
                reach,
            )
        )
    return doc.Table(id, f"Policy checks of {runs[-1].name} at its latest run", columns, tuple(rows))


def _runs(runs: Sequence[Entry], id: str) -> doc.Table:
    columns = (
        doc.Column("Run", weight=1.9),
        doc.Column("Verdict", weight=1.3),
        doc.Column("Checks not satisfied", weight=1.8),
        doc.Column("Model", weight=1.1),
        doc.Column("Rows", "right"),
        doc.Column("Files", weight=1.5),
    )
    shown, left = runs[-LISTED:], max(0, len(runs) - LISTED)
    rows = tuple(
        (_called(entry), _verdict(entry), _failed(entry), _model(entry), _rows(entry), _links(entry))
        for entry in reversed(shown)
    )
    note = doc.line(f"{left:,} older runs are left to keras-audit list.") if left else ()
    return doc.Table(id, f"Runs of {runs[-1].name}, the newest first", columns, rows, note)


# ---------------------------------------------------------------- cells


def _called(entry: Entry) -> Content:
    """When it was, leading to its report; its id."""
    words = _moment(entry)
    head = doc.link(words, f"{entry.run}/report.html") if "report.html" in entry.files else Span(words)
    return (head, doc.aside(entry.run_id))


def _verdict(entry: Entry) -> Content:
    if entry.verdict is None:
        return (Span("cannot be read", "status", "bad"), doc.aside(entry.problem))
    missing = f"{entry.missing:,} of what was planned missing" if entry.missing else ""
    return (doc.status(entry.verdict), *((doc.aside(missing),) if missing else ()))


def _failed(entry: Entry) -> Content:
    """The checks to look at, three of them by name."""
    if not entry.failed:
        return _dash()
    parts: list[str | Span] = []
    for check in entry.failed[:3]:
        words = f"{_value(check)}; {_limit(check)}" if _limit(check) else _value(check)
        parts += [doc.name(_check_name(check.key)), doc.aside(words)]
    left = len(entry.failed) - 3
    return doc.line(*parts, *([doc.aside(f"and {left:,} more")] if left > 0 else []))


def _model(entry: Entry) -> Content:
    version = doc.line(f"version {entry.model_version}") if entry.model_version else ()
    digest = (doc.code(entry.model_sha256[:8]),) if entry.model_sha256 else ()
    return (*version, *((Span(" "),) if version and digest else ()), *digest) or _dash()


def _rows(entry: Entry) -> Content:
    return _dash() if entry.rows is None else (doc.num(numbers.count(entry.rows)),)


def _links(entry: Entry) -> Content:
    found = [doc.link(words, f"{entry.run}/{file}") for file, words in _FILES.items() if file in entry.files]
    parts: list[str | Span] = [part for one in found for part in (one, " · ")]
    return doc.line(*parts[:-1]) if found else _dash()


def _value(check: CheckEntry) -> str:
    near = min(
        (bound for bound in (check.min, check.max) if bound is not None),
        key=lambda bound: abs(bound - (check.value or 0.0)),
        default=None,
    )
    return numbers.number(check.value, beside=near)


def _limit(check: CheckEntry) -> str:
    parts = [f"at least {numbers.limit(check.min)}"] if check.min is not None else []
    parts += [f"at most {numbers.limit(check.max)}"] if check.max is not None else []
    return " and ".join(parts)


def _moment(entry: Entry) -> str:
    """When the run ended; where that cannot be read, when it began, by its id."""
    return numbers.moment(entry.generated_at or _began(entry.run_id))


def _when(entry: Entry) -> Content:
    """The day, which is not broken, and the time below it."""
    day, _, time = _moment(entry).partition(", ")
    return (doc.num(day), *((doc.aside(time),) if time else ()))


def _began(run_id: str) -> str:
    """`20261122T101500Z-…` as an ISO time."""
    return f"{run_id[:4]}-{run_id[4:6]}-{run_id[6:11]}:{run_id[11:13]}:{run_id[13:15]}+00:00"


def _day(entry: Entry) -> str:
    """`22 November 2026`, of an axis."""
    return _moment(entry).partition(",")[0][:24]


def _dash() -> Content:
    return (doc.muted("–"),)
