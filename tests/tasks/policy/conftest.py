"""The same hand-written audits as in the bias stage's tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("bias_audits", Path(__file__).parent.parent / "bias" / "conftest.py")
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
sys.modules["bias_audits"] = _module  # dataclasses look their module up
_spec.loader.exec_module(_module)
Auditor = _module.Auditor
audit = _module.audit
audit_cells = _module.audit_cells
