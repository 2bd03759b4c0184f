"""Digests of inputs before a run: those that the stages find, without opening anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from configs.schema import AuditConfig
from tasks.errors import ConfigError, DataUnavailable
from tasks.load import INPUTS, input_digest


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def config(tmp_path: Path) -> AuditConfig:
    """A config over files that are neither a model nor data: only bytes count."""
    (tmp_path / "model" / "3").mkdir(parents=True)
    for name in ("model/3/model.keras", "model/3/preprocessor.skops", "data.csv", "reference.csv", "texts.yaml"):
        (tmp_path / name).write_bytes(name.encode())
    return AuditConfig.model_validate(
        {
            "name": "x",
            "model": {"path": str(tmp_path / "model"), "task": "regression"},
            "data": {"path": str(tmp_path / "data.csv"), "reference": str(tmp_path / "reference.csv"),
                     "target": {"column": "y"}},
            "reasons": {"language": str(tmp_path / "texts.yaml")},
        }
    )  # fmt: skip


def _with(config: AuditConfig, block: str, **changes: object) -> AuditConfig:
    return config.model_copy(update={block: getattr(config, block).model_copy(update=changes)})


def test_every_input_has_the_digest_of_its_bytes(config):
    found = {name: input_digest(config, name) for name in INPUTS}
    assert found == {
        "model": _sha256(b"model/3/model.keras"),
        "preprocessor": _sha256(b"model/3/preprocessor.skops"),
        "data": _sha256(b"data.csv"),
        "reference": _sha256(b"reference.csv"),
        "reasons_language": _sha256(b"texts.yaml"),
    }


def test_what_a_config_does_not_name_has_none(config, tmp_path):
    (tmp_path / "model" / "3" / "preprocessor.skops").unlink()
    assert input_digest(config, "preprocessor") is None
    assert input_digest(_with(config, "model", preprocessor="module:function"), "preprocessor") is None
    assert input_digest(_with(config, "data", reference=None), "reference") is None
    assert input_digest(_with(config, "reasons", language=None), "reasons_language") is None


def test_the_version_decides(config, tmp_path):
    (tmp_path / "model" / "4").mkdir()
    (tmp_path / "model" / "4" / "model.keras").write_bytes(b"newer")
    assert input_digest(config, "model") == _sha256(b"newer")
    assert input_digest(_with(config, "model", version=3), "model") == _sha256(b"model/3/model.keras")


def test_an_address_is_fetched(config):
    import fsspec

    with fsspec.open("memory://inputs/data.csv", "wb") as stream:
        stream.write(b"far away")
    assert input_digest(_with(config, "data", path="memory://inputs/data.csv"), "data") == _sha256(b"far away")
    with pytest.raises((ConfigError, DataUnavailable), match="cannot be re"):
        input_digest(_with(config, "data", path="memory://inputs/none.csv"), "data")


@pytest.mark.parametrize(("name", "file"), [("data", "data.csv"), ("reasons_language", "texts.yaml")])
def test_a_file_that_is_not_there_says_where_paths_start(config, tmp_path, name, file):
    (tmp_path / file).unlink()
    with pytest.raises(ConfigError, match="does not exist; relative paths start at the current folder"):
        input_digest(config, name)
