"""The saliency table, its overlays, and the box measures, counted by hand; then the stage over the bundled scenes."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from configs.schema import AuditConfig
from tasks.contracts import TABLES, Done, schema_of
from tasks.errors import Stopped
from tasks.explain import explain, technique_of
from tasks.explain.base import Problem, Saliency
from tasks.explain.parts import Local
from tasks.explain.saliency import WrittenSaliency, box_mask, mass_inside, pointing, wilson, write_saliency
from tasks.persist import take_unfinished
from tasks.persist.store import Workspace
from tasks.watch import Watch

keras = pytest.importorskip("keras")
layers = keras.layers
Maker = Callable[..., Problem]

HOSTILE = ["<script>alert(1)</script>", "../../etc/passwd", "a|b\n#", "\u202etxt.exe", "x" * 200, "", "🙂/\\\0"]


@pytest.fixture
def problem(image_problem: Maker, pictures: Callable[..., np.ndarray]) -> Problem:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, "softmax")])
    boxes = np.tile(np.array([0.0, 0, 4, 4]), (7, 1))
    return image_problem(model, pictures(7, (8, 8, 1)), boxes=boxes, target=[0, 1, 2, 0, 1, 2, -1])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "20260101T000000Z-00000000")


def written(
    problem: Problem,
    workspace: Workspace,
    maps: np.ndarray,
    *,
    show: int = 3,
    batch: int = 3,
    row_id: pa.Array | None = None,
    **more: Any,
) -> WrittenSaliency:
    def batches() -> Iterator[tuple[slice, Saliency]]:
        for start in range(0, len(maps), batch):
            rows = slice(start, min(start + batch, len(maps)))
            parts = {key: {k: v[rows] for k, v in more[key].items()} for key in ("quality", "notes") if key in more}
            yield rows, Saliency(maps[rows], layer="conv", **parts)

    row_id = pa.array(range(100, 100 + len(maps))) if row_id is None else row_id
    return write_saliency("gradcam", problem, row_id, batches(), workspace, show=show)


def flat(problem: Problem) -> np.ndarray:
    return np.ones((*problem.explained.shape, 2, 2), np.float32)


def test_table_has_the_contracts_columns(problem: Problem, workspace: Workspace) -> None:
    maps = np.random.default_rng(0).random((7, 3, 2, 4)).astype(np.float32)
    result = written(problem, workspace, maps)
    table = pq.read_table(result.table.path)
    assert table.schema.remove_metadata().equals(TABLES["saliency"])
    assert table["row_id"].to_pylist() == [100 + row for row in range(7) for _ in range(3)]
    assert table["output"].to_pylist() == list(problem.outputs) * 7
    assert set(table["layer"].to_pylist()) == {"conv"}
    assert set(table["height"].to_pylist()) == {2}
    assert set(table["width"].to_pylist()) == {4}
    np.testing.assert_array_equal(np.array(table["heatmap"].to_pylist()), maps.reshape(21, 8))
    assert result.table.rows == 21
    assert (result.facts["layer"], result.facts["height"], result.facts["width"]) == ("conv", 2, 4)


def test_overlays_are_of_the_first_rows_and_their_predicted_output(problem: Problem, workspace: Workspace) -> None:
    result = written(problem, workspace, flat(problem), show=4)
    assert result.images == tuple(f"images/gradcam-{i:04d}.png" for i in (1, 2, 3, 4))
    images = np.array(pq.read_table(result.table.path)["image"].to_pylist(), object).reshape(7, 3)
    predicted = problem.predictor(problem.rows, "probability").argmax(axis=1)
    for row in range(7):
        expected = [None] * 3
        if row < 4:
            expected[predicted[row]] = f"images/gradcam-{row + 1:04d}.png"
        assert images[row].tolist() == expected
    for path in result.images:
        picture = Image.open(io.BytesIO((workspace.artifacts / path).read_bytes()))
        picture.load()
        assert picture.size == (2 * 256 + 8, 256)
    shown = result.facts["overlays"]
    assert [entry["row_id"] for entry in shown] == [100, 101, 102, 103]
    assert [entry["output"] for entry in shown] == [problem.outputs[i] for i in predicted[:4]]
    assert "dashed frame" in result.facts["caption"]


@pytest.mark.parametrize("show", [0, 50])
def test_as_many_overlays_as_the_report_may_show(show: int, problem: Problem, workspace: Workspace) -> None:
    result = written(problem, workspace, flat(problem), show=show)
    assert len(result.images) == min(show, 7)
    assert len(list(workspace.artifacts.glob("images/*"))) == min(show, 7)
    assert ("caption" in result.facts) == (show > 0)
    assert pq.read_table(result.table.path)["image"].null_count == 21 - min(show, 7)


def test_hostile_row_ids_are_data_and_never_file_names(problem: Problem, workspace: Workspace) -> None:
    result = written(problem, workspace, flat(problem), show=7, row_id=pa.array(HOSTILE))
    table = pq.read_table(result.table.path)
    assert table["row_id"].type == pa.string()
    assert table["row_id"].to_pylist() == [text for text in HOSTILE for _ in range(3)]
    names = sorted(
        path.relative_to(workspace.folder).as_posix() for path in workspace.folder.rglob("*") if path.is_file()
    )
    assert names == [f"artifacts/images/gradcam-{i:04d}.png" for i in range(1, 8)] + [
        "artifacts/saliency/gradcam.parquet"
    ]
    assert [entry["row_id"] for entry in result.facts["overlays"]] == HOSTILE


def test_each_rows_own_outputs(problem: Problem, workspace: Workspace) -> None:
    chosen = np.array([[2], [0], [1], [1], [0], [2], [1]])
    result = written(replace(problem, explained=chosen), workspace, flat(problem)[:, :1])
    outputs = pq.read_table(result.table.path)["output"].to_pylist()
    assert outputs == [problem.outputs[i] for i in chosen[:, 0]]
    # box measures: only where the explained output is the true class: rows 1 (0≠1) no … rows 5 (2=2) yes
    expected = int(sum(problem.target == chosen[:, 0]))
    assert result.facts["quality"]["box_hit_rate"][0]["n"] == expected == 1


def test_box_measures_by_hand(problem: Problem, workspace: Workspace) -> None:
    """Boxes cover the upper left quarter. Of the true class: rows 0–2 point there, 3 elsewhere, 4 is flat, 5 empty."""
    maps = np.zeros((7, 3, 8, 8), np.float32)
    maps[:, :, 7, 7] = 9  # other classes point elsewhere
    for row in range(6):
        maps[row, problem.target[row]] = 0
    for row in (0, 1, 2):
        maps[row, problem.target[row], 1, 1] = 3
        maps[row, problem.target[row], 6, 6] = 1
        maps[row, problem.target[row], 6, 1] = -5  # evidence against is no mass
    maps[3, problem.target[3], 6, 6] = 1
    maps[4, problem.target[4]] = 1
    result = written(problem, workspace, maps)
    overall = {measure: entries[0] for measure, entries in result.facts["quality"].items()}
    # three hits, one miss, two flat maps that hit by chance (1/4); row 6 has no label
    rate = (3 + 0 + 0.25 + 0.25) / 6
    assert overall["box_hit_rate"]["n"] == 6
    assert overall["box_hit_rate"]["output"] is None
    assert overall["box_hit_rate"]["mean"] == pytest.approx(rate)
    assert (overall["box_hit_rate"]["ci_low"], overall["box_hit_rate"]["ci_high"]) == wilson(rate, 6)
    # 3/4 three times, 0, 1/4; the empty map has no mass
    assert overall["box_mass"]["n"] == 5
    assert overall["box_mass"]["mean"] == pytest.approx((3 * 0.75 + 0 + 0.25) / 5)
    assert result.facts["chance"]["mean"] == pytest.approx(0.25)
    by_class = {entry["output"]: entry for entry in result.facts["quality"]["box_hit_rate"][1:]}
    assert by_class[problem.outputs[0]]["n"] == 2
    assert by_class[problem.outputs[0]]["mean"] == pytest.approx(0.5)


def test_single_output_stands_for_the_second_class(
    image_problem: Maker, pictures: Callable[..., np.ndarray], workspace: Workspace
) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(1, "sigmoid")])
    boxes = np.tile(np.array([0.0, 0, 4, 4]), (4, 1))
    problem = image_problem(model, pictures(4, (8, 8, 1)), boxes=boxes, target=[0, 1, 1, 0])
    result = written(problem, workspace, flat(problem))
    assert [entry["n"] for entry in result.facts["quality"]["box_hit_rate"]] == [2]


def test_rows_without_box_or_boxes_at_all(problem: Problem, workspace: Workspace) -> None:
    boxes = problem.boxes.copy()
    boxes[:3] = np.nan
    result = written(replace(problem, boxes=boxes), workspace, flat(problem))
    assert result.facts["quality"]["box_hit_rate"][0]["n"] == 3
    result = written(replace(problem, boxes=None), workspace, flat(problem))
    assert "box_hit_rate" not in result.facts["quality"]
    assert result.facts["chance"] is None
    assert "frame" not in result.facts["caption"]


def test_batches_change_nothing(problem: Problem, tmp_path: Path) -> None:
    maps = np.random.default_rng(0).random((7, 3, 4, 4)).astype(np.float32)
    quality = {"local_r2": np.random.default_rng(1).random((7, 3))}
    runs = [
        written(problem, Workspace(tmp_path / str(batch), "run"), maps, batch=batch, show=5, quality=quality)
        for batch in (1, 3, 7)
    ]
    assert runs[0].facts == runs[1].facts == runs[2].facts
    tables = [pq.read_table(run.table.path) for run in runs]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_quality_notes_and_empty_maps(problem: Problem, workspace: Workspace) -> None:
    r2 = np.full((7, 3), 0.5)
    r2[0, 0], r2[1] = 0.8, np.nan
    empty = np.zeros((7, 3))
    empty[:2] = 1
    result = written(
        problem, workspace, flat(problem), batch=2,
        quality={"local_r2": r2, "empty_map": empty},
        notes={"A grid was used": np.array([1, 0, 0, 1, 0, 0, 1], bool)},
    )  # fmt: skip
    overall, first, *_ = result.facts["quality"]["local_r2"]
    assert (overall["n"], first["n"]) == (18, 6)
    assert overall["mean"] == pytest.approx((17 * 0.5 + 0.8) / 18)
    assert overall["std_error"] == pytest.approx(np.std([0.5] * 17 + [0.8], ddof=1) / math.sqrt(18))
    assert result.facts["quality"]["empty_map"][0]["mean"] == pytest.approx(6 / 21)
    assert result.limitations[0] == "A grid was used (3 of 7 images)."
    assert result.limitations[1].startswith("6 of 21 maps are empty")


def test_facts_are_json(problem: Problem, workspace: Workspace) -> None:
    import json

    maps = np.zeros((7, 3, 2, 2), np.float32)
    result = written(problem, workspace, maps, quality={"local_r2": np.full((7, 3), np.nan)})
    assert json.loads(json.dumps(result.facts, allow_nan=False)) == result.facts


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((0, 0, 4, 4), 16), ((1, 2, 2, 4), 2), ((-9, -9, 99, 99), 64), ((1.6, 0, 2.6, 1), 1), ((0, 0, 0, 0), None),
        ((5, 5, 4, 9), None), ((math.nan, 0, 4, 4), None), ((100, 100, 120, 120), None),
    ],
)  # fmt: skip
def test_box_mask(box: tuple[float, ...], inside: int | None) -> None:
    mask = box_mask(np.array(box), 8, 8)
    assert (None if mask is None else int(mask.sum())) == inside


def test_pointing_shares_ties() -> None:
    inside = np.zeros((2, 2), bool)
    inside[0, 0] = True
    assert pointing(np.array([[5.0, 1], [1, 1]]), inside) == 1
    assert pointing(np.array([[1.0, 5], [1, 1]]), inside) == 0
    assert pointing(np.array([[5.0, 5], [1, 1]]), inside) == 0.5
    assert pointing(np.array([[-1.0, -2], [-3, -3]]), inside) == 1
    assert pointing(np.zeros((2, 2)), inside) == 0.25


def test_mass_inside_without_evidence_is_undefined() -> None:
    inside = np.ones((2, 2), bool)
    assert math.isnan(mass_inside(np.array([[-1.0, 0], [0, 0]]), inside))
    assert mass_inside(np.array([[-1.0, 2], [0, 0]]), inside) == 1


@pytest.mark.parametrize(
    ("rate", "n", "expected"), [(0.0, 10, (0.0, 0.27753)), (0.5, 100, (0.40383, 0.59617)), (1.0, 1, (0.20655, 1.0))]
)
def test_wilson(rate: float, n: int, expected: tuple[float, float]) -> None:
    assert wilson(rate, n) == pytest.approx(expected, abs=1e-5)


# ---------------------------------------------------------------- the stage, on the bundled scenes


def scenes(**changes: Any) -> AuditConfig:
    config = yaml.safe_load(Path("configs/digit_scenes.yaml").read_text(encoding="utf-8"))
    config["explain"] = {"rows": 12, "background": 5, **changes.pop("explain", {})}
    return AuditConfig.model_validate({**config, **changes})


SETTINGS = {"gradcam": {}, "shap": {"samples": 10}, "lime": {"samples": 60}}


@pytest.mark.parametrize("name", SETTINGS)
def test_stage_on_scenes(name: str, workspace: Workspace) -> None:
    config = scenes(explain={"techniques": SETTINGS})
    done = explain(name, config, workspace, Watch())
    assert isinstance(done, Done)
    table = pq.read_table(done.tables[0].path)
    assert done.tables[0].name == f"saliency/{name}"
    assert table.schema.remove_metadata().equals(schema_of("saliency", pa.string()))
    assert len(table) == 12 * 10
    assert all(identity.startswith("scene-") for identity in table["row_id"].to_pylist())
    assert (table["layer"].null_count == 0) == (name == "gradcam")
    assert len(done.images) == config.report.rows.show
    quality = done.facts["quality"]
    assert quality["box_hit_rate"][0]["n"] == quality["box_mass"][0]["n"] == 12
    # the digit covers about a twelfth of a scene; a technique that knows nothing hits as often
    assert 0.03 < done.facts["chance"]["mean"] < 0.2
    assert quality["box_mass"][0]["mean"] > done.facts["chance"]["mean"]
    again = explain(name, config, Workspace(workspace.folder / "again", "run"), Watch())
    assert isinstance(again, Done)
    assert pq.read_table(again.tables[0].path).equals(table)


@pytest.mark.parametrize("rows", [{"show": 0}, {"show": 3, "redact": ["image"]}])
def test_redacted_reports_get_no_overlays(rows: dict[str, Any], workspace: Workspace) -> None:
    done = explain("gradcam", scenes(report={"rows": rows}), workspace, Watch())
    assert isinstance(done, Done)
    assert done.images == ()
    assert not list(workspace.folder.rglob("*.png"))
    assert pq.read_table(done.tables[0].path)["image"].null_count == 12 * 10


def test_maps_of_a_stopped_run_are_not_computed_again(problem: Problem, tmp_path: Path) -> None:
    """Pieces of maps are kept and read like those of attributions; overlays are drawn anew."""
    technique = technique_of("gradcam", "image")
    assert technique is not None
    technique = replace(technique, batch=2)
    asked: list[int] = []

    def explain(rows: np.ndarray, explained: np.ndarray) -> Saliency:
        asked.append(len(rows))
        maps = np.repeat(rows.mean(axis=3)[:, None], explained.shape[1], axis=1)
        return Saliency(maps, "layer", notes={"odd": np.arange(len(rows)) == 0}, evaluations=len(rows))

    def write(run: str, stop_at: int | None = None) -> Any:
        kept = take_unfinished(tmp_path / ".unfinished", "maps", run_id=run, stage="explain/gradcam")
        assert kept is not None
        local = Local(technique, problem, pa.array(np.arange(7)), explain, 4, kept)
        watch = Watch()

        def report(task: str, done: int, total: int | None) -> None:
            if stop_at is not None and done >= stop_at:
                watch.stop.set()

        watch.report = report
        try:
            workspace = Workspace(tmp_path / run, run)
            written = write_saliency("gradcam", problem, local.ids, local.parts(watch), workspace, show=2)
        finally:
            kept.close()
        table = workspace.read_table("saliency/gradcam")
        files = [(workspace.artifacts / name).read_bytes() for name in written.images]
        return table, files, written.facts, written.limitations, written.evaluations

    with pytest.raises(Stopped):
        write("stopped", stop_at=4)
    assert asked == [2, 2]
    asked.clear()
    resumed = write("resumed")
    assert asked == [2, 1]
    shutil.rmtree(tmp_path / ".unfinished")
    whole = write("whole")
    assert resumed[0].equals(whole[0])
    assert resumed[1:] == whole[1:]
    assert resumed[3] == ("odd (4 of 7 images).",)
