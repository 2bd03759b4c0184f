"""What a result depends on beside data, model and config: our own code, the libraries and the processor."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parent
_IMPORT = re.compile(r"^\s*(?:from|import)\s+tasks\.([\w.]+)", re.MULTILINE)
#: what numbers may depend on; changed, nothing that was kept is used
LIBRARIES = (
    "keras-audit", "numpy", "tensorflow", "tensorflow-cpu", "keras", "shap", "lime", "eli5", "fairlearn", "numba",
    "scipy", "scikit-learn", "scikit-image", "great-expectations", "pandas", "pyarrow", "pillow", "skops",
)  # fmt: skip


@cache
def code_digest(*modules: str) -> str:
    """SHA-256 of the source of modules of `tasks` and of whatever of `tasks` they import, inside functions too.

    Args:
        modules: below tasks, as `bias` (the whole package) or `explain.shapley` (the module, and of its package only
            what it imports itself: a package's table of its modules is not followed).
    """
    files = sorted(_reached(modules))
    lines = [f"{hashlib.sha256(_ROOT.joinpath(f).read_bytes()).hexdigest()}  {f}\n" for f in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _reached(modules: tuple[str, ...]) -> set[str]:
    own = {module.partition(".")[0] for module in modules if "." in module}
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        for file in _files(module, own):
            name = file.relative_to(_ROOT).as_posix()
            if name not in found:
                found.add(name)
                waiting += _imported(file)
    return found


def _files(module: str, own: set[str]) -> Iterator[Path]:
    place = _ROOT.joinpath(*module.split("."))
    if place.is_dir() and module not in own:
        yield from place.rglob("*.py")
    elif place.with_suffix(".py").is_file():
        yield place.with_suffix(".py")


@cache
def _imported(file: Path) -> tuple[str, ...]:
    return tuple(_IMPORT.findall(file.read_text(encoding="utf-8")))


@cache
def environment() -> tuple[str, ...]:
    """Python, libraries and the processor: another one computes other last digits."""
    found = [platform.python_version(), platform.system(), platform.machine()]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return (*found, platform.processor())
    return (*found, *(next((line for line in lines if line.startswith(key)), "") for key in ("model name", "flags")))
