"""What the end of an audit writes of the config can be read back as the config that the report was made with."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configs.schema import AuditConfig
from flows.finish import resolved
from flows.request import load_config
from flows.run import Ledger
from tasks.contracts import Done
from tasks.evidence import config_text

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [Path(__file__).with_name("whole_config.yaml"), *sorted((ROOT / "configs").glob("*.yaml"))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_resolved_config_is_read_back_as_it_was(path):
    ledger = Ledger()
    ledger.enter(Done("load_model", facts={"version": 3, "sha256": "a" * 64}))
    config = resolved(load_config(path), ledger)
    assert (config.model.version, config.model.sha256) == (3, "a" * 64)
    text = config_text(config.model_dump())
    again = AuditConfig.model_validate(yaml.safe_load(text))
    assert again == config
    assert config_text(again.model_dump()) == text  # and in the same order


def test_a_model_that_was_not_loaded_keeps_what_the_config_says():
    config = load_config(CONFIGS[0])
    assert resolved(config, Ledger()).model.version == config.model.version


def test_values_that_are_the_same_object_are_written_twice():
    """PyYAML would write a reference, which no config may hold."""
    config = load_config(CONFIGS[0], ["report.regulations=[]"])
    shared = ["race", "sex"]
    data = config.data.model_copy(update={"intersections": [shared, shared]})
    assert b"&id" not in config_text(config.model_copy(update={"data": data}).model_dump())
