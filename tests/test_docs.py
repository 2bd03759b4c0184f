"""The documentation is complete: every key, technique, setting and command stands in it, and its commands work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from configs.schema import AuditConfig
from flows.cli import app
from tasks.explain import TECHNIQUES
from tasks.report.regulations import REGULATIONS

ROOT = Path(__file__).resolve().parent.parent


def _keys(model: type[BaseModel]) -> set[str]:
    """Every key of the schema, nested ones too."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= _keys(part)
    return found


@pytest.mark.parametrize("key", sorted(_keys(AuditConfig)))
def test_every_key_of_the_config_is_documented(key):
    assert re.search(rf"\b{key}\b", (ROOT / "docs" / "config.md").read_text())


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: f"{t.name}-{t.modality}")
def test_every_technique_and_setting_is_documented(technique):
    text = (ROOT / "docs" / "techniques.md").read_text()
    part = text[text.index({"table": "## Tables", "image": "## Images"}[technique.modality]) :]
    own = part[part.index(f"**`{technique.name}`**") :]
    assert all(f"| `{setting}` |" in own for setting in technique.settings.model_fields)


def test_every_command_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {"run", "check", "list", "show", "schema", "serve"} == names
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


def test_every_metric_and_comparison_is_documented():
    from tasks.bias import DISPARITIES, EXPLAINED, METRICS

    said = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "bias.md").read_text(encoding="utf-8")))
    assert {*METRICS, *DISPARITIES, *EXPLAINED} <= said
