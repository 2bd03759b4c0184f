"""Large arrays and tables in files without a name: the same values, and gone with the process."""

from __future__ import annotations

import mmap
import subprocess
import sys
import textwrap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.load import fitting, spill, tables
from tasks.load.subject import open_subject
from tasks.load.tables import open_data


@pytest.fixture
def tiny(monkeypatch):
    """Everything counts as large, in chunks of seven rows."""
    monkeypatch.setattr(spill, "LIMIT", 0)
    monkeypatch.setattr(spill, "CHUNK", 7)
    monkeypatch.setattr(fitting, "LIMIT", 0)
    monkeypatch.setattr(tables, "LIMIT", 0)
    monkeypatch.setattr(tables, "CHUNK", 7)
    tables._tables.clear()
    yield
    tables._tables.clear()


def test_small_arrays_stay_in_memory():
    found = spill.room((10, 3), np.float64)
    assert not spill.in_file(found)
    assert found.flags.writeable
    spill.forget(found)  # nothing happens
    assert list(spill.pieces(found)) == [slice(0, 10)]


@pytest.mark.parametrize(("shape", "dtype"), [((1000, 3), np.float64), ((40, 5, 5, 3), np.float32), ((1, 1), np.int64)])
def test_what_is_written_to_a_file_is_read_again(tiny, shape, dtype):
    found = spill.room(shape, dtype)
    values = np.random.default_rng(0).normal(size=shape).astype(dtype)
    assert spill.in_file(found)
    for rows in spill.pieces(found):
        found[rows] = values[rows]
    spill.forget(found)
    assert np.array_equal(found, values)
    assert spill.in_file(found[1:, :1])
    spill.forget(found[:0])  # no rows, no pages
    for row in (0, len(found) - 1):
        spill.forget(found[row : row + 1])
        assert np.array_equal(found[row], values[row])


def test_no_rows(tiny):
    assert spill.room((0, 3), np.float64).shape == (0, 3)


def test_a_file_has_no_name_and_no_place(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = spill.room((1000, 3), np.float64)
    table, mapped = spill.mapped_table(pa.schema([("x", pa.int64())]), [])
    assert not list(tmp_path.iterdir())
    assert isinstance(mapped, mmap.mmap)
    assert (len(kept), table.num_rows) == (1000, 0)


def test_pages_are_given_back():
    """A process that reads all of a large array piece by piece does not come to hold it."""
    code = """
        import sys
        import numpy as np
        from tasks.load import spill
        sys.path.insert(0, "tests/bench")
        from harness import peak_memory  # not getrusage, which counts what the parent held at the fork
        array = spill.room((1 << 20, 64), np.float64)  # 512 MiB
        before = peak_memory()
        for rows in spill.pieces(array):
            array[rows] = rows.start
        total = sum(array[rows][:, 0].sum() for rows in spill.pieces(array))
        assert total == sum(start * spill.CHUNK for start in range(0, 1 << 20, spill.CHUNK)), total
        print(peak_memory() - before >> 20)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 128


def test_a_table_in_a_file_equals_the_one_in_memory(tiny, tmp_path):
    table = pa.table(
        {
            "n": pa.array([1, None, 3] * 9),
            "text": pa.array(["a", None, "é\u202e"] * 9),
            "which": pa.array(["x", "y", None] * 9).dictionary_encode(),
            "many": pa.array([[1.5], [], None] * 9),
            "at": pa.array([0, 1, None] * 9, pa.timestamp("us", tz="UTC")),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=5)
    found = tables._parquet(tmp_path / "t.parquet")
    assert isinstance(found, tuple)
    assert found[0].schema == table.schema
    assert found[0].to_pylist() == table.to_pylist()
    spill.forget_map(found[1])
    assert found[0].to_pylist() == table.to_pylist()


def test_a_large_subject_is_the_same_subject(census, request):
    small = open_subject(census)
    request.getfixturevalue("tiny")
    fitting._fits.clear()
    changed = census.model_copy(update={"title": "so that nothing is taken from a cache"})
    large = open_subject(changed)
    fitting._fits.clear()
    assert large.data.maps
    assert spill.in_file(large.rows)
    assert spill.in_file(large.reference)
    assert not large.rows.flags.writeable
    assert np.array_equal(large.rows, small.rows, equal_nan=True)
    assert np.array_equal(large.reference, small.reference, equal_nan=True)
    assert large.features == small.features
    assert np.array_equal(large.target, small.target)
    assert np.array_equal(large.predictor(large.rows), small.predictor(small.rows))
    large.data.forget()
    assert open_data(changed).table.equals(small.data.table)


def test_refusals_are_counted_over_all_chunks(census, request):
    request.getfixturevalue("tiny")
    fit = fitting.fitted(census, *_model_and_data(census))
    rows = fit.rows.copy()
    column = next(j for j, feature in enumerate(fit.encoder.features) if feature.kind == "number")
    rows[[3, 20, 21, 22, 150, 290], column] = np.inf
    in_file = spill.room(rows.shape, np.float64)
    in_file[:] = rows
    (found,) = fitting._refusals(fit, in_file)
    assert (found.rows, found.positions, found.values) == (6, (3, 20, 21, 22, 150), ("inf",))
    assert fitting._refusals(fit, rows) == (found,)


def _model_and_data(config):
    from tasks.load.models import open_model

    return open_model(config), open_data(config)


@pytest.mark.parametrize("what", ["room((1 << 20, 3), float)", "mapped_table(TABLE.schema, TABLE.to_batches(1000))"])
def test_a_full_disk_is_told(what):
    """No file may grow beyond 10 kB."""
    code = f"""
        import resource, signal, numpy as np, pyarrow as pa
        from tasks.errors import StorageError
        from tasks.load import spill
        from tasks.load.spill import mapped_table, room
        spill.LIMIT = 0
        TABLE = pa.table({{"x": np.zeros(100_000)}})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        try:
            {what}
        except StorageError as error:
            print(error)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "too large for memory and cannot be kept in a file" in ended.stdout
    assert "TMPDIR" in ended.stdout


def test_a_folder_that_is_not_there_is_told(tiny, monkeypatch, tmp_path):
    from tasks.errors import StorageError

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="TMPDIR"):
        spill.room((10, 10), np.float64)
