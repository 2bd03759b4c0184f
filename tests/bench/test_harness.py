"""The harness: numbers, tables, records, what the page makes of them, and the tables that it is fed with."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

HERE = Path(__file__).resolve().parent


def records_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# ---------------------------------------------------------------- numbers and time


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), (0, "0"), (1, "1.00"), (0.0754, "0.0754"), (12.345, "12.3"), (123.4, "123"),
        (1234567.8, "1,234,568"), (0.00012, "1.2e-04"), (-3.14159, "-3.14"), (0.001, "0.00100"),
        (math.inf, "inf"), (math.nan, "nan"),
    ],
)  # fmt: skip
def test_a_number_has_three_digits(value, text):
    from harness import number

    assert number(value) == text


def test_works_are_run_in_turn():
    from harness import in_turn

    calls: list[str] = []
    taken = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 3
    assert set(taken) == {"a", "b"}
    assert all(0 <= value < 1 for value in taken.values())


@pytest.mark.parametrize(("once", "expected"), [(0.1, 10), (1.0, 6), (100.0, 1), (0.0, 10)])
def test_repeats_fit_the_budget(once, expected):
    from harness import repeats_for

    assert repeats_for(once, 6.0) == expected


def test_what_a_library_prints_stays_unsaid(capsys):
    from harness import seconds

    seconds(lambda: print("progress"))
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- cores and memory


def in_new_process(code: str) -> str:
    run = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); import os, harness; {code}"]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


def test_a_process_is_held_to_the_cores_and_says_so_to_the_libraries():
    said = in_new_process("harness.hold_to(1); print(harness.cores_held(), os.environ['TF_NUM_INTRAOP_THREADS'])")
    assert said == "1 1"


def test_no_more_cores_than_there_are():
    from harness import apart

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    assert sorted(apart(cores, 1000)) == cores
    assert len(apart(cores, 1)) == 1
    assert apart([], 2) == []


def test_peak_memory_sees_what_was_held_for_a_moment():
    code = "before = harness.peak_memory(); held = b'x' * (80 << 20); del held; print(harness.peak_memory() - before)"
    assert 60 << 20 < int(in_new_process(code)) < 200 << 20


# ---------------------------------------------------------------- tables


def test_lines_are_compared_with_ours_and_recorded(tmp_path, capsys):
    from harness import Bench

    bench = Bench("x", records=tmp_path / "r.jsonl")
    with bench.speed("A table", "about it") as table:
        table.floor(10, 1000, 1000.0)
        assert table.line("this project", 10, 2.0, overhead=2.0) is None
        assert table.line("another", 1, 5.0, note="one row") == pytest.approx(25.0)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:3] == ["A table", "  about it"]
    assert len({line.index("200") for line in printed if "this project" in line}) == 1
    assert records_of(tmp_path / "r.jsonl") == [
        {
            "bench": "x", "kind": "table", "title": "A table", "about": "about it",
            "columns": ["", "ms a row", "rows/s", "overhead", "ours faster", "note"],
            "rows": [
                ["floor: the evaluations alone", "100", "10.0", "1.00", "", ""],
                ["this project", "200", "5.00", "2.00", "", ""],
                ["another", "5,000", "0.200", "", "25.0 ×", "one row"],
            ],
        }
    ]  # fmt: skip


def test_a_library_that_is_missing_or_fails_is_a_line(tmp_path, capsys):
    from harness import Bench

    bench = Bench("x", records=tmp_path / "r.jsonl")
    with bench.table("t", ("who", "seconds", "note")) as table:
        with table.attempt("missing"):
            import no_such_library  # noqa: F401
        with table.attempt("broken"):
            raise ValueError("/a/path of somebody")
        table.row("after")
    assert records_of(tmp_path / "r.jsonl")[0]["rows"] == [
        ["missing", "", "not installed: no_such_library"],
        ["broken", "", "failed: ValueError"],
        ["after", "", ""],
    ]


def test_strict_ends_at_the_first_error(tmp_path, capsys):
    from harness import Bench

    table = Bench("x", strict=True).table("t", ("who", "note"))
    with pytest.raises(ValueError, match="broken"), table, table.attempt("it"):
        raise ValueError("broken")


def test_a_figure_that_is_not_there_leaves_nothing(tmp_path):
    from harness import Bench

    bench = Bench("x", records=tmp_path / "r.jsonl")
    bench.figure("a", None)
    bench.figure("b", np.float32(2))
    assert [(record["id"], record["value"]) for record in records_of(tmp_path / "r.jsonl")] == [("b", 2.0)]


def test_a_profile_is_printed_where_its_name_is_asked_for(capsys):
    from harness import Bench

    bench = Bench("x", profile="lime")
    bench.profiled("kernel.adult", lambda: pytest.fail("not asked for"))
    bench.profiled("lime.adult", lambda: sorted(range(1000)))
    printed = capsys.readouterr().out
    assert "Profile of lime.adult" in printed
    assert "sorted" in printed


# ---------------------------------------------------------------- targets and page


def figure(name: str, value: float, note: str = "") -> dict:
    return {"bench": "x", "kind": "figure", "id": name, "value": value, "note": note}


@pytest.mark.parametrize(
    ("sign", "value", "status"),
    [
        ("≥", 2.5, "met"), ("≥", 2.49, "**not met**"), ("≤", 2.5, "met"), ("≤", 2.51, "**not met**"),
        ("≤", math.nan, "**not met**"),
    ],
)  # fmt: skip
def test_a_target_is_judged(sign, value, status):
    from page import judged
    from targets import Target

    target = Target("a", "part", "text", "on", sign, 2.5, " ×")
    line = judged([figure("a", 99), figure("a", value)], [target])[0]
    assert (line["status"], line["bound"]) == (status, f"{sign} 2.50 ×")


def test_a_target_without_a_figure_is_not_measured_and_not_met():
    from page import judged
    from targets import TARGETS

    lines = judged([])
    assert len(lines) == len(TARGETS)
    assert {(line["status"], line["met"]) for line in lines} == {("not measured", False)}


def test_every_target_has_a_name_of_its_own():
    from targets import TARGETS

    assert len({target.id for target in TARGETS}) == len(TARGETS)


def a_run(tmp_path: Path) -> list[dict]:
    from harness import Bench
    from page import machine, read_records
    from run import leave

    path = tmp_path / "r.jsonl"
    leave(path, kind="machine", **machine())
    bench = Bench("x", records=path)
    with bench.table("Hostile | title", ("who", "seconds", "empty", "note"), "about") as table:
        table.row("a|b", "1.0")
    bench.figure("permutation.adult", 1.1)
    bench.figure("permutation.mlp", 3.5, "from 3 rows")
    leave(path, kind="ended", bench="x", seconds=61.0, code=3)
    leave(path, kind="total", seconds=120.0)
    with path.open("a") as stream:
        stream.write('{"kind": "figure", "id": "lime.r')  # the process was killed here
    return read_records(path)


def test_the_page_says_what_was_measured_and_where(tmp_path, capsys):
    from harness import ROOT
    from page import rendered

    text = rendered(a_run(tmp_path))
    assert "| permutation | overhead | Adult | ≤ 1.20 | 1.10 | met |" in text
    assert "| permutation | overhead | 20-64-64-1 | ≤ 1.20 | 3.50 (from 3 rows) | **not met** |" in text
    assert "- permutation, overhead, 20-64-64-1: 3.50 (from 3 rows), where the target is ≤ 1.20" in text
    assert "| a\\|b | 1.0 |" in text
    assert "empty" not in text.partition("## Tables")[2]
    assert "| x | 61 | ended with 3 |" in text
    assert "It took 2 minutes" in text
    assert f"Python {platform.python_version()}" in text
    assert str(ROOT) not in text


def test_nothing_names_the_machine():
    from page import machine

    assert set(machine()) == {"date", "cores", "of", "cpu", "system", "python", "versions"}


def test_the_page_keeps_no_blank_holes(tmp_path, capsys):
    from page import rendered

    text = rendered(a_run(tmp_path))
    assert "\n\n\n" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_the_verdicts_line_up(tmp_path, capsys):
    from page import verdict_table
    from targets import TARGETS

    lines = verdict_table(a_run(tmp_path)).splitlines()
    assert lines[-1].strip() == f"1 of {len(TARGETS)} targets met"


# ---------------------------------------------------------------- the runner


def test_every_bench_file_is_run():
    from run import BENCHES

    assert sorted(BENCHES) == sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def test_an_unknown_bench_is_told(capsys):
    from run import main

    with pytest.raises(SystemExit) as ended:
        main(["nosuch"])
    assert ended.value.code == 2
    assert "no benchmark is called nosuch; there are predictor, " in capsys.readouterr().err


def run_quick(tmp_path: Path, *benches: str) -> tuple[subprocess.CompletedProcess[str], list[dict], str]:
    records, page = tmp_path / "r.jsonl", tmp_path / "page.md"
    command = [
        sys.executable,
        str(HERE / "run.py"),
        "--quick",
        "--strict",
        "--records",
        str(records),
        "--page",
        str(page),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_AUDIT_BENCH_CORES"}
    done = subprocess.run([*command, *benches], check=False, capture_output=True, text=True, env=environment)
    return done, records_of(records), page.read_text()


def test_a_bench_runs_and_its_tables_are_on_the_page(tmp_path):
    done, records, page = run_quick(tmp_path, "bias")
    assert done.returncode == 0, done.stderr
    kinds = [record["kind"] for record in records if record["kind"] != "figure"]
    assert kinds == ["machine", *["table"] * 3, "ended", "total"]
    assert "### Bias metrics" in page
    assert "Bias metrics" in done.stdout
    assert "minutes" in done.stdout.splitlines()[-1]


@pytest.mark.soak
def test_all_benches_run_and_leave_the_figures_of_the_targets(tmp_path):
    from targets import TARGETS

    done, records, page = run_quick(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    left = {record["id"] for record in records if record["kind"] == "figure"}
    # The largest sizes, and 2^20 coalitions, are for the full run.
    wanted = {target.id for target in TARGETS if not target.id.startswith("rows.")}
    assert left == wanted - {"kernel.error512.mlp", "kernel.error2048.mlp"}
    assert "failed" not in page


# ---------------------------------------------------------------- what is measured


def test_synthetic_rows_are_like_the_bundled_ones(tmp_path):
    from harness import ROOT
    from synthetic import ROW_GROUP, write_adult

    bundled = pq.read_table(ROOT / "data/adult/test.parquet")
    write_adult(tmp_path / "long.parquet", ROW_GROUP + 10)
    write_adult(tmp_path / "short.parquet", 100)
    file = pq.ParquetFile(tmp_path / "long.parquet")
    long, short = file.read(), pq.read_table(tmp_path / "short.parquet")
    assert [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)] == [ROW_GROUP, 10]
    assert long.schema.equals(bundled.schema)
    assert long.slice(0, 100).equals(short)
    for name in bundled.column_names:
        if str(bundled.schema.field(name).type) == "string":
            assert set(long.column(name).to_pylist()) <= set(bundled.column(name).to_pylist())
    age = long.column("age").to_numpy()
    assert (age.min(), age.max()) == (17, 90)
    pairs = {tuple(row.values()) for row in long.select(["education", "education_num"]).slice(0, 5000).to_pylist()}
    assert pairs <= {tuple(row.values()) for row in bundled.select(["education", "education_num"]).to_pylist()}


def test_exact_values_by_all_coalitions():
    from techniques import exact_values

    background = np.array([[0.0, 0, 0], [2, 0, 4]])
    rows = np.array([[1.0, 3, 5]])

    def model(x, kind):
        return (2 * x[:, 0] + x[:, 1] * x[:, 2])[:, None]

    problem = SimpleNamespace(rows=rows, background=background, predictor=model, kind="probability")
    # 2 (x − mean) for the first. For the product, against (0, 0): 15/2 each; against (0, 4): (12 + 15)/2 and (0 + 3)/2.
    expected = [2 * (1 - 1), (7.5 + 13.5) / 2, (7.5 + 1.5) / 2]
    assert exact_values(problem, 1)[0] == pytest.approx(expected)


def test_figures_of_all_rows(tmp_path):
    from bench_rows import Job, Measured, figures
    from harness import Bench

    def measured(whole: float, peak: int) -> Measured:
        return Measured(start=9.0, data=whole / 4, rows=whole * 3 / 4, before=1, peak=peak, written=1)

    job = Job("lime", "LIME", "lime", {}, 10, (10, 100, 1000))
    bench = Bench("rows", records=tmp_path / "r.jsonl")
    # a fixed second, then 10 ms a row, and 12 ms a row on the last step
    figures(bench, job, {10: measured(1.1, 100), 100: measured(2.0, 100), 1000: measured(2.0 + 900 * 0.012, 130)})
    left = {record["id"]: record["value"] for record in records_of(tmp_path / "r.jsonl")}
    assert left == {"rows.linear.lime": pytest.approx(1.2), "rows.memory.lime": pytest.approx(1.3)}


def test_no_figures_where_the_largest_size_was_not_run(tmp_path):
    from bench_rows import Job, figures
    from harness import Bench

    bench = Bench("rows", records=tmp_path / "r.jsonl")
    figures(bench, Job("lime", "LIME", "lime", {}, 10, (10, 100, 1000)), {})
    assert not (tmp_path / "r.jsonl").exists()


def test_a_floor_is_the_fastest_way_and_passes_over_whole_batches():
    import keras
    from subjects import floor_of

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    floor = floor_of(model, np.ones((100, 3), np.float32), (32, 64), (64,))
    assert (floor.batch, floor.rows) in {(32, 96), (64, 64)}
    assert floor.rate > 0
    assert floor.work().shape == (floor.batch, 2)
