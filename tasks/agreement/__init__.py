"""Agreement between techniques, and what each is worth: beside each other and beside a random attribution."""

from tasks.agreement.stage import compare_techniques

__all__ = ["compare_techniques"]
