"""record.json: the record of a run as its report was made from it, without a path of the machine."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasks.contracts import Done, Failed, Finding, NotApplicable, TableRef
from tasks.evidence import kept
from tasks.evidence.opening import Unreadable
from tasks.evidence.record import read_record
from tasks.report import RunRecord

RUN = "20260102T030405Z-0123abcd"


def _record(folder, facts=None):
    table = TableRef("attributions/shap", str(folder / "artifacts" / "attributions" / "shap.parquet"), "a" * 64, 3)
    results = (
        Done("explain/shap", (table,), ("images/a.png",), (Finding("info", "x", "y"),), ("l",), facts or {}, 1.5),
        NotApplicable("drift", "no_reference", "there is none"),
        Failed("policy", "unexpected", "<b>"),
    )
    return RunRecord(RUN, "a", "b", "incomplete", results, {"python": "3.11"}, 7, {"id": "x"}, (("data", "d" * 64),))


def test_what_is_kept_is_what_is_read_back(tmp_path):
    content, record = kept(_record(tmp_path, {"a": [1, 0.1, None, "ü\ud800"], "b": {"c": True}}), tmp_path)
    (tmp_path / "record.json").write_bytes(content)
    assert read_record(tmp_path) == record
    assert kept(record, tmp_path)[0] == content  # and has one form
    assert record.results[0].tables[0].path == "artifacts/attributions/shap.parquet"
    assert str(tmp_path) not in content.decode()


def test_values_are_those_of_json(tmp_path):
    facts = {"nan": float("nan"), "inf": [float("inf")], 3: (1, 2), "n": np.float32(0.5), "i": np.int64(4), "z": -0.0}
    content, record = kept(_record(tmp_path, facts), tmp_path)
    json.loads(content, parse_constant=lambda name: pytest.fail(name))
    told = record.results[0].facts
    assert told == {"nan": None, "inf": [None], "3": [1, 2], "n": 0.5, "i": 4, "z": -0.0}
    assert str(told["z"]) == "-0.0"


def test_a_table_elsewhere_keeps_its_name_alone(tmp_path):
    content, _ = kept(_record(tmp_path / "secret place"), tmp_path / "run")
    assert "secret place" not in content.decode()


def test_no_record_is_told(tmp_path):
    with pytest.raises(Unreadable, match="is missing"):
        read_record(tmp_path)
    for content in (b"{}", b"[]", b"7", b'{"results": 7}', b'{"a":1,"a":1}', b"x"):
        (tmp_path / "record.json").write_bytes(content)
        with pytest.raises(ValueError, match=r".+"):
            read_record(tmp_path)
