"""config.yaml as it lies in a run: every key with its value, written in one way only."""

from __future__ import annotations

from typing import Any


def config_text(values: dict[str, Any]) -> bytes:
    """A config's values as YAML, each written out as often as it is there: no aliases, no comments."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True).encode()
