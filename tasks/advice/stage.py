"""The stage: thresholds that meet the policy, and their price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.schema import AuditConfig
from tasks.contracts import Done, NotApplicable
from tasks.watch import Watch

if TYPE_CHECKING:
    from tasks.persist import Workspace


def advise(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """Writes `thresholds`."""
    return NotApplicable("advice", "no_attributes", "No sensitive attribute is declared.")
