"""One run of an audit: what every step is given, and what the flow hands back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.schema import AuditConfig
from flows.keys import Keys
from tasks.contracts import AuditVerdict, Done, Failed, NotApplicable, StageResult
from tasks.load import Pins, pinned
from tasks.persist import Workspace
from tasks.persist.finished import FOLDER as FINISHED
from tasks.watch import Watch

#: exit code of a finished audit by its verdict
EXIT_CODES: dict[AuditVerdict, int] = {
    "satisfied": 0,
    "not_satisfied": 1,
    "inconclusive": 1,
    "refused": 3,
    "incomplete": 4,
}

#: the watch that the caller of the flow listens to: the command line sets it; elsewhere it is a silent one
WATCH: ContextVar[Watch | None] = ContextVar("keras_audit_watch", default=None)
#: whether nobody keeps the run: Prefect's UI is told of none of its results
PASSING: ContextVar[bool] = ContextVar("keras_audit_passing", default=False)


@contextmanager
def watched(watch: Watch, *, passing: bool = False) -> Iterator[None]:
    """Runs a block under a watch; Prefect copies the context into its threads."""
    tokens = WATCH.set(watch), PASSING.set(passing)
    try:
        yield
    finally:
        WATCH.reset(tokens[0])
        PASSING.reset(tokens[1])


def current_watch() -> Watch:
    """The watch of the caller, or a silent one.

    A flow is pickled with what it names for each task of a cluster, and a context variable cannot be.
    """
    return WATCH.get() or Watch()


def is_passing() -> bool:
    """Whether nobody keeps the run."""
    return PASSING.get()


@dataclass(frozen=True)
class Run:
    """What every step of one audit is given."""

    config: AuditConfig
    workspace: Workspace
    watch: Watch
    keys: Keys | None = None  # of its steps' results; None where none is taken over
    pins: Pins | None = None  # what was loaded, for steps that run in another process

    @property
    def finished(self) -> Path:
        """Where results of steps are kept for later runs of the same name."""
        return self.workspace.folder.with_name(FINISHED)

    def as_loaded(self, ledger: Ledger) -> Run:
        """The same run, whose tables say which model and data they are of.

        Where these are not what the keys tell of, a file changed since, and nothing more is taken over or kept.
        """
        digests = {
            "keras_audit.model_sha256": ledger.fact("load_model", "sha256"),
            "keras_audit.data_sha256": (ledger.fact("load_data", "data") or {}).get("sha256"),
        }
        known = {key: digest for key, digest in digests.items() if digest}
        workspace = replace(self.workspace, metadata={**self.workspace.metadata, **known})
        keys = self.keys if self.keys is not None and self.keys.hold(ledger.results) else None
        loaded = [ledger.results[stage] for stage in ("load_model", "load_data")]
        pins = Pins.of_facts(*(result.facts for result in loaded if isinstance(result, Done)))
        return replace(self, workspace=workspace, keys=keys, pins=pins)

    def pinned(self) -> AbstractContextManager[None]:
        """A block in which nothing else is read than what was loaded, once that is known."""
        return nullcontext() if self.pins is None else pinned(self.pins)

    def watch_for(self, task: str) -> Watch:
        return self.watch.for_task(task, seconds=self.config.run.deadline)


@dataclass
class Ledger:
    """The results of the steps, in the order they were planned. Whatever was planned has its line here."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    results: dict[str, StageResult] = field(default_factory=dict)

    def enter(self, result: StageResult) -> StageResult:
        self.results[result.stage] = result
        return result

    def not_reached(self, stage: str, because: str) -> None:
        self.enter(Failed(stage, "not_reached", f"not reached: {because}"))

    def done(self, prefix: str = "") -> list[Done]:
        return [r for name, r in self.results.items() if isinstance(r, Done) and name.startswith(prefix)]

    @property
    def failed(self) -> list[Failed]:
        return [r for r in self.results.values() if isinstance(r, Failed)]

    @property
    def not_applicable(self) -> list[NotApplicable]:
        return [r for r in self.results.values() if isinstance(r, NotApplicable)]

    def fact(self, stage: str, key: str, default: Any = None) -> Any:
        """A fact of a finished step, or the default where the step did not finish."""
        result = self.results.get(stage)
        return result.facts.get(key, default) if isinstance(result, Done) else default


@dataclass(frozen=True)
class Outcome:
    """What the flow hands back: where the run lies, and what it says. JSON-able."""

    name: str
    run_id: str
    folder: str
    verdict: AuditVerdict
    missing: tuple[str, ...] = ()  # a sentence each: what was planned and is not there
    checks: tuple[dict[str, Any], ...] = ()  # the policy's, as in summary.json
    reasons: tuple[str, ...] = ()  # why the data was refused
    address: str = ""  # where the run lies on object storage; the folder is then a passing copy

    @classmethod
    def of_summary(cls, folder: Path, summary: Mapping[str, Any], address: str = "") -> Outcome:
        """What a published run came to, from its summary.json."""
        return cls(
            name=summary["subject"]["name"],
            run_id=summary["report_id"],
            folder=str(folder),
            verdict=summary["verdict"],
            missing=tuple(f"{m['stage']}: {m['reason']}" for m in summary["run"]["missing"]),
            checks=tuple(summary["policy"]["checks"]),
            reasons=tuple(summary["run"]["refused"]),
            address=address,
        )

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def place(self) -> str:
        return self.address or self.folder

    @property
    def report(self) -> Path | str:
        return f"{self.address}/report.html" if self.address else Path(self.folder) / "report.html"
