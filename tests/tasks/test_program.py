"""The digest of code: whatever a module of ours reaches is in it, and nothing else."""

from __future__ import annotations

import pytest

from tasks import program


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A tree of modules in the place of tasks, and nothing remembered of it."""
    files = {
        "one/__init__.py": "from tasks.one.core import f\n",
        "one/core.py": "def f():\n    from tasks.two import g\n    return g\n",
        "two.py": "import tasks.three.deep as deep\n",
        "three/__init__.py": "",
        "three/deep.py": "X = 1\n",
        "three/other.py": "from tasks.four import y\n",
        "four.py": "y = 1\n",
        "table/__init__.py": "from tasks.table import red, blue\n",
        "table/red.py": "from tasks.table.base import Base\n",
        "table/blue.py": "from tasks.table.base import Base\n",
        "table/base.py": "class Base: ...\n",
        "ring.py": "from tasks.ring import x\n",
    }
    root = tmp_path / "tasks"
    for name, text in {**files, "../configs/schema.py": "class Config: ...\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(program, "_ROOT", root)
    forget()
    yield root
    forget()


def forget() -> None:
    for remembered in (program.code_digest, program._files, program._source):
        remembered.cache_clear()


def changes(source, name: str, *modules: str) -> bool:
    """Whether the digest of modules changes with a file."""
    before, place = program.code_digest(*modules), source / name
    place.write_text(place.read_text() + "# changed\n")
    forget()
    return program.code_digest(*modules) != before


@pytest.mark.parametrize("name", ["one/__init__.py", "one/core.py", "two.py", "three/deep.py", "../configs/schema.py"])
def test_what_is_imported_counts_also_within_functions(source, name):
    assert changes(source, name, "one")


@pytest.mark.parametrize("name", ["three/other.py", "four.py", "table/base.py"])
def test_what_is_not_imported_does_not(source, name):
    assert not changes(source, name, "one")


def test_of_a_table_of_modules_only_the_one_that_was_asked_for(source):
    assert changes(source, "table/base.py", "table.red")
    assert not changes(source, "table/blue.py", "table.red")
    assert changes(source, "table/blue.py", "table")


def test_a_circle_ends(source):
    assert changes(source, "ring.py", "ring")


def test_a_file_that_is_renamed_is_another(source):
    before = program.code_digest("three")
    (source / "three" / "deep.py").rename(source / "three" / "deeper.py")
    forget()
    assert program.code_digest("three") != before
