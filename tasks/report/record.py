"""The record of a run: what the flow knows and no table holds. Together with the tables it is all the report reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.contracts import (
    AuditVerdict,
    Done,
    Failed,
    NotApplicable,
    StageResult,
    result_from_json,
    result_to_json,
)

#: keys of `environment` that are no library
MACHINE_KEYS = ("python", "system", "platform", "machine", "cores")


@dataclass(frozen=True)
class RunRecord:
    """What happened, in the order it was planned. JSON-able.

    Attributes:
        run_id: `YYYYMMDDTHHMMSSZ-8hex`; also the report's id.
        started, finished: ISO 8601, UTC. `finished` is the date that the report carries.
        verdict: of the audit.
        results: one a stage: `load_model`, `load_data`, `validate`, `predict`, `explain/<technique>`, `bias`,
            `drift`, `agreement`, `policy`.
        environment: `python`, `system`, `machine`, `cores`; every other key is a library with its version.
        seed: what every random draw derives from.
        flow_run: `id` and `name` of the Prefect flow run.
        inputs: (name, SHA-256) of whatever the audit read: `model`, `data`, `config`, …
    """

    run_id: str
    started: str
    finished: str
    verdict: AuditVerdict
    results: tuple[StageResult, ...]
    environment: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    flow_run: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[tuple[str, str], ...] = ()

    def result(self, stage: str) -> StageResult | None:
        """What a stage came to, or None where it was not planned."""
        return next((r for r in self.results if r.stage == stage), None)

    def fact(self, stage: str, key: str, default: Any = None) -> Any:
        """A fact of a finished stage, or the default."""
        result = self.result(stage)
        value = result.facts.get(key) if isinstance(result, Done) else None
        return default if value is None else value

    @property
    def done(self) -> tuple[Done, ...]:
        return tuple(r for r in self.results if isinstance(r, Done))

    @property
    def failed(self) -> tuple[Failed, ...]:
        return tuple(r for r in self.results if isinstance(r, Failed))

    @property
    def not_applicable(self) -> tuple[NotApplicable, ...]:
        return tuple(r for r in self.results if isinstance(r, NotApplicable))

    @property
    def libraries(self) -> dict[str, str]:
        """Library → version, by name."""
        return {k: str(v) for k, v in sorted(self.environment.items()) if k not in MACHINE_KEYS}

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `from_json` reads them back."""
        results = [result_to_json(result) for result in self.results]
        head = {k: getattr(self, k) for k in ("run_id", "started", "finished", "verdict", "seed")}
        return {
            **head,
            "environment": dict(self.environment),
            "flow_run": dict(self.flow_run),
            "inputs": [list(pair) for pair in self.inputs],
            "results": results,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunRecord:
        """The record again.

        Raises:
            KeyError, TypeError: not a record's JSON.
        """
        results = [result_from_json(entry) for entry in value["results"]]
        inputs = tuple((str(name), str(digest)) for name, digest in value.get("inputs", ()))
        return cls(**{**value, "results": tuple(results), "inputs": inputs})
