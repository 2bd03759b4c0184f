"""The configs that are served, as they are on disk at the moment, and what Prefect has been told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.schema import AuditConfig
from flows.deployments import Deployment, schedules_of, shown
from flows.preflight import checked_config
from tasks.errors import AuditError, UsageError, one_line

#: tells a line to whoever watches, in a style of the terminal's
Tell = Callable[..., None]
_Stamp = tuple[int, int, int]


@dataclass
class Shelf:
    """Configs by their files.

    Attributes:
        sources: YAML files, and folders whose YAML files are all served.
        audits: name → (file, config) of those that can be served.
    """

    sources: tuple[Path, ...]
    reports: Path
    tell: Tell
    audits: dict[str, tuple[Path, AuditConfig]] = field(default_factory=dict)
    _stamps: dict[Path, _Stamp | None] = field(default_factory=dict)
    _configs: dict[Path, AuditConfig] = field(default_factory=dict)
    _told: dict[Path, str] = field(default_factory=dict)
    _registered: dict[str, tuple[Any, str]] = field(default_factory=dict)  # name → id, digest of what was told
    _refused: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> tuple[str, ...]:
        """The configs that a run may be of."""
        return tuple(shown(path) for path, _ in self.audits.values())

    def read(self) -> None:
        """Reads what has changed since the last time. A config that is wrong is told once, and not served."""
        files = self._files()
        stamps = {path: _stamp(path) for path in files}
        if stamps == self._stamps:
            return
        for path in files:
            if path not in self._stamps or self._stamps[path] != stamps[path]:
                self._open(path)
        for path in set(self._configs) - set(files):
            del self._configs[path]
        self._stamps = stamps
        audits: dict[str, tuple[Path, AuditConfig]] = {}
        for path in files:
            config = self._configs.get(path)
            if config is None:
                continue
            if config.name in audits:
                taken = UsageError(f"the name {config.name} is taken by {audits[config.name][0]}", where=str(path))
                self._tell_error(path, taken)
            else:
                audits[config.name] = (path, config)
        self.audits = audits

    def register(self, register: Callable[[Deployment], Any]) -> None:
        """Tells Prefect what is new or different, and pauses what can no longer be served.

        An API that does not answer is told, and asked again the next time.
        """
        for name, (path, config) in self.audits.items():
            deployment = Deployment(config, shown(path), self.known, str(self.reports))
            try:
                digest = deployment.digest
                if self._registered.get(name, (None, ""))[1] == digest:
                    continue
                again = name in self._registered
                self._registered[name] = (register(deployment), digest)
            except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises
                self._tell_once(name, f"audit/{name}: Prefect did not take it: {one_line(error, 300)}")
            else:
                self._refused.pop(name, None)
                self.tell(f"  audit/{name}  {deployment.shown}  {deployment.when}{'  (changed)' if again else ''}")
        for name in [name for name in self._registered if name not in self.audits]:
            try:
                _pause(self._registered[name][0])
            except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises
                self._tell_once(name, f"audit/{name}: Prefect did not pause it: {one_line(error, 300)}")
            else:
                del self._registered[name]
                self.tell(f"  audit/{name}  paused: its config is wrong, or gone", style="yellow")

    def _files(self) -> list[Path]:
        found: list[Path] = []
        for source in self.sources:
            found += sorted(source.glob("*.y*ml")) if source.is_dir() else [source]
        return list(dict.fromkeys(found))

    def _open(self, path: Path) -> None:
        self._configs.pop(path, None)
        try:
            config = checked_config(str(path))
            schedules_of(config, str(path))
            self._configs[path] = config
            self._told.pop(path, None)
        except AuditError as error:
            self._tell_error(path, error)

    def _tell_error(self, path: Path, error: AuditError) -> None:
        if self._told.get(path) != str(error):
            self._told[path] = str(error)
            self.tell(f"not served: {error}", style="red")

    def _tell_once(self, name: str, text: str) -> None:
        if self._refused.get(name) != text:
            self._refused[name] = text
            self.tell(text, style="red")


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _pause(deployment_id: Any) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.pause_deployment(deployment_id)
