"""Agreement and explanation quality: what checking the explanations costs beside making them."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness import Bench, main, number, seconds
from subjects import adult_config

from tasks.agreement import compare_techniques
from tasks.contracts import Done
from tasks.explain import explain, join_importance
from tasks.load import open_subject
from tasks.persist import Workspace
from tasks.watch import Watch

TECHNIQUES = ("permutation", "shap", "lime")


def run(bench: Bench) -> None:
    rows = bench.size(1000, 20)
    config = adult_config(rows=rows, techniques={name: {} for name in TECHNIQUES})
    open_subject(config)
    folder = Path(tempfile.mkdtemp())
    (folder / "audit" / "run").mkdir(parents=True)
    workspace = Workspace(folder / "audit" / "run", "20260101T000000Z-00000000")
    columns = ("", "seconds", "note")
    about = f"The bundled Adult audit, {rows} rows, settings as they are by default; compiling included"
    try:
        with bench.table("Explanation quality and agreement, Adult", columns, about) as table:
            results: list[Done] = []
            for name in TECHNIQUES:
                with table.attempt(name):
                    taken = seconds(lambda name=name: results.append(_done(explain(name, config, workspace, Watch()))))
                    table.row(f"explaining: {name}", number(taken), f"{results[-1].facts['evaluations']:,} evaluations")
            with table.attempt("agreement and quality"):
                join_importance(workspace, results)
                found: list[Done] = []
                taken = seconds(
                    lambda: found.append(_done(compare_techniques(config, workspace, Watch(), explained=results)))
                )
                sizes = ", ".join(f"{ref.rows} rows of {ref.name}" for ref in found[0].tables)
                table.row("checking: agreement and quality", number(taken), sizes)
                bench.profiled("quality", lambda: compare_techniques(config, workspace, Watch(), explained=results))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _done(result: object) -> Done:
    if not isinstance(result, Done):
        raise RuntimeError(f"not done: {result}")
    return result


if __name__ == "__main__":
    main(__file__, run, __doc__)
