from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from configs.schema import AuditConfig
from tasks.bias.rows.groups import LARGEST, MAX_GROUPS, Attribute, attributes_of, bin_names, binned, crossed, valued
from tasks.errors import ConfigError, DataRefused

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
        (pa.array(HOSTILE, pa.large_string()), HOSTILE),
        (pa.array([1.5, float("nan"), None], pa.float32()), ["1.5", "(missing)", "(missing)"]),
        (pa.array([1.0, float("nan"), None]).dictionary_encode(), ["1", "(missing)", "(missing)"]),
        (pa.array([3, None], pa.uint8()), ["3", "(missing)"]),
        (pa.array([datetime.datetime(2020, 1, 31, 12)], pa.timestamp("s")), ["2020-01-31 12:00:00"]),
        (pa.array([datetime.datetime(2020, 1, 31, 12)], pa.timestamp("ms", "UTC")), ["2020-01-31 12:00:00.000Z"]),
        (pa.array([datetime.time(8, 30)], pa.time32("s")), ["08:30:00"]),
        (pa.array([datetime.date(2020, 1, 31), None]).dictionary_encode(), ["2020-01-31", "(missing)"]),
    ],
)
def test_a_group_is_the_value_as_text(array: pa.Array, texts: list[str]) -> None:
    assert _groups(array) == texts


def test_what_a_dictionary_holds_and_no_row_has_is_no_group() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([2, None, 0, 2]), pa.array(["b", "unused", "a", "b"]))
    attribute = valued("a", pa.chunked_array([array, array.slice(3)]))
    assert attribute.groups == ("a", "b", "(missing)")
    assert attribute.codes.tolist() == [0, 2, 1, 0, 0]


def test_pieces_of_a_column_make_the_same_groups_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    for values in (pa.array(rng.integers(0, 40, 1000)), pa.array(rng.choice(["x", "y", "z"], 1000))):
        whole = valued("a", pa.chunked_array([values]))
        pieces = pa.chunked_array(
            [values[:1], values[1:1], values[1:700], values[700:].dictionary_encode().cast(values.type)]
        )
        parts = valued("a", pieces)
        assert parts.groups == whole.groups
        np.testing.assert_array_equal(parts.codes, whole.codes)
        assert whole.codes.dtype == np.int32


def test_a_column_without_rows_has_no_groups() -> None:
    for attribute in (
        valued("a", pa.chunked_array([], pa.string())),
        binned("a", pa.chunked_array([], pa.int64()), [1.0]),
    ):
        assert (attribute.groups, len(attribute.codes)) == ((), 0)


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


def test_crossings_of_many_attributes_do_not_overflow() -> None:
    rng = np.random.default_rng(0)
    parts = [Attribute(f"a{k}", tuple(f"g{j}" for j in range(3000)), rng.integers(0, 3000, 500)) for k in range(8)]
    for part in parts:  # 3000^8 cells, of which 500 have a row
        part.codes[250:] = part.codes[:250]
    both = crossed(parts)
    assert len(both.groups) == 250
    for row in (0, 249, 499):
        assert both.groups[both.codes[row]] == " × ".join(part.groups[part.codes[row]] for part in parts)


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


# ---------------------------------------------------------------- references, and groups that are not known


def _attributes(table: dict, crossings: list[list[str]] | None = None, **sensitive) -> list[Attribute]:
    config = _config(**sensitive).model_dump()
    config["data"]["intersections"] = crossings or []
    return attributes_of(AuditConfig.model_validate(config), pa.table(table))


SEX, RACE = ["F", "M", "M", None, "?"], ["b", "w", "b", "w", "n/a"]


@pytest.mark.parametrize(
    ("wanted", "reference"), [(None, None), ("best_off", None), ("largest", LARGEST), ("F", "F"), ("M", "M")]
)
def test_a_reference_is_declared(wanted: str | None, reference: str | None) -> None:
    (sex,) = _attributes({"sex": SEX}, sex={"column": "sex", "reference": wanted})
    assert sex.reference == reference


@pytest.mark.parametrize(
    ("values", "wanted", "name"),
    [([1, 2], 2, "2"), ([1.0, 2.5], 1, "1"), ([True, False], True, "true"), (["1", "2"], 1, "1"),
     (["1", "1.0"], "1.0", "1.0"), (["1", "1.0"], 1, "1")],
)  # fmt: skip
def test_references_match_by_value_or_text(values: list, wanted: object, name: str) -> None:
    (found,) = _attributes({"x": values}, x={"column": "x", "reference": wanted})
    assert found.reference == name


def test_a_bin_may_be_the_reference() -> None:
    (age,) = _attributes({"age": [20, 50]}, age={"column": "age", "bins": [25], "reference": "≥ 25"})
    assert age.reference == "≥ 25"


@pytest.mark.parametrize(("wanted", "problem"), [("X", "no group"), ("(missing)", "unknown"), ("?", "unknown")])
def test_a_reference_must_be_a_group_that_is_known(wanted: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        _attributes({"sex": SEX}, sex={"column": "sex", "reference": wanted, "unknown": ["?"]})
    assert caught.value.code == "unknown_reference"
    assert "data.sensitive.sex.reference" in str(caught.value)
    assert "available: best_off, largest, F, M" in str(caught.value)


def test_unknown_groups_stay_groups() -> None:
    (sex,) = _attributes({"sex": SEX}, sex={"column": "sex", "unknown": ["?", "never seen"]})
    assert sex.groups == ("?", "F", "M", "(missing)")
    assert sex.unknown == ("?", "(missing)")
    assert sex.known.tolist() == [False, True, True, False]


def test_a_number_that_stands_for_unknown_is_in_no_bin() -> None:
    (age,) = _attributes(
        {"age": [20, 70, 999, None, 20]}, age={"column": "age", "bins": [25, 60], "unknown": [999, -1]}
    )
    assert [age.groups[code] for code in age.codes] == ["< 25", "≥ 60", "999", "(missing)", "< 25"]
    assert age.unknown == ("999", "(missing)")
    assert age.empty == ("[25, 60)",)


def test_a_crossing_is_unknown_where_a_part_is() -> None:
    *_, both = _attributes(
        {"sex": SEX, "race": RACE},
        [["sex", "race"]],
        sex={"column": "sex"},
        race={"column": "race", "unknown": ["n/a"]},
    )
    assert set(both.unknown) == {"(missing) × w", "? × n/a"}
    assert set(both.groups) - set(both.unknown) == {"F × b", "M × w", "M × b"}


@pytest.mark.parametrize(
    ("sex", "race", "reference"),
    [
        ("M", "w", "M × w"),
        ("largest", "largest", LARGEST),
        ("largest", "w", None),
        ("M", None, None),
        (None, None, None),
    ],
)
def test_a_crossing_inherits_its_reference(sex: str | None, race: str | None, reference: str | None) -> None:
    *_, both = _attributes(
        {"sex": SEX, "race": RACE}, [["sex", "race"]], sex={"column": "sex", "reference": sex},
        race={"column": "race", "reference": race},
    )  # fmt: skip
    assert both.reference == reference
    assert both.empty == ()


def test_a_crossing_of_references_that_nobody_is() -> None:
    *_, both = _attributes(
        {"sex": SEX, "race": RACE}, [["sex", "race"]], sex={"column": "sex", "reference": "F"},
        race={"column": "race", "reference": "w"},
    )  # fmt: skip
    assert (both.reference, both.empty) == (None, ("F × w",))
