"""Values against recorded values: what counts as the same, and how a difference is told."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evidence import LOOSE, compare_runs
from tasks.evidence.columns import rows_differ
from tasks.evidence.compare import SHOWN, SHOWN_OF_TABLE

SUMMARY = {
    "verdict": "satisfied",
    "policy": {"sha256": "0" * 64, "checks": [{"metric": "accuracy", "value": 0.8, "numerator": 8.0}]},
    "run": {"missing": [], "refused": []},
    "controls": [{"regulation": "gdpr", "id": "logic", "status": "satisfied"}],
}
METRICS = {
    "attribute": ["sex", "sex", None],
    "group": ["Female", "Male", None],
    "metric": ["selection_rate", "selection_rate", "accuracy"],
    "value": [0.25, 0.5, None],
    "numerator": [5.0, 10.0, 0.1],
}


def run_of(folder: Path, tables: dict[str, Any], *, run_id: str = "a", rows: int | None = None, **summary: Any) -> Path:
    """A run's folder with tables and a summary."""
    (folder / "artifacts").mkdir(parents=True)
    for name, columns in tables.items():
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        metadata = {"keras_audit.run_id": run_id, **(table.schema.metadata or {})}
        path = folder / "artifacts" / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, **summary}), encoding="utf-8")
    return folder


@pytest.fixture
def compared(tmp_path: Path):
    """The lines of two runs' comparison, with a table or a summary changed in the second."""

    def lines(was: dict[str, Any], now: dict[str, Any], tolerance=None, **summary: Any) -> tuple[str, ...]:
        recorded = run_of(tmp_path / "a", was, rows=2)
        found = run_of(tmp_path / "b", now, run_id="b", rows=3, **summary)
        return compare_runs(recorded, found, tolerance).lines

    return lines


# ---------------------------------------------------------------- one column

NAN = float("nan")
OTHER_NAN = np.frombuffer(np.uint64(0x7FF8000000000001).tobytes(), "f8")[0]


@pytest.mark.parametrize(
    ("was", "now", "exactly", "loosely"),
    [
        (0.1, 0.1, False, False),
        (0.1, np.nextafter(0.1, 1), True, False),
        (1e6, 1e6 + 0.9, True, False),
        (1e6, 1e6 + 1.1, True, True),
        (0.0, -0.0, True, False),
        (0.0, 9e-13, True, False),
        (0.0, 2e-12, True, True),
        (NAN, OTHER_NAN, False, False),
        (NAN, 0.0, True, True),
        (0.0, NAN, True, True),
        (None, NAN, True, True),
        (None, 0.0, True, True),
        (None, None, False, False),
        (float("inf"), float("inf"), False, False),
        (float("inf"), float("-inf"), True, True),
        (float("inf"), 1.0, True, True),
        (1.0, float("inf"), True, True),
    ],
)
def test_floats(was, now, exactly, loosely):
    one, other = pa.array([1.5, was], pa.float64()), pa.array([1.5, now], pa.float64())
    assert rows_differ(one, other, None).tolist() == [False, exactly]
    assert rows_differ(one, other, LOOSE).tolist() == [False, loosely]


@given(st.lists(st.none() | st.floats(width=32), max_size=20), st.integers(0, 3))
def test_a_column_equals_itself_however_it_is_cut(values, skip):
    column = pa.array(values, pa.float32())
    again = pa.concat_arrays([pa.array([None] * skip, pa.float32()), column]).slice(skip)
    for tolerance in (None, LOOSE):
        assert not rows_differ(column, again, tolerance).any()


def test_whole_numbers_that_count_are_exact_and_sums_are_not():
    one, other = pa.array([1e9, 1e9 + 0.5]), pa.array([1e9 + 1, 1e9 + 0.75])
    assert rows_differ(one, other, LOOSE, counts=True).tolist() == [True, False]
    assert not rows_differ(one, other, LOOSE).any()


@pytest.mark.parametrize(
    ("kind", "was", "now"),
    [
        (pa.int64(), 10**18, 10**18 + 1),
        (pa.string(), "a", "a "),
        (pa.bool_(), True, False),
        (pa.binary(), b"a", b"b"),
        (pa.timestamp("us"), 1, 2),
        (pa.struct([("x", pa.int64())]), {"x": 1}, {"x": 2}),
        (pa.list_(pa.string()), ["a", None], ["a", "b"]),
        (pa.list_(pa.float32()), [0.5, NAN, 1.0], [0.5, NAN, 1.5]),
        (pa.list_(pa.float32()), [0.5], [0.5, 0.5]),
        (pa.list_(pa.float32()), [], None),
        (pa.list_(pa.list_(pa.int64())), [[1], [2]], [[1], [3]]),
    ],
    ids=str,
)
def test_whatever_is_no_float_is_exact(kind, was, now):
    """A difference is seen in its row, between rows that are null, equal and different too."""
    one, other = pa.array([None, was, was, now], kind), pa.array([None, was, now, None], kind)
    expected = [False, False, True, now is not None]
    for tolerance in (None, LOOSE):
        assert rows_differ(one, other, tolerance).tolist() == expected
        assert not rows_differ(one, one, tolerance).any()


# ---------------------------------------------------------------- tables


def test_the_same_tables_under_another_run_id_are_the_same(compared):
    assert compared({"group_metrics": METRICS}, {"group_metrics": METRICS}) == ()


def test_a_difference_names_table_row_column_and_both_values(compared):
    changed = {**METRICS, "value": [0.25, 0.75, None]}
    assert compared({"group_metrics": METRICS}, {"group_metrics": changed}) == (
        "group_metrics, row 1 (sex, Male, selection_rate), value: recorded 0.5, found 0.75",
    )


def test_null_against_a_value_is_told(compared):
    (line,) = compared({"group_metrics": METRICS}, {"group_metrics": {**METRICS, "value": [0.25, 0.5, 1.0]}})
    assert line == "group_metrics, row 2 (accuracy), value: recorded null, found 1.0"


def test_a_count_is_exact_where_a_float_is_not(compared):
    changed = {**METRICS, "value": [0.25, 0.5 + 1e-8, None], "numerator": [5.0, 10.0 + 1e-8, 0.1 + 1e-9]}
    lines = compared({"group_metrics": METRICS}, {"group_metrics": changed}, LOOSE)
    assert [line.split(":")[0].rsplit(", ")[-1] for line in lines] == ["numerator"]


def test_rows_in_another_order_differ(compared):
    turned = pa.table(METRICS).take([1, 0, 2])
    assert len(compared({"group_metrics": METRICS}, {"group_metrics": turned})) == 3 * 2  # group, value, numerator


def test_a_row_too_few_is_told_and_the_others_are_compared(compared):
    shorter = pa.table({**METRICS, "value": [0.125, 0.5, None]}).slice(0, 2)
    lines = compared({"group_metrics": METRICS}, {"group_metrics": shorter})
    assert lines[0] == "group_metrics: recorded 3 rows, found 2"
    assert "found 0.125" in lines[1]


@pytest.mark.parametrize(
    "changed",
    [
        pa.table(METRICS).drop_columns(["value"]),
        pa.table(METRICS).set_column(3, "value", pa.array([0.25, 0.5, None], pa.float32())),
        pa.table(METRICS).select([1, 0, 2, 3, 4]),
    ],
    ids=["missing", "type", "order"],
)
def test_other_columns_are_told(compared, changed):
    (line,) = compared({"group_metrics": METRICS}, {"group_metrics": changed})
    assert line.startswith("group_metrics: recorded the columns attribute string, group string")


def test_metadata_but_the_run_id_count(compared):
    of_data = pa.table(METRICS).replace_schema_metadata({"keras_audit.data_sha256": "aa"})
    (line,) = compared({"group_metrics": METRICS}, {"group_metrics": of_data})
    assert line == "group_metrics, metadata keras_audit.data_sha256: recorded null, found aa"


def test_a_table_that_is_missing_or_new_is_told(compared):
    lines = compared({"drift": METRICS, "attributions/shap": METRICS}, {"drift": METRICS, "curves": METRICS})
    assert lines == (
        "artifacts/attributions/shap.parquet: not made",
        "artifacts/curves.parquet: not recorded, and made",
    )


def test_a_broken_table_is_told(tmp_path):
    one, other = run_of(tmp_path / "a", {"drift": METRICS}), run_of(tmp_path / "b", {"drift": METRICS})
    (one / "artifacts" / "drift.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    (line,) = compare_runs(one, other, None).lines
    assert line.startswith("drift: cannot be read (")


def test_an_element_of_a_heatmap_is_named(compared):
    was = {"row_id": ["p1"], "heatmap": pa.array([[0.1, 0.2, 0.3]], pa.list_(pa.float32()))}
    now = {"row_id": ["p1"], "heatmap": pa.array([[0.1, 0.2, 0.4]], pa.list_(pa.float32()))}
    (line,) = compared({"saliency/gradcam": was}, {"saliency/gradcam": now}, LOOSE)
    assert line == "saliency/gradcam, row 0 (p1), heatmap[2]: recorded 0.3, found 0.4"


def test_a_float_id_is_a_name(compared):
    (line,) = compared({"groups": {"row_id": [1.0]}}, {"groups": {"row_id": [1.0 + 1e-12]}}, LOOSE)
    assert line.startswith("groups, row 0 (1.0), row_id: recorded 1.0, found 1.000000000001")


def test_the_first_are_told_and_the_rest_counted(compared):
    was, now = ({"score": np.arange(1000.0) + shift, "x": np.arange(1000.0) - shift} for shift in (0, 1))
    lines = compared(
        {"drift": METRICS, "predictions": was}, {"predictions": now, "drift": {**METRICS, "value": [0.0] * 3}}
    )
    assert [line.split(",")[0] for line in lines] == ["drift"] * 3 + ["predictions"] * SHOWN_OF_TABLE + ["and 1"]
    assert lines[3 + SHOWN_OF_TABLE - 1].startswith(f"predictions, row {SHOWN_OF_TABLE - 1}, score:")
    assert lines[-1] == f"and {2000 - SHOWN_OF_TABLE:,} more"


def test_many_tables_are_told_up_to_a_number_of_lines(compared):
    tables = [{f"effects/t{i:02}": {"effect": np.arange(9.0) + shift} for i in range(30)} for shift in (0, 1)]
    lines = compared(*tables)
    assert len(lines) == SHOWN + 1
    assert {line.split(",")[0] for line in lines[:-1]} == {f"effects/t{i:02}" for i in range(SHOWN // SHOWN_OF_TABLE)}
    assert lines[-1] == f"and {30 * 9 - SHOWN} more"


def test_hostile_text_stays_one_line(compared):
    bad = {"group": ["\x1b[31m\nred\u202e"], "value": [1.0]}
    (line,) = compared({"group_metrics": bad}, {"group_metrics": {**bad, "value": [2.0]}})
    assert not set("\x1b\n\u202e") & set(line)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Two tables of 2·10⁶ rows in one row group, 32 MB each in memory: what is held at a time is a fraction of one."""
    values = np.random.default_rng(0).random(2_000_000)
    table = pa.table({"row_id": np.arange(len(values)), "score": values})
    changed = table.set_column(1, "score", pa.array(np.append(values[:-1], 2.0)))
    one = run_of(tmp_path / "a", {"predictions": table}, rows=len(values))
    other = run_of(tmp_path / "b", {"predictions": changed}, rows=len(values))
    before = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counting)
    tracemalloc.start()
    try:
        (line,) = compare_runs(one, other, None).lines
        peak = tracemalloc.get_traced_memory()[1] + counting.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    assert line.startswith("predictions, row 1999999 (1999999), score:")
    assert 100_000 < peak < table.nbytes * 0.75


# ---------------------------------------------------------------- images, verdict, checks


def test_images_are_compared_byte_by_byte_in_the_same_environment_only(tmp_path):
    runs = [run_of(tmp_path / name, {}) for name in "ab"]
    for run, content in zip(runs, (b"one", b"other"), strict=True):
        (run / "artifacts" / "images").mkdir()
        for name in ("0.png", "1.png", "map.json"):
            (run / "artifacts" / "images" / name).write_bytes(content)
    exactly, loosely = compare_runs(*runs, None), compare_runs(*runs, LOOSE)
    others = tuple(f"artifacts/images/{name}: another content" for name in ("0.png", "1.png", "map.json"))
    assert exactly.lines == others
    assert loosely.lines == others[2:]
    assert loosely.notes == ["2 images were not compared: they depend on the libraries that draw them"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"verdict": "not_satisfied"}, "verdict: recorded satisfied, found not_satisfied"),
        ({"run": {"missing": [{"stage": "explain/lime", "code": "deadline"}], "refused": []}}, "run.missing.explain/"),
        ({"run": {"missing": [], "refused": ["no age"]}}, "run.refused: recorded []"),
        ({"policy": {"sha256": "1" * 64, "checks": SUMMARY["policy"]["checks"]}}, "policy.sha256: recorded 000"),
        ({"policy": {"sha256": "0" * 64, "checks": []}}, "policy.checks: recorded [{"),
        (
            {"policy": {"sha256": "0" * 64, "checks": [{"metric": "accuracy", "value": 0.81, "numerator": 8.0}]}},
            "policy.checks.0.value: recorded 0.8, found 0.81",
        ),
        (
            {"policy": {"sha256": "0" * 64, "checks": [{"metric": "accuracy", "value": 0.8, "numerator": 8.000001}]}},
            "policy.checks.0.numerator: recorded 8.0, found 8.000001",
        ),
        ({"controls": [{"regulation": "gdpr", "id": "logic", "status": "not_satisfied"}]}, "controls.gdpr logic:"),
    ],
)
def test_verdict_checks_and_controls_are_compared(compared, changes, told):
    (line,) = compared({}, {}, LOOSE, **changes)
    assert line.startswith(f"summary.json, {told}")


def test_a_check_within_the_tolerance_is_the_same_where_one_is_given(compared, tmp_path):
    near = {"sha256": "0" * 64, "checks": [{"metric": "accuracy", "value": 0.8 + 1e-9, "numerator": 8.0}]}
    assert compared({}, {}, LOOSE, policy=near) == ()
    assert len(compare_runs(tmp_path / "a", tmp_path / "b", None).lines) == 1


def test_a_summary_that_is_none_is_told(tmp_path):
    one, other = run_of(tmp_path / "a", {}), run_of(tmp_path / "b", {})
    for content in ("[" * 10_000, "[]", "{}", "{"):
        (one / "summary.json").write_text(content, encoding="utf-8")
        (line,) = compare_runs(one, other, None).lines
        assert line.startswith("summary.json: cannot be read (")
