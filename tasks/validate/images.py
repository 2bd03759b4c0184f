"""Every image can be decoded: looked at before the run, since one broken file would end it in the middle."""

from __future__ import annotations

import pyarrow as pa

from tasks.errors import AuditError
from tasks.validate.columns import column, once
from tasks.validate.outcome import EXAMPLES, Outcome, counted
from tasks.validate.requirements import Requirements
from tasks.watch import Watch

_BATCH = 256


def images_decodable(table: pa.Table, requirements: Requirements, watch: Watch) -> list[Outcome]:
    """Decodes each image once; says which rows (by position, from 0) cannot be, and why.

    Raises:
        Stopped, DeadlinePassed: as the watch says, between batches.
    """
    name = requirements.image
    if name is None or requirements.decode is None or not once(table, name):
        return []
    values = column(table, name)
    broken: list[tuple[int, str]] = []
    for start in range(0, len(values), _BATCH):
        batch = values.slice(start, _BATCH)
        if _reason(batch, requirements) is not None:  # which of them, and why
            for offset in range(len(batch)):
                one = batch.slice(offset, 1)
                reason = _reason(one, requirements) if one.null_count == 0 else None
                if reason is not None:
                    broken.append((start + offset, reason))
        watch.advance(0)
    text = (
        f"Column {name}: {counted(len(broken), 'image cannot be decoded', 'images cannot be decoded')}"
        if broken
        else f"All {len(values) - values.null_count:,} images can be decoded"
    )
    # Rows are named by position: the reason may quote a path, which may not be shown where the column is redacted.
    shown = tuple(
        f"row {row}" if requirements.hidden(name) else f"row {row} ({reason})" for row, reason in broken[:EXAMPLES]
    )
    return [
        Outcome(
            "images_are_decodable",
            name,
            "critical",
            not broken,
            "undecodable_image",
            text,
            len(values),
            len(broken),
            len(values) - values.null_count,
            shown,
        )
    ]


def _reason(images: pa.ChunkedArray, requirements: Requirements) -> str | None:
    """Why not all of these images can be decoded, or None where they can."""
    assert requirements.decode is not None
    try:
        requirements.decode(images)
    except AuditError as error:
        return error.what.removeprefix("row 0 ")
    return None
