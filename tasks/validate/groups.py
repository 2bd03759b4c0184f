"""What the target, the sensitive attributes and the categories must hold: values that are known, and enough of each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.contracts import MISSING, Severity
from tasks.load import class_index
from tasks.validate.columns import can_be_binned, column, is_plain, missing, once, texts
from tasks.validate.outcome import Outcome, counted, shown
from tasks.validate.requirements import Requirements, Sensitive, Taken

#: more groups than this in one attribute are no comparison any more
MOST_GROUPS = 1000
#: more than this are an identifier: they are not computed
LIMIT_GROUPS = 10_000


def target_varies(table: pa.Table, requirements: Requirements) -> list[Outcome]:
    """Labels are of more than one class; a regression's constant target is only a warning."""
    name = requirements.target
    if not table.num_rows or not once(table, name) or not is_plain(column(table, name).type):
        return []
    values = texts(column(table, name))
    labels = values.unique().drop_null()
    if not len(labels):
        return []  # no label at all: the check for nulls says so
    regression = requirements.task == "regression"
    success = len(labels) > 1
    what = "value" if regression else "class"
    named = "" if requirements.hidden(name) else f" {shown(labels.to_pylist())[0]}"
    text = (
        f"{counted(len(labels), what, what + ('s' if regression else 'es'))} found"
        if success
        else f"Column {name}: all {len(values) - values.null_count:,} labelled rows have the {what}{named}"
    )
    return [
        Outcome(
            "target_varies",
            name,
            "warning" if regression else "critical",
            success,
            "one_class",
            text,
            len(values),
        )
    ]


def class_values(values: pa.ChunkedArray, classes: Sequence[object]) -> list[object]:
    """Those values of a column that are one of the classes, by value or by text."""
    distinct = values.unique().drop_null()
    pairs = zip(distinct.to_pylist(), distinct.cast(pa.string()).to_pylist(), strict=True)
    return [value for value, text in pairs if class_index(value, classes, text) >= 0]


def sensitive_groups(table: pa.Table, requirements: Requirements, reference: pa.Table | None) -> list[Outcome]:
    """Groups to compare: more than one, not too many, of more than one row each, and none that is new."""
    outcomes = []
    for attribute in requirements.sensitive:
        labels = _labels(table, attribute)
        if labels is None or not table.num_rows:
            continue
        hidden = requirements.hidden(attribute.column)
        counts = {row["values"]: row["counts"] for row in pc.value_counts(labels).to_pylist()}
        known = {group: n for group, n in counts.items() if group is not None}
        outcomes.append(_several(attribute, known, len(labels)))
        outcomes.append(_few_enough(attribute.key, attribute.column, len(counts)))
        outcomes.append(_single_rows(attribute, known, len(labels), hidden))
        if reference is not None:
            outcomes.extend(_known(attribute, known, _labels(reference, attribute), len(labels), hidden))
    by_key = {attribute.key: attribute for attribute in requirements.sensitive}
    for keys in requirements.crossings:
        parts = [_labels(table, by_key[key]) for key in keys if key in by_key]
        if table.num_rows and len(parts) == len(keys) and all(part is not None for part in parts):
            groups = pa.table({str(i): part for i, part in enumerate(parts)})
            count = groups.group_by(groups.column_names).aggregate([]).num_rows
            outcomes.append(_few_enough(" × ".join(keys), None, count))
    return outcomes


def _called(key: str, name: str | None) -> str:
    return f"Attribute {key}" if name in (None, key) else f"Attribute {key} (column {name})"


def _labels(table: pa.Table, attribute: Sensitive) -> pa.ChunkedArray | None:
    """A row's group as text, null where the attribute is missing; None where the column cannot give groups."""
    if not once(table, attribute.column):
        return None
    values = column(table, attribute.column)
    if attribute.bins is None:
        return texts(values) if is_plain(values.type) else None
    if not can_be_binned(values.type):
        return None
    numbers = values.cast(pa.float64(), safe=False).to_numpy()
    edges = [np.format_float_positional(edge, trim="-") for edge in attribute.bins]
    names = [f"< {edges[0]}", *(f"[{a}, {b})" for a, b in itertools.pairwise(edges)), f"≥ {edges[-1]}"]
    bins = np.searchsorted(np.asarray(attribute.bins), numbers, side="right")  # closed on the left
    return pa.chunked_array([pa.array(names).take(pa.array(bins, mask=np.isnan(numbers)))])


def _several(attribute: Sensitive, known: dict[str, int], rows: int) -> Outcome:
    success = len(known) > 1
    what = "one group only" if known else "no value at all"
    text = (
        f"{counted(len(known), 'group')} found"
        if success
        else f"{_called(attribute.key, attribute.column)} has {what}: nothing can be compared"
    )
    return Outcome("attribute_has_groups", attribute.column, "warning", success, "one_group", text, rows)


def _few_enough(key: str, name: str | None, groups: int) -> Outcome:
    success, identifier = groups <= MOST_GROUPS, groups > LIMIT_GROUPS
    text = f"{_called(key, name)} has {counted(groups, 'group')}"
    if identifier:
        text += f", more than {LIMIT_GROUPS:,}: that is an identifier; give bins, or name a coarser column"
    elif not success:
        text += f", more than {MOST_GROUPS:,}: most are too small to judge; give bins, or name a coarser column"
    severity: Severity = "critical" if identifier else "warning"
    return Outcome("attribute_has_few_groups", name, severity, success, "many_groups", text)


def _single_rows(attribute: Sensitive, known: dict[str, int], rows: int, hidden: bool) -> Outcome:
    single = sorted(group for group, n in known.items() if n == 1)
    text = (
        f"{_called(attribute.key, attribute.column)}: {counted(len(single), 'group has', 'groups have')} one row only"
        if single
        else "Every group has more than one row"
    )
    return Outcome(
        "groups_have_rows",
        attribute.column,
        "warning",
        not single,
        "group_of_one_row",
        text,
        rows,
        len(single),
        sum(known.values()),
        () if hidden else shown(single),
    )


def _known(
    attribute: Sensitive, known: dict[str, int], reference: pa.ChunkedArray | None, rows: int, hidden: bool
) -> list[Outcome]:
    if reference is None:
        return []  # the reference need not have the column: it may be no feature
    before = set(reference.unique().to_pylist())
    fresh = sorted(set(known) - before)
    count = sum(known[group] for group in fresh)
    text = (
        f"{_called(attribute.key, attribute.column)}: {counted(count, 'row is', 'rows are')} in"
        f" {counted(len(fresh), 'group')} that the reference data never had"
        if fresh
        else "The reference data has every group"
    )
    return [
        Outcome(
            "groups_are_known",
            attribute.column,
            "warning",
            not fresh,
            "unseen_group",
            text,
            rows,
            count,
            sum(known.values()),
            () if hidden else shown(fresh),
        )
    ]


def categories_known(table: pa.Table, requirements: Requirements, reference: pa.Table | None) -> list[Outcome]:
    """Categories that the model knows, or the reference had where nobody can say what the model knows."""
    outcomes = []
    for feature in requirements.features:
        if feature.kind != "category" or not once(table, feature.name):
            continue
        values = column(table, feature.name)
        if not is_plain(values.type):
            continue
        known, whose = feature.categories, "the model never saw"
        if known is None and reference is not None and once(reference, feature.name):
            seen = column(reference, feature.name)
            if is_plain(seen.type):
                known, whose = texts(seen).unique().to_pylist(), "the reference data never had"
        if known is None:
            continue
        outcomes.append(_categories(feature.name, texts(values), known, whose, requirements))
    return outcomes


def _categories(
    name: str,
    values: pa.ChunkedArray,
    known: Sequence[str | None],
    whose: str,
    requirements: Requirements,
) -> Outcome:
    fresh = values.filter(pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(known, pa.string())))))
    names = sorted(fresh.unique().to_pylist())
    text = (
        f"Column {name}: {counted(len(fresh), 'value is', 'values are')} of"
        f" {counted(len(names), 'category', 'categories')} that {whose}"
        if names
        else "Every category is known"
    )
    return Outcome(
        "categories_are_known",
        name,
        "warning",
        not names,
        "unseen_category",
        text,
        len(values),
        len(fresh),
        len(values) - values.null_count,
        () if requirements.hidden(name) else shown(names),
    )


def categories_taken(table: pa.Table, requirements: Requirements, taken: Taken) -> list[Outcome]:
    """Categories that the model's preprocessor does not refuse; it has been asked."""
    outcomes = []
    for feature in requirements.features:
        if feature.kind != "category":
            continue
        count, values = taken.refused.get(feature.name, (0, ()))
        refused = [value for value in values if value is not None]
        if count and not refused:
            continue  # nulls alone: said where missing values are counted
        present = table.num_rows - missing(column(table, feature.name))
        text = f"Column {feature.name}: {counted(count, 'value is', 'values are')} refused by the model's preprocessor"
        examples = () if requirements.hidden(feature.name) else shown(refused)
        outcomes.append(
            Outcome(
                "categories_are_taken",
                feature.name,
                "critical",
                not count,
                "value_not_taken",
                text if count else "The model's preprocessor takes every category",
                table.num_rows,
                min(count, present),
                present,
                examples,
            )
        )
    return outcomes


def missing_label(count: int, attribute: Sensitive) -> str:
    """What becomes of rows without a sensitive value."""
    return f"{counted(count, 'row has', 'rows have')} no {attribute.key}, and form the group {MISSING}"
