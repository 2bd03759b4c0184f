"""The stage: principal reasons for every adverse decision, the letters that tell them, and what would alter the result.

Source: 12 CFR 1002.9(b)(2) and its official commentary: specific principal reasons, more than four of which are not
likely to help, of the factors that were scored, and none left out. So a protected attribute that is among them stays
there, and is a finding.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from configs.schema import AuditConfig
from tasks.contracts import Done, NotApplicable
from tasks.explain import Problem, contributions, problem_of
from tasks.load import Subject, forget, open_subject, taken
from tasks.persist import Workspace
from tasks.reasons.background import Background, Decided, background_digest, background_of, decided, means, upward
from tasks.reasons.changeable import Changeable, changeable_of
from tasks.reasons.counterfactuals import cut_of
from tasks.reasons.factors import factors_of
from tasks.reasons.parts import Tally, Work, write_part
from tasks.reasons.principal import Factor, members, settled
from tasks.reasons.said import STAGE, changeable_facts, finding, language_facts, limitations
from tasks.reasons.texts import Language, load_language
from tasks.watch import Watch

#: Coalitions that a row may cost. Measured on the bundled Adult model, 13 features, against all 8,192 coalitions, in a
#: sample of 600: reasons and order are the same in 99.8 % of decisions, and in all of those that are settled (99.1 % of
#: all); a row costs 273 coalitions on average.
COALITIONS = 2050
#: rows of a row group of the tables, of which all arrays are held at a time; a multiple of the batch
PART = 4096


def state_reasons(config: AuditConfig, workspace: Workspace, watch: Watch) -> Done | NotApplicable:
    """States the principal reasons of every adverse decision; writes `reason_codes`, `letters` and `counterfactuals`.

    Letters are written where a language file gives one, counterfactuals where features are marked as changeable and the
    model's score decides. Of more than `reasons.rows` adverse decisions a simple random sample has its reasons stated.

    Raises:
        ConfigError: the language file or a changeable feature does not fit the model.
        OutputError: the model returned NaN or infinity.
        StorageError, Stopped, DeadlinePassed.
    """
    subject = open_subject(config)
    unfit = _unfit(subject)
    if unfit:
        return NotApplicable(STAGE, "unfit", unfit)
    language, changeable = load_language(config), changeable_of(subject)
    problem, was = problem_of(subject), decided(subject, workspace)
    every = np.flatnonzero(was.adverse)
    background = background_of(subject, problem, was)
    chosen = _chosen(config, problem, every)
    rows = taken(subject.rows, chosen)
    work = _work(subject, problem, rows, background, was, language, changeable, watch)
    watch.expect(len(chosen))
    tally = Tally()
    with ExitStack() as stack:
        writers = _writers(work, workspace, stack)
        for start in range(0, len(chosen), PART):
            part = slice(start, min(start + PART, len(chosen)))
            write_part(work, writers, chosen[part], rows[part], tally)
            forget(rows[part])
    refs = tuple(writer.ref for writer in writers.values() if writer.ref is not None)
    facts = {
        "adverse": len(every),
        "stated": len(chosen),
        "of_rows": len(subject.rows),
        "background": background.told,
        "background_kind": config.reasons.background,
        "background_rows": len(background.rows),
        "background_sha256": background_digest(subject, background.rows),
        "protected": dict(tally.protected),
        "protected_decisions": tally.any_protected,
        "most": config.reasons.most,
        "unsettled": tally.unsettled,
        "without": tally.without,
        "coalitions": round(tally.coalitions / max(1, len(chosen)), 1),
        "estimator": dict(work.found.facts),
        **language_facts(language),
        "changeable": changeable_facts(work, tally),
    }
    return Done(
        STAGE,
        tables=refs,
        findings=tuple(finding(n, count, len(chosen), config.reasons.most) for n, count in tally.protected.items()),
        limitations=tuple(limitations(work, tally, len(chosen), len(every))),
        facts=facts,
    )


def check_reasons_fit(config: AuditConfig) -> None:
    """Whether the language file and the changeable features fit the model, before anything is computed.

    Raises:
        ConfigError: as `state_reasons`, and what `open_subject` raises.
    """
    if config.reasons.language is None and not config.reasons.changeable:
        return
    subject = open_subject(config)
    if _unfit(subject) is None:
        _factors(subject, problem_of(subject), load_language(config))
        changeable_of(subject)


def _factors(subject: Subject, problem: Problem, language: Language | None) -> tuple[Factor, ...]:
    return factors_of(problem.players, subject.features, language, subject.data.table.column_names)


def _unfit(subject: Subject) -> str | None:
    if subject.modality != "table":
        return "reasons are stated in features of a table; the model takes images"
    task = subject.config.model.task
    if task != "binary":
        return f"reasons are stated for binary decisions; the task is {task}"
    if not subject.favorable:
        return "data.target.favorable names no favourable outcome, so no decision is adverse"
    if len(set(subject.favorable)) == len(subject.classes):
        return "every outcome is favourable, so no decision is adverse"
    return None


def _chosen(config: AuditConfig, problem: Problem, every: np.ndarray) -> np.ndarray:
    """Positions of the decisions whose reasons are stated, rising."""
    most = config.reasons.rows
    if most == "all" or len(every) <= most:
        return every
    return np.sort(problem.generator("reasons").choice(every, most, replace=False))


def _work(
    subject: Subject, problem: Problem, rows: np.ndarray, background: Background, was: Decided,
    language: Language | None, changeable: tuple[Changeable, ...], watch: Watch,
) -> Work:  # fmt: skip
    factors = _factors(subject, problem, language)
    summed = members(factors, len(problem.players))
    names, most = [factor.name for factor in factors], subject.config.reasons.most
    toward = 1.0 if upward(subject) else -1.0
    # Without an adverse decision nothing is explained; the background stands in, so that facts are the same.
    asked = rows if len(rows) else background.rows

    def enough(values: np.ndarray, error: np.ndarray) -> np.ndarray:
        return settled(toward * values @ summed, error @ summed, names, most)

    found = contributions(subject, problem, asked, background.rows, COALITIONS, watch, enough)
    mean = means(background.rows)
    cut = cut_of(subject, was, watch) if changeable else None
    return Work(subject.config, subject, language, factors, found, toward * summed, mean, changeable, cut, watch)


def _writers(work: Work, workspace: Workspace, stack: ExitStack) -> dict[str, Any]:
    names = ["reason_codes"]
    names += ["letters"] if work.language is not None and work.language.letter is not None else []
    names += ["counterfactuals"] if work.cut is not None else []
    kind = work.subject.row_id.type
    return {name: stack.enter_context(workspace.table_writer(name, kind)) for name in names}
