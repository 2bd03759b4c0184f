"""The gate as a stage: opens data and model, judges the data, writes `validation`, and says whether to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.errors import DataRefused
from tasks.load import feature_kinds, images, nulls_accepted, open_data, open_model, refusals
from tasks.persist import Workspace
from tasks.validate.columns import can_be_binned, column, once
from tasks.validate.gate import examine, unreadable
from tasks.validate.outcome import Outcome, validation_table
from tasks.validate.requirements import Column, Requirements, Sensitive, Taken
from tasks.validate.suite import check_arguments
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.load import Dataset, LoadedModel


def validate(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done:
    """Judges the data before anything is computed from it. A refusal is an answer, not an error: the flow acts on it.

    Returns:
        Done with the table `validation`, a finding for each failure, and facts: `refused`, `checks` (how many),
        `failed` (how many), `reasons` (a sentence for each critical failure).

    Raises:
        ConfigError, ModelError: an expectation that does not exist; data or model that cannot be opened.
        Stopped, DeadlinePassed: as the watch says.
    """
    watch.expect(3)
    check_arguments(config)
    watch.advance()
    outcomes = _outcomes(config, watch)
    watch.advance()
    table = workspace.write_table("validation", validation_table(outcomes))
    watch.advance()
    failed = [outcome for outcome in outcomes if not outcome.success]
    reasons = [outcome.sentence for outcome in failed if outcome.severity == "critical"]
    return Done(
        "validate",
        tables=(table,),
        findings=tuple(outcome.finding for outcome in failed),
        facts={"refused": bool(reasons), "checks": len(outcomes), "failed": len(failed), "reasons": reasons},
    )


def _outcomes(config: AuditConfig, watch: Watch) -> Sequence[Outcome]:
    try:
        data = open_data(config)
        model = open_model(config)
        return examine(
            data.table,
            requirements_of(config, model, data),
            expectations=config.data.expectations,
            reference=data.reference,
            ask=None if model.modality == "image" else lambda: _asked(config),
            watch=watch,
        )
    except DataRefused as error:  # what cannot even be opened as a table is refused as the rest is
        return (unreadable(error),)


def _asked(config: AuditConfig) -> Taken:
    refused = {one.feature: (one.rows, one.values) for one in refusals(config)}
    return Taken(nulls=nulls_accepted(config), refused=refused)


def requirements_of(config: AuditConfig, model: LoadedModel, data: Dataset) -> Requirements:
    """What this model and this config need of the data."""
    classes = config.model.classes if config.model.classes is not None else model.classes
    strata = config.bias.strata
    return Requirements(
        features=_columns(config, model, data),
        target=config.data.target.column,
        task=config.model.task,
        classes=None if classes is None or config.model.task == "regression" else tuple(classes),
        id=config.data.id,
        weight=config.data.weight,
        image=config.data.image,
        decision=config.bias.decision.column,
        sensitive=tuple(
            Sensitive(key, one.column, None if one.bins is None else tuple(one.bins))
            for key, one in config.data.sensitive.items()
        ),
        strata=None
        if strata is None
        else Sensitive("strata", strata.column, tuple(strata.bins) if strata.bins else None),
        crossings=tuple(tuple(keys) for keys in config.data.intersections),
        redact=frozenset(config.report.rows.redact),
        decode=None if model.modality != "image" else lambda values: images(values, (1, 1, 1), data.path, "data.path"),
    )


def _columns(config: AuditConfig, model: LoadedModel, data: Dataset) -> tuple[Column, ...]:
    """The features with the kind that the model reads them as: its own word, else how the reference has them."""
    known = model.preprocessor.known if model.preprocessor is not None else {}
    found = []
    for name, kind in feature_kinds(config, model, data).items():
        said = model.feature_kinds.get(name)
        if said is None and data.reference is not None and once(data.reference, name):
            said = "number" if can_be_binned(column(data.reference, name).type) else "category"
        if said is None and model.preprocessor is None and model.inputs == "matrix":
            said = "number"  # it goes into the matrix as it is
        found.append(Column(name, said or kind or "category", categories=_texts(known.get(name))))
    return tuple(found)


def _texts(values: Sequence[object] | None) -> tuple[str, ...] | None:
    """A preprocessor's categories as the texts that the data's values have."""
    if values is None:
        return None
    try:
        return tuple(pa.array(values).cast(pa.string()).to_pylist())
    except pa.ArrowException:
        return tuple(str(value) for value in values)
