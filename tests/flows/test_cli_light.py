"""The commands that start no audit, and what bad usage gets: exit code, one line on stderr, JSON alone on stdout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest

from flows import cli
from flows.request import load_config
from tasks.contracts import AuditVerdict, Done, Failed
from tasks.persist.publish import begin, publish
from tasks.report import RunRecord, write_report

WHOLE = Path(__file__).parent / "whole_config.yaml"
FIRST, SECOND = "20260101T000000Z-00000001", "20260102T000000Z-00000002"
#: the commands of the contract that are there
COMMANDS = ("run", "check", "list", "show", "verify", "schema", "serve", "deploy", "keys")


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Runs a command line in this process."""
    monkeypatch.setenv("KERAS_AUDIT_DEBUG", "0")  # --debug sets it for the process
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        said = capfd.readouterr()
        return Said(ended.value.code, said.out, said.err)

    return run


def _publish(reports: Path, verdict: AuditVerdict, run_id: str = FIRST, group: str = "Female") -> Path:
    """A run with a real summary, written by the report itself from a short record."""
    config = load_config(WHOLE, ["report.formats=[json]"])
    check = {
        "metric": "impact_ratio", "attribute": "sex", "group": group, "min": 0.8, "max": None, "severity": "critical",
        "confidence": "point", "verdict": "not_satisfied", "value": 0.361, "ci_low": 0.3, "ci_high": 0.4, "n": 100,
        "reason": None, "sentence": "The impact ratio is 0.361, under 0.8.",
    }  # fmt: skip
    results: list[Any] = [
        Done("load_model", facts={"version": 2, "sha256": "1" * 64}),
        Done("load_data", facts={"data": {"path": "data.parquet", "rows": 200, "sha256": "0" * 64}}),
        Done("policy", facts={"checks": [check], "verdict": "not_satisfied"}),
    ]
    if verdict == "incomplete":
        results.append(Failed("explain/lime", "memory", f"memory ran out with {group}"))
    record = RunRecord(
        run_id=run_id,
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:01:00+00:00",
        verdict=verdict,
        results=tuple(results),
    )
    workspace = begin(reports, config.name, run_id)
    write_report(config, workspace, record)
    return publish(workspace)


def _error(said: Said, code: int = 2) -> dict[str, Any]:
    """The error that stdout holds as JSON and nothing else, after one line on stderr."""
    assert said.code == code
    assert re.fullmatch(r"error: .+\n", said.err)
    told = json.loads(said.out)
    assert list(told) == ["error"]
    assert told["error"]["message"] == said.err.removeprefix("error: ").rstrip("\n")
    assert told["error"]["exit_code"] == code
    assert {"code", "what", "where", "hint"} <= set(told["error"])
    return told["error"]


# Help


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_every_command(say, arguments):
    said = say(*arguments)
    assert (said.code, said.err) == (0, "")
    assert re.findall(r"^  (\w+) {2,}\S", said.out.partition("Commands:")[2], flags=re.MULTILINE) == list(COMMANDS)
    assert "--debug" in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(say, command):
    said = say(command, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: keras-audit {command} ")


def test_every_command_is_in_the_docstring_and_the_other_way_round():
    told = (cli.__doc__ or "").partition("`keras-audit ")[2].partition("`")[0]
    assert told.split(" | ") == list(COMMANDS)
    there = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert there | {group.name for group in cli.app.registered_groups} == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("run", ["CONFIG", "--set", "--reports", "--sign", "--json"]),
        ("check", ["CONFIG", "--set", "--json"]),
        ("list", ["--reports", "--json"]),
        ("show", ["RUN", "--reports", "--json"]),
        ("verify", ["RUN", "--key", "--reports", "--replay", "--json"]),
        ("serve", ["CONFIG", "--reports"]),
    ],
)
def test_every_option_of_the_contract_is_there(say, command, options):
    out = say(command, "--help").out
    assert all(option in out for option in options)


# Bad usage


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["runn", "x.yaml"], "No such command 'runn'"),
        (["--bogus"], "No such option"),
        (["list", "--bogus"], "No such option"),
        (["run"], "Missing argument"),
        (["check"], "Missing argument"),
        (["show"], "Missing argument"),
        (["run", "a.yaml", "b.yaml"], "unexpected extra argument"),
        (["run", "a.yaml", "--set"], "requires an argument"),
        (["list", "--reports"], "requires an argument"),
        (["schema", "everything"], "'everything' is not one of 'config', 'summary'"),
        (["\x1b[31m\n"], "\\x1b[31m"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(say, arguments, says):
    said = say(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert re.fullmatch(r"error: .+; see keras-audit --help\n", said.err)
    assert says in said.err


def test_bad_usage_as_json(say):
    error = _error(say("list", "--bogus", "--json"))
    assert error["code"] == "usage"
    assert error["hint"] == "see keras-audit --help"


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
        (["configs/adult_incom.yaml"], "did you mean configs/adult_income.yaml?"),
        (["configs"], "configs: cannot be read (Is a directory)"),
        (["configs/schema.py"], "configs/schema.py:"),
        (["configs/adult_income.yaml", "--set", "explain.rowz=5"], "did you mean rows?"),
        (
            ["configs/adult_income.yaml", "--set", "explain.rows=many"],
            "should be 'all' or a whole number, not \"many\"",
        ),
        (["configs/adult_income.yaml", "--set", "x"], "--set x: not of the form key.key=value"),
        (["configs/adult_income.yaml", "--set", "explain.techniques={shapp: {}}"], "shapp"),
        (["configs/adult_income.yaml", "--set", "policy.0.metric=impact_ratoi"], "impact_ratoi"),
        (["configs/adult_income.yaml", "--set", "data.expectations.0.type=expect_nothing"], "expect_nothing"),
        (["configs/adult_income.yaml", "--set", "report.regulations=[nyc_ll145]"], "nyc_ll145"),
    ],
)
def test_a_wrong_config_is_told_before_anything_is_opened(say, command, arguments, says):
    said = say(command, *arguments)
    assert said.code == 2
    assert said.out == ""
    assert re.fullmatch(r"error: .+\n", said.err)
    assert says in said.err
    assert says in _error(say(command, *arguments, "--json"))["message"]


def test_debug_adds_the_traceback_wherever_it_stands(say):
    for arguments in (["--debug", "show", "x"], ["show", "x", "--debug"]):
        said = say(*arguments)
        assert said.code == 2
        assert "Traceback (most recent call last)" in said.err
        assert said.err.splitlines()[-1].startswith("error: reports: no run x")
        assert said.out == ""


def test_without_debug_there_is_no_traceback(say):
    assert "Traceback" not in say("show", "x").err


def test_a_defect_of_ours_is_one_line_that_says_where_the_traceback_lies(say, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division\nby \x1b[31mzero")

    monkeypatch.setattr("tasks.persist.publish.find_run", broken)
    error = _error(say("show", "x", "--json"), 70)
    assert error["code"] == "defect"
    assert error["message"].startswith("keras-audit failed: ZeroDivisionError: division by \\x1b[31mzero; ")
    trace = Path(error["hint"].removeprefix("the traceback lies in "))
    try:
        assert "ZeroDivisionError" in trace.read_text()
        assert "in broken" in trace.read_text()
    finally:
        trace.unlink()


def test_ctrl_c_exits_130(say, monkeypatch):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.persist.publish.find_run", stopped)
    assert say("show", "x").code == 130


# schema


def test_the_schema_of_the_config(say):
    said = say("schema")
    assert (said.code, said.err) == (0, "")
    schema = json.loads(said.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["required"]) == {"name", "model", "data"}
    assert say("schema", "config").out == said.out


def test_the_schema_of_the_summary(say):
    said = say("schema", "summary")
    assert (said.code, said.err) == (0, "")
    schema = json.loads(said.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["required"]) == {
        "schema_version", "report_id", "generated_at", "as_of_law", "verdict", "subject", "data", "policy", "run",
        "results", "controls", "limitations", "human_attestations", "artifacts",
    }  # fmt: skip


# list


def test_list_says_how_to_start_where_there_is_no_run(say, tmp_path):
    said = say("list", "--reports", str(tmp_path))
    assert said == (0, f"no runs under {tmp_path}; start one with: keras-audit run CONFIG\n", "")
    assert say("list", "--reports", str(tmp_path / "nowhere"), "--json") == (0, "[]\n", "")


FAILED = ["impact_ratio", "on", "sex", "0.361"]


def test_list_shows_every_run_oldest_first(say, tmp_path):
    _publish(tmp_path, "not_satisfied", FIRST)
    _publish(tmp_path, "satisfied", SECOND)
    said = say("list", "--reports", str(tmp_path))
    assert said.code == 0
    lines = [line.split() for line in said.out.splitlines() if "credit/" in line]
    assert lines == [
        [f"credit/{FIRST}", "NOT", "SATISFIED", "v2", "11111111", "200", "2026-01-01", "00:01", "no", *FAILED],
        [f"credit/{SECOND}", "satisfied", "v2", "11111111", "200", "2026-01-01", "00:01", "no", *FAILED],
    ]
    told = json.loads(say("list", "--reports", str(tmp_path), "--json").out)
    assert [{key: one[key] for key in ("run", "report_id", "verdict", "generated_at")} for one in told] == [
        {"run": f"credit/{run}", "report_id": run, "verdict": verdict, "generated_at": "2026-01-01T00:01:00+00:00"}
        for run, verdict in ((FIRST, "not_satisfied"), (SECOND, "satisfied"))
    ]
    assert told[0]["checks"][0]["value"] == 0.361
    assert say("list", "credit", "--reports", str(tmp_path)).out == said.out
    other = say("list", "credits", "--reports", str(tmp_path))
    assert (other.code, other.out) == (2, "")
    assert "did you mean credit?" in other.err


DAMAGED = [
    b"", b"not json", b"\xff", b"[]", b"null", b"5", b"{}", b'{"verdict": "fine"}', b'{"verdict": ["satisfied"]}',
    b"[" * 100_000, b'{"verdict": "satisfied", "subject": 5, "data": [1], "generated_at": 7}',
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:40]))
def test_one_damaged_run_does_not_hide_the_others(say, tmp_path, content):
    (_publish(tmp_path, "satisfied", FIRST) / "summary.json").write_bytes(content)
    _publish(tmp_path, "satisfied", SECOND)
    said = say("list", "--reports", str(tmp_path))
    assert (said.code, said.err) == (0, "")
    assert f"credit/{FIRST}" in said.out
    assert f"credit/{SECOND}" in said.out
    assert len(json.loads(say("list", "--reports", str(tmp_path), "--json").out)) == 2


def test_a_run_without_a_summary_is_listed_too(say, tmp_path):
    (_publish(tmp_path, "satisfied", FIRST) / "summary.json").unlink()
    said = say("list", "--reports", str(tmp_path))
    assert said.code == 0
    assert "cannot be read" in said.out


@pytest.mark.parametrize("reports", ["x" * 300, "a\0b"])
def test_a_reports_folder_that_cannot_be_read_is_no_defect(say, reports):
    said = say("list", "--reports", reports)
    assert said.code in {0, 2}
    assert "keras-audit failed" not in said.err


# show


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("satisfied", "satisfied"),
        ("not_satisfied", "NOT SATISFIED"),
        ("inconclusive", "inconclusive"),
        ("refused", "REFUSED"),
        ("incomplete", "INCOMPLETE"),
    ],
)
def test_show_says_verdict_checks_and_where_the_report_lies(say, tmp_path, verdict, words):
    folder = _publish(tmp_path, verdict)
    said = say("show", "credit", "--reports", str(tmp_path))
    assert (said.code, said.err) == (0, "")
    assert f"verdict  {words}" in said.out
    assert re.search(r"impact_ratio on sex \(Female\) +≥ 0\.8 +0\.361 +NOT SATISFIED", said.out)
    assert str(folder / "report.html") in said.out
    assert ("missing: explain/lime: memory ran out" in said.out) == (verdict == "incomplete")


@pytest.mark.parametrize("named", ["credit", f"credit/{FIRST}", "folder"])
def test_show_as_json_is_the_summary_byte_for_byte(say, tmp_path, named):
    folder = _publish(tmp_path, "satisfied")
    said = say("show", str(folder) if named == "folder" else named, "--reports", str(tmp_path), "--json")
    assert (said.code, said.err) == (0, "")
    assert said.out.encode() == (folder / "summary.json").read_bytes()
    assert json.loads(said.out)["report_id"] == FIRST


def test_show_of_a_run_that_is_not_there(say, tmp_path):
    _publish(tmp_path, "satisfied")
    error = _error(say("show", "credti", "--reports", str(tmp_path), "--json"))
    assert error["what"] == "no run credti"
    assert error["hint"] == "did you mean credit?"
    assert "available: credit" in error["message"]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:40]))
def test_show_of_a_damaged_run(say, tmp_path, content):
    folder = _publish(tmp_path, "satisfied")
    (folder / "summary.json").write_bytes(content)
    said = say("show", "credit", "--reports", str(tmp_path))
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(rf"error: {folder}: summary\.json .+\n", said.err)


@pytest.mark.parametrize("name", ["\udcff", "\x1b[31m", "a\nb", "x" * 300, "../../..", ""])
def test_show_of_a_hostile_name(say, tmp_path, name):
    error = _error(say("show", name, "--reports", str(tmp_path), "--json"))
    assert error["message"].startswith(f"{tmp_path}: no run")


# The terminal


def test_text_from_data_cannot_command_the_terminal(say, tmp_path):
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"
    folder = _publish(tmp_path, "incomplete", group=hostile)
    assert hostile[:4] in json.loads((folder / "summary.json").read_text())["run"]["missing"][0]["reason"]
    for said in (say("show", "credit", "--reports", str(tmp_path)), say("list", "--reports", f"{tmp_path}/\x1b[2J")):
        assert said.code == 0
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said.out + said.err)
