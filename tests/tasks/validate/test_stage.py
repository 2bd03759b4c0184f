"""The gate on the bundled subjects: what the model needs is found by itself, and what breaks it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from flows.request import load_config
from tasks.contracts import TABLES, Done
from tasks.errors import ConfigError
from tasks.persist import Workspace
from tasks.validate import validate
from tasks.watch import Watch


def gate(config: AuditConfig, folder: Path) -> tuple[Done, pa.Table]:
    workspace = Workspace(folder, "20261122T000000Z-00000000")
    done = validate(config, workspace, Watch())
    return done, workspace.read_table("validation")


def adult(*settings: str) -> AuditConfig:
    return load_config("configs/adult_income.yaml", settings)


def spoilt(folder: Path, change: dict[str, Any], rows: int = 200) -> str:
    """The first rows of the Adult test set with some columns replaced."""
    table = pq.read_table("data/adult/test.parquet").slice(0, rows)
    for name, values in change.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values(table.column(name).to_pylist())))
    path = folder / "data.parquet"
    pq.write_table(table, path)
    return str(path)


def test_adult_passes_and_says_what_is_missing(tmp_path: Path) -> None:
    done, table = gate(adult(), tmp_path)
    assert done.facts["refused"] is False
    assert done.facts["reasons"] == []
    assert done.facts["checks"] == table.num_rows
    assert done.facts["failed"] == len(done.findings) == table.column("success").to_pylist().count(False)
    assert {(f.severity, f.code) for f in done.findings} == {
        ("info", "missing_value"),
        ("warning", "expectation_failed"),
    }
    assert table.schema.remove_metadata().equals(TABLES["validation"])
    rows = {(r["expectation"], r["column"]): r for r in table.to_pylist() if r["success"] is False}
    # 966 of the 16,281 test rows have `?` for occupation.
    row = rows["expect_column_values_to_not_be_null", "occupation"]
    assert (row["element_count"], row["unexpected_count"]) == (16281, 966)
    assert row["unexpected_percent"] == pytest.approx(100 * 966 / 16281)


def first(value: Any) -> Any:
    return lambda values: [value, *values[1:]]


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (
            {"income": first("rich")}, "unknown_class",
            "Column income: 1 label is no class of the model (<=50K, >50K), for example rich.",
        ),
        (
            {"income": lambda v: ["<=50K"] * len(v)}, "one_class",
            "Column income: all 200 labelled rows have the class <=50K.",
        ),
        ({"income": lambda v: pa.nulls(len(v), pa.string())}, "no_labels", "Column income: no row has a label."),
        (
            {"age": first(None)}, "missing_value",
            "Column age: 1 value is missing (null or NaN), and the model takes none.",
        ),
        (
            {"age": lambda v: [float("nan"), float("nan"), *map(float, v[2:])]}, "missing_value",
            "Column age: 2 values are missing (null or NaN), and the model takes none.",
        ),
        ({"age": lambda v: [float("inf"), *map(float, v[1:])]}, "not_finite", "Column age: 1 value is infinite."),
        (
            {"age": lambda v: ["?", *map(str, v[1:])]}, "not_numeric",
            "Column age has the type string, but the model reads age as a number: 1 value is not a number,"
            " for example ?.",
        ),
    ],
)  # fmt: skip
def test_what_the_model_cannot_take_is_refused(
    change: dict[str, Any], code: str, sentence: str, tmp_path: Path
) -> None:
    config = adult(f"data.path={spoilt(tmp_path, change)}", "data.expectations=[]")
    done, _ = gate(config, tmp_path)
    assert done.facts["refused"] is True
    assert sentence in done.facts["reasons"]
    assert [f.text for f in done.findings if (f.severity, f.code) == ("critical", code)] == [sentence]


def test_a_column_missing_and_an_empty_table(tmp_path: Path) -> None:
    whole = pq.read_table("data/adult/test.parquet")
    path = tmp_path / "data.parquet"
    pq.write_table(whole.slice(0, 100).drop_columns(["occupation"]), path)
    done, _ = gate(adult(f"data.path={path}"), tmp_path)
    assert any(r.startswith("There is no column occupation (the feature)") for r in done.facts["reasons"])
    pq.write_table(whole.slice(0, 0), path)
    done, _ = gate(adult(f"data.path={path}"), tmp_path)
    assert "The table has no rows." in done.facts["reasons"]


def test_strata_that_are_not_there_or_hold_no_numbers_are_refused(tmp_path: Path) -> None:
    done, _ = gate(adult("bias.strata={column: no_such}"), tmp_path / "absent")
    assert any(r.startswith("There is no column no_such (the strata)") for r in done.facts["reasons"])
    done, _ = gate(adult("bias.strata={column: occupation, bins: [1]}"), tmp_path / "text")
    assert any("the bins of strata need numbers" in r for r in done.facts["reasons"])


def test_a_new_category_and_a_new_group_are_reported(tmp_path: Path) -> None:
    change = {"workclass": first("Astronaut"), "race": first("Martian")}
    done, _ = gate(adult(f"data.path={spoilt(tmp_path, change)}", "data.expectations=[]"), tmp_path)
    assert done.facts["refused"] is False
    said = {f.code: f.text for f in done.findings if f.severity == "warning"}
    assert said["unseen_category"] == (
        "Column workclass: 1 value is of 1 category that the model never saw, for example Astronaut."
    )
    assert said["unseen_group"] == (
        "Attribute race: 1 row is in 1 group that the reference data never had, for example Martian."
    )
    assert said["group_of_one_row"] == (
        "Attribute race: 3 groups have one row only, for example Amer-Indian-Eskimo, Martian, Other."
    )


def test_two_columns_of_one_name_are_refused_where_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("age,age,income\n1,2,<=50K\n3,4,>50K\n")
    done, table = gate(adult(f"data.path={path}"), tmp_path)
    assert done.facts["refused"] is True
    assert "age" in done.facts["reasons"][0]
    assert table.column("success").to_pylist() == [False]


def test_a_critical_expectation_refuses(tmp_path: Path) -> None:
    setting = "data.expectations=[{type: expect_column_values_to_be_between, column: age, min_value: 18}]"
    done, _ = gate(adult(setting), tmp_path)
    assert done.facts["refused"] is True
    (reason,) = done.facts["reasons"]
    assert reason.startswith("expect_column_values_to_be_between (min_value 18) does not hold for age: ")
    assert reason.endswith("unexpected, for example 17.")


def test_wrong_arguments_end_the_audit_as_a_config_error(tmp_path: Path) -> None:
    setting = "data.expectations=[{type: expect_column_values_to_be_between, column: age, minimum: 18}]"
    with pytest.raises(ConfigError, match="has no argument minimum"):
        gate(adult(setting), tmp_path)


def test_a_broken_image_is_named_by_its_row(tmp_path: Path) -> None:
    table = pq.read_table("data/digit_scenes/test.parquet").slice(0, 40)
    images = table.column("image").to_pylist()
    images[7] = images[7][:50]
    table = table.set_column(table.column_names.index("image"), "image", pa.array(images))
    path = tmp_path / "data.parquet"
    pq.write_table(table, path)
    done, _ = gate(load_config("configs/digit_scenes.yaml", [f"data.path={path}"]), tmp_path)
    assert done.facts["refused"] is True
    (reason,) = done.facts["reasons"]
    assert reason.startswith(
        "Column image: 1 image cannot be decoded, for example row 7 (has an image that cannot be read"
    )
