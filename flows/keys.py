"""What each step's result depends on, as a key of contents: a later run takes over whatever has the same key.

A key is the SHA-256 of: the digests of model, card, preprocessor, data and reference; the step's part of the config;
the tables of the steps before it, by their digests; the step's code and what of ours it imports; libraries and
processor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.schema import AuditConfig
from tasks.contracts import Done, StageResult
from tasks.errors import AuditError
from tasks.load import INPUTS, input_digest, inputs_cover_all, locate_model, trusted_modules
from tasks.persist.finished import FOLDER, has
from tasks.program import code_digest, environment


@dataclass(frozen=True)
class Depends:
    """What a step reads.

    Attributes:
        code: modules of `tasks`; `{technique}` stands for the technique's own.
        config: dotted keys; of `explain.techniques` the technique's own settings alone.
        after: steps whose tables it reads; `explain/` is every technique.
        files: inputs that no other step reads.
    """

    code: tuple[str, ...]
    config: tuple[str, ...]
    after: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


#: what every step reads, or what it reads was made from
_EVERY = ("model", "card", "preprocessor", "data", "reference")
#: what model and data are opened by
_SUBJECT = (
    "model", "data.path", "data.reference", "data.target", "data.id", "data.features", "data.image", "data.weight",
)  # fmt: skip
_EXPLAINED = (
    *_SUBJECT, "bias.decision", "explain.rows", "explain.background", "explain.output", "explain.seed",
    "explain.outputs", "explain.feature_groups",
)  # fmt: skip
_GROUPS = ("data.sensitive", "data.intersections")

#: a step that is not named is never taken over: it is cheap, and reads everything
STEPS: dict[str, Depends] = {
    "load_model": Depends(("load",), _SUBJECT),
    # A column to redact is looked for among those that the audit names.
    "load_data": Depends(("load",), (*_SUBJECT, *_GROUPS, "bias.decision", "report.rows.redact")),
    "validate": Depends(
        ("validate",), (*_SUBJECT, *_GROUPS, "data.expectations", "bias.decision", "bias.strata", "report.rows")
    ),
    "predict": Depends(("predict",), (*_SUBJECT, "bias.decision")),
    "explain/": Depends(("explain.stage", "{technique}"), (*_EXPLAINED, "explain.techniques.{technique}")),
    "drift": Depends(("drift",), (*_SUBJECT, *_GROUPS, "bias"), ("predict",)),
    "reasons_fit": Depends(("reasons",), (*_EXPLAINED, *_GROUPS, "reasons"), files=("reasons_language",)),
    "reasons": Depends(("reasons",), (*_EXPLAINED, *_GROUPS, "reasons", "title"), ("predict",), ("reasons_language",)),
    "sources": Depends(("sources",), (*_SUBJECT, *_GROUPS, "bias", "explain.seed", "report.rows.redact"), ("predict",)),
    "advice": Depends(("advice",), (*_SUBJECT, *_GROUPS, "bias", "explain.seed", "policy"), ("predict",)),
    "agreement": Depends(("agreement",), (*_EXPLAINED, "bias", "explain.techniques"), ("predict", "explain/")),
    "bias": Depends(
        ("bias",), (*_SUBJECT, *_GROUPS, "bias", "explain.seed", "policy.metric"), ("predict", "explain/", "agreement")
    ),
}


@dataclass(frozen=True)
class Keys:
    """The keys of one audit's steps.

    Attributes:
        inputs: name → SHA-256 of what the audit reads.
    """

    config: Mapping[str, Any]
    inputs: Mapping[str, str | None]

    def of(self, step: str, results: Mapping[str, StageResult]) -> str | None:
        """The key of a step, given the results of those before it; None where its result is never taken over."""
        depends = STEPS.get(step) or STEPS.get(f"{step.partition('/')[0]}/")
        if depends is None:
            return None
        technique = step.partition("/")[2]
        about = {
            "step": step,
            "inputs": {name: self.inputs.get(name) for name in (*_EVERY, *depends.files)},
            "config": {key: _at(self.config, key.replace("{technique}", technique)) for key in depends.config},
            "tables": _tables(depends.after, results),
            "code": code_digest(*_modules(depends, technique)),
            "environment": environment(),
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()

    def hold(self, results: Mapping[str, StageResult]) -> bool:
        """Whether what was loaded is what the keys tell of: a file may have changed in between."""
        model, data = results.get("load_model"), results.get("load_data")
        if not (isinstance(model, Done) and isinstance(data, Done)):
            return False
        reference = data.facts.get("reference") or {}
        loaded = {
            "model": model.facts.get("sha256"),
            "preprocessor": model.facts.get("preprocessor_sha256"),
            "data": (data.facts.get("data") or {}).get("sha256"),
            "reference": reference.get("sha256"),
        }
        return all(self.inputs.get(name) == digest for name, digest in loaded.items())


def keys_of(config: AuditConfig) -> Keys | None:
    """The keys of an audit; None where something takes part that no digest covers, or that cannot be read.

    That is code from outside, and images in files beside the table. What cannot be read is told by the step that opens
    it.
    """
    if trusted_modules() or not inputs_cover_all(config):
        return None
    try:
        inputs = {name: input_digest(config, name) for name in INPUTS}
        card = locate_model(config).path.with_name("card.yaml")
        inputs["card"] = hashlib.sha256(card.read_bytes()).hexdigest() if card.is_file() else None
    except (AuditError, OSError):
        return None
    return Keys(config.model_dump(mode="json"), inputs)


def models_stay_shut(config: AuditConfig, folder: Path) -> bool:
    """Whether everything that asks the model is kept from an earlier run, so that nothing heavy need be imported.

    Args:
        folder: of the audit, under reports.
    """
    from tasks.explain import planned

    keys = keys_of(config)
    if keys is None:
        return False
    image = config.model.inputs == "image" or config.data.image is not None
    techniques = planned(config, "image" if image else "table")
    asked = ("load_model", "load_data", "validate", "predict", *(f"explain/{name}" for name in techniques))
    found = ((step, keys.of(step, {})) for step in asked)
    return all(key is not None and has(folder / FOLDER, step, key) for step, key in found)


def _at(values: Any, key: str) -> Any:
    """The part of a config under a dotted key; of a list, that of each item. Absent is None."""
    for name in key.split("."):
        if isinstance(values, list):
            values = [item.get(name) for item in values]
        else:
            values = values.get(name) if isinstance(values, Mapping) else None
    return values


def _tables(steps: Sequence[str], results: Mapping[str, StageResult]) -> list[list[str]]:
    """(step, table, SHA-256) of everything that the steps before wrote, and what they are instead of it."""
    found = []
    for name, result in results.items():
        if name in steps or (name.startswith("explain/") and "explain/" in steps):
            tables = result.tables if isinstance(result, Done) else ()
            found += [[name, type(result).__name__, ""], *([name, t.name, t.sha256] for t in tables)]
    return sorted(found)


def _modules(depends: Depends, technique: str) -> tuple[str, ...]:
    if "{technique}" not in depends.code:
        return depends.code
    from tasks.explain import TECHNIQUES

    own = [t.prepare.__module__.removeprefix("tasks.") for t in TECHNIQUES if t.name == technique]
    return (*(module for module in depends.code if module != "{technique}"), *own)
