"""Why a decision was adverse: the principal reasons of each, as a creditor must be able to state them."""

from tasks.reasons.letters import letter
from tasks.reasons.principal import principal_reasons
from tasks.reasons.said import LIKELY
from tasks.reasons.stage import check_reasons_fit, state_reasons
from tasks.reasons.texts import check_reasons, insufficient

__all__ = [
    "LIKELY",
    "check_reasons",
    "check_reasons_fit",
    "insufficient",
    "letter",
    "principal_reasons",
    "state_reasons",
]
