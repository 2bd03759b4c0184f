"""JSON values have one form, and a digest that does not depend on how they were written."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.persist import canonical, values_digest

# Canonical JSON


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"b": 1, "a": [True, False, None, -5]}, '{"a":[true,false,null,-5],"b":1}'),
        ({"Z": 0, "a": 0, "é": 0, "": 0}, '{"":0,"Z":0,"a":0,"é":0}'),
        # escapes as RFC 8785, 3.2.2.2 has them
        ('€$\x0f\nA\'B"\\\\"/\x7f', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f"'),
        ("\b\t\f\r\x00", '"\\b\\t\\f\\r\\u0000"'),
        ("\u2028😀", '"\u2028😀"'),
        ({"a": {"c": [], "b": {}}}, '{"a":{"b":{},"c":[]}}'),
    ],
)
def test_canonical_json(value, text):
    assert canonical(value) == text.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_has_not_are_refused(number):
    with pytest.raises(ValueError, match="JSON"):
        canonical({"a": number})


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(_json)
def test_canonical_json_loses_nothing_and_has_one_form(value):
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers(0, 9), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_matter(value):
    assert canonical(value) == canonical(dict(reversed(value.items())))


# Digests of values


def test_the_digest_of_values_does_not_depend_on_how_they_were_written():
    first = {"a": [1, 0.1, None], "b": {"c": True}}
    assert values_digest(first) == values_digest({"b": {"c": True}, "a": [1, 1e-1, None]})
    assert values_digest([1, 2]) == values_digest((1, 2))
    assert values_digest(json.loads(json.dumps(first))) == values_digest(first)
    # the shortest text stands for a float, and is told from the same text
    assert values_digest({"a": [0.5, 1]}) == hashlib.sha256(b'{"a":[{"float":"0.5"},1]}').hexdigest()
    assert values_digest("0.5") != values_digest(0.5)


@pytest.mark.parametrize(
    "other", [{"a": 2}, {"a": [1]}, {"a": None}, {"b": 1}, {}, {"a": 1, "b": None}, {"a": "1"}, {"a": True}]
)
def test_other_values_have_another_digest(other):
    assert values_digest(other) != values_digest({"a": 1})
