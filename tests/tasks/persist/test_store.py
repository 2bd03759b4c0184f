"""Tables and files of a run: whole or not there, with the contract's columns, and readable by their owner alone."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.contracts import TABLES, schema_of
from tasks.persist import file_digest
from tests.tasks.persist.conftest import files_of, groups

# Digests


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000], ids=len)
def test_a_digest_is_the_sha256_of_the_bytes(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert file_digest(str(tmp_path / "file")) == hashlib.sha256(content).hexdigest()


def test_the_digest_of_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "nothing")


# Whole tables


def test_a_table_comes_back_as_it_was_written(workspace):
    ref = workspace.write_table("groups", groups(5))
    assert (ref.name, ref.rows) == ("groups", 5)
    assert ref.path == str(workspace.folder / "artifacts" / "groups.parquet")
    assert ref.sha256 == file_digest(ref.path)
    assert workspace.has_table("groups")
    assert workspace.read_table("groups").equals(groups(5))
    assert workspace.read_table("groups", ["group"]).column_names == ["group"]
    assert files_of(workspace) == ["artifacts/groups.parquet"]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_of_the_contract_can_be_written_even_empty(workspace, name):
    ref = workspace.write_table(name, TABLES[name].empty_table())
    assert ref.rows == 0
    assert workspace.read_table(name).schema == schema_of(name)


def test_columns_take_the_order_and_types_of_the_contract(workspace):
    given = pa.table(
        {
            "n_rows": pa.array([10], pa.int16()),
            "feature": pa.array(["age"]).dictionary_encode(),
            "importance": pa.array([1], pa.int32()),
            "technique": pa.array(["shap"], pa.large_string()),
        }
    )
    workspace.write_table("importance", given)
    read = workspace.read_table("importance")
    assert read.schema == TABLES["importance"]
    assert read.to_pylist() == [
        {
            "technique": "shap",
            "output": None,
            "feature": "age",
            "importance": 1.0,
            "std_error": None,
            "ci_low": None,
            "ci_high": None,
            "rank": None,
            "n_rows": 10,
        }
    ]


def test_lists_are_kept(workspace):
    heatmap = pa.array([[0.5, 1.0], [], None], pa.list_(pa.float32()))
    given = pa.table({"row_id": [1, 2, 3], "heatmap": heatmap})
    workspace.write_table("saliency/gradcam", given)
    assert workspace.read_table("saliency/gradcam")["heatmap"].to_pylist() == [[0.5, 1.0], [], None]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([3, 1, 2]),
        pa.array(["a", "b|c", "<script>\u202e"]),
        pa.array([1, 2, 3], pa.int32()),
        pa.array([2**64 - 1, 0, 1], pa.uint64()),
        pa.array(["x", "y", "x"]).dictionary_encode(),
        pa.array([1.5, 2.5, float("inf")]),
        pa.array([True, False, None]),
        pa.array([0, 1, 2], pa.date32()),
        pa.array([0, 1, 2], pa.timestamp("us", tz="UTC")),
        pa.array([b"a", b"\x00", b""]),
        pa.array(["a", "b", "c"], pa.large_string()),
    ],
    ids=lambda ids: str(ids.type),
)
def test_row_ids_keep_the_type_of_the_id_column(workspace, ids):
    workspace.write_table("groups", groups(3, ids))
    assert workspace.read_table("groups").schema.field("row_id").type == ids.type
    assert workspace.read_table("groups")["row_id"].to_pylist() == ids.to_pylist()


def test_hostile_text_survives(workspace):
    texts = [
        "<script>alert(1)</script>",
        "a|b",
        "'\"`",
        "\u200fעברית\u202e",
        "w" * 200,
        "\x00\x1b[31m",
        "",
        "NaN",
        None,
    ]
    given = pa.table({"row_id": range(len(texts)), "group": texts})
    workspace.write_table("groups", given)
    assert workspace.read_table("groups")["group"].to_pylist() == texts


def test_numbers_that_are_not_finite_survive_and_null_stays_null(workspace):
    given = pa.table({"row_id": [1, 2, 3, 4], "weight": pa.array([float("nan"), float("inf"), None, 5e-324])})
    workspace.write_table("groups", given)
    read = workspace.read_table("groups")["weight"]
    assert np.isnan(read[0].as_py())
    assert read.to_pylist()[1:] == [float("inf"), None, 5e-324]


def test_the_file_says_what_it_is(workspace):
    workspace.write_table("groups", groups(2))
    file = pq.ParquetFile(workspace.table_path("groups"))
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    assert metadata == {
        "keras_audit.schema_version": "1.0",
        "keras_audit.table": "groups",
        "keras_audit.run_id": workspace.run_id,
        "keras_audit.data": "d" * 64,
    }
    column = file.metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert column.is_stats_set


def test_the_same_rows_give_the_same_bytes(workspace):
    digests = {workspace.write_table("groups", groups(1000)).sha256 for _ in range(3)}
    assert len(digests) == 1


def test_row_groups_are_appended_and_counted(workspace):
    with workspace.table_writer("predictions", pa.string()) as writer:
        for part in (["a", "b"], [], ["c"]):
            writer.write(pa.table({"row_id": pa.array(part, pa.string())}))
        assert not workspace.has_table("predictions")  # not before it is whole
        assert writer.ref is None
    assert writer.ref.rows == 3
    assert workspace.read_table("predictions")["row_id"].to_pylist() == ["a", "b", "c"]


def test_a_table_replaces_the_one_before_it(workspace):
    workspace.write_table("groups", groups(5))
    workspace.write_table("groups", groups(2))
    assert workspace.read_table("groups").num_rows == 2


def test_many_threads_write_their_own_tables(workspace):
    def write(number: int) -> int:
        return workspace.write_table(f"attributions/t{number}", pa.table({"row_id": range(number)})).rows

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(write, range(24))) == list(range(24))
    assert len(files_of(workspace)) == 24


def test_a_workspace_crosses_processes(workspace):
    assert pickle.loads(pickle.dumps(workspace)) == workspace
