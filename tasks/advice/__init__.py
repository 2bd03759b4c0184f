"""What would change a disparity: other thresholds, what they cost, and whom they concern. Advice, no verdict."""

from tasks.advice.stage import advise

__all__ = ["advise"]
