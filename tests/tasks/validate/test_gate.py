"""The gate on small tables: what refuses an audit, what is only said, and what it survives."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.schema import Expectation
from tasks.contracts import TABLES
from tasks.errors import DataRefused, Stopped
from tasks.validate import Column, Outcome, Requirements, Sensitive, Taken, examine
from tasks.validate.outcome import validation_table
from tasks.watch import Watch

NAN, INF = float("nan"), float("inf")


def table(**changes: Any) -> pa.Table:
    """Six sound rows, with some columns replaced, added, or (None) left out."""
    columns = {
        "id": [1, 2, 3, 4, 5, 6],
        "age": pa.array([20.0, 30.0, 40.0, 50.0, 60.0, 70.0]),
        "job": ["a", "b", "a", "b", "a", "b"],
        "sex": ["f", "m", "f", "m", "f", "m"],
        "w": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0],
        "y": ["no", "yes", "no", "yes", "no", "yes"],
        **changes,
    }
    return pa.table({name: values for name, values in columns.items() if values is not None})


def needs(**changes: Any) -> Requirements:
    given: dict[str, Any] = {
        "features": (Column("age", "number", nulls=False), Column("job", "category")),
        "target": "y",
        "task": "binary",
        "classes": ("no", "yes"),
        "id": "id",
        "weight": "w",
        "sensitive": (Sensitive("gender", "sex"),),
        **changes,
    }
    return Requirements(**given)


def failures(outcomes: Sequence[Outcome]) -> dict[tuple[str, str | None], Outcome]:
    failed = [outcome for outcome in outcomes if not outcome.success]
    assert len({(o.code, o.column) for o in failed}) == len(failed), "one failure was told twice"
    return {(o.code, o.column): o for o in failed}


def test_a_sound_table_passes() -> None:
    outcomes = examine(table(), needs(), reference=table())
    assert failures(outcomes) == {}
    assert {o.expectation for o in outcomes} >= {
        "expect_table_row_count_to_be_between", "expect_column_to_exist", "expect_column_values_to_not_be_null",
        "expect_column_values_to_be_unique", "expect_column_values_to_be_in_set", "expect_column_values_to_be_between",
        "columns_named_once", "column_type_is_numeric", "column_values_are_finite", "target_varies",
        "categories_are_known", "attribute_has_groups", "groups_have_rows", "groups_are_known", "reference_has_rows",
    }  # fmt: skip


def many(text: str, count: int) -> list[str]:
    return [f"{text}{i}" for i in range(count)]


REFUSED: list[tuple[str, pa.Table, Requirements, str, str | None, int | None]] = [
    ("no rows", table().slice(0, 0), needs(), "empty_table", None, None),
    ("a feature is missing", table(age=None), needs(), "missing_column", "age", None),
    ("the target is missing", table(y=None), needs(), "missing_column", "y", None),
    ("the attribute is missing", table(sex=None), needs(), "missing_column", "sex", None),
    ("the decision is missing", table(), needs(decision="said"), "missing_column", "said", None),
    ("an unknown class", table(y=["no", "yes", "maybe", "maybe", None, "no"]), needs(), "unknown_class", "y", 2),
    ("no class at all", table(y=["a", "b"] * 3), needs(), "unknown_class", "y", 6),
    ("one class", table(y=["no"] * 6), needs(), "one_class", "y", None),
    ("one class and nulls", table(y=["no", None] * 3), needs(), "one_class", "y", None),
    ("no label", table(y=pa.nulls(6, pa.string())), needs(), "no_labels", "y", 6),
    ("NaN and null", table(age=pa.array([20.0, NAN, None, 50.0, 60.0, 70.0])), needs(), "missing_value", "age", 2),
    ("a number missing", table(age=[1, None, 3, 4, 5, 6]), needs(), "missing_value", "age", 1),
    ("infinity", table(age=[20.0, INF, -INF, 50.0, 60.0, 70.0]), needs(), "not_finite", "age", 2),
    ("text for a number", table(age=["20", "?", "1e3", " 4 ", "?", None]), needs(), "not_numeric", "age", 2),
    ("numbers as text", table(age=["1", "2", "3", "4", "5", "6"]), needs(), "not_numeric", "age", 0),
    ("dates for a number", table(age=[datetime.date(2020, 1, 1)] * 6), needs(), "not_numeric", "age", 6),
    ("a list for a category", table(job=[[1]] * 6), needs(), "column_type", "job", None),
    ("bytes for a class", table(y=[b"no", b"yes"] * 3), needs(), "column_type", "y", None),
    ("ids twice", table(id=[1, 1, 2, 2, 2, 3]), needs(), "duplicate_id", "id", 5),
    ("an id missing", table(id=[1, 2, None, 4, 5, 6]), needs(), "missing_value", "id", 1),
    ("weights of 0 and below", table(w=[0.0, -1.0, 1.0, 1.0, 1.0, 1.0]), needs(), "weight_not_positive", "w", 2),
    ("a weight missing", table(w=[1.0, NAN, None, 1.0, 1.0, 1.0]), needs(), "missing_value", "w", 2),
    ("an infinite weight", table(w=[1.0, INF, 1.0, 1.0, 1.0, 1.0]), needs(), "not_finite", "w", 1),
    ("weights as text", table(w=["heavy"] * 6), needs(), "not_numeric", "w", 6),
    ("text for bins", table(), needs(sensitive=(Sensitive("s", "sex", (1.0,)),)), "not_numeric", "sex", 6),
    (
        "flags for bins", table(sex=[True, False] * 3), needs(sensitive=(Sensitive("s", "sex", (1.0,)),)),
        "not_numeric", "sex", 6,
    ),
    (
        "text for a regression", table(), needs(task="regression", classes=None), "not_numeric", "y", 6,
    ),
    (
        "an infinite target", table(y=[1.0, INF, 2.0, 3.0, 4.0, NAN]), needs(task="regression", classes=None),
        "not_finite", "y", 1,
    ),
    (
        "an identifier for groups",
        pa.table({"y": ["no", "yes"] * 5001, "sex": many("g", 10_002)}),
        needs(features=(), id=None, weight=None),
        "many_groups", "sex", None,
    ),
    (
        "two columns of a name",
        pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array(["no"])], names=["age", "age", "y"]),
        needs(features=(Column("age", "number"),), id=None, weight=None, sensitive=()),
        "duplicate_column", "age", 2,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "wants", "code", "column", "count"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_refuses_an_audit(data: pa.Table, wants: Requirements, code: str, column: str, count: int | None) -> None:
    outcome = failures(examine(data, wants))[code, column]
    assert outcome.severity == "critical"
    assert outcome.unexpected_count == count
    if column:
        assert column in outcome.sentence
    if count is not None and count > 0:
        assert f"{count:,}" in outcome.sentence or code in ("no_labels", "not_numeric")


REFERENCE_REFUSED: list[tuple[str, pa.Table, str, str | None]] = [
    ("no rows", table().slice(0, 0), "empty_reference", None),
    ("a feature is missing", table(job=None), "reference_column", "job"),
    ("text for a number", table(age=["x"] * 6), "reference_values", "age"),
    ("nulls that the model does not take", table(age=[1.0, None, NAN, 2.0, 3.0, 4.0]), "reference_values", "age"),
    ("infinity", table(age=[1.0, INF, 1.0, 2.0, 3.0, 4.0]), "reference_values", "age"),
    ("a list", table(job=[[1]] * 6), "reference_values", "job"),
]


@pytest.mark.parametrize(
    ("reference", "code", "column"), [r[1:] for r in REFERENCE_REFUSED], ids=[r[0] for r in REFERENCE_REFUSED]
)
def test_what_a_reference_must_hold(reference: pa.Table, code: str, column: str | None) -> None:
    failed = failures(examine(table(), needs(), reference=reference))
    assert failed[code, column].severity == "critical"
    assert "eference data" in failed[code, column].sentence


@pytest.mark.parametrize(
    ("data", "wants", "reference", "severity", "code", "column", "count"),
    [
        (table(y=["no", None, "no", "yes", "no", "yes"]), needs(), None, "warning", "missing_label", "y", 1),
        (table(sex=["f", None, "f", "m", None, "m"]), needs(), None, "warning", "missing_group", "sex", 2),
        (table(sex=["f", "x", "f", "m", "y", "m"]), needs(), table(), "warning", "unseen_group", "sex", 2),
        (table(sex=["f", "x", "f", "m", "f", "m"]), needs(), None, "warning", "group_of_one_row", "sex", 1),
        (table(sex=["f"] * 6), needs(), None, "warning", "one_group", "sex", None),
        (table(job=["a", "b", "z", "z", "a", "b"]), needs(), table(), "warning", "unseen_category", "job", 2),
        (table(age=[1, 2, 3, 4, 5, 2**53 + 1]), needs(), None, "warning", "rounded_number", "age", 1),
        (table(age=[1, 2, 3, 4, 5, -(2**62)]), needs(), None, "warning", "rounded_number", "age", 1),
        (table(job=["a"] * 6), needs(), None, "info", "constant_column", "job", None),
        (table(job=["a", None, "a", "b", "a", "b"]), needs(), None, "info", "missing_value", "job", 1),
        (
            table(y=[2.0] * 6), needs(task="regression", classes=None), None, "warning", "one_class", "y", None,
        ),
        (
            table(), needs(decision="said"), None, "critical", "missing_column", "said", None,
        ),
        (
            table(said=["no", "yes", None, "no", "yes", "no"]), needs(decision="said"), None,
            "warning", "missing_decision", "said", 1,
        ),
        (
            pa.table({"y": ["no", "yes"] * 501, "sex": many("g", 1002)}), needs(features=(), id=None, weight=None),
            None, "warning", "many_groups", "sex", None,
        ),
    ],
)  # fmt: skip
def test_what_is_said_and_does_not_refuse(
    data: pa.Table,
    wants: Requirements,
    reference: pa.Table | None,
    severity: str,
    code: str,
    column: str,
    count: int | None,
) -> None:
    outcome = failures(examine(data, wants, reference=reference))[code, column]
    assert (outcome.severity, outcome.unexpected_count) == (severity, count)


def test_bytes_that_are_no_text() -> None:
    broken = pa.array([b"f", b"\xff\xfe", b"f", b"m", b"f", b"m"]).view(pa.string())
    for name in ("sex", "job", "y", "age"):
        data = table(**{name: broken})
        assert failures(examine(data, needs()))["not_text", name].severity == "critical"
        failed = failures(examine(table(), needs(), reference=data))
        assert failed["not_text", name].sentence == f"Reference data, column {name}: bytes that are not UTF-8 text."


def test_columns_of_one_name_that_nobody_reads_are_a_warning() -> None:
    data = table().append_column("x", pa.array([1] * 6)).append_column("x", pa.array([2] * 6))
    failed = failures(examine(data, needs()))
    assert set(failed) == {("duplicate_column", "x")}
    assert failed["duplicate_column", "x"].severity == "warning"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False], (False, True)),
        ([True, False], ("false", "true")),
        ([0, 1], ("0", "1")),
        ([0.0, 1.0], (0, 1)),
        (["0", "1"], (0, 1)),
        ([Decimal("0"), Decimal("1")], ("0", "1")),
        ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)], ("2020-01-01", "2021-01-01")),
    ],
)
def test_a_class_is_a_value_or_its_text(labels: list[Any], classes: tuple[object, ...]) -> None:
    for column in (pa.array(labels * 3), pa.array(labels * 3).dictionary_encode()):
        assert failures(examine(table(y=column), needs(classes=classes))) == {}


def test_the_strictest_use_of_a_column_decides_what_its_nulls_mean() -> None:
    data = table(age=pa.array([None, 30.0, 40.0, 50.0, 60.0, 70.0]))
    wants = needs(sensitive=(Sensitive("age", "age", (40.0,)), Sensitive("gender", "sex")))
    assert failures(examine(data, wants))["missing_value", "age"].severity == "critical"
    wants = wants.with_nulls({"age": True})
    assert failures(examine(data, wants))["missing_group", "age"].severity == "warning"


def test_the_model_is_asked_about_nulls_only_when_it_can_be() -> None:
    asked: list[int] = []

    def ask() -> Taken:
        asked.append(1)
        return Taken({"age": True, "job": False}, {"job": (3, ("b", None))})

    data = table(age=[None, 1.0, 2.0, 3.0, 4.0, 5.0], job=[None, "b", "a", "b", "a", "b"])
    failed = failures(examine(data, needs(), ask=ask))
    assert failed["missing_value", "age"].severity == "info"
    assert failed["missing_value", "job"].severity == "critical"
    assert failed["value_not_taken", "job"].severity == "critical"
    assert failed["value_not_taken", "job"].examples == ("b",)
    assert asked == [1]
    for broken in (table(age=None), table(age=["x"] * 6), table().slice(0, 0), table(y=["no"] * 6)):
        examine(broken, needs(), ask=ask)
    assert asked == [1]


def test_a_refusal_while_the_model_is_asked_is_one_failure_among_the_others() -> None:
    def ask() -> Taken:
        raise DataRefused("column 'job' has values that are not known", code="unknown_category")

    failed = failures(examine(table(job=["a"] * 6), needs(), ask=ask))
    assert failed["unknown_category", None].severity == "critical"
    assert ("constant_column", "job") in failed


def test_a_missing_label_and_a_missing_decision_are_told_apart() -> None:
    data = table(y=["no", None, "no", "yes", "no", "yes"], said=["no", "yes", None, None, "yes", "no"])
    failed = failures(examine(data, needs(decision="said")))
    assert failed["missing_label", "y"].sentence.startswith("Column y: 1 label is missing: ")
    assert failed["missing_decision", "said"].sentence.startswith("Column said: 2 values are missing: ")


def expectation(**given: Any) -> Expectation:
    return Expectation.model_validate(given)


def test_the_configs_expectations() -> None:
    data = table(age=pa.array([20.0, 30.0, 40.0, None, NAN, 70.0]))
    between = "expect_column_values_to_be_between"
    outcomes = examine(
        data,
        needs(),
        expectations=[
            expectation(type=between, column="age", max_value=35, severity="warning"),
            expectation(type=between, column="ages", max_value=35, severity="info"),
            expectation(type="expect_column_mean_to_be_between", column="age", max_value=35, severity="info"),
            expectation(type="expect_column_to_exist", column="age"),
        ],
    )[-4:]
    low, absent, mean, fine = outcomes
    assert (low.severity, low.success, low.element_count, low.unexpected_count) == ("warning", False, 6, 2)
    assert low.unexpected_percent == 50.0  # of the four values that are not missing, as the library counts
    assert low.examples == ("40.0", "70.0")
    assert low.detail.endswith("That is 50 % of the non-null 4 values.")
    # It could not be judged, so nobody knows whether it holds.
    assert (absent.severity, absent.success, absent.code) == ("critical", False, "expectation_error")
    assert "there is no column ages; did you mean age?" in absent.sentence
    assert (mean.severity, mean.unexpected_count, mean.unexpected_percent) == ("info", None, None)
    assert mean.sentence.endswith("does not hold for age: found 40.0.")
    assert fine.success


def test_nothing_of_a_redacted_column_or_an_id_is_shown() -> None:
    data = table(
        id=["secret-1", "secret-1", "secret-2", "secret-3", "secret-4", "secret-5"],
        job=["secret-a", "b", "a", "b", "a", "b"],
        sex=["secret-b", "m", "f", "m", "f", "m"],
        y=["secret-c", "yes", "no", "yes", "no", "yes"],
        age=["secret-d", "30", "40", "50", "60", "70"],
        w=[7654321.0, -7654321.5, 1.0, 1.0, 1.0, 1.0],
    )
    types = (
        "expect_column_values_to_be_in_set",
        "expect_column_distinct_values_to_be_in_set",
        "expect_column_values_to_be_unique",
    )
    asked = [
        expectation(type=kind, column=name, **({} if "unique" in kind else {"value_set": ["b"]}))
        for kind in types
        for name in ("id", "job", "sex", "y", "age")
    ]
    asked.append(expectation(type="expect_column_max_to_be_between", column="w", max_value=1))
    asked.append(expectation(type="expect_column_pair_values_to_be_equal", column_A="job", column_B="sex"))
    wants = needs(redact=frozenset({"job", "sex", "y", "age", "w"}))
    outcomes = examine(data, wants, expectations=asked, reference=table())
    assert len(failures_any(outcomes)) > 15
    shown = " ".join(f"{o.detail} {o.finding.text} {o.examples}" for o in outcomes)
    assert "secret" not in shown
    assert "7654321" not in shown
    # Without redaction the ids alone are held back.
    open_ones = examine(data, needs(), expectations=asked, reference=table())
    shown = " ".join(o.detail for o in open_ones)
    assert "secret-a" in shown
    assert "secret-1" not in shown


def failures_any(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in outcomes if not o.success]


def test_at_most_five_examples_each_on_one_short_line() -> None:
    values = [*many("unknown\nword ", 9), "x" * 500]
    data = pa.table({"y": values, "a": list(range(10))})
    wants = Requirements(features=(Column("a", "number"),), target="y", task="binary", classes=("no", "yes"))
    (outcome,) = [o for o in examine(data, wants) if o.code == "unknown_class"]
    assert len(outcome.examples) == 5
    assert all("\n" not in e and len(e) <= 81 for e in outcome.examples)


HOSTILE = [
    "<script>alert(1)</script>", 'a"b', "a'b", "a|b", "a,b", "#", "$PARAMETER", "名前", "\u202eabc", "x" * 200, " ",
    "a\nb", "", "%s{0}", "column", "index", "None", "0",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_column_names(name: str) -> None:
    data = pa.table({name: [1.0, None, 3.0, 4.0], "target": ["no", "yes", "no", "yes"]})
    wants = Requirements(
        features=(Column(name, "number", nulls=False),), target="target", task="binary", classes=("no", "yes"),
        sensitive=(Sensitive(name or "blank", name),),
    )  # fmt: skip
    outcomes = examine(data, wants, reference=data)
    assert failures(outcomes)["missing_value", name].unexpected_count == 1
    assert validation_table(outcomes).num_rows == len(outcomes)


VALUES = st.sampled_from(
    [
        pa.array([1, 2, None, 4]),
        pa.array([2**63 - 1, -(2**63), 0, 1]),
        pa.array([2**64 - 1, 0, 1, None], pa.uint64()),
        pa.array([0.5, NAN, INF, None]),
        pa.array([1.5, 2.5, 3.5, 4.5], pa.float16()),
        pa.array(["no", "yes", None, "no"]),
        pa.array(["no", "yes", "", " "], pa.large_string()),
        pa.array(["no", "yes", "no", None]).dictionary_encode(),
        pa.array([True, False, None, True]),
        pa.array([Decimal("1.10"), None, Decimal("-3.00"), Decimal("99999999999.25")]),
        pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None, None]),
        pa.array([datetime.datetime(2020, 1, 1), None, None, None], pa.timestamp("us", "Europe/Berlin")),
        pa.array([datetime.timedelta(1), None, None, None]),
        pa.array([datetime.time(1), None, None, None]),
        pa.array([b"no", b"\xff", None, b""]),
        pa.array([[1], [], None, [2]]),
        pa.array([{"a": 1}, None, {"a": 2}, {"a": None}]),
        pa.nulls(4),
        pa.nulls(4, pa.float64()),
        pa.nulls(4, pa.list_(pa.int64())),
    ]
)


COLUMNS = ("number", "category", "target", "sensitive", "binned", "weight", "id", "decision")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    columns=st.fixed_dictionaries(dict.fromkeys(COLUMNS, VALUES)),
    rows=st.sampled_from([0, 1, 4]),
    task=st.sampled_from(["binary", "regression"]),
    with_reference=st.booleans(),
)
def test_any_columns_get_an_answer(columns: dict[str, pa.Array], rows: int, task: Any, with_reference: bool) -> None:
    data = pa.table(columns).slice(0, rows)
    wants = Requirements(
        features=(Column("number", "number", nulls=False), Column("category", "category")),
        target="target", task=task, classes=None if task == "regression" else ("no", "yes"), id="id", weight="weight",
        decision="decision",
        sensitive=(Sensitive("s", "sensitive"), Sensitive("b", "binned", (1.0, 2.5))), crossings=(("s", "b"),),
    )  # fmt: skip
    asked = [
        expectation(type="expect_column_values_to_be_between", column="number", min_value=1),
        expectation(type="expect_column_values_to_be_unique", column="category"),
        expectation(type="expect_column_mean_to_be_between", column="weight", min_value=1),
    ]
    outcomes = examine(data, wants, expectations=asked, reference=data if with_reference else None)
    written = validation_table(outcomes)
    assert written.schema.equals(TABLES["validation"])
    assert written.num_rows == len(outcomes) > 10
    for outcome in outcomes:
        assert outcome.severity in ("critical", "warning", "info")
        assert outcome.detail
        if outcome.unexpected_percent is not None:
            assert 0 <= outcome.unexpected_percent <= 100
    if rows == 0:
        assert ("empty_table", None) in failures(outcomes)


def test_undecodable_images_are_named_by_row() -> None:
    def decode(values: pa.ChunkedArray) -> None:
        for row, value in enumerate(values.to_pylist()):
            if value is None or not value.startswith(b"good"):
                raise DataRefused(f"row {row} has an image that cannot be read")

    images = [b"good"] * 600
    images[3] = b"bad"
    images[599] = b"worse"
    data = pa.table({"image": images, "y": ["no", "yes"] * 300})
    wants = Requirements(target="y", task="binary", classes=("no", "yes"), image="image", decode=decode)
    outcome = failures(examine(data, wants))["undecodable_image", "image"]
    assert (outcome.severity, outcome.element_count, outcome.unexpected_count) == ("critical", 600, 2)
    why = "has an image that cannot be read"
    assert outcome.examples == (f"row 3 ({why})", f"row 599 ({why})")
    missing = pa.table({"image": [b"good", None], "y": ["no", "yes"]})
    failed = failures(examine(missing, wants))
    assert set(failed) == {("missing_value", "image")}
    assert failed["missing_value", "image"].severity == "critical"


def test_it_hears_that_it_should_stop() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        examine(table(), needs(), watch=Watch(stop=stop))


def test_bins_are_closed_on_the_left() -> None:
    wants = needs(sensitive=(Sensitive("age", "age", (30.0, 60.5)),))
    reference = table(age=[29.9, 30.0, 31.0, 32.0, 33.0, 34.0])
    data = table(age=[10.0, 11.0, 30.0, 60.5, 60.5, np.nextafter(60.5, 0)])
    failed = failures(examine(data, wants, reference=reference))
    assert failed["unseen_group", "age"].examples == ("≥ 60.5",)
    assert ("group_of_one_row", "age") not in failed
