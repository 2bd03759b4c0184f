"""What shap does to the process is undone, whether it succeeds or not."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.errors import Incomplete, Stopped
from tasks.explain.engine.shap_guard import shap_at_work

pytest.importorskip("tensorflow")


def test_shap_at_work_leaves_the_process_as_it_was() -> None:
    from tensorflow.python.eager import execute

    record = execute.record_gradient
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)

    def fail() -> None:
        with shap_at_work("Explainer"):
            np.random.seed(99)
            execute.record_gradient = None
            raise LookupError("first line\nregistry has no <b>entry</b>")

    with pytest.raises(Incomplete, match="Explainer cannot explain this model") as caught:
        fail()
    assert "registry has no <b>entry</b>" in str(caught.value)
    assert execute.record_gradient is record
    assert np.random.random() == expected


def test_our_own_errors_pass_through() -> None:
    def stop() -> None:
        with shap_at_work("Explainer"):
            raise Stopped("stopped by the user")

    with pytest.raises(Stopped):
        stop()
