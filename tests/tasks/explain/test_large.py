"""A table larger than what may be held: the rows grow tenfold, the memory does not."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

#: a technique that costs nothing, a table of 20 numbers, and the peak of memory after 40,000 and 400,000 rows.
#: What is written is 480 MB of lines at the larger size, the table and its coded matrix are 128 MB.
CODE = """
    import json, sys
    from pathlib import Path
    import keras, numpy as np, pyarrow as pa, pyarrow.parquet as pq
    import tasks.explain as stage
    from configs.schema import AuditConfig
    from tasks.explain.base import Attribution, Prepared, Settings, Technique
    from tasks.load import open_subject, spill, tables
    from tasks.load.spill import in_file
    from tasks.persist import Workspace
    from tasks.watch import Watch
    sys.path.insert(0, "tests/bench")
    from harness import peak_memory  # not getrusage, which counts what the parent held at the fork

    folder, d = Path(sys.argv[1]), 20
    spill.LIMIT = tables.LIMIT = 1 << 20

    def prepare(problem, settings, watch):
        def explain(rows, explained):
            values = np.repeat(rows[:, None, :], explained.shape[1], axis=1)
            return Attribution(values, values.sum(axis=2), quality={"size": values.sum(axis=2)})
        return Prepared(explain)

    own = Technique("own", "Own", "table", "local", Settings, prepare, "here", batch=4096)
    stage.TECHNIQUES = (*stage.TECHNIQUES, own)
    inputs = keras.Input((d,))
    keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(folder / "model.keras")
    names = [f"x{j}" for j in range(d)]
    found = {}
    for n in (40_000, 400_000):
        schema = pa.schema([(name, pa.float64()) for name in (*names, "y")])
        with pq.ParquetWriter(folder / f"{n}.parquet", schema) as writer:
            draw = np.random.default_rng(0)
            for _ in range(n // 20_000):
                writer.write_table(pa.table({name: draw.normal(size=20_000) for name in (*names, "y")}))
        config = AuditConfig.model_validate({
            "name": "large",
            "model": {"path": str(folder / "model.keras"), "task": "regression"},
            "data": {"path": str(folder / f"{n}.parquet"), "target": {"column": "y"}},
            "explain": {"rows": "all", "techniques": {"own": {}}},
        })
        assert in_file(open_subject(config).rows)
        workspace = Workspace(folder / f"run-{n}", str(n), unfinished=folder / ".unfinished")
        done = stage.explain("own", config, workspace, Watch())
        file = pq.ParquetFile(workspace.table_path("attributions/own"))
        column = file.read_row_group(file.num_row_groups - 1, columns=["attribution"]).column(0)
        last = pq.ParquetFile(folder / f"{n}.parquet")
        source = last.read_row_group(last.num_row_groups - 1).select(names).slice(19_999).to_pylist()[0]
        assert column.to_pylist()[-d:] == list(source.values())
        found[n] = [peak_memory() >> 20, done.tables[0].rows, file.num_row_groups]
    print(json.dumps(found))
"""


def test_memory_is_bounded_by_a_part_and_not_by_the_table(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(CODE), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    (small, lines, groups), (large, more, many) = found["40000"], found["400000"]
    assert (lines, more) == (800_000, 8_000_000)
    assert many > 5 * groups
    # About 110: parts and the allocators. Held as a whole, tables and lines took 1050 more.
    assert large - small < 300, found
