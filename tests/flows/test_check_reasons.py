"""What a config says of features under `reasons` is held against the model before an audit costs anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.check import check_audit
from tasks.errors import ConfigError
from tasks.watch import Watch

LANGUAGE = 'version: "1"\nlanguage: en\nreasons:\n  - {code: A, text: Income too low, features: [%s]}\n'
WRONG = {
    "no feature": ({"incom": {}}, "income", "reasons.changeable.incom: is not a feature of the model"),
    "protected": ({"sex": {}}, "income", "reasons.changeable.sex: a sensitive attribute"),
    "unknown category": ({"job": {"values": ["king"]}}, "income", "values: no category of job: king"),
    "categories are in no order": ({"job": {"direction": "up"}}, "income", "needs the order of job's categories"),
    "a text about nothing": ({}, "incom", "A is about what is not a feature of the model: incom"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_check_tells_what_does_not_fit_the_model(subject, tmp_path: Path, wrong: str) -> None:
    changeable, feature, message = WRONG[wrong]
    (tmp_path / "words.yaml").write_text(LANGUAGE % feature)
    reasons = {"changeable": changeable, "language": str(tmp_path / "words.yaml")}
    with pytest.raises(ConfigError) as told:
        check_audit(str(subject.write(tmp_path, {"reasons": reasons})), ())
    assert message in str(told.value)


def test_check_accepts_what_fits(subject, tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(LANGUAGE % "income")
    reasons = {"changeable": {"income": {"direction": "up"}}, "language": str(tmp_path / "words.yaml")}
    assert check_audit(str(subject.write(tmp_path, {"reasons": reasons})), ()).exit_code == 0


def test_a_run_stops_before_it_predicts(audit) -> None:
    seen: list[str] = []
    with pytest.raises(ConfigError, match="is not a feature of the model"):
        audit({"reasons.changeable": {"incom": {}}}, watch=Watch(report=lambda task, *_: seen.append(task)))
    assert not [task for task in seen if "explain" in task]
