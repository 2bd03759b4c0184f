from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError, DataRefused
from tasks.load import Feature
from tasks.load.encoding import kind_of, make_encoder
from tasks.load.preprocessors import Preprocessor

NAN = float("nan")


def knows(**known) -> Preprocessor:
    return Preprocessor(lambda frame: frame.to_numpy(), None, known)


@pytest.mark.parametrize(
    ("values", "kind", "codes", "texts"),
    [
        ([3, None, -1], pa.int64(), [3, NAN, -1], ["3", None, "-1"]),
        ([200, 7], pa.uint8(), [200, 7], ["200", "7"]),
        ([0.5, None, NAN, 1e300], pa.float64(), [0.5, NAN, NAN, 1e300], ["0.5", None, None, "1e+300"]),
        ([Decimal("1.50"), None], pa.decimal128(9, 2), [1.5, NAN], ["1.5", None]),
        ([None, None], pa.null(), [NAN, NAN], [None, None]),
    ],
)
def test_numbers_are_themselves(values, kind, codes, texts):
    table = pa.table({"x": pa.array(values, kind)})
    encoder = make_encoder(["x"], table, None)
    assert encoder.features[0].kind == "number"
    found = encoder.codes(table)
    assert found.dtype == np.float64
    assert np.array_equal(found[:, 0], codes, equal_nan=True)
    assert encoder.texts(found)[0].tolist() == texts


@pytest.mark.parametrize(
    ("values", "kind", "categories", "codes"),
    [
        (["b", None, "a", "b"], pa.string(), ("a", "b"), [1, 2, 0, 1]),
        (["b", "a"], pa.large_string(), ("a", "b"), [1, 0]),
        ([True, None, False], pa.bool_(), ("false", "true"), [1, 2, 0]),
        ([datetime.date(2020, 1, 2), datetime.date(2019, 1, 1)], pa.date32(), ("2019-01-01", "2020-01-02"), [1, 0]),
        ([None, None], pa.string(), (), [0, 0]),
        (["", " ", "\u202e"], pa.string(), ("", " ", "\u202e"), [0, 1, 2]),
    ],
)
def test_categories_are_codes_in_sorted_order_and_null_is_the_last(values, kind, categories, codes):
    table = pa.table({"x": pa.array(values, kind)})
    encoder = make_encoder(["x"], table, None)
    assert encoder.features == (Feature("x", "category", categories),)
    assert encoder.features[0].null_code == len(categories)
    found = encoder.codes(table)
    assert found[:, 0].tolist() == codes
    expected = [None if v is None else t for v, t in zip(values, table["x"].cast(pa.string()).to_pylist(), strict=True)]
    assert encoder.texts(found)[0].tolist() == expected


def test_a_dictionary_column_is_coded_by_its_values():
    table = pa.table({"x": pa.array(["b", "a", None, "b"]).dictionary_encode()})
    encoder = make_encoder(["x"], table, None)
    assert encoder.codes(table)[:, 0].tolist() == [1, 0, 2, 1]


def test_what_the_preprocessor_knows_comes_first_then_the_rest_of_data_and_reference():
    table, reference = pa.table({"x": ["d", "b"]}), pa.table({"x": ["a", None]})
    encoder = make_encoder(["x"], table, reference, preprocessor=knows(x=["c", "b"]))
    assert encoder.features[0].categories == ("c", "b", "a", "d")
    assert encoder.codes(reference)[:, 0].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("known", "kind", "categories"),
    [
        ([3, 1, 2**53 + 1], pa.int64(), ("3", "1", "9007199254740993", "7")),
        ([3.0, 1.0], pa.int64(), ("3", "1", "7")),
        (["3", "7"], pa.int64(), ("7",)),  # a text is not a number: none of these can occur
        ([2.5, 7.0], pa.int64(), ("7",)),
        ([7, 8], pa.float64(), ("7", "8")),
    ],
)
def test_an_integer_that_is_one_hot_encoded_is_a_category(known, kind, categories):
    table = pa.table({"x": pa.array([7, None], kind)})
    encoder = make_encoder(["x"], table, None, kinds={"x": "category"}, preprocessor=knows(x=known))
    assert encoder.features[0].categories == categories
    assert encoder.codes(table)[:, 0].tolist() == [categories.index("7"), len(categories)]


def test_nan_in_a_category_of_floats_is_null():
    table = pa.table({"x": [1.5, NAN, None]})
    encoder = make_encoder(["x"], table, None, kinds={"x": "category"})
    assert encoder.codes(table)[:, 0].tolist() == [0, 1, 1]


def test_integers_that_a_float_cannot_hold_are_said():
    table = pa.table({"x": [2**53 + 1, 1], "y": [2**53, 1]})
    encoder = make_encoder(["x", "y"], table, None)
    assert encoder.limitations == ("Integers of x beyond 2^53 are rounded to the next double.",)
    assert encoder.codes(table)[0].tolist() == [2.0**53, 2.0**53]


def test_a_column_without_values_takes_its_kind_from_the_reference():
    table = pa.table({"x": pa.nulls(2), "z": pa.nulls(2)})
    reference = pa.table({"x": ["a", "b"], "z": [1, 2]})
    encoder = make_encoder(["x", "z"], table, reference)
    assert [feature.kind for feature in encoder.features] == ["category", "number"]
    assert encoder.codes(table)[:, 0].tolist() == [2, 2]


def test_whole_numbers_of_an_integer_column_have_no_point_and_changed_ones_do():
    encoder = make_encoder(["x"], pa.table({"x": [1, 2]}), None)
    assert encoder.column_texts(np.array([3.0, 2.5, NAN, -0.0, 1e19]), 0).tolist() == ["3", "2.5", None, "0", "1e+19"]


def test_a_category_of_a_later_table_that_is_not_known_is_refused():
    encoder = make_encoder(["x"], pa.table({"x": ["a"]}), None)
    with pytest.raises(DataRefused, match="column 'x' has values that are not known: b, c"):
        encoder.codes(pa.table({"x": ["a", "b", "c", None]}))


@pytest.mark.parametrize(
    ("table", "reference", "message"),
    [
        ({"a": [1]}, None, r"data\.path: has no column 'x'; available: a; the model asks for it"),
        ({"x": [1]}, {"a": [1]}, r"data\.reference: has no column 'x'"),
        ({"x": [[1]]}, None, "column 'x' has the type list<.*>, which cannot be a feature"),
        ({"x": [b"a"]}, None, "column 'x' has the type binary, which cannot be a feature"),
    ],
)
def test_columns_that_are_not_there_or_cannot_be_features(table, reference, message):
    with pytest.raises(ConfigError, match=message):
        make_encoder(["x"], pa.table(table), None if reference is None else pa.table(reference))


def test_a_reference_of_another_type_is_named():
    encoder = make_encoder(["x"], pa.table({"x": [1]}), pa.table({"x": ["a"]}))
    with pytest.raises(ConfigError, match=r"data\.reference: column 'x' of type string holds no numbers"):
        encoder.codes(pa.table({"x": ["a"]}), "data.reference")
    with pytest.raises(ConfigError, match=r"column 'x' has the type list<.*> here and string in the data"):
        make_encoder(["x"], pa.table({"x": ["a"]}), pa.table({"x": [[1]]}))


def test_numbers_written_as_text_in_the_reference_still_count():
    encoder = make_encoder(["x"], pa.table({"x": ["7"]}), pa.table({"x": [7, 8]}))
    assert encoder.features[0].categories == ("7", "8")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.int8(), "number"), (pa.float16(), "number"), (pa.decimal128(5, 2), "number"), (pa.string(), "category"),
        (pa.bool_(), "category"), (pa.timestamp("us"), "category"), (pa.duration("s"), "category"),
        (pa.dictionary(pa.int8(), pa.string()), "category"), (pa.dictionary(pa.int8(), pa.int64()), "number"),
        (pa.list_(pa.int8()), None), (pa.binary(), None), (pa.struct([]), None), (pa.null(), "number"),
    ],
)  # fmt: skip
def test_kinds_by_arrow_type(kind, expected):
    assert kind_of(kind) == expected


def test_frames_give_back_what_pandas_reads(make_people):
    table = (
        make_people(50)
        .append_column("flag", pa.array([True, None] * 25))
        .append_column("day", pa.array([datetime.date(2020, 1, 1)] * 50))
    )
    names = [name for name in table.column_names if name != "y"]
    encoder = make_encoder(names, table, None, kinds={"città": "category"})
    frame, truth = encoder.frame(encoder.codes(table)), table.select(names).to_pandas()
    assert list(frame.columns) == names
    for j, name in enumerate(names):
        ours, theirs = frame.iloc[:, j], truth.iloc[:, j]
        assert ours.isna().tolist() == theirs.isna().tolist()
        assert ours.dropna().tolist() == theirs.dropna().tolist(), name
    assert str(frame["age"].dtype) == "int64"
    assert str(frame["città"].dtype) == "int64"


def test_null_is_what_the_preprocessor_was_fitted_with():
    table = pa.table({"a": ["x", None], "b": ["x", None]})
    fitted = Preprocessor(lambda frame: frame.to_numpy(), None, {}, {"a": None})
    frame = make_encoder(["a", "b"], table, None, preprocessor=fitted).frame(np.array([[1.0, 1.0]]))
    assert frame["a"][0] is None
    assert isinstance(frame["b"][0], float)
