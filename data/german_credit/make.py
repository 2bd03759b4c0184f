"""Make the UCI German credit table: ``python -m data.german_credit.make`` in the repository's root."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

from data import sources

NUMBERS = None  # a column of integers; every other column has a table of its codes

# In the order of the source file, which has no header.
COLUMNS: dict[str, dict[str, str] | None] = {
    "checking_status": {
        "A11": "below 0 DM",
        "A12": "0 to below 200 DM",
        "A13": "200 DM or more, or salary for at least 1 year",
        "A14": "no checking account",
    },
    "duration_months": NUMBERS,
    "credit_history": {
        "A30": "no credits taken, or all paid back duly",
        "A31": "all credits at this bank paid back duly",
        "A32": "existing credits paid back duly till now",
        "A33": "delay in paying off in the past",
        "A34": "critical account, or credits elsewhere",
    },
    "purpose": {
        "A40": "new car",
        "A41": "used car",
        "A42": "furniture or equipment",
        "A43": "radio or television",
        "A44": "domestic appliances",
        "A45": "repairs",
        "A46": "education",
        "A47": "vacation",
        "A48": "retraining",
        "A49": "business",
        "A410": "other",
    },
    "credit_amount": NUMBERS,
    "savings": {
        "A61": "below 100 DM",
        "A62": "100 to below 500 DM",
        "A63": "500 to below 1000 DM",
        "A64": "1000 DM or more",
        "A65": "unknown or none",
    },
    "employment_since": {
        "A71": "unemployed",
        "A72": "below 1 year",
        "A73": "1 to below 4 years",
        "A74": "4 to below 7 years",
        "A75": "7 years or more",
    },
    "installment_rate": NUMBERS,
    "personal_status": {
        "A91": "male: divorced or separated",
        "A92": "female: divorced, separated or married",
        "A93": "male: single",
        "A94": "male: married or widowed",
        "A95": "female: single",
    },
    "other_debtors": {"A101": "none", "A102": "co-applicant", "A103": "guarantor"},
    "residence_since": NUMBERS,
    "property": {
        "A121": "real estate",
        "A122": "building society savings or life insurance",
        "A123": "car or other",
        "A124": "unknown or none",
    },
    "age": NUMBERS,
    "other_installment_plans": {"A141": "bank", "A142": "stores", "A143": "none"},
    "housing": {"A151": "rent", "A152": "own", "A153": "for free"},
    "existing_credits": NUMBERS,
    "job": {
        "A171": "unemployed, or unskilled non-resident",
        "A172": "unskilled resident",
        "A173": "skilled employee or official",
        "A174": "manager, self-employed, highly qualified or officer",
    },
    "dependents": NUMBERS,
    "telephone": {"A191": "no", "A192": "yes"},
    "foreign_worker": {"A201": "yes", "A202": "no"},
    "credit": {"1": "good", "2": "bad"},
}


def loans(content: bytes) -> pa.Table:
    """The loans with their codes in words, and ``sex`` taken out of ``personal_status``."""
    texts = zip(*(line.split() for line in content.decode("ascii").splitlines()), strict=True)
    columns: dict[str, pa.Array] = {}
    for (name, words), values in zip(COLUMNS.items(), texts, strict=True):
        if words is NUMBERS:
            columns[name] = pa.array([int(value) for value in values], pa.int64())
        else:
            columns[name] = pa.array([words[value] for value in values], pa.string())
        if name == "personal_status":
            sex = [status.as_py().partition(":")[0] for status in columns[name]]
            columns["sex"] = pa.array(sex, pa.string())
    return pa.table(columns)


def tables(files: dict[str, bytes]) -> dict[str, pa.Table]:
    """The tables to write, from the source files."""
    return {"german_credit.parquet": loans(files["german.data"])}


if __name__ == "__main__":
    sys.exit(sources.run(Path(__file__).parent, tables, __doc__))
