"""What a result depends on beside data, model and config: our own code, the libraries and the processor."""

from __future__ import annotations

import hashlib
import platform
import re
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
    """SHA-256 of the source of modules of `tasks`, of whatever of `tasks` they import, inside functions too, and of the
    config's classes, which tell every step what its keys mean.

    Args:
        modules: below tasks, as `bias` (the whole package) or `explain.shapley` (the module, and of its package only
            what it imports itself: a package's table of its modules is not followed).
    """
    classes = (f"../configs/{path.name}" for path in _ROOT.with_name("configs").glob("*.py"))
    lines = [f"{_source(file)[0]}  {file}\n" for file in sorted([*classes, *_reached(modules)])]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _reached(modules: tuple[str, ...]) -> set[str]:
    own = {module.partition(".")[0] for module in modules if "." in module}
    found: set[str] = set()
    waiting, looked = list(modules), set(own)
    while waiting:
        module = waiting.pop()
        if module in looked:
            continue
        looked.add(module)
        for file in _files(module):
            if file not in found:
                found.add(file)
                waiting += _source(file)[1]
    return found


@cache
def _files(module: str) -> tuple[str, ...]:
    """The files of a package or of a module, from tasks on; none where it is neither: a name in a module."""
    place = _ROOT.joinpath(*module.split("."))
    found = place.rglob("*.py") if place.is_dir() else [one for one in (place.with_suffix(".py"),) if one.is_file()]
    return tuple(file.relative_to(_ROOT).as_posix() for file in found)


@cache
def _source(file: str) -> tuple[str, tuple[str, ...]]:
    """The SHA-256 of a file, and what of tasks it imports."""
    content = _ROOT.joinpath(file).read_bytes()
    return hashlib.sha256(content).hexdigest(), tuple(_IMPORT.findall(content.decode()))


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
