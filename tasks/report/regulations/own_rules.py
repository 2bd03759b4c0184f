"""The rules that a pack of the user's own may give its controls, and how a run stands to them.

attestation   what a person states
evidence      satisfied where the run holds every table named, and a row in each
metric        a number held against a limit, by the rules of the policy
check         the verdict on a check of the policy, or on all
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from configs.schema import CROSSING, AuditConfig, PolicyCheck
from tasks.contracts import TABLES, Verdict
from tasks.errors import ConfigError, nearest
from tasks.report.regulations.base import Control, Findings, attested, inputs, pointers

if TYPE_CHECKING:
    from tasks.report.reading import Reading
    from tasks.report.regulations.own import OwnControl, OwnFile, OwnRule

#: every check of the policy
ALL = "all"
#: of several checks the worst decides
_WORST_FIRST: tuple[Verdict, ...] = ("not_satisfied", "insufficient_data", "satisfied")
_NAMED = 3


def check_rule(config: AuditConfig, rule: OwnRule, where: str) -> None:
    """Whether the audit has what a rule names.

    Raises:
        ConfigError: a table, metric, attribute or check that it does not have.
    """
    for table in rule.evidence or ():
        if table.partition("/")[0] not in TABLES:
            raise ConfigError(
                f"{table} is no table of a run", where=f"{where}.evidence", available=TABLES,
                hint=nearest(table, TABLES),
            )  # fmt: skip
    if rule.metric is not None:
        _check_metric(config, rule.metric, f"{where}.metric")
    if rule.check is not None and rule.check != ALL:
        known = [ALL, *dict.fromkeys(name for check in config.policy for name in _names(check.model_dump()))]
        if rule.check not in known:
            raise ConfigError(
                f"{rule.check} is no check of the policy", where=f"{where}.check", available=known,
                hint=nearest(rule.check, known),
            )  # fmt: skip


def _check_metric(config: AuditConfig, check: PolicyCheck, where: str) -> None:
    from tasks.bias import DISPARITIES, EXPLAINED, METRICS, check_policy

    known = [CROSSING.join(keys) for keys in config.data.attributes]
    if check.attribute is not None and check.attribute not in known:
        told = f"{check.attribute} is not declared under data"
        raise ConfigError(told, where=f"{where}.attribute", available=known, hint=nearest(check.attribute, known))
    try:
        check_policy(config.model_copy(update={"policy": [check]}))
    except ConfigError as error:
        place = (error.where or "").removeprefix("policy.0")
        raise ConfigError(
            error.what, where=f"{where}{place}", values=error.values, available=error.available, hint=error.hint,
            code=error.code,
        ) from error  # fmt: skip
    always = check.metric in METRICS or check.metric in DISPARITIES or check.metric in EXPLAINED
    if not always and all(own.metric != check.metric for own in config.policy):
        told = f"{check.metric} is measured only where the policy names it"
        raise ConfigError(told, where=f"{where}.metric", hint="add a check of it to the policy")


def findings(reading: Reading, read: OwnFile) -> Findings:
    """Every control of a YAML pack."""
    return Findings(tuple(_control(reading, read, control) for control in read.controls))


def _control(reading: Reading, read: OwnFile, own: OwnControl) -> Control:
    source, rule = own.source or read.source, own.rule
    if rule.attestation is not None:
        wanted = "This is not recorded."
        made = attested(reading, own.id, own.clause, own.ask, rule.attestation, wanted, source)
    elif rule.evidence is not None:
        made = _by_evidence(reading, own, rule.evidence)
    elif rule.metric is not None:
        made = _by_metric(reading, own, rule.metric, f"pack:{read.id}")
    else:
        made = _by_check(reading, own, rule.check or ALL)
    return replace(made, source=source, legal_status=own.legal_status)


def _by_evidence(reading: Reading, own: OwnControl, wanted: list[str]) -> Control:
    found: dict[str, tuple[str, ...]] = {}
    for name in wanted:
        family = reading.tables(name) if "/" not in name else ()
        names = [one for one in (name, *family) if (table := reading.artifact(one)) is not None and table.rows]
        found[name] = tuple(names)
    lacking = [name for name, names in found.items() if not names]
    evidence = pointers(reading, *dict.fromkeys(one for names in found.values() for one in names))
    if lacking:
        why = f"The run holds no rows of {', '.join(lacking)}."
        return Control(own.id, own.clause, own.ask, "insufficient_data", why, evidence)
    why = f"The run holds {', '.join(found)}."
    return Control(own.id, own.clause, own.ask, "satisfied", why, evidence)


def _by_metric(reading: Reading, own: OwnControl, check: PolicyCheck, pack: str) -> Control:
    from tasks.policy import Tables, judge_check

    measured = [reading.table(name) for name in ("group_metrics", "disparities")]
    if measured[0] is None or measured[1] is None:
        why = reading.why_absent("bias")
        return Control(own.id, own.clause, own.ask, "insufficient_data", why, has_limit=True)
    tables = Tables.of(measured[0], measured[1], [check.metric])
    judged = judge_check(reading.config, check, tables)
    evidence = (*pointers(reading, "group_metrics", "disparities"), *inputs(reading, pack))
    return Control(own.id, own.clause, own.ask, judged["verdict"], judged["sentence"], evidence, has_limit=True)


def _by_check(reading: Reading, own: OwnControl, wanted: str) -> Control:
    checks = [check for check in reading.checks if wanted == ALL or wanted in _names(check)]
    if not checks:
        why = "The config declares no policy." if not reading.config.policy else "The policy was not judged."
        return Control(own.id, own.clause, own.ask, "insufficient_data", why, has_limit=True)
    found = {check["verdict"] for check in checks}
    status: Verdict = next((verdict for verdict in _WORST_FIRST if verdict in found), "insufficient_data")
    told = [str(check["sentence"]) for check in checks if check["verdict"] == status]
    more = f" And {len(told) - _NAMED} more." if len(told) > _NAMED else ""
    tables = ("group_metrics", "disparities", "reason_codes")
    evidence = (*inputs(reading, "policy"), *pointers(reading, *tables))
    why = " ".join(told[:_NAMED]) + more
    return Control(own.id, own.clause, own.ask, status, why, evidence, has_limit=True)


def _names(check: Mapping[str, Any]) -> tuple[str, ...]:
    """By what a check of the policy may be named: its metric, or `metric on attribute`."""
    by = check.get("attribute")
    return (check["metric"], f"{check['metric']} on {by}") if by else (check["metric"],)
