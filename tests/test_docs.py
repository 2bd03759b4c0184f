"""The documentation is complete: every key, technique, setting and command stands in it, and its commands work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from configs.schema import AuditConfig
from flows.cli import app, keys_app
from tasks.bias import DISPARITIES, EXPLAINED, METRICS, Metric, find
from tasks.explain import TECHNIQUES
from tasks.report.regulations import REGULATIONS

ROOT = Path(__file__).resolve().parent.parent


def _keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every key of the schema with the keys that it lies under."""
    found: set[tuple[str, ...]] = set()
    for name, field in model.model_fields.items():
        found.add((*above, name))
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= _keys(part, (*above, name))
    return found


@pytest.mark.parametrize("path", sorted(_keys(AuditConfig)), ids=".".join)
def test_every_key_of_the_config_is_documented(path):
    """In a table of its block, in a row that also names the key it lies under: `reference` alone is two keys."""
    block, key = path[0], path[-1]
    parts = re.split(r"^## ", (ROOT / "docs" / "config.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    own = next((part for part in parts[1:] if block in part.splitlines()[0].split(", ")), parts[0])
    wanted = [key] if len(path) <= 2 else [key, path[-2]]
    rows = [set(re.findall(r"\w+", row)) for row in own.splitlines() if row.startswith("|")]
    assert len(path) == 1 or any(row >= set(wanted) for row in rows)
    assert len(path) > 1 or re.search(rf"\b{key}\b", own)


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: f"{t.name}-{t.modality}")
def test_every_technique_and_setting_is_documented(technique):
    text = (ROOT / "docs" / "techniques.md").read_text()
    part = text[text.index({"table": "## Tables", "image": "## Images"}[technique.modality]) :]
    own = part[part.index(f"**`{technique.name}`**") :]
    assert all(f"| `{setting}` |" in own for setting in technique.settings.model_fields)


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {"run", "check", "list", "show", "verify", "schema", "serve", "deploy"} == names
    names |= {f"keys {command.name}" for command in keys_app.registered_commands}
    assert all(f"keras-audit {name}" in readme for name in names)


def test_every_link_of_the_documents_leads_somewhere():
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_ready_configs_name_only_regulations_that_are_built():
    for path in (ROOT / "configs").glob("*.yaml"):
        named = (yaml.safe_load(path.read_text()).get("report") or {}).get("regulations") or []
        assert set(named) <= set(REGULATIONS)


def test_every_regulation_is_documented():
    text = (ROOT / "docs" / "regulations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| \D", text, flags=re.MULTILINE)) >= set(REGULATIONS)


def _told() -> dict[str, tuple[str, str, str]]:
    """Id → what it is, range and source, of every row of the tables of docs/bias.md."""
    found: dict[str, tuple[str, str, str]] = {}
    for line in (ROOT / "docs" / "bias.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for name in re.findall(r"`(\w+)`", cells[0]) if len(cells) == 4 else ():
            assert name not in found, name
            found[name] = (cells[1], cells[2], cells[3])
    return found


def test_every_metric_and_comparison_is_documented():
    told = _told()
    assert set(told) == {*METRICS, *DISPARITIES, *EXPLAINED}
    for name, (what, span, _) in told.items():
        assert what, name
        assert re.fullmatch(r"[−\d∞]+–[\d∞]+|0–ln 2|0–√2", span), name


@pytest.mark.parametrize(
    "name", [name for name, entry in {**METRICS, **EXPLAINED}.items() if isinstance(entry, Metric)]
)
def test_the_documented_range_is_the_metrics_own(name):
    metric = find(name)
    ends = [f"{end:g}".replace("-", "−").replace("inf", "∞") for end in (metric.lowest, metric.highest)]
    assert _told()[name][1] == "–".join(ends)
