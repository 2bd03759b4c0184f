"""Regulation packs: a file each in `packs/`, a line each here; and those that a user brings along (`own.py`)."""

from __future__ import annotations

import re

from configs.schema import AuditConfig
from tasks.contracts import Failed
from tasks.errors import ConfigError, StorageError, nearest, one_line
from tasks.report.reading import Reading
from tasks.report.regulations.base import AS_OF, Control, Findings, Judged, Pack, Pointer, attestations
from tasks.report.regulations.config_checks import check_attestations, check_settings
from tasks.report.regulations.own import check_own, own_pack, own_packs, pack_inputs
from tasks.report.regulations.packs import (
    colorado,
    ecoa_reg_b,
    eeoc_four_fifths,
    eu_ai_act,
    fcra,
    gdpr,
    iso_42001,
    model_card,
    nist_ai_rmf,
    nyc_ll144,
    sr_26_2,
)

REGULATIONS: dict[str, Pack] = {
    pack.id: pack
    for pack in (
        nyc_ll144.PACK,
        eeoc_four_fifths.PACK,
        ecoa_reg_b.PACK,
        fcra.PACK,
        sr_26_2.PACK,
        eu_ai_act.PACK,
        gdpr.PACK,
        colorado.PACK,
        nist_ai_rmf.PACK,
        iso_42001.PACK,
        model_card.PACK,
    )
}

#: files of a run that no pack's page is called
_PAGE = re.compile(r"[a-z0-9_]+\.html")


def check_regulations(config: AuditConfig) -> None:
    """Whether every regulation of the config is one that is known, and what the config says to it has its form.

    Packs of the user's own are read, and Python that the user trusts is run.

    Raises:
        ConfigError: a name is not known, or given twice; a pack, a setting or a statement is not what it should be.
    """
    own = config.report.packs
    for number, name in enumerate(config.report.regulations):
        where = f"report.regulations.{number}"
        if name not in REGULATIONS and name not in own:
            raise ConfigError(
                f"{name} is no regulation that is known",
                where=where,
                available=REGULATIONS,
                hint=nearest(name, REGULATIONS) or "a pack of your own is a .yaml or .py file, or module:NAME",
                code="unknown_regulation",
            )
        if name in config.report.regulations[:number]:
            raise ConfigError(f"{name} is named twice", where=where, hint="remove one")
    check_own(config, tuple(REGULATIONS))
    packs = {name: REGULATIONS[name] for name in config.report.regulations if name in REGULATIONS}
    check_settings(config, packs | {one.pack.id: one.pack for one in own_packs(config)})
    check_attestations(config)


def judged(reading: Reading) -> tuple[Judged, ...]:
    """The packs that the config names, in its order; those that cannot be judged are left out."""
    names = reading.config.report.regulations
    return tuple(_judged(reading, n) for n in names if not isinstance(reading.record.result(f"report/{n}"), Failed))


def unjudged(reading: Reading) -> list[Failed]:
    """The packs that cannot be judged on this run, by trying.

    Raises:
        StorageError: a table is not what its stage wrote.
    """
    failed = []
    for name in reading.config.report.regulations:
        try:
            _judged(reading, name)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a pack stumbles over
            failed.append(Failed(f"report/{name}", "unexpected", one_line(f"{type(error).__name__}: {error}")))
    return failed


def _judged(reading: Reading, name: str) -> Judged:
    """A pack and its outcome.

    Raises:
        ConfigError: a pack of the user's own cannot be read any more.
        ValueError: it is not the one that the run recorded, or its outcome is none.
    """
    pack = REGULATIONS.get(name)
    if pack is None:
        own = own_pack(name, f"report.regulations.{reading.config.report.regulations.index(name)}")
        if dict(reading.record.inputs).get(own.input, own.sha256) != own.sha256:
            raise ValueError(f"{name} has changed since the audit recorded it")
        pack = own.pack
    outcome = pack.judge(reading)
    if not isinstance(outcome, Findings):
        raise TypeError(f"{pack.id} gives a {type(outcome).__name__} and no Findings")
    wrong = [file for file, _ in outcome.pages if not _PAGE.fullmatch(file) or not file.startswith(pack.id)]
    if wrong:
        raise ValueError(f"{pack.id} cannot write {wrong[0]}: its pages begin with its id and end in .html")
    return Judged(
        pack.id, pack.title, pack.legal_status, pack.source, pack.as_of, outcome.controls, outcome.blocks,
        outcome.pages,
    )  # fmt: skip


__all__ = [
    "AS_OF",
    "REGULATIONS",
    "Control",
    "Judged",
    "Pack",
    "Pointer",
    "attestations",
    "check_regulations",
    "judged",
    "pack_inputs",
]
