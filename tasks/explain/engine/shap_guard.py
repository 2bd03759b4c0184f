"""Letting shap's explainers of Keras models work without a trace of them left in the process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tasks.errors import AuditError, Incomplete
from tasks.explain.engine.gradients import TRACING


@contextmanager
def shap_at_work(explainer: str) -> Iterator[None]:
    """Keeps what shap's explainers of Keras models do to the process to themselves.

    GradientExplainer seeds NumPy's global generator. DeepExplainer swaps how TensorFlow records gradients, leaves it
    swapped when it fails, and warns of every TensorFlow newer than 2.4.

    Args:
        explainer: its name, for messages.

    Raises:
        Incomplete: it failed; mostly because it has no rule for an operation of the model.
    """
    from tensorflow.python.eager import execute

    with TRACING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record, state = execute.record_gradient, np.random.get_state()
        try:
            yield
        except AuditError:
            raise
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
            raise Incomplete(
                f"{explainer} cannot explain this model ({reason})",
                where="explain.techniques.shap.estimator",
                hint="write estimator: auto",
                code="unsupported_operation",
            ) from error
        finally:
            execute.record_gradient = record
            np.random.set_state(state)
