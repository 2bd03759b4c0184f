"""`keras-audit check`: config, model and data are opened and the data gate is run; nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flows.preflight import checked_config
from tasks.contracts import Done, Finding
from tasks.errors import one_line
from tasks.persist.publish import begin, new_run_id
from tasks.watch import Watch


@dataclass(frozen=True)
class Checked:
    """What the check found."""

    name: str
    model: dict[str, Any]
    data: dict[str, Any]
    refused: bool
    findings: tuple[Finding, ...]
    planned: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        return 3 if self.refused else 0

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "exit_code": self.exit_code}

    def show(self) -> None:
        """Prints it for people."""
        from flows.terminal import console

        out = console(stderr=False)
        version = self.model.get("version")
        model = f"{self.model.get('path')}{'' if version is None else f' (version {version})'}"
        out.print(f"audit    {self.name}")
        out.print(f"model    {one_line(model)}", soft_wrap=True)
        out.print(f"         sha256 {self.model.get('sha256')}", soft_wrap=True)
        out.print(f"data     {one_line(self.data.get('path'))}: {self.data.get('rows')} rows", soft_wrap=True)
        out.print(f"explains {', '.join(self.planned)}")
        colours = {"critical": "red", "warning": "yellow"}
        for finding in self.findings:
            said = f"{finding.severity:<9}{one_line(finding.text)}"
            out.print(said, style=colours.get(finding.severity), soft_wrap=True)
        out.print("refused" if self.refused else "ready: keras-audit run would start")


def check_audit(path: str, settings: Sequence[str]) -> Checked:
    """Opens everything that the audit would open.

    Raises:
        AuditError: with the exit code that the run would end with.
    """
    from tasks.explain import planned
    from tasks.load import load_data, load_model, open_model
    from tasks.reasons import check_reasons_fit
    from tasks.validate import validate

    config = checked_config(path, settings)
    watch = Watch()
    model, data = load_model(config, watch), load_data(config, watch)
    with TemporaryDirectory(prefix="keras-audit-") as folder:
        gate = validate(config, begin(Path(folder), config.name, new_run_id()), watch)
    assert isinstance(gate, Done)
    if not gate.facts["refused"]:
        check_reasons_fit(config)
    return Checked(
        name=config.name,
        model=dict(model.facts),
        data=dict(data.facts.get("data") or {}),
        refused=bool(gate.facts["refused"]),
        findings=gate.findings,
        planned=tuple(planned(config, open_model(config).modality)),
    )
