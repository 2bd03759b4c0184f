"""The shape of the program, proven from its source: who imports whom, what is imported when, and how long files are."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: from the top down: a layer imports itself and what stands below it
LAYERS = ("flows", "tasks", "configs")
OUTSIDE = {"tests", "data", "reports", "docs"}
#: seconds to import, each of them
HEAVY = {
    "tensorflow", "keras", "shap", "lime", "eli5", "fairlearn", "great_expectations", "sklearn", "matplotlib",
    "prefect", "pandas", "numba", "skimage",
}  # fmt: skip
#: libraries that a file of ours could shadow by its name
WRAPPED = HEAVY | {
    "dask", "fsspec", "jinja2", "jsonschema", "mlflow", "numpy", "PIL", "prefect_dask", "pyarrow", "pydantic", "rich",
    "scipy", "skops", "typer", "typst", "yaml", "in_toto", "securesystemslib", "shapiq", "tf_keras_vis",
}  # fmt: skip
#: flows are Prefect's: these are only imported by what is about to run one
MAY_IMPORT_PREFECT = {"flows/audit.py", "flows/steps.py"}
#: what stages may know of each other beside public names
COMMON = {"tasks.contracts", "tasks.errors", "tasks.program", "tasks.steady", "tasks.watch"}
MAX_LINES = 400  # fewer than these


@dataclass(frozen=True)
class Import:
    """One imported name: `from module import name`, or `import module` with no name."""

    line: int
    module: str
    name: str | None
    at_top: bool  # runs when the file is imported

    @property
    def library(self) -> str:
        return self.module.partition(".")[0]


def _sources() -> list[str]:
    return sorted(p.relative_to(ROOT).as_posix() for layer in LAYERS for p in (ROOT / layer).rglob("*.py"))


SOURCES = _sources()


def _is_for_types(node: ast.If) -> bool:
    return ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports_of(source: str, path: str) -> list[Import]:
    """Every import of a file, those inside functions and under TYPE_CHECKING too."""
    package = path.split("/")[:-1]

    def walk(node: ast.AST, at_top: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None, at_top)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(node.lineno, module, alias.name, at_top)
        elif isinstance(node, ast.If) and _is_for_types(node):
            for child in node.body:
                yield from walk(child, False)
            for child in node.orelse:
                yield from walk(child, at_top)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from walk(child, at_top and not inside)

    return list(walk(ast.parse(source), True))


@cache
def imports_in(path: str) -> list[Import]:
    return imports_of((ROOT / path).read_text(encoding="utf-8"), path)


def is_module(dotted: str) -> bool:
    place = ROOT / dotted.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def exported(package: str) -> set[str] | None:
    """The names of a package's __all__, or None where it has none."""
    source = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return None


def stage_of(path: str) -> str | None:
    """`tasks/bias/rates.py` → `tasks.bias`; None for what lies in no stage."""
    parts = path.split("/")
    return ".".join(parts[:2]) if parts[0] == "tasks" and len(parts) > 2 else None


# The reader itself: a rule that finds nothing must not be a rule that sees nothing


def test_the_reader_sees_every_form_of_import():
    source = """
import numpy, pandas as pd
import tasks.load.tables
from tasks.load import Dataset, tables
from . import base
from .base import Metric
from .. import errors
from ..load import open_model
if TYPE_CHECKING:
    import shap
else:
    import lime
try:
    import keras
except ImportError:
    keras = None
class A:
    import eli5
def f():
    import sklearn
    def g():
        from tensorflow import keras
h = lambda: __import__("x")
async def k():
    import prefect
"""
    found = {(i.module, i.name, i.at_top) for i in imports_of(source, "tasks/bias/rates.py")}
    assert found == {
        ("numpy", None, True), ("pandas", None, True), ("tasks.load.tables", None, True),
        ("tasks.load", "Dataset", True), ("tasks.load", "tables", True), ("tasks.bias", "base", True),
        ("tasks.bias.base", "Metric", True), ("tasks", "errors", True), ("tasks.load", "open_model", True),
        ("shap", None, False), ("lime", None, True), ("keras", None, True), ("eli5", None, True),
        ("sklearn", None, False), ("tensorflow", "keras", False), ("prefect", None, False),
    }  # fmt: skip


def test_the_reader_sees_the_program():
    assert {path.split("/")[0] for path in SOURCES} == set(LAYERS)
    assert {"flows/audit.py", "tasks/persist/store.py", "configs/schema.py"} <= set(SOURCES)
    assert {"Workspace", "file_digest"} <= (exported("tasks.persist") or set())


# Who imports whom


@pytest.mark.parametrize("path", SOURCES)
def test_imports_run_one_way(path):
    """flows → tasks → configs, and never into tests, data or reports."""
    layer = path.split("/")[0]
    above = set(LAYERS[: LAYERS.index(layer)])
    wrong = [f"{path}:{i.line} imports {i.module}" for i in imports_in(path) if i.library in above | OUTSIDE]
    assert not wrong


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("tasks/")])
def test_a_stage_knows_of_another_only_its_public_names(path):
    own = stage_of(path)
    wrong = []
    for i in imports_in(path):
        if i.library != "tasks" or i.module in COMMON or (own and (i.module == own or i.module.startswith(f"{own}."))):
            continue
        if i.module == "tasks" and f"tasks.{i.name}" in COMMON:
            continue
        public = exported(i.module) if i.module.count(".") == 1 and is_module(i.module) else None
        if i.name is None or public is None or i.name not in public:
            wrong.append(f"{path}:{i.line} imports {i.name or ''} of {i.module}")
    assert not wrong


@pytest.mark.parametrize("path", sorted(COMMON))
def test_what_is_common_to_stages_knows_no_stage(path):
    source = f"{path.replace('.', '/')}.py"
    modules = {i.module for i in imports_in(source) if i.library == "tasks"}
    assert modules <= COMMON


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("flows/")])
def test_flows_import_names_that_are_there(path):
    """A flow takes a stage's public names; only `tasks.persist` is opened further, by what publishes."""
    wrong = []
    for i in imports_in(path):
        if i.library != "tasks" or i.module in COMMON or i.module.startswith("tasks.persist."):
            continue
        public = exported(i.module) if i.module.count(".") == 1 and is_module(i.module) else None
        if public is None or i.name not in public:
            wrong.append(f"{path}:{i.line} imports {i.name or ''} of {i.module}")
    assert not wrong


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith(("flows/", "configs/"))])
def test_the_mathematics_is_in_tasks(path):
    wrong = [i for i in imports_in(path) if i.library in {"numpy", "scipy", "sklearn", "pandas", "numba"}]
    assert not wrong


# What is imported when


@pytest.mark.parametrize("path", SOURCES)
def test_heavy_libraries_are_imported_where_they_are_used(path):
    allowed = {"prefect"} if path in MAY_IMPORT_PREFECT else set()
    wrong = [
        f"{path}:{i.line} imports {i.module}" for i in imports_in(path) if i.at_top and i.library in HEAVY - allowed
    ]
    assert not wrong


def _loaded_after(code: str) -> set[str]:
    """The heavy libraries that a fresh interpreter holds after some code."""
    tail = (
        f"\nimport sys, json; sys.stderr.write('\\n' + json.dumps(sorted(set(sys.modules) & set({sorted(HEAVY)!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_way_of_looking_sees_a_heavy_library():
    assert _loaded_after("import pandas") == {"pandas"}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["schema"], ["schema", "config"], ["schema", "summary"], ["list"], ["show", "x"]],
    ids=" ".join,
)
def test_commands_that_start_no_audit_import_no_heavy_library(arguments):
    code = f"""
from flows.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert end.code == {2 if arguments[0] == "show" else 0}, end.code
"""
    assert _loaded_after(code) == set()


def test_a_wrong_config_is_told_before_anything_heavy_is_imported():
    code = """
from flows.cli import main
try:
    main(["run", "nowhere.yaml"])
except SystemExit as end:
    assert end.code == 2, end.code
"""
    assert _loaded_after(code) == set()


def test_no_file_of_tasks_or_configs_loads_a_heavy_library_by_being_imported():
    modules = [
        path.removesuffix(".py").replace("/", ".") for path in SOURCES if path.startswith(("tasks/", "configs/"))
    ]
    code = "import importlib\n" + "\n".join(
        f"importlib.import_module({module.removesuffix('.__init__')!r})" for module in modules
    )
    assert _loaded_after(code) == set()


# Files


@pytest.mark.parametrize("path", SOURCES)
def test_files_stay_short(path):
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) < MAX_LINES


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("tasks/")])
def test_no_file_is_named_like_a_library_that_it_wraps(path):
    """Run as a script, or loaded by its path, it would stand before the library."""
    assert not set(Path(path).with_suffix("").parts) & WRAPPED


@pytest.mark.parametrize("path", SOURCES)
def test_every_file_says_what_it_is_for(path):
    source = (ROOT / path).read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source))


def test_every_stage_names_what_is_public():
    stages = sorted(p.parent for p in (ROOT / "tasks").glob("*/__init__.py"))
    assert len(stages) >= 9
    for stage in stages:
        names = exported(f"tasks.{stage.name}")
        assert names, stage.name


# Tables of the contract, as DESIGN.md lists them

TABLES = {
    "predictions": "row_id, output, y_true, score, decision",
    "validation": "expectation, column, severity, success, element_count, unexpected_count, unexpected_percent, detail",
    "attributions": "row_id, output, feature, value, attribution, std_error, base_value, prediction",
    "importance": "technique, output, feature, importance, std_error, ci_low, ci_high, rank, n_rows",
    "saliency": "row_id, output, layer, height, width, heatmap, image",
    "groups": "row_id, attribute, group, weight",
    "group_metrics": "attribute, group, output, feature, technique, metric, value, status, reason, numerator,"
    " denominator, n, ci_low, ci_high, method",
    "disparities": "attribute, output, feature, technique, metric, comparison, group, reference, value, status, reason,"
    " ci_low, ci_high, p_value, p_adjusted, q_value, test",
    "agreement": "technique_a, technique_b, output, measure, k, value, ci_low, ci_high, n_rows",
    "explanation_quality": "technique, output, measure, value, std_error, direction, n_rows, status",
    "reason_codes": "row_id, rank, code, text, features, contribution",
    "drift": "kind, attribute, feature, measure, value, threshold, status",
    # Not in DESIGN's list: the letters of reasons and what would alter a decision, and global shape, came later.
    "letters": "row_id, language, text",
    "counterfactuals": "row_id, rank, feature, from, to, score, crosses, text",
    "effects": "row_id, output, feature, with_feature, measure, point, position, value, with_position, with_value,"
    " effect, std_error, ci_low, ci_high, n_rows",
    # Nor are the curves of groups, what a disparity comes from, what would change it, and what that rests on.
    "curves": "attribute, group, output, curve, point, x, y, ci_low, ci_high, n",
    "proxies": "attribute, group, feature, measure, value, status, reason, ci_low, ci_high, p_value, p_adjusted, n,"
    " method",
    "slices": "rank, slice, parts, metric, value, rest, difference, ci_low, ci_high, numerator, denominator, n,"
    " p_value, q_value, status, test",
    "thresholds": "attribute, aim, kind, sample, group, threshold, n, selected, selection_rate, true_positive_rate,"
    " false_positive_rate, accuracy, gained, lost, value, ci_low, ci_high, met",
    "tradeoffs": "attribute, aim, kind, point, threshold, limit, value, accuracy, selection_rate, changed",
    "faithfulness": "row_id, technique, output, measure, value",
}


def test_the_tables_have_the_columns_of_the_contract():
    from tasks.contracts import TABLES as WRITTEN

    assert {name: ", ".join(schema.names) for name, schema in WRITTEN.items()} == TABLES
