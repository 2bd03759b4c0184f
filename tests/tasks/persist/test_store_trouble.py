"""What a table, a block, a disk or a name that is wrong gets: an error, and nothing half-written."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

import pyarrow as pa
import pytest

from tasks.errors import StorageError
from tasks.persist import Workspace
from tasks.persist.store import make_folder
from tests.tasks.persist.conftest import files_of, groups

# Tables that do not fit


@pytest.mark.parametrize(
    ("table", "error", "says"),
    [
        ({"row_id": [1], "grp": ["x"]}, ValueError, "not columns of the contract: ['grp']"),
        ({"weight": ["heavy"]}, pa.ArrowInvalid, "heavy"),
        ({"weight": pa.array([[1.0]])}, pa.ArrowNotImplementedError, "list"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_leaves_nothing(workspace, table, error, says):
    with pytest.raises(error) as raised:
        workspace.write_table("groups", pa.table(table))
    assert says in str(raised.value)
    assert files_of(workspace) == []


@pytest.mark.parametrize("value", [1.5, float("nan"), 1e300])
def test_a_number_that_is_not_whole_is_refused_in_a_whole_column(workspace, value):
    with pytest.raises(pa.ArrowInvalid):
        workspace.write_table("importance", pa.table({"rank": [value]}))
    assert files_of(workspace) == []


def test_row_ids_of_another_type_than_announced_are_refused(workspace):
    with pytest.raises(pa.ArrowInvalid), workspace.table_writer("groups", pa.int64()) as writer:
        writer.write(pa.table({"row_id": ["x"]}))
    assert not workspace.has_table("groups")


def test_a_column_given_twice_is_refused(workspace):
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["row_id", "row_id"])
    with pytest.raises(KeyError):
        workspace.write_table("groups", twice)
    assert files_of(workspace) == []


def test_a_table_that_is_not_in_the_contract_is_refused(workspace):
    with pytest.raises(KeyError):
        workspace.write_table("grups", groups(1))
    assert not workspace.folder.exists()


# A block that fails


def _write_then_raise(workspace: Workspace, error: BaseException) -> None:
    with workspace.table_writer("groups") as writer:
        writer.write(groups(10))
        raise error


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no"), KeyboardInterrupt(), FileNotFoundError(2, "No such file", "a.png"), OSError("the network")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_the_block_raises_is_told_as_it_is_and_leaves_nothing(workspace, error):
    with pytest.raises(type(error)) as raised:
        _write_then_raise(workspace, error)
    assert raised.value is error
    assert files_of(workspace) == []


def test_a_failed_table_leaves_the_one_before_it(workspace):
    workspace.write_table("groups", groups(3))
    with pytest.raises(RuntimeError):
        _write_then_raise(workspace, RuntimeError())
    assert workspace.read_table("groups").num_rows == 3


# A disk that is full, a folder that cannot be written


def test_a_full_disk_is_told_and_leaves_no_partial_table(workspace, full_disk):
    with pytest.raises(StorageError, match=r"groups\.parquet: cannot be written") as raised:
        workspace.write_table("groups", groups(100_000))
    assert raised.value.exit_code == 4
    assert raised.value.hint == "free space or choose another folder with --reports"
    assert raised.value.where == str(workspace.table_path("groups"))
    assert files_of(workspace) == []


def test_a_disk_that_fills_between_row_groups(workspace, full_disk):
    def fill() -> None:
        with workspace.table_writer("groups") as writer:
            for number in range(100):
                written.append(number)
                writer.write(groups(2000))

    written: list[int] = []
    with pytest.raises(StorageError):
        fill()
    assert 1 < len(written) < 100
    assert files_of(workspace) == []


def test_a_full_disk_does_not_take_the_table_before_it(workspace, full_disk):
    workspace.write_table("groups", groups(10))
    with pytest.raises(StorageError):
        workspace.write_table("groups", groups(100_000))
    assert workspace.read_table("groups").num_rows == 10


def test_a_full_disk_leaves_no_partial_file(workspace, full_disk):
    workspace.write_bytes("report.html", b"before")
    with pytest.raises(StorageError, match=r"report\.html: cannot be written"):
        workspace.write_bytes("report.html", b"x" * 100_000)
    assert files_of(workspace) == ["report.html"]
    assert (workspace.folder / "report.html").read_bytes() == b"before"


@pytest.mark.parametrize("obstacle", ["run", "run/artifacts", "run/artifacts/attributions"])
def test_a_file_in_the_place_of_a_folder(workspace, tmp_path, obstacle):
    (tmp_path / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / obstacle).write_bytes(b"in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        workspace.write_table("attributions/shap", pa.table({"row_id": [1]}))
    with pytest.raises(StorageError, match="cannot be written"):
        workspace.write_bytes("artifacts/attributions/x.png", b"x")
    assert (tmp_path / obstacle).read_bytes() == b"in the way"


def test_a_folder_in_the_place_of_a_file(workspace):
    (workspace.folder / "artifacts" / "groups.parquet").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"groups\.parquet: cannot be written"):
        workspace.write_table("groups", groups(1))
    assert files_of(workspace) == []


def test_a_name_too_long_for_a_file(workspace):
    with pytest.raises(StorageError):
        workspace.write_table(f"attributions/{'x' * 300}", pa.table({"row_id": [1]}))


# Names


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "..", ".", "", "a//b", "a/", "./a"])
def test_no_name_leads_out_of_the_run(workspace, tmp_path, name):
    with pytest.raises(ValueError, match="not the name of a file in a run"):
        workspace.write_bytes(name, b"x")
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("technique", ["../../../out", "/etc/out", "a/../../../out", "a//b", ".."])
def test_no_technique_leads_out_of_the_run(workspace, tmp_path, technique):
    with suppress(ValueError):
        workspace.write_table(f"attributions/{technique}", pa.table({"row_id": [1]}))
    inside = workspace.folder / "artifacts" / "attributions"
    assert {p.parent for p in tmp_path.rglob("*") if p.is_file()} <= {inside}


@pytest.mark.parametrize("name", ["report.html", "artifacts/images/0001.png", "a b/ü|'\"<x>.txt", "..a/b..", "\u202ex"])
def test_files_are_written_under_their_names(workspace, name):
    assert workspace.write_bytes(name, b"content") == name
    assert (workspace.folder / name).read_bytes() == b"content"
    assert files_of(workspace) == [name]


# Who may read


def test_folders_are_readable_by_their_owner_alone(workspace):
    before = os.umask(0)
    try:
        workspace.write_table("attributions/shap", pa.table({"row_id": [1]}))
        workspace.write_bytes("artifacts/images/1.png", b"x")
    finally:
        os.umask(before)
    folders = [workspace.folder, *(p for p in workspace.folder.rglob("*") if p.is_dir())]
    assert len(folders) == 4
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    make_folder(shared / "a" / "b")
    make_folder(shared / "a" / "b")
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755


def test_making_a_folder_where_a_file_lies(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(OSError, match="file"):
            make_folder(folder)
