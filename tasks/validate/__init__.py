"""The data gate: what the config expects of the data and what the audit needs of it, before anything is computed."""

from tasks.validate.gate import examine
from tasks.validate.outcome import Outcome
from tasks.validate.requirements import Column, Requirements, Sensitive, Taken
from tasks.validate.stage import requirements_of, validate
from tasks.validate.suite import check_arguments, check_expectations

__all__ = [
    "Column",
    "Outcome",
    "Requirements",
    "Sensitive",
    "Taken",
    "check_arguments",
    "check_expectations",
    "examine",
    "requirements_of",
    "validate",
]
