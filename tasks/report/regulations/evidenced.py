"""What several packs ask of a run: a status by rule, the sentence with its numbers, and the tables that show it.

A `Ruling` speaks of the run alone. `control` makes a control of it; `stated` makes one that a person must state too,
whose status is never better than either part. Nothing here says that a law is kept: "satisfied" is that the evidence is
there, and that no rule of the user's own policy is broken by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from configs.schema import CROSSING
from tasks.contracts import NotApplicable, Verdict
from tasks.report.numbers import count, fraction, interval, number
from tasks.report.reading import upper_first
from tasks.report.regulations.base import (
    Attestation,
    Control,
    SourceClass,
    attestations,
    attested,
    is_unknown,
    pointers,
)
from tasks.report.words import metric_label

if TYPE_CHECKING:
    from tasks.report.reading import Reading, Row

#: of two parts of a control the worse decides: the first of these that either has
_WORST_FIRST: tuple[Verdict, ...] = (
    "not_satisfied", "insufficient_data", "human_required", "satisfied", "not_applicable",
)  # fmt: skip
#: how good predictions are, told by the first of these that the run has
_PERFORMANCE = ("accuracy", "balanced_accuracy", "mean_absolute_error", "root_mean_squared_error", "r2")
_ERRORS = ("mean_absolute_error", "root_mean_squared_error")
_LONGEST = 40  # characters of a name from the data in a sentence
_NAMED = 3  # names in a sentence


@dataclass(frozen=True)
class Ruling:
    """How the run stands to a question.

    Attributes:
        why: a sentence, with the numbers that the status rests on; may hold names from the data.
        tables: that show it; those that the run lacks are left out.
    """

    status: Verdict
    why: str
    tables: tuple[str, ...] = ()


def control(
    reading: Reading,
    id: str,
    clause: str,
    ask: str,
    ruling: Ruling,
    *,
    source: SourceClass = "P",
    legal_status: str | None = None,
) -> Control:
    """A control that the run alone answers; without any of its tables it is never satisfied."""
    evidence = pointers(reading, *ruling.tables)
    status: Verdict = "insufficient_data" if ruling.status == "satisfied" and not evidence else ruling.status
    return Control(id, clause, ask, status, ruling.why, evidence, source=source, legal_status=legal_status)


def stated(
    reading: Reading,
    id: str,
    clause: str,
    ask: str,
    topic: str,
    wanted: str,
    *,
    beside: Ruling | None = None,
    key: str = "",
    source: SourceClass = "P",
    legal_status: str | None = None,
) -> Control:
    """A control that a person must answer, and beside it, where given, the run.

    Args:
        topic: key under report.attestations.
        key: beneath it, where what is asked is more than a statement.
        wanted: what is not recorded, as a sentence.
        beside: what the run has to say to it.
    """
    person = attested(reading, id, clause, ask, topic, wanted, source)
    if beside is None:
        return replace(person, legal_status=legal_status)
    run = control(reading, id, clause, ask, beside, source=source)
    asked = f"{wanted.removesuffix('.')} (topic {topic}{'.' + key if key else ''})."
    return replace(
        person,
        status=worst_of(run.status, person.status),
        rationale=f"{run.rationale} {asked if attestation(reading, topic) is None else person.rationale}",
        evidence=run.evidence,
        legal_status=legal_status,
    )


def kept(
    reading: Reading,
    id: str,
    clause: str,
    ask: str,
    key: str,
    least: int,
    *,
    beside: Ruling,
    source: SourceClass = "P",
) -> Control:
    """A control about how long records are kept: what `report.attestations.retention` states is held against the law.

    Args:
        key: of the attestation, a number: `logs_months`, `records_years`, `documents_years`.
        least: the least that the clause asks, in the key's unit.
    """
    unit = key.partition("_")[2]
    wanted = f"How long they are kept is not recorded, at least {least} {unit} are asked."
    made = stated(reading, id, clause, ask, "retention", wanted, beside=beside, key=key, source=source)
    given = attestation(reading, "retention")
    if given is None or key not in given.more:
        return made
    try:
        term = float(given.more[key])
    except ValueError:
        why = f"{made.rationale} What it gives as {key} is no number."
        return replace(made, status=worst_of(made.status, "human_required"), rationale=why)
    if term < least:  # NaN is not less, nor is it enough
        why = f"{made.rationale} The {term:g} {unit} stated are fewer than {least}."
        return replace(made, status="not_satisfied", rationale=why)
    if term >= least:
        return replace(made, rationale=f"{made.rationale} Stated: {term:g} {unit}, of at least {least}.")
    return replace(made, status=worst_of(made.status, "human_required"))


def attestation(reading: Reading, topic: str) -> Attestation | None:
    """What a person stated on a topic."""
    return next((a for a in attestations(reading.config.report.attestations) if a.topic == topic), None)


def worst_of(*statuses: Verdict) -> Verdict:
    """The status of a whole: that of its worst part; a part that does not apply does not count beside one that does."""
    return min(statuses, key=_WORST_FIRST.index)


def together(*rulings: Ruling) -> Ruling:
    """Several rulings as one: the worst status, all sentences, all tables."""
    tables = tuple(dict.fromkeys(t for ruling in rulings for t in ruling.tables))
    return Ruling(worst_of(*(r.status for r in rulings)), " ".join(r.why for r in rulings), tables)


def short(name: object) -> str:
    """A name from the data, for a sentence."""
    text = " ".join(str(name).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def named(names: Sequence[object]) -> str:
    """The first few names, shortened, and how many more there are."""
    return listed([short(name) for name in names[:_NAMED]], len(names))


def listed(texts: Sequence[str], total: int | None = None, most: int = _NAMED) -> str:
    """The first few texts, and how many more there are of `total`, or else of the texts."""
    left = (len(texts) if total is None else total) - most
    return ", ".join(texts[:most]) + (f" and {left} more" if left > 0 else "")


def some(number: int, one: str, many: str | None = None) -> str:
    """`1 check`, `3 checks`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


# ---------------------------------------------------------------- the policy


def policy_kept(reading: Reading, about: Callable[[dict[str, Any]], bool] = lambda check: True) -> Ruling:
    """Whether the thresholds that were declared before the run hold: not satisfied where one of them does not.

    Args:
        about: which of the policy's checks are meant, by their JSON values.
    """
    from tasks.persist import values_digest

    everything = [check.model_dump(mode="json") for check in reading.config.policy]
    declared = [check for check in everything if about(check)]
    digest = values_digest(everything)[:12]
    if not declared:
        return Ruling("insufficient_data", "No threshold for this was declared before the run.")
    checks = [dict(check) for check in reading.checks if about(dict(check))]
    what = f"{some(len(declared), 'threshold was', 'thresholds were')} declared before the run (policy {digest})"
    if not checks:
        return Ruling("insufficient_data", f"{what}, and not judged.")
    failed = [c for c in checks if c.get("verdict") == "not_satisfied"]
    open_ = [c for c in checks if c.get("verdict") not in ("satisfied", "not_satisfied")]
    tables = ("group_metrics", "disparities")
    if failed:
        told = f"{what}: {some(len(failed), 'does', 'do')} not hold ({named([_check(c) for c in failed])})"
        told += f", {len(open_):,} cannot be told" if open_ else ""
        return Ruling("not_satisfied", f"{told}.", tables)
    if open_:
        told = f"{len(open_):,} of them cannot be told ({named([_check(c) for c in open_])})"
        return Ruling("insufficient_data", f"{what}: {told}.", tables)
    return Ruling("satisfied", f"{what}, and {'it holds' if len(declared) == 1 else 'all hold'}.", tables)


def _check(check: dict[str, Any]) -> str:
    by = f" by {short(check['attribute'])}" if check.get("attribute") else ""
    return f"{metric_label(str(check.get('metric')))}{by}"


def on_groups(check: dict[str, Any]) -> bool:
    """Whether a check of the policy compares groups."""
    return check.get("attribute") is not None


def accuracy_declared(reading: Reading) -> Ruling:
    """A level of performance over all rows that was declared beforehand, and is measured."""
    metrics = {row["metric"] for row in _overall(reading)} or {*_PERFORMANCE}
    declared = policy_kept(reading, lambda c: not on_groups(c) and c.get("metric") in metrics)
    return together(declared, performance(reading))


# ---------------------------------------------------------------- performance


def _overall(reading: Reading) -> list[Row]:
    return [r for r in reading.group_metrics if r["attribute"] is None and r["output"] is None]


def performance_row(reading: Reading) -> Row | None:
    """The row of `group_metrics` that tells best how good predictions are over all rows."""
    rows = {row["metric"]: row for row in _overall(reading)}
    return next((rows[metric] for metric in _PERFORMANCE if metric in rows), None)


def performance(reading: Reading) -> Ruling:
    """Measured over all rows, with an interval."""
    row = performance_row(reading)
    if row is None:
        return Ruling("insufficient_data", f"Not measured. {absent(reading, 'bias')}")
    label = metric_label(row["metric"])
    if (row["status"] or "ok") != "ok" or row["ci_low"] is None:
        why = row["reason"] or "it has no interval"
        return Ruling("insufficient_data", f"The {label} cannot be judged: {short(why)}.", ("group_metrics",))
    counts = (
        fraction(row["numerator"], row["denominator"]) if row["metric"] == "accuracy" else f"{count(row['n'])} rows"
    )
    range_ = interval(row["ci_low"], row["ci_high"])
    why = f"The {label} is {number(row['value'])} (interval {range_}; {counts})."
    return Ruling("satisfied", why, ("group_metrics", "predictions"))


def performance_by_group(reading: Reading, *, crossed: bool | None = None) -> Ruling:
    """Measured for each group with an interval; insufficient where no group is large enough.

    Args:
        crossed: of crossings of attributes alone, or of single attributes alone.
    """
    among = [a for a in reading.attributes if crossed is None or (CROSSING in a) is crossed]
    if not among:
        what = "crossing" if crossed else "sensitive attribute"
        return Ruling("insufficient_data", f"No {what} was declared, so no groups are told apart.")
    row = performance_row(reading)
    rows = [
        r
        for r in reading.group_metrics
        if row is not None and r["metric"] == row["metric"] and r["attribute"] in among and r["output"] is None
    ]
    rows = [r for r in rows if r["group"] is not None and not is_unknown(r["group"])]
    if row is None or not rows:
        return Ruling("insufficient_data", f"Not measured by group. {absent(reading, 'bias')}")
    judged = [r for r in rows if (r["status"] or "ok") == "ok" and r["value"] is not None]
    label, tables = metric_label(row["metric"]), ("group_metrics", "groups")
    if not judged:
        return Ruling("insufficient_data", f"None of {len(rows):,} groups is large enough to be judged.", tables)
    pick = max if row["metric"] in _ERRORS else min
    worst = pick(judged, key=lambda r: r["value"])
    why = f"The {label} of {some(len(judged), 'group')} is known, the worst {number(worst['value'])}"
    why += f" ({short(worst['group'])}, {interval(worst['ci_low'], worst['ci_high'])})"
    left = len(rows) - len(judged)
    why += f"; {some(left, 'group is', 'groups are')} too small" if left else ""
    return Ruling("satisfied", f"{why}.", tables)


def better_than_baseline(reading: Reading) -> Ruling:
    """Whether predictions beat the simplest rule: always the most frequent label, or always the mean (R² of nought)."""
    tables = ("group_metrics", "predictions")
    rows = {row["metric"]: row for row in _overall(reading)}
    if reading.config.model.task == "regression":
        row, rule = rows.get("r2"), "the mean label"
        floor: float | None = 0.0
    else:
        row, rule = rows.get("accuracy"), "the most frequent label"
        floor = _most_frequent(reading)
    if reading.config.data.weight is not None and reading.config.model.task != "regression":
        return Ruling("insufficient_data", "Rows have weights, so the most frequent label is not compared.")
    if row is None or floor is None or row["ci_low"] is None or row["ci_high"] is None:
        why = "What the comparison needs was not measured." if reading.group_metrics else absent(reading, "bias")
        return Ruling("insufficient_data", f"Not compared with a simple rule. {why}", tables)
    label = metric_label(row["metric"])
    range_ = interval(row["ci_low"], row["ci_high"])
    why = f"Always predicting {rule} reaches {label} {number(floor)}; the model, {number(row['value'])} ({range_})."
    if row["ci_low"] > floor:
        return Ruling("satisfied", why, tables)
    return Ruling("not_satisfied" if row["ci_high"] < floor else "insufficient_data", why, tables)


def _most_frequent(reading: Reading) -> float | None:
    """Share of the most frequent label among rows that have one."""
    import pyarrow.compute as pc

    table = reading.table("predictions", columns=["output", "y_true"])
    if table is None or not table.num_rows:
        return None
    labels = table.filter(pc.equal(table["output"], table["output"][0]))["y_true"].drop_null()
    counts = [one["counts"] for one in pc.value_counts(labels).to_pylist()]
    return max(counts) / sum(counts) if counts else None


def absent(reading: Reading, stage: str) -> str:
    """Why a stage left nothing, in a sentence; what did not fit the run is lacking all the same."""
    result = reading.record.result(stage)
    return (
        f"{upper_first(result.reason.rstrip(' .'))}."
        if isinstance(result, NotApplicable)
        else reading.why_absent(stage)
    )


# ---------------------------------------------------------------- groups


def group_sizes(reading: Reading) -> dict[str, dict[str, int]]:
    """Attribute → group → rows, without the rows whose group is not known."""
    found: dict[str, dict[str, int]] = {}
    for row in reading.group_metrics:
        attribute, group = row["attribute"], row["group"]
        if attribute is None or group is None or is_unknown(group):
            continue
        sizes = found.setdefault(attribute, {})
        sizes[group] = max(sizes.get(group, 0), row["n"] or 0)
    return found


def small_groups(reading: Reading) -> list[str]:
    """Groups of fewer rows than bias.min_group_size."""
    least = reading.config.bias.min_group_size
    return [group for groups in group_sizes(reading).values() for group, n in groups.items() if n < least]


def groups_counted(reading: Reading) -> Ruling:
    """How many rows each group has; insufficient where an attribute has not two groups that are large enough."""
    if not reading.attributes:
        return Ruling("insufficient_data", "No sensitive attribute was declared, so no groups are counted.")
    sizes, least = group_sizes(reading), reading.config.bias.min_group_size
    if not sizes:
        return Ruling("insufficient_data", f"No groups are counted. {absent(reading, 'bias')}")
    thin = [a for a in reading.attributes if sum(n >= least for n in sizes.get(a, {}).values()) < 2]
    small, total = small_groups(reading), sum(len(groups) for groups in sizes.values())
    what = f"{some(total, 'group')} of {some(len(sizes), 'attribute')}"
    told = f"{len(small):,} of them below {least:,} rows ({named(small)})" if small else f"none below {least:,} rows"
    tables = ("groups", "group_metrics")
    if thin:
        why = f"{what}, {told}: fewer than two groups are large enough by {named(thin)}."
        return Ruling("insufficient_data", why, tables)
    return Ruling("satisfied", f"{what} are counted, {told}.", tables)


def bias_examined(reading: Reading) -> Ruling:
    """Groups compared with their reference; insufficient where there are none, or none large enough."""
    counted = groups_counted(reading)
    compared = sum(row["group"] is not None and row["group"] != row["reference"] for row in reading.disparities)
    if not compared:
        why = "No groups were compared." if reading.attributes else counted.why
        return Ruling("insufficient_data", why, counted.tables)
    tables = ("disparities", *counted.tables)
    return Ruling(counted.status, f"{some(compared, 'comparison')} with a reference group. {counted.why}", tables)


def sensitive_inputs(reading: Reading) -> tuple[list[str], list[str]]:
    """The columns declared as sensitive, and those among them that the model takes."""
    declared = list(dict.fromkeys(one.column for one in reading.config.data.sensitive.values()))
    features = reading.record.fact("load_model", "features") or reading.config.data.features or []
    return declared, [column for column in declared if column in features]
