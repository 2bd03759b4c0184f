from __future__ import annotations

import datetime
import hashlib
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import ConfigError, DataRefused
from tasks.load import load_data, open_data
from tasks.load.digests import digest_of
from tasks.load.tables import default_columns
from tasks.watch import Watch

EVERY_TYPE = pa.table(
    {
        "integer": pa.array([1, None, 2**53 + 1], pa.int64()),
        "real": pa.array([0.5, None, -1.5]),
        "flag": pa.array([True, None, False]),
        "text": pa.array(["a", None, "ü"]),
        "day": pa.array([datetime.date(2020, 1, 2), None, datetime.date(1969, 12, 31)]),
        "moment": pa.array([datetime.datetime(2020, 1, 2, 3, 4), None, None]),
        "money": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
        "code": pa.array(["x", None, "y"]).dictionary_encode(),
        "y": pa.array(["no", "yes", "no"]),
    }
)


@pytest.mark.parametrize("name", ["data.parquet", "data.pq", "data.arrow", "data.feather", "deep/er/data.parquet"])
def test_every_format_gives_the_table_as_written(shop, name):
    config = shop.config("nowhere", shop.table(EVERY_TYPE, name))
    data = open_data(config)
    assert data.table.equals(EVERY_TYPE)
    assert data.sha256 == hashlib.sha256(Path(config.data.path).read_bytes()).hexdigest()
    assert data.reference is None
    assert data.reference_sha256 is None


@pytest.mark.parametrize("limit", [None, 0])
def test_text_in_arrows_newer_layout_is_read_as_text(shop, monkeypatch, limit):
    """A view has no kernel for much of what is done to a column; in memory and in a file."""
    if limit is not None:
        monkeypatch.setattr("tasks.load.tables.LIMIT", limit)
    table = pa.table({"code": pa.array(["x", None, "y"], pa.string_view()), "y": ["no", "yes", "no"]})
    found = open_data(shop.config("nowhere", shop.table(table, "data.parquet")))
    assert found.table.schema.field("code").type == pa.string()
    assert found.table.column("code").to_pylist() == ["x", None, "y"]
    assert len(found.maps) == (limit is not None)


def test_csv_keeps_what_looks_like_a_date_as_text_and_reads_nulls(shop):
    path = shop.folder / "data.csv"
    path.write_text('day,n,who,y\n2020-01-02,1,"NA",no\n,,Ann,yes\n2020-01-04,3,NaN,no\n', encoding="utf-8")
    table = open_data(shop.config("nowhere", str(path))).table
    assert table.to_pydict() == {
        "day": ["2020-01-02", None, "2020-01-04"],
        "n": [1, None, 3],
        "who": ["NA", "Ann", None],
        "y": ["no", "yes", "no"],
    }


def test_tsv_and_a_byte_order_mark(shop):
    path = shop.folder / "data.tsv"
    path.write_bytes("\ufeffä\ty\n1\tno\n".encode())
    assert open_data(shop.config("nowhere", str(path))).table.to_pydict() == {"ä": [1], "y": ["no"]}


def test_an_address_is_read_like_a_path(shop):
    path = Path(shop.table(EVERY_TYPE))
    data = open_data(shop.config("nowhere", path.as_uri()))
    assert data.table.equals(EVERY_TYPE)
    assert data.sha256 == digest_of(path)


def test_hostile_and_unicode_names_survive(shop, hostile):
    table = pa.table({hostile: [1], "": [2], "città\n": [3], "y": ["no"]})
    for name in ("data.parquet", "data.csv"):
        assert open_data(shop.config("nowhere", shop.table(table, name))).table.column_names == table.column_names


def test_an_empty_table_is_left_to_the_gate(shop):
    data = open_data(shop.config("nowhere", shop.table(EVERY_TYPE.slice(0, 0))))
    assert data.table.num_rows == 0
    assert len(data.row_id) == 0


@pytest.mark.parametrize("name", ["data.parquet", "data.csv", "data.arrow"])
def test_two_columns_of_one_name_are_refused(shop, name):
    twins = pa.table([pa.array([1]), pa.array([2]), pa.array(["no"])], names=["a", "a", "y"])
    with pytest.raises(DataRefused, match="more than one column has the name: a") as caught:
        open_data(shop.config("nowhere", shop.table(twins, name)))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["data.parquet", "data.csv", "data.arrow", "data.feather"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe not a table \x80" * 10])
def test_a_damaged_file_is_refused(shop, name, content):
    path = shop.folder / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"data\.path: .* cannot be read as") as caught:
        open_data(shop.config("nowhere", str(path)))
    assert caught.value.exit_code == 2


def test_a_truncated_parquet_is_refused(shop):
    path = Path(shop.table(EVERY_TYPE))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="cannot be read as parquet"):
        open_data(shop.config("nowhere", str(path)))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.parquet", "missing.parquet does not exist; relative paths start at the current folder"),
        ("data.xlsx", "a format that is not known; available: .parquet"),
        ("nosuchsystem://x/y.csv", "cannot be read"),
    ],
)
def test_what_cannot_be_opened_says_why(shop, path, message):
    with pytest.raises(ConfigError, match=message) as caught:
        open_data(shop.config("nowhere", path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("data.path: ")


def test_a_missing_reference_names_its_key(shop):
    config = shop.config("nowhere", shop.table(EVERY_TYPE), data={"reference": "gone.csv"})
    with pytest.raises(ConfigError, match=r"data\.reference: gone\.csv does not exist"):
        open_data(config)


def test_a_folder_is_not_a_table(shop):
    (shop.folder / "parts.parquet").mkdir()
    with pytest.raises(ConfigError, match="is a folder; name the file in it"):
        open_data(shop.config("nowhere", str(shop.folder / "parts.parquet")))


@pytest.mark.parametrize(
    ("column", "kind"),
    [(pa.array(["b", "a", "c"]), pa.string()), (pa.array([7, 2**53 + 1, None]), pa.int64()),
     (pa.array(["u", "v", "u"]).dictionary_encode(), pa.string())],
)  # fmt: skip
def test_row_ids_keep_their_own_type(shop, column, kind):
    table = pa.table({"id": column, "y": ["no", "no", "yes"]})
    data = open_data(shop.config("nowhere", shop.table(table), data={"id": "id"}))
    assert data.row_id.type == kind
    assert data.row_id.to_pylist() == column.to_pylist()


def test_row_ids_are_positions_without_an_id_column(shop):
    data = open_data(shop.config("nowhere", shop.table(EVERY_TYPE)))
    assert data.row_id.type == pa.int64()
    assert data.row_id.to_pylist() == [0, 1, 2]


def test_many_row_groups_make_one_array_of_ids(shop):
    path = shop.folder / "data.parquet"
    pq.write_table(pa.table({"id": np.arange(10), "y": ["a"] * 10}), path, row_group_size=3)
    assert open_data(shop.config("nowhere", str(path), data={"id": "id"})).row_id.to_pylist() == list(range(10))


def test_a_rewritten_file_is_read_again(shop):
    config = shop.config("nowhere", shop.table({"a": [1], "y": ["no"]}))
    first = open_data(config)
    assert open_data(config).table is first.table
    shop.table({"a": [2], "y": ["no"]})
    second = open_data(config)
    assert second.table.column("a").to_pylist() == [2]
    assert second.sha256 != first.sha256


def test_the_stage_tells_what_was_read(shop):
    path = shop.table({"a": [1, 2], "y": ["no", "yes"]})
    done = load_data(shop.config("nowhere", path), Watch())
    assert done.stage == "load_data"
    assert done.facts["reference"] is None
    assert done.facts["data"] == {
        "path": path,
        "sha256": digest_of(Path(path)),
        "rows": 2,
        "columns": [{"name": "a", "type": "int64"}, {"name": "y", "type": "string"}],
    }
    assert "background rows are drawn from the audited data" in done.limitations[0]
    with_reference = load_data(shop.config("nowhere", path, data={"reference": path}), Watch())
    assert with_reference.facts["reference"] == done.facts["data"]
    assert with_reference.limitations == ()


def test_the_index_that_pandas_writes_is_no_default_column():
    assert default_columns(pa.table({"a": [1], "__index_level_0__": [0]})) == ("a",)


def test_a_folders_digest_is_that_of_its_sorted_lines(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/y").write_bytes(b"2")
    (tmp_path / "x").write_bytes(b"1")
    lines = sorted([f"{hashlib.sha256(b'1').hexdigest()}  x\n", f"{hashlib.sha256(b'2').hexdigest()}  b/y\n"])
    assert digest_of(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_importing_the_package_brings_no_heavy_library():
    heavy = ["tensorflow", "keras", "pandas", "sklearn", "skops", "matplotlib", "prefect", "PIL"]
    code = f"import sys, tasks.load; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
