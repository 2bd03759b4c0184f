"""TensorFlow, imported when it is first needed and told to be quiet."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.errors import ModelError

#: lines that TensorFlow writes before its own log level is read
_GREETINGS = (
    b"absl::InitializeLog()",
    b" port.cc:",
    b" cudart_stub.cc:",
    b" cuda_platform.cc:",
    b" cpu_feature_guard.cc:",
)

_importing = threading.Lock()

#: held while warnings are caught or switched off: Python keeps that switch in one place for all threads
WARNINGS = threading.RLock()


def tensorflow() -> Any:
    """The tensorflow module, with Keras on it.

    Raises:
        ModelError: Keras already runs on another backend in this process.
    """
    if "keras" not in sys.modules or "tensorflow" not in sys.modules:
        with _importing, _without_greetings():
            if "keras" not in sys.modules:
                os.environ["KERAS_BACKEND"] = "tensorflow"
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            import keras
            import tensorflow
    import keras
    import tensorflow

    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras runs on the backend {keras.backend.backend()} in this process",
            where="KERAS_BACKEND",
            hint="unset it: models are audited on TensorFlow",
        )
    return tensorflow


@contextmanager
def _without_greetings() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, and writes on what is not TensorFlow's greeting."""
    try:
        original = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(original, 2)
                held.seek(0)
                said = [line for line in held if not any(word in line for word in _GREETINGS)]
                # A sentence of the greeting goes on in a second line.
                os.write(2, b"".join(line for line in said if not line.startswith(b"To enable the following")))
    finally:
        os.close(original)
