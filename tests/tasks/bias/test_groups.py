from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from configs.schema import AuditConfig
from tasks.bias.groups import MAX_GROUPS, attributes_of, bin_names, binned, crossed, valued
from tasks.errors import DataRefused

HOSTILE = ["<script>alert('1')</script>", "a|b", "‮rtl", "x" * 200, "", "quote\"'", "(missing)"]


def _groups(array: pa.Array) -> list[str]:
    attribute = valued("a", pa.chunked_array([array]))
    return [attribute.groups[code] for code in attribute.codes]


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([1, None, 0]), ["1", "(missing)", "0"]),
        (pa.array([1.0, 2.5, float("nan"), None]), ["1", "2.5", "(missing)", "(missing)"]),
        (pa.array([True, False, None]), ["true", "false", "(missing)"]),
        (pa.array([datetime.date(2020, 1, 31)]), ["2020-01-31"]),
        (pa.array([decimal.Decimal("1.10")]), ["1.10"]),
        (pa.array(["b", "a", None]).dictionary_encode(), ["b", "a", "(missing)"]),
        (pa.nulls(2), ["(missing)", "(missing)"]),
        (pa.array(HOSTILE), HOSTILE),
        (pa.array([b"ab"]), ["ab"]),
    ],
)
def test_a_group_is_the_value_as_text(array: pa.Array, texts: list[str]) -> None:
    assert _groups(array) == texts


def test_values_are_in_the_order_of_their_type_and_missing_is_last() -> None:
    assert valued("a", pa.chunked_array([[10, 2], [None, 2]])).groups == ("2", "10", "(missing)")


def test_a_value_called_missing_and_null_are_one_group() -> None:
    attribute = valued("a", pa.chunked_array([["(missing)", None, "x"]]))
    assert attribute.groups == ("(missing)", "x")
    assert attribute.codes.tolist() == [0, 0, 1]


@pytest.mark.parametrize("array", [pa.array([[1], [2]]), pa.array([b"\xff"]), pa.array([{"a": 1}])])
def test_values_that_cannot_be_named(array: pa.Array) -> None:
    with pytest.raises(DataRefused, match="cannot name groups"):
        valued("a", pa.chunked_array([array]), "data.sensitive.a")


def test_bins_are_closed_on_the_left() -> None:
    ages = pa.chunked_array([[24, 25, 39, 40, 60, 90, None]])
    attribute = binned("age", ages, [25, 40, 60])
    assert [attribute.groups[code] for code in attribute.codes] == [
        "< 25", "[25, 40)", "[25, 40)", "[40, 60)", "≥ 60", "≥ 60", "(missing)",
    ]  # fmt: skip


def test_bins_without_a_row_are_told_apart() -> None:
    attribute = binned("age", pa.chunked_array([[1, 70]]), [25, 40])
    assert attribute.groups == ("< 25", "≥ 40")
    assert attribute.codes.tolist() == [0, 1]
    assert attribute.empty == ("[25, 40)",)


def test_edges_are_printed_as_they_were_written() -> None:
    assert bin_names([0.1, 1e6]) == ["< 0.1", "[0.1, 1000000)", "≥ 1000000"]


@pytest.mark.parametrize("array", [pa.array(["1"]), pa.array([True])])
def test_bins_of_what_is_no_number(array: pa.Array) -> None:
    with pytest.raises(DataRefused, match="bins need numbers"):
        binned("age", pa.chunked_array([array]), [1.0], "data.sensitive.age")


def test_crossings_join_in_the_declared_order() -> None:
    sex = valued("sex", pa.chunked_array([["Female", "Male", "Female", None]]))
    race = valued("race", pa.chunked_array([["Black", "White", "White", "Black"]]))
    both = crossed([sex, race])
    assert both.name == "sex × race"
    assert [both.groups[code] for code in both.codes] == [
        "Female × Black", "Male × White", "Female × White", "(missing) × Black",
    ]  # fmt: skip
    assert crossed([race, sex]).groups[0] == "Black × Female"


def test_a_value_with_the_joining_sign_makes_no_second_meaning() -> None:
    a = valued("a", pa.chunked_array([["x × y", "x"]]))
    b = valued("b", pa.chunked_array([["z", "y × z"]]))
    names = crossed([a, b]).groups
    assert len(set(names)) == 2
    assert set(names) == {'"x × y" × z', 'x × "y × z"'}


def _config(**sensitive) -> AuditConfig:
    return AuditConfig.model_validate(
        {
            "name": "t",
            "model": {"path": "m", "task": "binary"},
            "data": {"path": "d", "target": {"column": "y", "favorable": 1}, "sensitive": sensitive},
        }
    )


def test_a_missing_column_is_refused_with_what_there_is() -> None:
    with pytest.raises(DataRefused, match=r"no column sexx; available: sex"):
        attributes_of(_config(sex={"column": "sexx"}), pa.table({"sex": ["a"]}))


def test_an_identifier_is_no_attribute() -> None:
    table = pa.table({"id": np.arange(MAX_GROUPS + 1)})
    with pytest.raises(DataRefused, match="10,001 groups") as caught:
        attributes_of(_config(id={"column": "id"}), table)
    assert caught.value.code == "too_many_groups"
