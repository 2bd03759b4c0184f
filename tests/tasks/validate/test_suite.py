"""Great Expectations as the gate uses it: what is refused beforehand, what it answers, and that it leaves no trace."""

from __future__ import annotations

import datetime
import logging
import socket
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from configs.schema import AuditConfig
from tasks.errors import ConfigError
from tasks.validate import check_arguments, check_expectations
from tasks.validate.suite import Asked, expectation_types, run_expectations

BETWEEN = "expect_column_values_to_be_between"
NOT_NULL = "expect_column_values_to_not_be_null"
IN_SET = "expect_column_values_to_be_in_set"
UNIQUE = "expect_column_values_to_be_unique"


def config(*expectations: dict[str, Any]) -> AuditConfig:
    return AuditConfig.model_validate(
        {
            "name": "a",
            "model": {"path": "m", "task": "binary"},
            "data": {"path": "d.csv", "target": {"column": "y"}, "expectations": list(expectations)},
        }
    )


def test_types_are_those_the_library_registers() -> None:
    import great_expectations  # noqa: F401 - it registers them
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    registered = {name for name in list_registered_expectation_implementations() if name.startswith("expect_")}
    assert set(expectation_types()) <= registered
    assert registered - set(expectation_types()) <= {
        "expect_query_results_to_match_comparison",
        "expect_table_row_count_to_equal_other_table",
    }


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"type": "expect_column_value_to_be_between"}, "did you mean"),
        ({"type": "expect_nothing_of_the_kind_whatsoever_at_all"}, "available: expect_"),
        ({"type": "expect_table_row_count_to_equal_other_table"}, "a second table"),
        ({"type": BETWEEN, "column": "x", "row_condition": "a.to_csv('/tmp/x')"}, "evaluated as code"),
        ({"type": BETWEEN, "column": "x", "condition_parser": "pandas"}, "condition_parser"),
        ({"type": BETWEEN, "column": "x", "result_format": "COMPLETE"}, "the gate sets it"),
        ({"type": BETWEEN, "column": "x", "min_value": {"$PARAMETER": "now()"}}, r"\$PARAMETER is not supported"),
        (
            {
                "type": "expect_column_values_to_match_json_schema",
                "column": "x",
                "json_schema": {"properties": {"a": {"$ref": "http://example.org/schema"}}},
            },
            "may only refer to itself",
        ),
    ],
)
def test_what_cannot_be_asked_is_a_config_error(expectation: dict[str, Any], message: str) -> None:
    fine = {"type": NOT_NULL, "column": "x"}
    with pytest.raises(ConfigError, match=message) as caught:
        check_expectations(config(fine, expectation))
    assert caught.value.exit_code == 2
    assert caught.value.where == "data.expectations.1"


def test_the_nearest_type_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        check_expectations(config({"type": "expect_colum_values_to_be_betwen", "column": "x"}))
    assert caught.value.hint == f"did you mean {BETWEEN}?"


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"type": BETWEEN, "column": "x", "min_valu": 1}, r"has no argument min_valu; .*did you mean min_value\?"),
        ({"type": NOT_NULL}, "needs the argument column"),
        ({"type": IN_SET, "column": "x", "value_set": 3}, "value_set"),
        ({"type": NOT_NULL, "column": "x", "mostly": "most"}, "mostly"),
        ({"type": NOT_NULL, "column": "x", "mostly": 2}, "mostly"),
        ({"type": NOT_NULL, "column": ""}, "column"),
    ],
)
def test_wrong_arguments_are_a_config_error(expectation: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_arguments(config(expectation))
    assert caught.value.where == "data.expectations.0"


def test_types_are_judged_without_importing_the_library(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys\n"
        "from flows.request import load_config\n"
        "from tasks.validate.suite import check_expectations\n"
        "check_expectations(load_config('configs/adult_income.yaml'))\n"
        "sys.exit('great_expectations' in sys.modules or 'tensorflow' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


TABLE = pa.table(
    {
        "number": pa.array([1.0, 2.0, None, 90.0, float("nan")]),
        "whole": pa.array([2**60 + 1, 2**60, None, 5, 5]),
        "word": pa.array(["a", "b", None, "a", "c"]).dictionary_encode(),
        "flag": pa.array([True, None, False, True, True]),
        "money": pa.array([Decimal("0.1"), Decimal("2.5"), None, Decimal("0.1"), Decimal("7.0")]),
        "day": pa.array([datetime.date(2020, 1, d) for d in range(1, 6)]),
        "moment": pa.array([datetime.datetime(2020, 1, d) for d in range(1, 6)]),
        "mixed type": pa.array(["1", "x", "3", None, ""]),
        "nothing": pa.nulls(5),
        "nested": pa.array([[1], [2], None, [1], []]),
        "": pa.array([1, 2, 3, 4, 5]),
    }
)


@pytest.mark.parametrize(
    ("kind", "arguments", "success", "unexpected", "missing"),
    [
        (BETWEEN, {"column": "number", "max_value": 50}, False, 1, 2),
        (BETWEEN, {"column": "number", "max_value": 50, "mostly": 0.6}, True, 1, 2),
        # A float64 would not tell 2^60 + 1 from 2^60, and a null would have made the column one.
        (IN_SET, {"column": "whole", "value_set": [2**60, 5]}, False, 1, 1),
        (IN_SET, {"column": "word", "value_set": ["a", "b"]}, False, 1, 1),
        (IN_SET, {"column": "flag", "value_set": [True]}, False, 1, 1),
        (IN_SET, {"column": "money", "value_set": [0.1, 2.5]}, False, 1, 1),
        (BETWEEN, {"column": "money", "min_value": 1}, False, 2, 1),
        (BETWEEN, {"column": "day", "min_value": datetime.date(2020, 1, 3)}, False, 2, 0),
        (BETWEEN, {"column": "day", "min_value": "2020-01-03"}, False, 2, 0),
        (BETWEEN, {"column": "moment", "min_value": datetime.date(2020, 1, 3)}, False, 2, 0),
        (BETWEEN, {"column": "moment", "min_value": "2020-01-03"}, False, 2, 0),
        (UNIQUE, {"column": "word"}, False, 2, 1),
        (NOT_NULL, {"column": "nothing"}, False, 5, None),
        (NOT_NULL, {"column": "nested"}, False, 1, None),
        ("expect_column_pair_values_to_be_equal", {"column_A": "", "column_B": "number"}, False, 3, 0),
    ],
)
def test_counts_of_every_kind_of_column(
    kind: str, arguments: dict[str, Any], success: bool, unexpected: int, missing: int | None
) -> None:
    (answer,) = run_expectations(TABLE, [Asked(kind, arguments)])
    assert answer.error is None
    assert (answer.success, answer.unexpected_count) == (success, unexpected)
    if kind.endswith("_be_between") or kind in (IN_SET, UNIQUE):
        assert (answer.element_count, answer.missing_count) == (5, missing)


def test_answers_come_in_the_order_asked_and_one_that_raises_spoils_none() -> None:
    asked = [
        Asked(BETWEEN, {"column": "absent", "max_value": 1}),
        Asked(NOT_NULL, {"column": "number"}),
        Asked("expect_column_mean_to_be_between", {"column": "number", "min_value": 50}),
        Asked(BETWEEN, {"column": "mixed type", "max_value": 1}),
        Asked("expect_column_to_exist", {"column": "word"}),
        Asked("expect_table_column_count_to_equal", {"value": 11}),
        Asked(NOT_NULL, {"column": "number"}),  # the same twice
        Asked("expect_column_stdev_to_be_between", {"column": "word", "max_value": 1}),
    ]
    answers = run_expectations(TABLE, asked)
    assert [answer.success for answer in answers] == [False, False, False, False, True, True, False, False]
    assert [answer.error is not None for answer in answers] == [True, False, False, True, False, False, False, True]
    assert answers[2].observed == pytest.approx(31.0)
    assert "absent" in (answers[0].error or "")


def test_columns_of_one_name() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "a", "b"])
    answers = run_expectations(
        table, [Asked(NOT_NULL, {"column": "a"}), Asked("expect_table_column_count_to_equal", {"value": 3})]
    )
    assert [answer.success for answer in answers] == [False, True]
    assert answers[0].error


def test_no_rows_and_no_columns() -> None:
    asked = [Asked("expect_table_row_count_to_be_between", {"min_value": 1}), Asked(NOT_NULL, {"column": "a"})]
    assert [a.success for a in run_expectations(pa.table({"a": pa.array([], pa.int64())}), asked)] == [False, True]
    assert [a.success for a in run_expectations(pa.table({}), asked)] == [False, False]
    assert run_expectations(pa.table({}), []) == []


def test_it_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    import great_expectations as gx
    from great_expectations.data_context.data_context.context_factory import project_manager

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for key in ("HOME", "TMPDIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(key, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    logger, showing = logging.getLogger("great_expectations"), warnings.showwarning
    before = logger.level
    theirs = gx.get_context(mode="ephemeral")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="root"):
        run_expectations(TABLE, [Asked(NOT_NULL, {"column": "number"}), Asked(NOT_NULL, {"column": "absent"})])
    assert project_manager.get_current_project() is theirs
    project_manager.set_project(None)
    assert list(tmp_path.iterdir()) == []
    assert (logger.level, warnings.showwarning) == (before, showing)
    assert [r for r in caplog.records if r.name.startswith("great_expectations")] == []
    assert capfd.readouterr() == ("", "")


def test_threads_do_not_meet() -> None:
    def unexpected(limit: int) -> int | None:
        table = pa.table({"x": list(range(1000))})
        (answer,) = run_expectations(table, [Asked(BETWEEN, {"column": "x", "max_value": limit})])
        return answer.unexpected_count

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(unexpected, range(0, 240, 10))) == [999 - limit for limit in range(0, 240, 10)]
