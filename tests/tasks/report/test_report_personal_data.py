"""Personal data: ids and redacted values are in no form of the report, and the report says what the folder holds."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import AuditConfig
from tasks.contracts import Done
from tasks.errors import ConfigError
from tasks.load import load_data
from tasks.persist import Workspace
from tasks.report import RunRecord
from tasks.report.compose import document_of
from tasks.report.document import Facts, Section, Table
from tasks.report.persons import REDACTED, printable, pseudonym, row_label, scores_key
from tasks.report.reading import Reading
from tasks.report.sections.personal_data import personal_data
from tasks.report.stage import report_files
from tasks.watch import Watch
from tests.tasks.report.report_builder import config_of, table
from tests.tasks.report.report_runs import image_run, tabular_run

IDS = re.compile(r"scene-\d{3}")


def with_rows(config: AuditConfig, **rows: Any) -> AuditConfig:
    """The config with another `report.rows`."""
    shown = config.report.rows.model_copy(update=rows)
    return config.model_copy(update={"report": config.report.model_copy(update={"rows": shown})})


def with_overlay_facts(record: RunRecord) -> RunRecord:
    """The record as image techniques leave it: which rows they drew, by their ids."""
    drawn = [{"row_id": f"scene-{i:03}", "output": "1", "image": f"images/gradcam-{i:04}.png"} for i in range(3)]
    results = tuple(
        replace(r, facts={**r.facts, "overlays": drawn}) if isinstance(r, Done) and r.stage == "explain/gradcam" else r
        for r in record.results
    )
    return replace(record, results=results)


def texts_of(files: dict[str, bytes], folder: Path) -> dict[str, str]:
    """Every form of the report as text: of the PDF its pages, and the files that it carries."""
    import pikepdf

    found = {}
    for file, content in files.items():
        if not file.endswith(".pdf"):
            found[file] = content.decode("utf-8")
            continue
        path = folder / "some.pdf"
        path.write_bytes(content)
        with pikepdf.open(path) as pdf:
            carried = [one.get_file().read_bytes().decode("utf-8") for one in pdf.attachments.values()]
            objects = [str(one) for one in pdf.objects if isinstance(one, pikepdf.Dictionary)]  # alt texts among them
            streams = [one.read_bytes().decode("latin-1") for one in pdf.objects if isinstance(one, pikepdf.Stream)
                       and one.get("/Subtype") != "/Image"]  # fmt: skip
        found[file] = "\n".join([*carried, *objects, *streams])
    return found


def printed(made: tuple[AuditConfig, Workspace, RunRecord], folder: Path) -> dict[str, str]:
    config, workspace, record = made
    files, _, failed = report_files(config, workspace, record)
    assert not failed
    # A PDF's pages are numbers of glyphs: what it says is what the document says.
    return {**texts_of(files, folder), "document": repr(document_of(Reading(config, workspace, record)))}


def labels_of(text: str) -> set[str]:
    return set(re.findall(r"picture ([0-9a-f]{12})\b", text, flags=re.IGNORECASE))


# ---------------------------------------------------------------- ids


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditConfig, Workspace, RunRecord]:
    config, workspace, record = image_run(tmp_path_factory.mktemp("images"))
    return config, workspace, with_overlay_facts(record)


def test_ids_are_hashed_in_every_form(images, tmp_path: Path) -> None:
    texts = printed(images, tmp_path)
    assert set(texts) >= {"summary.json", "report.html", "report.md", "report.pdf"}
    assert not {file for file, text in texts.items() if IDS.search(text)}
    pseudonyms = labels_of(texts["report.html"])
    assert len(pseudonyms) == 2
    assert labels_of(texts["report.md"]) == pseudonyms
    assert pseudonyms <= set(re.findall(r'"row_id": "([0-9a-f]{12})"', texts["summary.json"]))


def test_ids_are_plain_where_the_config_asks(images, tmp_path: Path) -> None:
    config, workspace, record = images
    texts = printed((with_rows(config, ids="plain"), workspace, record), tmp_path)
    for file in ("summary.json", "report.html", "report.md"):
        assert {"scene-000", "scene-001"} <= set(IDS.findall(texts[file]))
    assert "as the config asks" in texts["report.html"]


def test_a_redacted_id_column_leaves_no_trace(images, tmp_path: Path) -> None:
    config, workspace, record = images
    texts = printed((with_rows(config, redact=["scene_id"]), workspace, record), tmp_path)
    for text in texts.values():
        assert not IDS.findall(text)
        assert not labels_of(text)
    assert "Picture 1, its id not shown" in texts["report.html"]


def test_who_has_the_folder_finds_the_row_and_nobody_else(images) -> None:
    config, workspace, record = images
    label = row_label(Reading(config, workspace, record), "scene-007")
    # By the words of the docstring, with nothing but hashlib and the table.
    scores = pq.read_table(workspace.table_path("predictions"))["score"].to_numpy().astype("<f8")
    key = hashlib.sha256(b"keras-audit/row-id/1\n" + scores.tobytes()).digest()
    assert label == hmac.new(key, b"scene-007", "sha256").hexdigest()[:12]
    # Not from what the report prints: neither unkeyed, nor under a digest that stands in it.
    digests = {a.sha256 for a in Reading(config, workspace, record).artifacts}
    keys = [b"", *(digest.encode() for digest in digests), *(bytes.fromhex(digest) for digest in digests)]
    guesses = {pseudonym(one, "scene-007") for one in keys} | {hashlib.sha256(b"scene-007").hexdigest()[:12]}
    assert label not in guesses


def test_a_copy_renders_to_the_same_bytes_and_other_data_to_other_names(images, tmp_path: Path) -> None:
    config, workspace, record = images
    shutil.copytree(workspace.folder, tmp_path / "copy")
    copy = replace(workspace, folder=tmp_path / "copy")
    assert report_files(config, copy, record)[0] == report_files(config, workspace, record)[0]
    lines = pq.read_table(workspace.table_path("predictions")).to_pylist()
    lines[0]["score"] = np.nextafter(lines[0]["score"], 1)
    changed = replace(workspace, folder=tmp_path / "changed")
    changed.write_table("predictions", table("predictions", lines, pa.string()))
    was, now = (row_label(Reading(config, one, replace(record, results=())), "scene-000") for one in (copy, changed))
    assert was != now


@pytest.mark.parametrize(("different", "known"), [(31, False), (32, True)])
def test_scores_that_could_be_guessed_make_no_key(tmp_path: Path, different: int, known: bool) -> None:
    config, _, record = image_run(tmp_path / "some")
    workspace = Workspace(tmp_path / "few", record.run_id)
    lines = [{"row_id": f"p{i}", "output": "a", "score": None if i == 99 else i % different / 64} for i in range(100)]
    ref = workspace.write_table("predictions", table("predictions", lines, pa.string()))
    assert (scores_key(Path(ref.path), ref.sha256) is not None) is known
    label = row_label(Reading(config, workspace, replace(record, results=())), "p1")
    assert (label != REDACTED) is known
    nothing = Workspace(tmp_path / "nothing", record.run_id)
    assert row_label(Reading(config, nothing, replace(record, results=())), "p1") == REDACTED


def test_positions_stay_positions(tabular) -> None:
    assert row_label(tabular.reading, 17) == "17"
    assert printable(tabular.reading, {"overlays": [{"row_id": 17}]}) == {"overlays": [{"row_id": 17}]}
    assert "by its position in the data, counted from 0" in tabular.html


@pytest.mark.parametrize("row_id", [7, 7.5, "é\ud800", "", True, b"\xff"])
def test_ids_of_every_type_have_a_pseudonym(row_id: Any) -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", pseudonym(b"key", row_id))


def test_facts_are_changed_at_row_id_alone(images) -> None:
    reading = Reading(*images)
    facts = {"rows": 3, "none": None, "deep": [{"row_id": "scene-001", "text": "scene-001 is no id here"}, ("a", 1)]}
    made = printable(reading, facts)
    assert made["deep"][0] == {"row_id": row_label(reading, "scene-001"), "text": "scene-001 is no id here"}
    assert (made["rows"], made["none"], made["deep"][1]) == (3, None, ["a", 1])
    assert facts["deep"][0]["row_id"] == "scene-001"
    assert printable(reading, {"row_id": None}) == {"row_id": None}


# ---------------------------------------------------------------- redacted values


def test_redacted_values_are_in_no_form(tmp_path: Path) -> None:
    def made(redact: list[str]) -> tuple[AuditConfig, Workspace, RunRecord]:
        config, workspace, record = tabular_run(tmp_path / "-".join(["run", *redact]))
        path = workspace.table_path("attributions/shap")
        lines = pq.read_table(path).to_pylist()
        marked = [{**one, "value": f"secret-{one['feature']}-{one['row_id']}"} for one in lines]
        ref = workspace.write_table("attributions/shap", table("attributions", marked))
        results = tuple(
            replace(r, tables=(ref,)) if isinstance(r, Done) and r.stage == "explain/shap" else r
            for r in record.results
        )
        return with_rows(config, redact=redact), workspace, replace(record, results=results)

    pattern = re.compile(r"secret-(\w+?)-\d+")
    open_texts = printed(made([]), tmp_path)
    assert set(pattern.findall(open_texts["report.html"])) >= {"age", "occupation"}
    texts = printed(made(["age", "occupation", "income"]), tmp_path)
    for file, text in texts.items():
        assert not {"age", "occupation"} & set(pattern.findall(text)), file
    assert "; labelled" in open_texts["report.html"]
    assert "; labelled" not in texts["report.html"]
    assert set(pattern.findall(texts["report.html"]))


def test_a_group_of_features_hides_with_any_of_its_columns(tabular) -> None:
    from tasks.report.persons import hidden_features

    config = config_of(explain={"feature_groups": {"place": ["city", "country"], "money": ["income", "debt"]}})
    assert hidden_features(with_rows(config, redact=["country", "age"])) == {"country", "age", "place"}


def test_facts_of_a_hidden_feature_lose_their_texts(tabular) -> None:
    reading = Reading(with_rows(tabular.config, redact=["occupation"]), tabular.workspace, tabular.record)
    rare = {"occupation": {"categories": 2, "named": ["Priv-house-serv", "Armed-Forces"]}, "age": {"named": ["17"]}}
    assert printable(reading, {"rare": rare, "occupation": 0.5, "order": ["occupation"]}) == {
        "rare": {"occupation": {"categories": 2, "named": ["redacted", "redacted"]}, "age": {"named": ["17"]}},
        "occupation": 0.5,
        "order": ["occupation"],
    }


def test_what_was_decided_and_labelled_hides_with_its_column(image) -> None:
    from tasks.report.sections.overlays import overlays
    from tasks.report.sections.single import outcome_shown

    row = {"decision": "2", "y_true": "3"}
    assert outcome_shown(image.reading, row) == ("2", "3")
    hidden = Reading(with_rows(image.config, redact=["digit"]), image.workspace, image.record)
    assert outcome_shown(hidden, row) == ("2", None)
    assert "labelled" in repr(overlays(image.reading))
    assert "labelled" not in repr(overlays(hidden))
    bias = image.config.bias.model_copy(
        update={"decision": image.config.bias.decision.model_copy(update={"column": "verdict"})}
    )
    recorded = with_rows(image.config.model_copy(update={"bias": bias}), redact=["verdict"])
    assert outcome_shown(Reading(recorded, image.workspace, image.record), row) == (None, "3")


def test_a_misspelt_column_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"age": [1], "salary": [2.0], "income": ["x"], "sex": ["f"]}), tmp_path / "data.parquet")
    data = {"path": str(tmp_path / "data.parquet"), "reference": None, "intersections": [], "id": "person",
            "sensitive": {"sex": {"column": "sex"}}}  # fmt: skip
    config = config_of(data=data, policy=[], report={"rows": {"redact": ["salery"]}})
    with pytest.raises(ConfigError, match=r"report\.rows\.redact: .*salery.*did you mean salary\?") as raised:
        load_data(config, Watch())
    assert raised.value.exit_code == 2
    # A column that the audit needs and the data lack is the gate's to refuse.
    assert load_data(config_of(data=data, policy=[], report={"rows": {"redact": ["salary", "person"]}}), Watch()).facts


def test_ids_of_the_config_are_hashed_unless_it_says_otherwise() -> None:
    assert config_of().report.rows.ids == "hashed"
    assert config_of(report={"rows": {"ids": "plain"}}).report.rows.ids == "plain"
    with pytest.raises(ValueError, match="'hashed' or 'plain'"):
        config_of(report={"rows": {"ids": "open"}})


# ---------------------------------------------------------------- the section


def facts_of(section: Section) -> dict[str, str]:
    pairs = [pair for block in section.blocks if isinstance(block, Facts) for pair in block.pairs]
    return {label: "".join(span.text for span in content) for label, content in pairs}


def rows_of(section: Section) -> dict[str, tuple[str, ...]]:
    tables = [block for block in section.blocks if isinstance(block, Table)]
    cells = [tuple("".join(span.text for span in cell) for cell in row) for one in tables for row in one.rows]
    return {row[0]: row[1:] for row in cells}


def test_tables_are_found_by_their_schema(tabular, image) -> None:
    found = rows_of(personal_data(tabular.reading))
    assert found["predictions"] == ("400", "400", "output, y_true, score, decision")
    assert found["attributions/shap"][:2] == ("30", "240")
    assert set(found) == {"predictions", "attributions/shap", "attributions/lime"}
    assert set(rows_of(personal_data(image.reading))) == {"predictions", "saliency/gradcam", "saliency/shap"}


def test_averages_are_not_rows_and_an_unknown_table_is(tmp_path: Path) -> None:
    config, workspace, record = tabular_run(tmp_path)
    curve = {"output": ">50K", "feature": "age", "point": 0, "position": 1.0, "value": "1", "effect": 0.2}
    workspace.write_table("effects/ale", table("effects", [curve]))
    ids = pa.array([3, 3, None, 5], pa.int64())
    pq.write_table(pa.table({"row_id": ids, "shoe_size": [1, 2, 3, 4]}), workspace.artifacts / "later.parquet")
    found = rows_of(personal_data(Reading(config, workspace, record)))
    assert "effects/ale" not in found
    assert found["later"] == ("2", "4", "shoe_size")


def test_it_says_what_is_printed_and_by_whom_it_is_kept(image, run_of) -> None:
    told = facts_of(personal_data(image.reading))
    assert told["Pictures of single rows"].startswith("24 (")
    assert told["Printed in this report"] == "up to 2 rows, explained one by one (report.rows.show)"
    assert told["How a row is called"].startswith("by its scene_id, hashed: the first 12 hex digits of HMAC-SHA-256")
    assert told["Columns never printed"] == "none (report.rows.redact)"
    assert told["Retention"].startswith("human required")
    config = with_rows(image.config, show=0, redact=["digit", "contrast"])
    report = config.report.model_copy(
        update={"attestations": {"retention": {"statement": "Two years.", "who": "A. Person", "date": "2026-11-01"}}}
    )
    told = facts_of(personal_data(Reading(config.model_copy(update={"report": report}), image.workspace, image.record)))
    assert told["Printed in this report"] == "no single row"
    assert told["Columns never printed"] == "digit, contrast"
    assert told["Retention"] == "Two years. (A. Person, 2026-11-01). Stated by a person, not checked."
    assert "Ids outside the tables" not in told
    drawn = Reading(image.config, image.workspace, with_overlay_facts(image.record))
    assert facts_of(personal_data(drawn))["Ids outside the tables"].startswith("record.json names the rows")
    nothing = personal_data(run_of("unreadable").reading)
    assert "no table with lines of single rows" in repr(nothing)


def test_small_groups_are_told(tabular) -> None:
    told = facts_of(personal_data(tabular.reading))
    small = {
        (r["attribute"], r["group"])
        for r in tabular.rows("group_metrics")
        if r["attribute"] and r["feature"] is None and r["metric"] == "selection_rate" and 0 < r["n"] < 30
    }
    assert small
    assert told["Small groups"].startswith(f"{len(small)} of ")


def test_it_stands_before_the_evidence_in_every_form(image) -> None:
    anchors = [s.attributes["id"] for s in image.page.first("main").all("section")]
    assert anchors.index("evidence") == anchors.index("personal_data") + 1
    assert "## " in image.markdown
    assert "Personal data" in image.markdown
    assert json.loads((image.folder / "summary.json").read_text())["report_id"]
