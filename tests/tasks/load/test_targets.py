from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import ConfigError, DataRefused
from tasks.load import class_index, class_names, target_codes, target_numbers


def chunked(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("values", "kind", "classes", "codes"),
    [
        (["no", "yes", None], None, ["no", "yes"], [0, 1, -1]),
        ([0, 1, None], pa.int64(), ["0", "1"], [0, 1, -1]),
        ([0, 1, None], pa.int64(), [0, 1], [0, 1, -1]),
        ([0, 1, None], pa.int64(), [0.0, 1.0], [0, 1, -1]),
        ([0, 1], pa.int64(), [False, True], [0, 1]),
        ([0.0, 1.0, float("nan"), None], pa.float64(), ["0", "1"], [0, 1, -1, -1]),
        ([0.0, 1.0], pa.float64(), [0, 1], [0, 1]),
        ([0.0, 1.0], pa.float64(), ["0.0", "1.0"], [0, 1]),
        ([False, True, None], pa.bool_(), [False, True], [0, 1, -1]),
        ([False, True], pa.bool_(), ["False", "True"], [0, 1]),
        ([False, True], pa.bool_(), ["false", "true"], [0, 1]),
        ([False, True], pa.bool_(), ["0", "1"], [0, 1]),
        ([False, True], pa.bool_(), [0, 1], [0, 1]),
        (["0", "1"], None, [0, 1], [0, 1]),
        (["True", "False"], None, [True, False], [0, 1]),
        (["1", "1.0"], None, ["1", "1.0"], [0, 1]),
        ([1], pa.int64(), ["1.0", "1"], [1]),
        ([2**53 + 1, 2**53], pa.int64(), [2**53, 2**53 + 1], [1, 0]),
        ([0.5, 2.5], pa.float64(), ["0.5", 2.5], [0, 1]),
        (["no", "maybe"], None, ["no", "yes"], [0, -2]),
        ([datetime.date(2020, 1, 1)], pa.date32(), ["2019-01-01", "2020-01-01"], [1]),
        ([], pa.string(), ["no", "yes"], []),
        ([None, None], pa.null(), ["no", "yes"], [-1, -1]),
    ],
)
def test_a_value_is_a_class_by_value_or_by_text(values, kind, classes, codes):
    found = target_codes(chunked(values, kind), classes)
    assert found.dtype == np.int64
    assert found.tolist() == codes


def test_two_classes_that_mean_one_value_are_an_error():
    with pytest.raises(ConfigError, match=r"model\.classes: True is more than one of the classes: 1, 1\.0"):
        target_codes(chunked([True]), [1, 1.0])


def test_default_classes_are_the_sorted_values_and_said():
    assert class_names(chunked([10, 9, None, 10]), None)[0] == ("9", "10")
    assert class_names(chunked([True, False]), None)[0] == ("False", "True")
    names, said = class_names(chunked(["b", "a", None]), None)
    assert names == ("a", "b")
    assert "sorted order" in said[0]
    assert "a, b" in said[0]


def test_named_classes_are_said_of_the_card_only():
    assert class_names(chunked(["b"]), ["b", 1]) == (("b", "1"), ())
    names, said = class_names(chunked(["b"]), None, ("x", "y"))
    assert names == ("x", "y")
    assert "card" in said[0]


def test_a_class_index_of_a_name():
    assert class_index("yes", ["no", "yes"]) == 1
    assert class_index(True, ["false", "true"]) == 1
    assert class_index("other", ["no", "yes"]) == -2


def test_numbers_of_a_regression():
    assert target_numbers(chunked([1, None, 3]), "y").tolist()[0] == 1
    assert np.isnan(target_numbers(chunked([1, None, 3]), "y")[1])
    with pytest.raises(DataRefused, match="'y' of type string holds no numbers") as caught:
        target_numbers(chunked(["high"]), "y")
    assert caught.value.exit_code == 3
