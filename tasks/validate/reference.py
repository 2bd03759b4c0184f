"""What the reference data must hold: it stands for "feature absent", so the model has to be able to read it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tasks.validate.columns import column, is_number, is_plain, missing, missing_hint, once
from tasks.validate.outcome import Outcome, counted
from tasks.validate.requirements import Column, Requirements


def reference_usable(reference: pa.Table, requirements: Requirements) -> list[Outcome]:
    """Rows, and every feature in a type and with values that the model takes."""
    outcomes = [_rows(reference)]
    for feature in requirements.features:
        if not once(reference, feature.name):
            found = feature.name in reference.column_names
            text = (
                f"The reference data has more than one column {feature.name}"
                if found
                else f"The reference data has no column {feature.name}{missing_hint(feature.name, reference)}"
            )
            outcomes.append(Outcome("reference_has_column", feature.name, "critical", False, "reference_column", text))
        else:
            outcomes.append(_values(column(reference, feature.name), feature))
    if requirements.image is not None and not once(reference, requirements.image):
        text = f"The reference data has no column {requirements.image}{missing_hint(requirements.image, reference)}"
        outcomes.append(
            Outcome("reference_has_column", requirements.image, "critical", False, "reference_column", text)
        )
    return outcomes


def _rows(reference: pa.Table) -> Outcome:
    text = f"The reference data has {counted(reference.num_rows, 'row')}"
    return Outcome("reference_has_rows", None, "critical", reference.num_rows > 0, "empty_reference", text)


def _values(values: pa.ChunkedArray, feature: Column) -> Outcome:
    def outcome(success: bool, text: str, unexpected: int | None = None) -> Outcome:
        return Outcome(
            "reference_values_are_usable",
            feature.name,
            "critical",
            success,
            "reference_values",
            text,
            len(values),
            unexpected,
            len(values) if unexpected is not None else None,
        )

    start = f"Reference data, column {feature.name}"
    if feature.kind == "number" and not is_number(values.type):
        return outcome(False, f"{start} has the type {values.type}, but the model reads a number")
    if not is_plain(values.type):
        return outcome(False, f"{start} has the type {values.type}, which cannot be a feature")
    infinite = 0
    if feature.kind == "number" and pa.types.is_floating(values.type):
        infinite = pc.sum(pc.is_inf(values)).as_py() or 0
    absent = 0 if feature.nulls else missing(values)
    if infinite or absent:
        parts = [f"{counted(infinite, 'value is', 'values are')} infinite"] if infinite else []
        parts += [f"{counted(absent, 'value is', 'values are')} missing, and the model takes none"] if absent else []
        return outcome(False, f"{start}: {' and '.join(parts)}", infinite + absent)
    return outcome(True, "Holds", 0)
