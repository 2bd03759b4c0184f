"""What several packs ask of the run's data: whether they are identified, sound, like the reference, and told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.numbers import count
from tasks.report.regulations.evidenced import Ruling, absent, named, small_groups, some

if TYPE_CHECKING:
    from tasks.report.reading import Reading

_NOT_NULL = "expect_column_values_to_not_be_null"
_DIGEST = 12  # characters of a digest in a sentence
_LEVEL = 0.05  # of q-values, where the search tells none


def identified(reading: Reading) -> Ruling:
    """Model and data named by their digests."""
    model = reading.record.fact("load_model", "sha256")
    data = reading.record.fact("load_data", "data", {}) or {}
    if model is None or not data.get("sha256"):
        stage = "load_model" if model is None else "load_data"
        return Ruling("insufficient_data", f"Model or data are not identified. {absent(reading, stage)}")
    version = reading.record.fact("load_model", "version")
    which = f"Model {model[:_DIGEST]}" + (f" (version {version})" if version is not None else "")
    why = f"{which} and data {data['sha256'][:_DIGEST]} ({count(data.get('rows'))} rows) are identified by digest."
    return Ruling("satisfied", why, ("predictions", "validation"))


def data_identified(reading: Reading) -> Ruling:
    """Audited and reference data named by their digests; insufficient where there is no reference."""
    data = reading.record.fact("load_data", "data", {}) or {}
    reference = reading.record.fact("load_data", "reference") or {}
    if not data.get("sha256"):
        return Ruling("insufficient_data", f"The data are not identified. {absent(reading, 'load_data')}")
    told = f"data {data['sha256'][:_DIGEST]} ({count(data.get('rows'))} rows)"
    if not reference.get("sha256"):
        return Ruling("insufficient_data", f"Audited {told}; no training data were given.", ("validation",))
    rows = count(reference.get("rows"))
    why = f"Audited {told}, reference data {reference['sha256'][:_DIGEST]} ({rows} rows)."
    return Ruling("satisfied", why, ("validation", "drift"))


def gate_passed(reading: Reading) -> Ruling:
    """The data gate: not satisfied where it refused the data, insufficient where it warned. Missing values are told."""
    rows = reading.rows("validation")
    refused = reading.record.verdict == "refused"
    tables = ("validation",)
    if refused:
        broken = [r for r in rows if not r["success"] and r["severity"] == "critical"]
        told = f"{some(len(broken), 'critical expectation')} failed" if broken else "they could not be read as they are"
        return Ruling("not_satisfied", f"The data were refused: {told}.", tables)
    if not rows:
        return Ruling("insufficient_data", f"The data were not checked. {absent(reading, 'validate')}")
    failed = [r for r in rows if not r["success"]]
    gaps: dict[str, int] = {}  # a column may be expected to have no gaps more than once
    for row in failed:
        if row["expectation"] == _NOT_NULL and row["unexpected_count"]:
            gaps[row["column"]] = max(gaps.get(row["column"], 0), row["unexpected_count"])
    missing = sum(gaps.values())
    why = f"{some(len(rows), 'expectation was', 'expectations were')} checked, {len(failed):,} failed; "
    why += f"{some(missing, 'value is', 'values are')} missing" if missing else "no value was found missing"
    why += f" ({named(list(gaps))})" if gaps else ""
    warned = sum(r["severity"] != "info" for r in failed)
    if warned:
        return Ruling(
            "insufficient_data", f"{why}; {some(warned, 'failure is', 'failures are')} to be weighed.", tables
        )
    return Ruling("satisfied", f"{why}.", tables)


def gaps_told(reading: Reading) -> Ruling:
    """Shortcomings of the data that the run found: small groups, and the slices where the model fares worst."""
    if not reading.group_metrics:
        return Ruling("insufficient_data", f"Gaps are not known. {absent(reading, 'bias')}")
    if not reading.attributes:
        return Ruling("insufficient_data", "No sensitive attribute was declared, so gaps by group are not known.")
    small = small_groups(reading)
    least = reading.config.bias.min_group_size
    why = (
        f"{some(len(small), 'group')} below {least} rows ({named(small)})" if small else f"No group below {least} rows"
    )
    why += f"; {_slices(reading)}" if reading.artifact("slices") else "; no slices searched"
    return Ruling("satisfied", f"{why}.", ("groups", "group_metrics", "slices", "validation"))


def _slices(reading: Reading) -> str:
    """How many slices are listed, and how many of them differ beyond chance by the level that the search was run at."""
    rows = reading.rows("slices")
    level = (reading.record.fact("sources", "slices", {}) or {}).get("level", _LEVEL)
    sure = sum(row["q_value"] is not None and row["q_value"] < level for row in rows)
    return f"{some(len(rows), 'slice')} listed in which the model fares worst, {sure:,} of them worse beyond chance"


def drift_measured(reading: Reading) -> Ruling:
    """Whether the audited data and predictions are held against the reference."""
    table = reading.artifact("drift")
    if table is None:
        return Ruling("insufficient_data", absent(reading, "drift"))
    past = _past(reading)
    told = f"; past the threshold: {named(past)}" if past else "; none is past its threshold"
    why = f"{some(table.rows or 0, 'measure compares', 'measures compare')} the data with the reference{told}."
    return Ruling("satisfied", why, ("drift",))


def like_reference(reading: Reading) -> Ruling:
    """Whether the audited data are like the reference: not satisfied where a feature or score is past its threshold."""
    measured = drift_measured(reading)
    return Ruling("not_satisfied", measured.why, measured.tables) if _past(reading) else measured


def _past(reading: Reading) -> list[str]:
    """Features and outputs that drifted past their threshold, as the stage names them."""
    if reading.artifact("drift") is None:
        return []
    fact = reading.record.fact
    return [*fact("drift", "drifted", []), *fact("drift", "drifted_outputs", [])]


def watched(reading: Reading) -> Ruling:
    """Drift measured, and audits on a schedule; without one this audit is one point of no series."""
    measured = drift_measured(reading)
    if measured.status != "satisfied":
        return measured
    schedule = reading.config.schedule
    if schedule is None:
        why = f"{measured.why} One audit is one point of a series, and no schedule is set."
        return Ruling("insufficient_data", why, measured.tables)
    why = f"{measured.why} This audit is one point of a series: the config schedules them ({schedule.cron})."
    return Ruling("satisfied", why, measured.tables)


def thresholds_tried(reading: Reading) -> Ruling:
    """Whether other thresholds were tried to narrow disparities, and reach their aim on rows held out."""
    table = reading.table("thresholds", columns=["attribute", "aim", "kind", "sample", "met"])
    if table is None:
        return Ruling("insufficient_data", f"No way to narrow disparities was tried. {absent(reading, 'advice')}")
    rows = table.to_pylist()
    aims = {(r["attribute"], r["aim"]) for r in rows}
    held_out = [r for r in rows if r["sample"] == "held_out" and r["kind"] != "current"]
    met = {(r["attribute"], r["aim"]) for r in held_out if r["met"]}
    why = f"Other thresholds were tried for {some(len(aims), 'aim')}; on rows held out they reach {len(met):,}."
    return Ruling("satisfied", why, ("thresholds", "tradeoffs"))
