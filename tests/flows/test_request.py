"""From a file to a config, or to one line with file, line, key, value and what would be right."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.schema import AuditConfig
from flows.request import load_config
from tasks.errors import ConfigError

HERE = Path(__file__).parent
#: every block of the schema, a key a line, so that a test knows on which line a key stands
WHOLE = (HERE / "whole_config.yaml").read_text(encoding="utf-8")
LEAST = "name: credit\nmodel: {path: m, task: binary}\ndata:\n  path: d\n  target: {column: paid}\n"


@pytest.fixture
def file(tmp_path):
    """Writes text or bytes as a config and hands back its path."""

    def write(content: str | bytes) -> str:
        path = tmp_path / "audit.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def refused(path: str) -> str:
    """The line that a config gets, with the folder taken off."""
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    line = str(raised.value)
    assert raised.value.exit_code == 2
    assert line.isprintable()
    return line.replace(f"{Path(path).parent}/", "")


# What is taken


def test_a_whole_config(file):
    config = load_config(file(WHOLE))
    assert config.data.attributes == (("sex",), ("age",), ("sex", "age"))
    assert config.explain.techniques == {"shap": {}}
    assert config.policy[1].attribute == "sex"
    assert config.bias.decision.threshold == 0.5


@pytest.mark.parametrize("path", ["configs/adult_income.yaml", Path("configs/digit_scenes.yaml")])
def test_the_ready_configs(path):
    assert load_config(path).name == Path(path).stem.replace("_", "-")


@pytest.mark.parametrize(
    "content", [LEAST, LEAST.replace("\n", "\r\n"), b"\xef\xbb\xbf" + LEAST.encode(), f"---\n{LEAST}...\n"]
)
def test_forms_of_the_same_file(file, content):
    assert load_config(file(content)) == load_config(file(LEAST))


def test_json_is_yaml(file):
    data = '{"path": "d", "target": {"column": "paid"}}'
    text = f'{{"name": "credit", "model": {{"path": "m", "task": "binary"}}, "data": {data}}}'
    assert load_config(file(text)) == load_config(file(LEAST))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # text stays the text that it is in the data
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("y", "y"), ("010", "010"), ("1:30", "1:30"),
        ("1_000", "1_000"), ("0x1F", "0x1F"), ('">50K"', ">50K"), ("'5'", "5"), ('""', ""), ("~a", "~a"),
        ("größe", "größe"), ('"\\e[31m"', "\x1b[31m"), ('"<script>|\\""', '<script>|"'), ("\u202eabc", "\u202eabc"),
        ("w" * 200, "w" * 200),
        # numbers and flags
        ("5", 5), ("-5", -5), ("0", 0), ("0.5", 0.5), ("-1.5", -1.5), ("true", True), ("False", False),
    ],
)  # fmt: skip
def test_a_class_is_what_was_written(file, written, value):
    config = load_config(file(LEAST.replace("column: paid", f"column: paid, favorable: {written}")))
    assert config.data.target.favorable == value
    assert type(config.data.target.favorable) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "010",
        "1e3",
        "1.0",
        "true",
        "null",
        "~",
        "2020-01-01",
        "=",
        "<<",
        "\x1b[31m",
        " a ",
        "a: b",
        "#",
        "\U0001f600",
        "\ufeff",
    ],
)
def test_the_resolved_config_reads_back_as_it_was(file, text):
    values = yaml.safe_load(WHOLE)
    values["model"]["classes"] = ["other", text]
    values["data"]["target"]["favorable"] = text
    values["report"]["attestations"] = {text or "x": [text]}
    config = AuditConfig.model_validate(values)
    resolved = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    assert load_config(file(resolved)) == config


# The file


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "audit.yaml: not a mapping of keys to values; see configs/adult_income.yaml"),
        ("# only a comment\n", "audit.yaml: not a mapping"),
        ("- a\n- b\n", "audit.yaml: not a mapping"),
        ("just text", "audit.yaml: not a mapping"),
        ("42", "audit.yaml: not a mapping"),
        (b"name: \xff\xfe", "audit.yaml: not UTF-8 text"),
        (LEAST.encode("utf-16"), "audit.yaml: not UTF-8 text"),
        (b"\x80\x04\x95", "audit.yaml: not UTF-8 text"),
        (LEAST + "\ttitle: x\n", "audit.yaml:6: not valid YAML: found character '\\t' that cannot start any token"),
        (LEAST + "title: a\x00b\n", "audit.yaml:6: not valid YAML: the character U+0000 is not allowed"),
        (LEAST + "title: a\x1b[31m\n", "audit.yaml:6: not valid YAML: the character U+001B is not allowed"),
        (LEAST + "title: [a\n", "audit.yaml:7: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (LEAST + "title: a: b\n", "audit.yaml:6: not valid YAML: mapping values are not allowed here"),
        (LEAST + "title: 'a\n", "audit.yaml:7: not valid YAML: "),
        (LEAST + "---\n" + LEAST, "audit.yaml:6: not valid YAML: expected a single document in the stream, but found"),
        (LEAST + "title: @x\n", "audit.yaml:6: not valid YAML: found character '@' that cannot start any token"),
        (LEAST + "   title: x\n", "audit.yaml:6: not valid YAML: "),
    ],
)  # fmt: skip
def test_a_file_that_is_no_config(file, content, says):
    assert refused(file(content)).startswith(says)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("title: a\ntitle: b", "audit.yaml:7: title is given twice"),
        ("bias: {resamples: 1, resamples: 2}", "audit.yaml:6: resamples is given twice"),
        ('bias: {resamples: 1, "resamples": 2}', "audit.yaml:6: resamples is given twice"),
        ("explain: {techniques: {shap: {a: {b: 1, b: 2}}}}", "audit.yaml:6: b is given twice"),
        ("policy:\n  - metric: a\n    min: 0\n    min: 1", "audit.yaml:9: min is given twice"),
        ("title: &t x\nreport: {attestations: {a: *t}}", "audit.yaml:7: aliases (*name) are not supported"),
        ("<<: {title: x}", "audit.yaml:6: merge keys (<<) are not supported"),
        ("1: x", "audit.yaml:6: the key 1 is not text; put it in quotes"),
        ("~: x", "audit.yaml:6: the key ~ is not text; put it in quotes"),
        ("true: x", "audit.yaml:6: the key true is not text; put it in quotes"),
        ("2020-01-01: x", "audit.yaml:6: the key 2020-01-01 is not text; put it in quotes"),
        ("? [a, b]\n: x", "audit.yaml:6: a key is not text; put it in quotes"),
        ("? {a: b}\n: x", "audit.yaml:6: a key is not text; put it in quotes"),
        ("  sensitive: {1: {column: x}}", "audit.yaml:6: the key 1 is not text; put it in quotes"),
        ("report: {attestations: {a: {5: x}}}", "audit.yaml:6: the key 5 is not text; put it in quotes"),
        ("policy: [{metric: a, min: .nan}]", "audit.yaml:6: .nan is not a finite number"),
        ("policy: [{metric: a, max: .inf}]", "audit.yaml:6: .inf is not a finite number"),
        ("policy: [{metric: a, max: -.Inf}]", "audit.yaml:6: -.Inf is not a finite number"),
        ("policy: [{metric: a, max: 1.0e+999}]", "audit.yaml:6: 1.0e+999 is not a finite number"),
        ("report: {attestations: {a: [.nan]}}", "audit.yaml:6: .nan is not a finite number"),
        ("explain: {techniques: {lime: {width: .inf}}}", "audit.yaml:6: .inf is not a finite number"),
        ("  expectations: [{type: expect_x, min_value: .nan}]", "audit.yaml:6: .nan is not a finite number"),
        ("title: 2026-99-99", "audit.yaml:6: not a value: month must be in 1..12"),
        (f"explain: {{seed: {'9' * 5000}}}", "audit.yaml:6: not a value: Exceeds the limit"),
        ('title: "a\\0b"', "audit.yaml:6: text with a null character or half a character"),
        ('title: "\\ud800"', "audit.yaml:6: text with a null character or half a character"),
        ('report: {attestations: {"\\udfff": 1}}', "audit.yaml:6: text with a null character or half a character"),
        ("report: {attestations: {a: !!binary aGk=}}", "audit.yaml:6: not valid YAML: could not determine"),
        ("report: {attestations: {a: !!set {b}}}", "audit.yaml:6: not valid YAML: could not determine"),
        ("report: {attestations: {a: !!omap [b: 1]}}", "audit.yaml:6: not valid YAML: could not determine"),
        ("title: !ours x", "audit.yaml:6: not valid YAML: could not determine"),
        ("title: !!int x", "audit.yaml:6: not a value: "),
        ("title: !!python/object/apply:os.system ['echo no']", "audit.yaml:6: not valid YAML: could not determine"),
        ("title: !!python/name:os.system", "audit.yaml:6: not valid YAML: could not determine"),
        (f"report: {{attestations: {{a: {'[' * 50}{']' * 50}}}}}", "audit.yaml:6: nested deeper than 40 levels"),
        (f"report: {{attestations: {{a: {'[' * 300_000}}}}}", "audit.yaml:6: nested deeper than 40 levels"),
        (f"report: {{attestations: {{a: {'{b: ' * 5000}", "audit.yaml:6: nested deeper than 40 levels"),
        ("report: {attestations: {a:\n  " + "- " * 60 + "x}}", "audit.yaml:7: "),
    ],
    ids=lambda part: part[:40],
)  # fmt: skip
def test_yaml_that_is_not_taken(file, added, says):
    assert refused(file(f"{LEAST}{added}\n")).startswith(says)


def test_a_key_that_fills_the_file_is_told_in_a_line(file):
    line = refused(file(f"{LEAST}? {'k' * 900_000}\n: 1\n"))
    assert line.startswith("audit.yaml:6, kkk")
    assert len(line) < 4000


def test_a_file_over_a_megabyte(file):
    assert load_config(file(LEAST + "#" * (1_000_000 - len(LEAST)))).name == "credit"
    assert refused(file(LEAST + "#" * (1_000_001 - len(LEAST)))) == "audit.yaml: over 1,000,000 bytes: not a config"


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="a device of Unix")
def test_a_file_without_an_end():
    assert "over 1,000,000 bytes" in refused("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe of Unix")
def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(LEAST,))
    writer.start()
    assert load_config(tmp_path / "pipe").name == "credit"
    writer.join()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("configs", "cannot be read (Is a directory)"),
        ("configs/schema.py/x.yaml", "cannot be read (Not a directory)"),
        ("configs/adult_incom.yaml", "no such file; available: configs/adult_income.yaml, configs/digit_scenes.yaml"),
        ("configs/adult_incom.yaml", "; did you mean configs/adult_income.yaml?"),
        ("nowhere/audit.yaml", "nowhere/audit.yaml: no such file"),
        ("a\0b", "a\\x00b: not the name of a file"),
        ("x" * 300, "cannot be read (File name too long)"),
        ("\udcff.yaml", "\\udcff.yaml: no such file"),
        ("\x1b[31m.yaml", "\\x1b[31m.yaml: no such file"),
        ("", "cannot be read (Is a directory)"),
    ],
)  # fmt: skip
def test_a_path_that_is_no_file(path, says):
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert says in str(raised.value)
    str(raised.value).encode()


# Keys

#: line of WHOLE after which a misspelt key is put → the key, where it is told, what is meant
MISSPELT = {
    "name: credit": ("titel: x", "titel", "title"),
    "  path: model.keras": ("  verison: 1", "model.verison", "version"),
    "    scale: 1.0": ("    scal: 1.0", "model.image.scal", "scale"),
    "  path: data.parquet": ("  refrence: x", "data.refrence", "reference"),
    "    column: paid": ("    favourable: x", "data.target.favourable", "favorable"),
    "      column: sex": ("      bin: [1]", "data.sensitive.sex.bin", "bins"),
    "      column: age": ("      colum: age", "data.sensitive.age.colum", "column"),
    "  rows: 20": ("  technique: {}", "explain.technique", "techniques"),
    "    threshold: 0.5": ("    treshold: 0.5", "bias.decision.treshold", "threshold"),
    "  resamples: 100": ("  confidense: 0.9", "bias.confidense", "confidence"),
    "    min: 0.8": ("    maxi: 0.8", "policy.0.maxi", "max"),
    "    attribute: sex": ("    atribute: sex", "policy.1.atribute", "attribute"),
    "  formats: [html]": ("  regulation: []", "report.regulation", "regulations"),
    "    show: 1": ("    redakt: []", "report.rows.redakt", "redact"),
    '  cron: "0 6 * * 1"': ("  timezon: UTC", "schedule.timezon", "timezone"),
    "  most: 3": ("  mots: 3", "reasons.mots", "most"),
    "      direction: down": ("      directon: up", "reasons.changeable.debt.directon", "direction"),
    "  workers: 2": ("  task_runer: threads", "run.task_runer", "task_runner"),
}


@pytest.mark.parametrize("after", MISSPELT)
def test_a_misspelt_key_in_each_block_is_told_with_its_line_and_the_nearest_key(file, after):
    added, key, meant = MISSPELT[after]
    lines = WHOLE.splitlines()
    at = lines.index(after) + 1  # the first one
    lines.insert(at, added)
    line = refused(file("\n".join(lines)))
    name = key.rpartition(".")[2]
    assert line.startswith(f"audit.yaml:{at + 1}, {key}: unknown key {name}; available: ")
    assert line.endswith(f"; did you mean {meant}?")


def test_every_block_of_the_schema_has_its_misspelt_key():
    blocks = {key.rpartition(".")[0] for _, key, _ in MISSPELT.values()}
    assert {re.sub(r"\.(\d+|sex|age|debt)$", "", block) for block in blocks} == {
        "", "model", "model.image", "data", "data.target", "data.sensitive", "explain", "bias", "bias.decision",
        "policy", "report", "report.rows", "schedule", "run", "reasons", "reasons.changeable",
    }  # fmt: skip


def test_a_key_that_is_near_nothing(file):
    line = refused(file(LEAST + "zzz: 1\n"))
    assert line == (
        "audit.yaml:6, zzz: unknown key zzz;"
        " available: name, title, model, data, explain, reasons, bias, policy and 3 more"
    )  # fmt: skip


@pytest.mark.parametrize("attribute", ["column", "bins", "int", "str", "bool", "list[int]", "0", "name"])
def test_an_attribute_may_be_named_like_anything(file, attribute):
    text = WHOLE.replace("    age:\n      column: age", f'    "{attribute}":\n      colum: age').replace(
        "[sex, age]", ""
    )
    line = refused(file(text))
    assert f"data.sensitive.{attribute}.colum: unknown key colum" in line
    assert "available: column, bins, reference, unknown; did you mean column?" in line


def test_an_unknown_key_is_told_before_what_is_missing(file):
    line = refused(file("nam: credit\nmodel: {path: m, task: binary}\n"))
    assert line.startswith("audit.yaml:1, nam: unknown key nam (and 2 more); available: name, ")
    assert line.endswith("did you mean name?")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("title: x", "audit.yaml: name is missing (and 2 more)"),
        ("{}", "audit.yaml: name is missing (and 2 more)"),
        (LEAST.replace("path: m, ", ""), "audit.yaml:2, model: path is missing"),
        (LEAST.replace("{column: paid}", "{}"), "audit.yaml:5, data.target: column is missing"),
        (LEAST + "  sensitive:\n    sex: {}\n", "audit.yaml:7, data.sensitive.sex: column is missing"),
        (LEAST + "policy:\n  - min: 1\n", "audit.yaml:7, policy.0: metric is missing"),
        (LEAST + "schedule: {}\n", "audit.yaml:6, schedule: cron is missing"),
    ],
)
def test_a_missing_key_is_told_where_it_belongs(file, content, says):
    assert refused(file(content)) == says


# Values


def _wrong_values() -> list[tuple[str, str, str]]:
    text = (HERE / "wrong_values.txt").read_text(encoding="utf-8")
    cases = re.findall(r"^((?:[^#\n].*\n)+?)->\n((?:.+\n)*?)=> ?\n(.+)$", text, flags=re.MULTILINE)
    assert len(cases) == text.count("\n->\n")
    return cases


@pytest.mark.parametrize(("before", "after", "says"), _wrong_values(), ids=lambda part: part.strip()[:40])
def test_a_bad_value_is_told_with_line_key_value_and_what_would_be_right(file, before, after, says):
    assert WHOLE.count(before) == 1
    assert refused(file(WHOLE.replace(before, after))) == says


@pytest.mark.parametrize("block", ["model", "data", "explain", "bias", "report", "run"])
@pytest.mark.parametrize(("value", "shown"), [("", "null"), ("[1, 2]", "a list of 2"), ("x", '"x"'), ("5", "5")])
def test_a_block_that_is_no_mapping(file, block, value, shown):
    others = {key: part for key, part in yaml.safe_load(WHOLE).items() if key != block}
    line = refused(file(f"{block}: {value}\n{yaml.safe_dump(others)}"))
    assert line == f"audit.yaml:1, {block}: should be a mapping, not {shown}"


def test_a_long_value_is_cut(file):
    line = refused(file(WHOLE.replace("rows: 20", f"rows: {'m' * 5000}")))
    assert "m…" in line
    assert len(line) < 250


def test_a_value_cannot_command_the_terminal(file):
    line = refused(file(WHOLE.replace("rows: 20", '"\\e[31m\\n\\u202e": 20')))
    assert line.startswith("audit.yaml:26, explain.\\x1b[31m \\u202e: unknown key")


# Anything at all


def _total(path: Path, text: str) -> None:
    """Loading ends in a config or in one printable line, whatever it is given."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_config(path).model_dump_json().encode()
    except ConfigError as error:
        line = str(error)
        assert line
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]", line)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("any") / "audit.yaml"


@settings(max_examples=120, derandomize=True, deadline=None)
@given(
    at=st.integers(0, len(WHOLE)),
    cut=st.integers(0, 12),
    text=st.text("\t\n\0\x85:-[]{}#&*!|>'\"%@`,? .0aé\u202e", max_size=6),
)
def test_any_change_to_a_config_ends_in_a_config_or_a_line(scratch, at, cut, text):
    _total(scratch, WHOLE[:at] + text + WHOLE[at + cut :])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_any_text_ends_in_a_line(scratch, text):
    _total(scratch, text)
