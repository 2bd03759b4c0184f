"""Great Expectations as the gate uses it: expectations checked before the run, then run on a table.

One ephemeral context a call, in memory: no files, no network, no analytics, no progress bars. The library keeps its
current context in a module, so one audit at a time is inside it, and what was there before is put back.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.errors import ConfigError, nearest
from tasks.validate.frame import Asked, frame_of, nameable, suited, texts_in
from tasks.validate.outcome import EXAMPLES

if TYPE_CHECKING:
    from configs.schema import AuditConfig

_LIBRARY = "great_expectations"
#: the library's current context is global to it
_INSIDE = threading.Lock()

#: they ask a database, or a second table; the gate has one table in memory
_NEED_A_DATABASE = frozenset(
    {"expect_query_results_to_match_comparison", "expect_table_row_count_to_equal_other_table"}
)

#: they have a file in the library, and nothing behind it
_UNFINISHED = frozenset(
    {
        "expect_column_bootstrapped_ks_test_p_value_to_be_greater_than",
        "expect_column_chisquare_test_p_value_to_be_greater_than",
        "expect_column_pair_cramers_phi_value_to_be_less_than",
        "expect_column_parameterized_distribution_ks_test_p_value_to_be_greater_than",
        "expect_multicolumn_values_to_be_unique",
    }
)

#: arguments that steer the library itself, and why they cannot be given
_RESERVED = {
    "row_condition": "it would be evaluated as code; filter the data beforehand",
    "condition_parser": "it belongs to row_condition, which would be evaluated as code",
    "result_format": "the gate sets it",
    "catch_exceptions": "the gate sets it",
    "rendered_content": "the gate sets it",
    "batch_id": "the gate sets it",
    "id": "the gate sets it",
    "windows": "it needs the results of earlier runs in Great Expectations' cloud",
}


@dataclass(frozen=True)
class Answer:
    """What Great Expectations said of one expectation.

    Attributes:
        success: whether it holds.
        element_count: values looked at; null for expectations about a whole column or table.
        unexpected_count, missing_count: of them.
        examples: up to five unexpected values.
        observed: what was measured, where one thing was.
        error: why it could not be judged, or None.
    """

    success: bool
    element_count: int | None = None
    unexpected_count: int | None = None
    missing_count: int | None = None
    examples: tuple[Any, ...] = ()
    observed: Any = None
    error: str | None = None


def expectation_types() -> tuple[str, ...]:
    """The types that a config may name, read from the library's folder: cheap, nothing of it is imported."""
    found = importlib.util.find_spec(_LIBRARY)
    folders = (found.submodule_search_locations if found else None) or []
    names = {file.stem for folder in folders for file in Path(folder).glob("expectations/core/expect_*.py")}
    return tuple(sorted(names - _NEED_A_DATABASE - _UNFINISHED))


def check_expectations(config: AuditConfig) -> None:
    """Judges what a config expects, as far as it can be without importing the library: types and reserved arguments.

    Raises:
        ConfigError: a type that does not exist, an argument that cannot be given.
    """
    known = expectation_types() if config.data.expectations else ()
    for number, expectation in enumerate(config.data.expectations):
        where = f"data.expectations.{number}"
        if expectation.type in _NEED_A_DATABASE:
            raise ConfigError(
                f"{expectation.type} asks a database or a second table; the gate has one table in memory",
                where=where,
                hint="ask it where the data is made",
            )
        if expectation.type not in known:
            hint = nearest(expectation.type, known)
            raise ConfigError(
                f"Great Expectations has no {expectation.type}",
                where=where,
                available=() if hint else known,
                hint=hint,
                code="unknown_expectation",
            )
        _refuse_reserved(expectation.type, expectation.arguments, where)


def check_arguments(config: AuditConfig) -> None:
    """Judges the rest, which the library knows: it is imported for it, which takes some seconds the first time.

    Raises:
        ConfigError: an argument that is missing, unknown or of a wrong value.
    """
    check_expectations(config)
    for number, expectation in enumerate(config.data.expectations):
        _built(Asked(expectation.type, expectation.arguments), f"data.expectations.{number}")


def run_expectations(table: pa.Table, asked: Sequence[Asked]) -> list[Answer]:
    """Runs expectations on a table, all together; those that raise are run again alone, for a reason of their own.

    Args:
        table: n rows; only the columns that some expectation names are converted.
        asked: already checked with `check_arguments`.

    Returns:
        An answer for each, in the order asked.
    """
    if not asked:
        return []
    table, asked = nameable(table, asked)
    named = [set(texts_in(one.arguments)) for one in asked]
    twins = {name for name, times in Counter(table.column_names).items() if times > 1}
    # The library would take the first of two columns of one name, or both.
    answers = {
        number: Answer(False, error=f"more than one column has the name {sorted(names & twins)[0]}")
        for number, names in enumerate(named)
        if names & twins
    }
    built = {
        number: _built(suited(one, table.schema), one.type, number)
        for number, one in enumerate(asked)
        if number not in answers
    }
    frame = frame_of(table, set().union(*named))
    with _library() as batch_of:
        batch = batch_of(frame)
        # One that cannot be prepared takes the others with it; they get their turn alone.
        with contextlib.suppress(Exception):
            answers.update(_answers(batch, list(built.values())))
        for number, expectation in built.items():
            if number not in answers or answers[number].error is not None:
                try:
                    answers.update(_answers(batch, [expectation]))
                except Exception as error:  # noqa: BLE001 - whatever the library raises is this one's failure
                    answers[number] = Answer(False, error=_line(error))
    return [answers[number] for number in range(len(asked))]


# ---------------------------------------------------------------- the library


def _import() -> Any:
    """The library, which on import takes over Python's warnings: given back at once."""
    showing = warnings.showwarning
    import great_expectations

    if warnings.showwarning is not showing:
        logging.captureWarnings(False)
    return great_expectations


@contextlib.contextmanager
def _library() -> Iterator[Any]:
    """Inside the library: gives a function of a frame to the batch that holds it."""
    library = _import()
    from great_expectations.data_context.data_context.context_factory import project_manager
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.exceptions import DataContextError

    logger = logging.getLogger(_LIBRARY)
    with _INSIDE:
        level = logger.level
        try:
            before = project_manager.get_current_project()
        except (AttributeError, DataContextError):  # none yet; or a version that cannot say
            before = None
        logger.setLevel(logging.CRITICAL)
        try:
            context = library.get_context(
                mode="ephemeral",
                project_config=DataContextConfig(
                    store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
                    progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
                    analytics_enabled=False,
                ),
            )
            asset = context.data_sources.add_pandas("data").add_dataframe_asset("table")
            definition = asset.add_batch_definition_whole_dataframe("whole")
            yield lambda frame: definition.get_batch(batch_parameters={"dataframe": frame})
        finally:
            project_manager.set_project(before)
            logger.setLevel(level)


def _built(asked: Asked, where: str, number: int | None = None) -> Any:
    """The library's own object for an expectation.

    Raises:
        ConfigError: it does not take these arguments.
    """
    _import()
    from great_expectations.compatibility import pydantic
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        kind = get_expectation_impl(asked.type)
    except ExpectationNotFoundError as error:  # a version of the library without it
        raise ConfigError(f"Great Expectations has no {asked.type}", where=where, code="unknown_expectation") from error
    arguments = dict(asked.arguments)
    if number is not None:
        meta = arguments.get("meta")
        arguments["meta"] = {**(meta if isinstance(meta, dict) else {}), "keras_audit": number}
    try:
        return kind(**arguments)
    except pydantic.ValidationError as error:
        raise _told(asked, error.errors(), kind, where) from error
    except Exception as error:  # a check of the library's own that is no validation error
        raise ConfigError(f"{asked.type}: {_line(error)}", where=where) from error


def _told(asked: Asked, problems: list[Any], kind: Any, where: str) -> ConfigError:
    """The first of the library's complaints as one line; an unknown key explains a missing one, so it goes first."""
    fields = [name for name in kind.__fields__ if name not in {*_RESERVED, "severity"}]
    first = min(problems, key=lambda problem: problem["type"] != "value_error.extra")
    key = ".".join(str(part) for part in first["loc"] if part != "__root__")
    if first["type"] == "value_error.extra":
        return ConfigError(
            f"{asked.type} has no argument {key}", where=where, available=fields, hint=nearest(key, fields)
        )
    if first["type"] == "value_error.missing":
        return ConfigError(f"{asked.type} needs the argument {key}", where=where)
    value = asked.arguments.get(str(first["loc"][0]))
    return ConfigError(
        f"{asked.type}: {f'{key}: ' if key else ''}{first['msg']}",
        where=where,
        values=() if value is None else (repr(value),),
    )


def _refuse_reserved(kind: str, arguments: Mapping[str, Any], where: str) -> None:
    for key, why in _RESERVED.items():
        if key in arguments:
            raise ConfigError(f"{kind}: {key} cannot be given: {why}", where=where)
    for key, value in _pairs(arguments):
        if key == "$PARAMETER":
            raise ConfigError(f"{kind}: $PARAMETER is not supported: write the value itself", where=where)
        if key == "$ref" and not str(value).startswith("#"):
            raise ConfigError(f"{kind}: a JSON schema may only refer to itself, not to {value}", where=where)


def _answers(batch: Any, built: Sequence[Any]) -> dict[int, Answer]:
    """Answers by the number that each expectation carries: the library gives them back in an order of its own."""
    import great_expectations

    result = batch.validate(
        great_expectations.ExpectationSuite(name="gate", expectations=list(built)),
        result_format={"result_format": "BASIC", "partial_unexpected_count": EXAMPLES},
    )
    return {one.expectation_config.meta["keras_audit"]: _answer(one) for one in result.results}


def _answer(result: Any) -> Answer:
    """A result of the library without the library's types."""
    info, found = result.exception_info or {}, result.result or {}
    # One reason for the expectation, or one for each of its metrics.
    reasons = [part for part in (info, *info.values()) if isinstance(part, dict) and part.get("raised_exception")]
    error = " ".join(str(reasons[0].get("exception_message")).split()) if reasons else None
    return Answer(
        success=bool(result.success),
        element_count=found.get("element_count"),
        unexpected_count=found.get("unexpected_count"),
        missing_count=found.get("missing_count"),
        examples=tuple(found.get("partial_unexpected_list") or ())[:EXAMPLES],
        observed=found.get("observed_value"),
        error=error,
    )


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every key with its value, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key, inner
            yield from _pairs(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _pairs(inner)


def _line(error: Exception) -> str:
    """An exception's message on one line, or its name."""
    return " ".join(str(error).split())[:300] or type(error).__name__
