"""Why a decision was adverse: the principal reasons of each, as a creditor must be able to state them."""

from tasks.reasons.stage import principal_reasons, state_reasons

__all__ = ["principal_reasons", "state_reasons"]
