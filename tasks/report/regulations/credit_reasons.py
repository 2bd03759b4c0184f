"""What credit laws ask of the reasons for adverse decisions, by the table `reason_codes` and the facts of its stage.

Everything is counted in the table again, decision by decision: facts only add what no table holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.report.numbers import count
from tasks.report.regulations.evidenced import Ruling, absent, listed, named, short, some

if TYPE_CHECKING:
    from tasks.report.reading import Reading

TABLES = ("reason_codes",)


@dataclass(frozen=True)
class Reasons:
    """The principal reasons of a run, counted.

    Attributes:
        decisions: adverse decisions with at least one reason.
        adverse: adverse decisions; None where nobody says.
        stated: those whose reasons were looked for.
        most: reasons of the decision that has most.
        gaps: decisions whose ranks are not 1, 2, 3, …, each once.
        unsorted: decisions with a later reason that weighs more than an earlier one.
        texts: every text, once.
        features: feature → decisions that name it.
    """

    decisions: int
    adverse: int | None
    stated: int | None
    most: int
    gaps: int
    unsorted: int
    texts: tuple[str, ...]
    features: Mapping[str, int]


def read_reasons(reading: Reading) -> Reasons | None:
    """The reasons; None where the run states none."""
    import numpy as np
    import pyarrow.compute as pc

    table = reading.table("reason_codes")
    if table is None or not table.num_rows:
        return None
    decision = pc.rank(table["row_id"], sort_keys="ascending", tiebreaker="dense").to_numpy() - 1
    rank = table["rank"].to_numpy()
    order = np.lexsort((rank, decision))
    decision, rank, weight = decision[order], rank[order], np.abs(table["contribution"].to_numpy()[order])
    total = int(decision[-1]) + 1
    size = np.bincount(decision, minlength=total)
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    wrong = rank != np.arange(len(rank)) - first[decision] + 1
    rises = (np.diff(weight) > 1e-12 * np.maximum(1.0, weight[:-1])) & (np.diff(decision) == 0)
    return Reasons(
        decisions=total,
        adverse=_whole(reading.record.fact("reasons", "adverse")),
        stated=_whole(reading.record.fact("reasons", "stated")),
        most=int(rank.max()),
        gaps=len(np.unique(decision[wrong])),
        unsorted=len(np.unique(decision[1:][rises])),
        texts=tuple(sorted({str(text) for text in pc.unique(table["text"]).to_pylist()})),
        features=_features(table),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _features(table: Any) -> dict[str, int]:
    """Feature → decisions that name it, by name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = table["features"].combine_chunks()
    rows = pc.take(table["row_id"].combine_chunks(), pc.list_parent_indices(lists))
    flat = pa.table({"feature": pc.list_flatten(lists), "row": rows})
    counted = flat.group_by("feature").aggregate([("row", "count_distinct")]).to_pylist()
    return {one["feature"]: one["row_count_distinct"] for one in sorted(counted, key=lambda one: str(one["feature"]))}


def lacking(reading: Reading) -> Ruling:
    """What is said where the run states no reasons."""
    return Ruling("insufficient_data", f"Single decisions have no reasons. {absent(reading, 'reasons')}")


def specific(reading: Reading, found: Reasons | None) -> Ruling:
    """Not satisfied where a text says no more than "internal standards"; insufficient without texts of one's own."""
    if found is None:
        return lacking(reading)
    from tasks.reasons import insufficient

    vague = [text for text in found.texts if insufficient(text)]
    refused = reading.record.fact("reasons", "refused_texts")
    if refused:
        why = "Texts of the language file were refused: they do not do as specific reasons."
        return Ruling("not_satisfied", why, TABLES)
    if vague:
        why = f"{some(len(vague), 'text does', 'texts do')} not do as a specific reason: {named(vague)}."
        return Ruling("not_satisfied", why, TABLES)
    version = reading.record.fact("reasons", "codes_version")
    if version is None:
        why = "No language file gives texts (reasons.language), so reasons bear the names of features."
        return Ruling("insufficient_data", why, TABLES)
    why = f"{some(len(found.texts), 'text')} in use, codes version {version}; none is on the list that does not do."
    return Ruling("satisfied", why, TABLES)


def complete(reading: Reading, found: Reasons | None) -> Ruling:
    """Insufficient where reasons of an adverse decision were not looked for, or none was found."""
    if found is None:
        return lacking(reading)
    if found.adverse is None or found.stated is None:
        why = f"Reasons are stated for {count(found.decisions)} decisions; how many are adverse is not recorded."
        return Ruling("insufficient_data", why, TABLES)
    why = f"Reasons are stated for {count(found.decisions)} of {count(found.adverse)} adverse decisions"
    if found.stated < found.adverse:
        why += f"; they were looked for in a sample of {count(found.stated)}"
    if found.decisions < found.stated:
        why += (
            f"; {count(found.stated - found.decisions)} have none, since nothing speaks against them more than others"
        )
    whole = found.decisions >= found.adverse
    return Ruling("satisfied" if whole else "insufficient_data", f"{why}.", TABLES)


def at_most(reading: Reading, found: Reasons | None, most: int) -> Ruling:
    """Not satisfied where a decision has more reasons."""
    if found is None:
        return lacking(reading)
    why = f"A decision has at most {some(found.most, 'reason')}."
    return Ruling("satisfied" if found.most <= most else "not_satisfied", why, TABLES)


def scored_only(reading: Reading, found: Reasons | None) -> Ruling:
    """Not satisfied where a reason is about what the model was not given."""
    if found is None:
        return lacking(reading)
    scored = reading.record.fact("load_model", "features")
    if not scored:
        why = "Which features the model takes is not recorded, so reasons cannot be held against them."
        return Ruling("insufficient_data", why, TABLES)
    others = [feature for feature in found.features if feature not in set(scored)]
    if others:
        return Ruling("not_satisfied", f"Reasons name what was not scored: {named(others)}.", TABLES)
    why = f"All {some(len(found.features), 'factor')} among the reasons are inputs of the model."
    return Ruling("satisfied", why, TABLES)


def in_order(reading: Reading, found: Reasons | None) -> Ruling:
    """Not satisfied where ranks have a hole, or a later reason weighs more: then one was left out, or moved."""
    if found is None:
        return lacking(reading)
    if found.gaps or found.unsorted:
        told = [f"{some(found.gaps, 'decision lacks', 'decisions lack')} a rank"] if found.gaps else []
        told += [f"in {some(found.unsorted, 'decision')} a later reason weighs more"] if found.unsorted else []
        return Ruling("not_satisfied", f"{' and '.join(told).capitalize()}.", TABLES)
    why = "The reasons of every decision are ranked by what they weigh, without a hole."
    return Ruling("satisfied", why, TABLES)


def protected_among(reading: Reading, found: Reasons) -> dict[str, int]:
    """Column of a sensitive attribute → decisions that have it among their reasons, by name."""
    columns = {own.column for own in reading.config.data.sensitive.values()}
    told = reading.record.fact("reasons", "protected") or {}
    return {name: times for name, times in found.features.items() if name in columns or name in told}


def proxies_among(reading: Reading, found: Reasons) -> dict[str, int]:
    """Feature that surely tells a sensitive attribute → decisions that have it among their reasons, by name."""
    told: set[str] = set()
    for stage, key in (("reasons", "proxies"), ("policy", "reasons")):
        fact = reading.record.fact(stage, key) or {}
        named_there = fact.get("proxies") if stage == "policy" and isinstance(fact, Mapping) else fact
        told |= {str(name) for name in named_there or ()}
    return {name: times for name, times in found.features.items() if name in told}


def age_columns(reading: Reading) -> tuple[str, ...]:
    """Columns that are declared to be age, by the attribute's key or their own name."""
    declared = reading.config.data.sensitive.items()
    return tuple(dict.fromkeys(own.column for key, own in declared if "age" in (key.lower(), own.column.lower())))


def unprotected(reading: Reading, found: Reasons | None, apart: tuple[str, ...] = ()) -> Ruling:
    """Not satisfied where a sensitive attribute is among the reasons; insufficient where something that stands for one.

    Args:
        apart: sensitive columns that are judged elsewhere.
    """
    if found is None:
        return lacking(reading)
    if not reading.config.data.sensitive:
        why = "No sensitive attribute was declared, so none can be looked for among the reasons."
        return Ruling("insufficient_data", why, TABLES)
    own = {name: times for name, times in protected_among(reading, found).items() if name not in apart}
    if own:
        why = f"A sensitive attribute is among the principal reasons: {in_decisions(own)}."
        return Ruling("not_satisfied", why, TABLES)
    aside = [name for name in protected_among(reading, found) if name in apart]
    none = f"Beside {named(aside)}, no sensitive attribute" if aside else "No sensitive attribute"
    proxies = proxies_among(reading, found)
    if proxies:
        why = f"{none} is among the reasons, but features that stand for one are: {in_decisions(proxies)}."
        return Ruling("insufficient_data", why, (*TABLES, "proxies"))
    if reading.artifact("proxies") is None:
        why = f"{none} is among the reasons; which features stand for one was not measured."
        return Ruling("insufficient_data", why, TABLES)
    why = f"{none} is among the principal reasons, nor is a feature that surely tells one."
    return Ruling("satisfied", why, (*TABLES, "proxies"))


def in_decisions(features: Mapping[str, int]) -> str:
    """`age (7,732 decisions), sex (12)`, the most frequent first."""
    ranked = sorted(features.items(), key=lambda item: (-item[1], item[0]))
    units = [" decision" if ranked[0][1] == 1 else " decisions", *("" for _ in ranked[1:])]
    return listed([f"{short(name)} ({count(times)}{unit})" for (name, times), unit in zip(ranked, units, strict=True)])
