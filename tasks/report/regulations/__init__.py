"""Regulation packs: one file each, one line here."""

from __future__ import annotations

from configs.schema import AuditConfig
from tasks.contracts import Failed
from tasks.errors import ConfigError, StorageError, nearest, one_line
from tasks.report.reading import Reading
from tasks.report.regulations import eeoc_four_fifths, nyc_ll144
from tasks.report.regulations.base import AS_OF, Control, Judged, Pack, Pointer, attestations

REGULATIONS: dict[str, Pack] = {pack.id: pack for pack in (nyc_ll144.PACK, eeoc_four_fifths.PACK)}

#: names that a config may give already; the report says that this version does not evaluate them
LATER: dict[str, str] = {
    "ecoa_reg_b": "ECOA / Regulation B, 12 CFR 1002.9",
    "fcra": "Fair Credit Reporting Act, 15 USC 1681g(f)",
    "sr_26_2": "SR 26-2, model risk management",
    "eu_ai_act": "EU AI Act, Regulation (EU) 2024/1689",
    "gdpr": "GDPR, Articles 13 and 22",
    "colorado": "Colorado SB 26-189",
    "nist_ai_rmf": "NIST AI Risk Management Framework",
    "model_card": "Model card",
}


def check_regulations(config: AuditConfig) -> None:
    """Whether every regulation of the config is one that is known. Cheap: nothing is opened.

    Raises:
        ConfigError: a name is not known, or given twice.
    """
    known = (*REGULATIONS, *LATER)
    for number, name in enumerate(config.report.regulations):
        if name not in known:
            raise ConfigError(
                f"{name} is no regulation that is known",
                where=f"report.regulations.{number}",
                available=known,
                hint=nearest(name, known),
                code="unknown_regulation",
            )
        if name in config.report.regulations[:number]:
            raise ConfigError(f"{name} is named twice", where=f"report.regulations.{number}", hint="remove one")


def judged(reading: Reading) -> tuple[Judged, ...]:
    """The packs that the config names and this version evaluates, in the config's order."""
    found = []
    for name in reading.config.report.regulations:
        pack = REGULATIONS.get(name)
        if pack is not None and not isinstance(reading.record.result(f"report/{name}"), Failed):
            outcome = pack.judge(reading)
            found.append(
                Judged(
                    pack.id,
                    pack.title,
                    pack.legal_status,
                    pack.source,
                    pack.as_of,
                    outcome.controls,
                    outcome.blocks,
                )
            )
    return tuple(found)


def unjudged(reading: Reading) -> list[Failed]:
    """The packs that cannot be judged on this run, by trying.

    Raises:
        StorageError: a table is not what its stage wrote.
    """
    failed = []
    for name in reading.config.report.regulations:
        try:
            if name in REGULATIONS:
                REGULATIONS[name].judge(reading)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a pack stumbles over
            failed.append(Failed(f"report/{name}", "unexpected", one_line(f"{type(error).__name__}: {error}")))
    return failed


def unevaluated(config: AuditConfig) -> tuple[str, ...]:
    """Titles of the regulations that the config names and this version does not evaluate."""
    return tuple(LATER[name] for name in config.report.regulations if name in LATER)


__all__ = [
    "AS_OF",
    "LATER",
    "REGULATIONS",
    "Control",
    "Judged",
    "Pack",
    "Pointer",
    "attestations",
    "check_regulations",
    "judged",
    "unevaluated",
]
