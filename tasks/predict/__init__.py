"""Every row's scores and decision, written as the table `predictions`."""

from tasks.predict.decisions import decisions
from tasks.predict.stage import predict

__all__ = ["decisions", "predict"]
