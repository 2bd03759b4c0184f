"""The gate itself: what the schema implies and what the config expects, judged on a table.

Nothing here opens a file or a model: `Requirements` says what the audit needs. Where Great Expectations has an
expectation for what is implied, it is run there, in one suite with those of the config.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.contracts import Severity
from tasks.errors import DataRefused
from tasks.validate import columns, groups
from tasks.validate.images import images_decodable
from tasks.validate.implied import Implied, implied_by
from tasks.validate.outcome import Outcome, counted, shown
from tasks.validate.reference import reference_usable
from tasks.validate.requirements import Requirements, Taken
from tasks.validate.suite import Answer, Asked, run_expectations
from tasks.watch import Watch

if TYPE_CHECKING:
    from configs.schema import Expectation

_LONGEST = 200


def examine(
    table: pa.Table,
    requirements: Requirements,
    *,
    expectations: Sequence[Expectation] = (),
    reference: pa.Table | None = None,
    ask: Callable[[], Taken] | None = None,
    watch: Watch | None = None,
) -> tuple[Outcome, ...]:
    """Judges a table before anything is computed from it.

    Args:
        table: n rows, any types.
        requirements: what the audit reads of it.
        expectations: the config's, already checked with `check_arguments`.
        reference: the reference data, or None.
        ask: asks the model what it takes, in place of what `requirements` says of nulls; called once the columns are
            known to be there and of their types, since the model is asked with rows of this table.
        watch: looked at between checks.

    Returns:
        What the schema implies first, then the config's expectations in their order. The audit is refused where one
        of severity critical has failed.

    Raises:
        Stopped, DeadlinePassed: as the watch says.
    """
    watch = watch or Watch()
    table, own = columns.readable(table, "Audited data")
    if reference is not None:
        reference, broken = columns.readable(reference, "Reference data")
        own += broken
    own += columns.named_once(table, requirements) + columns.types(table, requirements)
    if table.num_rows:
        own += columns.finite(table, requirements)
        own += columns.exact(table, requirements)
        own += groups.target_varies(table, requirements)
        own += groups.categories_known(table, requirements, reference)
        own += groups.sensitive_groups(table, requirements, reference)
        own += columns.varies(table, requirements.features)
        watch.advance(0)
        own += images_decodable(table, requirements, watch)
        here = all(columns.once(table, name) for name, _ in requirements.columns)
        if ask is not None and here and not _refused(own):
            try:
                taken = ask()
                requirements = requirements.with_nulls(taken.nulls)
                own += groups.categories_taken(table, requirements, taken)
            except DataRefused as error:
                own.append(unreadable(error))
    if reference is not None:
        own += reference_usable(reference, requirements)
    watch.advance(0)
    implied = implied_by(table, requirements)
    asked = [one.asked for one in implied] + [Asked(e.type, e.arguments) for e in expectations]
    answers = run_expectations(table, asked)
    watch.advance(0)
    told = [_outcome(one, answer, requirements) for one, answer in zip(implied, answers, strict=False)]
    configured = [
        _configured(expectation, answer, requirements, table)
        for expectation, answer in zip(expectations, answers[len(implied) :], strict=True)
    ]
    return (*told, *own, *configured)


def unreadable(error: DataRefused) -> Outcome:
    """Data that was refused where it is read, as one failure among the others."""
    text = " ".join(str(error).split()).rstrip(".")
    return Outcome("data_can_be_read", None, "critical", False, error.code, text)


def _refused(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.severity == "critical" and not outcome.success for outcome in outcomes)


# ---------------------------------------------------------------- from answers to outcomes


def _outcome(implied: Implied, answer: Answer, requirements: Requirements) -> Outcome:
    name = implied.asked.arguments.get("column")
    if answer.error is not None:
        text = f"{f'Column {name}' if name else 'The table'} cannot be judged: {answer.error}"
        return _row(implied.asked.type, name, "critical", implied.code, text, answer, ())
    if answer.success:
        return _row(implied.asked.type, name, implied.severity, implied.code, _holds(answer), answer, ())
    nullity = implied.asked.type == "expect_column_values_to_not_be_null"
    examples = () if nullity or requirements.hidden(name) else shown(answer.examples)
    return _row(
        implied.asked.type,
        name,
        implied.severity,
        implied.code,
        implied.tell(answer.unexpected_count or 0),
        answer,
        examples,
    )


def _configured(expectation: Expectation, answer: Answer, requirements: Requirements, table: pa.Table) -> Outcome:
    """One of the config's: one that cannot be judged is critical, whatever severity it was given."""
    arguments = expectation.arguments
    named = [arguments[key] for key in ("column", "column_A", "column_B") if isinstance(arguments.get(key), str)]
    named += [name for name in arguments.get("column_list") or () if isinstance(name, str)]
    name = ", ".join(named) or None
    what = f"{expectation.type}{_written(arguments)}"
    if answer.error is not None:
        text = f"{what} cannot be judged: {_reason(answer.error, named, table)}"
        return _row(expectation.type, name, "critical", "expectation_error", text, answer, ())
    if answer.success:
        return _row(expectation.type, name, expectation.severity, "expectation_failed", _holds(answer), answer, ())
    hidden = any(requirements.hidden(one) for one in named)
    where = f" for {name}" if name else ""
    if answer.unexpected_count is not None:
        how = "missing" if expectation.type == "expect_column_values_to_not_be_null" else "unexpected"
        found = f": {counted(answer.unexpected_count, 'value is', 'values are')} {how}"
    else:
        found = "" if answer.observed is None or hidden else f": found {shown([answer.observed])[0]}"
    examples = () if hidden or expectation.type == "expect_column_values_to_not_be_null" else shown(answer.examples)
    text = f"{what} does not hold{where}{found}"
    return _row(expectation.type, name, expectation.severity, "expectation_failed", text, answer, examples)


def _reason(error: str, named: Sequence[str], table: pa.Table) -> str:
    """Why an expectation could not be judged: the library's words, but where a column is the reason."""
    absent = [name for name in named if name not in table.column_names]
    if absent:
        return f"there is no column {absent[0]}{columns.missing_hint(absent[0], table)}"
    twins = [name for name in named if not columns.once(table, name)]
    if twins:
        return f"more than one column has the name {twins[0]}"
    return error.rstrip(".")


def _row(
    kind: str,
    name: str | None,
    severity: Severity,
    code: str,
    text: str,
    answer: Answer,
    examples: tuple[str, ...],
) -> Outcome:
    """An outcome with the library's counts; its percentage is of the non-null values, where it looks at those only."""
    elements, gone = answer.element_count, answer.missing_count or 0
    return Outcome(
        kind,
        name,
        severity,
        answer.success,
        code,
        text,
        elements,
        answer.unexpected_count,
        None if elements is None else elements - gone,
        examples,
    )


def _holds(answer: Answer) -> str:
    if answer.element_count is not None:
        looked = answer.element_count - (answer.missing_count or 0)
        some = f" ({answer.unexpected_count:,} unexpected, as many as allowed)" if answer.unexpected_count else ""
        return f"Holds for {counted(looked, 'value')}{some}"
    return "Holds"


def _written(arguments: dict[str, Any]) -> str:
    """Arguments as ` (min_value 17, max_value 90)`, without the column."""
    parts = [
        f"{key} {value}"
        for key, value in arguments.items()
        if key not in {"column", "column_A", "column_B", "column_list", "meta", "notes", "description"}
    ]
    text = ", ".join(parts)
    return f" ({text if len(text) <= _LONGEST else text[:_LONGEST] + '…'})" if parts else ""
