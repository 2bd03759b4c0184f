"""Writing `saliency/<technique>`: the maps, overlays of the rows that a report may show, and what the maps are worth.

Boxes say where the object is, so they say whether a map of the object's own class points at it:

- box_hit_rate, the pointing game (Zhang et al. 2018, Top-down neural attention by excitation backprop): whether the
  largest value of the map lies in the box. Where several places share the largest value, the share of them that do;
  so a map that is the same everywhere hits as often as chance.
- box_mass: the share of the map's positive part that lies in the box.

Both are counted where the explained output is the row's true class, on maps brought bilinearly to the image's
resolution, and stand beside `chance`, what a blind guess reaches: the share of the image that the box covers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.contracts import TableRef
from tasks.explain.base import Problem, Saliency
from tasks.explain.engine.overlays import (
    CAPTION,
    CAPTION_BOX,
    CAPTION_SIGNED,
    CAPTION_SUPERPIXELS,
    overlay,
    upsampled,
)
from tasks.explain.tallies import Z95
from tasks.persist import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

#: share of a map's maximum below it that still counts as the maximum: interpolation rounds
TIE = 1e-6
#: maps that make a row group, at the least
ROW_GROUP = 64


@dataclass(frozen=True)
class WrittenSaliency:
    """What `write_saliency` made.

    Attributes:
        table: saliency/<technique>.
        images: the overlays, as paths under artifacts/.
        facts: JSON values: layer, height, width, signed, n_rows, overlays, caption, quality, chance.
        limitations: sentences, with the number of images that each is about.
        outputs: that were explained, in the model's order.
        evaluations: of the model, for these maps.
    """

    table: TableRef
    images: tuple[str, ...]
    facts: Mapping[str, Any]
    limitations: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    evaluations: int = 0


def images_of_part(problem: Problem) -> int:
    """Images whose maps make a row group."""
    return -(-ROW_GROUP // max(1, problem.explained.shape[1]))


def write_saliency(
    technique: str,
    problem: Problem,
    row_id: pa.Array,
    batches: Iterable[tuple[slice, Saliency]],
    workspace: Workspace,
    *,
    show: int,
) -> WrittenSaliency:
    """Writes a technique's maps as they come, one row group a batch.

    Args:
        technique: its name, the table's name and the overlays'.
        row_id: (n,) of problem.rows.
        batches: rows of problem (without a step) and their explanation, in order.
        show: overlays are made of the first `show` rows, each of the output the model scores highest among those
            explained. 0 where reports may show no single row: then there are none.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    tally = _Tally(problem)
    pictures = _Pictures(technique, problem, row_id, workspace, show)
    shape: tuple[int, int] | None = None
    cut = False  # into superpixels
    layer, signed, n, evaluations = None, False, 0, 0
    outputs: set[int] = set()
    with workspace.table_writer(f"saliency/{technique}", row_id.type) as writer:
        for rows, saliency in batches:
            layer, signed, shape = saliency.layer, saliency.signed, saliency.maps.shape[2:]
            cut = saliency.segments is not None
            images = pictures.draw(rows, saliency)
            writer.write(_table(problem, row_id, rows, saliency, images))
            tally.add(rows, saliency)
            n += len(saliency.maps)
            evaluations += saliency.evaluations
            outputs.update(np.unique(problem.explained[rows]).tolist())
    assert writer.ref is not None
    facts: dict[str, Any] = {
        "n_rows": n,
        "layer": layer,
        "height": shape[0] if shape else None,
        "width": shape[1] if shape else None,
        "signed": signed,
        "overlays": pictures.drawn,
        "quality": tally.quality(),
        "chance": tally.chance(),
    }
    if pictures.drawn:
        boxed = problem.boxes is not None and np.isfinite(problem.boxes[: len(pictures.drawn)]).all(axis=1).any()
        captions = [CAPTION_SUPERPIXELS if cut else CAPTION_SIGNED if signed else CAPTION] + [CAPTION_BOX] * bool(boxed)
        facts["caption"] = " ".join(captions)
    explained = tuple(problem.outputs[k] for k in sorted(outputs))
    return WrittenSaliency(writer.ref, tuple(pictures.files), facts, tally.limitations(n), explained, evaluations)


def _table(
    problem: Problem, row_id: pa.Array, rows: slice, saliency: Saliency, images: Mapping[tuple[int, int], str]
) -> pa.Table:
    """A row for each map: row by row, outputs in the order explained."""
    import pyarrow as pa

    n, m, height, width = saliency.maps.shape
    explained = problem.explained[rows]
    flat = np.ascontiguousarray(saliency.maps, np.float32).reshape(-1)
    offsets = np.arange(n * m + 1, dtype=np.int32) * (height * width)
    return pa.table(
        {
            "row_id": row_id.slice(rows.start, n).take(pa.array(np.repeat(np.arange(n), m))),
            "output": pa.array(problem.outputs).take(pa.array(explained.reshape(-1))),
            "layer": pa.array([saliency.layer] * (n * m), pa.string()),
            "height": np.full(n * m, height, np.int64),
            "width": np.full(n * m, width, np.int64),
            "heatmap": pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)),
            "image": pa.array([images.get((row, place)) for row in range(n) for place in range(m)], pa.string()),
        }
    )


@dataclass
class _Pictures:
    """Overlays of the first rows, numbered: a row's id never gets into a file's name."""

    technique: str
    problem: Problem
    row_id: pa.Array
    workspace: Workspace
    show: int
    files: list[str] = field(default_factory=list)
    drawn: list[dict[str, Any]] = field(default_factory=list)

    def draw(self, rows: slice, saliency: Saliency) -> dict[tuple[int, int], str]:
        """Draws what is to be drawn of a batch: (row of the batch, place among its outputs) → path under artifacts/."""
        problem, images = self.problem, {}
        count = max(0, min(self.show - rows.start, len(saliency.maps)))
        if count == 0:
            return {}
        shown = slice(rows.start, rows.start + count)
        scores = np.take_along_axis(problem.predictor(problem.rows[shown], "margin"), problem.explained[shown], axis=1)
        for row, place in enumerate(scores.argmax(axis=1)):
            at = rows.start + row
            box = None if problem.boxes is None else problem.boxes[at]
            cut = None if saliency.segments is None else saliency.segments[row]
            content = overlay(
                problem.rows[at], saliency.maps[row, place], signed=saliency.signed, box=box, segments=cut
            )
            path = f"images/{self.technique}-{len(self.files) + 1:04d}.png"
            self.workspace.write_bytes(f"artifacts/{path}", content)
            self.files.append(path)
            images[row, int(place)] = path
            output = problem.outputs[problem.explained[at, place]]
            identity = self.row_id[at].as_py()
            self.drawn.append(
                {
                    "row_id": identity if isinstance(identity, (int, float, str)) else str(identity),
                    "output": output,
                    "image": path,
                }
            )
        return images


class _Tally:
    """Sums up quality over batches, a value for each output and one (output null) for all together."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.values: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}  # measure → (outputs, values) a batch
        self.notes: dict[str, int] = {}
        self.covered: list[float] = []

    def add(self, rows: slice, saliency: Saliency) -> None:
        explained = np.ascontiguousarray(self.problem.explained[rows])
        for measure, values in saliency.quality.items():
            self.values.setdefault(measure, []).append((explained.ravel(), np.asarray(values, float).ravel()))
        for sentence, holds in saliency.notes.items():
            self.notes[sentence] = self.notes.get(sentence, 0) + int(np.sum(holds))
        if self.problem.boxes is not None:
            self._add_boxes(rows, saliency)

    def _add_boxes(self, rows: slice, saliency: Saliency) -> None:
        problem = self.problem
        assert problem.boxes is not None
        height, width = problem.rows.shape[1:3]
        outputs, hits, masses = [], [], []
        for row in range(len(saliency.maps)):
            at = rows.start + row
            inside = box_mask(problem.boxes[at], height, width)
            place = self._place_of_truth(at)
            if inside is None or place is None:
                continue
            heat = upsampled(saliency.maps[row, place], height, width)
            outputs.append(problem.explained[at, place])
            hits.append(pointing(heat, inside))
            masses.append(mass_inside(heat, inside))
            self.covered.append(float(inside.mean()))
        for measure, values in (("box_hit_rate", hits), ("box_mass", masses)):
            self.values.setdefault(measure, []).append((np.array(outputs, int), np.array(values, float)))

    def _place_of_truth(self, at: int) -> int | None:
        """Where among a row's explained outputs its true class is; None where it was not explained or is not known."""
        problem = self.problem
        if problem.task == "regression":
            return 0
        head = problem.predictor.audited
        # A single output of a binary model stands for the second class.
        truth = problem.target[at] - (head.stop - head.start == 1)
        if truth < 0:
            return None
        places = np.flatnonzero(problem.explained[at] == head.start + truth)
        return int(places[0]) if len(places) else None

    def quality(self) -> dict[str, list[dict[str, Any]]]:
        """measure → entries with output (name; null: all together), mean, std_error, ci_low, ci_high, n."""
        result = {}
        for measure, parts in self.values.items():
            outputs = np.concatenate([part[0] for part in parts])
            values = np.concatenate([part[1] for part in parts])
            rate = measure in ("box_hit_rate", "empty_map")
            entries = [_summary(None, values, rate)]
            if len(self.problem.outputs) > 1:
                entries += [
                    _summary(self.problem.outputs[output], values[outputs == output], rate)
                    for output in np.unique(outputs)
                ]
            result[measure] = entries
        return result

    def chance(self) -> dict[str, Any] | None:
        """What box_hit_rate and box_mass are where a map says nothing: the mean share of the image in the box."""
        return _summary(None, np.array(self.covered), False) if self.problem.boxes is not None else None

    def limitations(self, n: int) -> tuple[str, ...]:
        said = [f"{sentence} ({count} of {n} images)." for sentence, count in self.notes.items()]
        empty = [values for _, values in self.values.get("empty_map", [])]
        if empty and (count := int(np.concatenate(empty).sum())):
            said.append(
                f"{count} of {sum(map(len, empty))} maps are empty: no place in the image speaks for the output."
            )
        return tuple(said)


def _summary(output: str | None, values: np.ndarray, rate: bool) -> dict[str, Any]:
    """Mean of the finite values with its standard error and 95 % interval: Wilson's for rates, else the normal one."""
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return {"output": output, "mean": None, "std_error": None, "ci_low": None, "ci_high": None, "n": 0}
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((values - mean) ** 2) / (n - 1) / n) if n > 1 else None
    low: float | None = None
    high: float | None = None
    if rate:
        low, high = wilson(mean, n)
    elif error is not None:
        low, high = mean - Z95 * error, mean + Z95 * error
    return {"output": output, "mean": mean, "std_error": error, "ci_low": low, "ci_high": high, "n": n}


def wilson(rate: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927)."""
    share = Z95**2 / n
    centre = (rate + share / 2) / (1 + share)
    half = Z95 / (1 + share) * math.sqrt(rate * (1 - rate) / n + share / (4 * n))
    # Exact where rounding would leave the ends beside 0 and 1.
    return 0.0 if rate <= 0 else max(0.0, centre - half), 1.0 if rate >= 1 else min(1.0, centre + half)


def box_mask(box: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """(height, width) bool: pixels whose centre is in the box; None where the box is unknown or holds none."""
    left, top, right, bottom = (float(edge) for edge in box)
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    mask = ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))[None, :]
    return mask if mask.any() else None


def pointing(heat: np.ndarray, inside: np.ndarray) -> float:
    """The share of the map's maximal places that are inside, 0–1."""
    top = heat.max()
    return float(inside[heat >= top - TIE * np.abs(heat).max()].mean())


def mass_inside(heat: np.ndarray, inside: np.ndarray) -> float:
    """The share of the map's positive part that is inside, 0–1; NaN where nothing is positive."""
    positive = np.maximum(heat, 0)
    total = float(positive.sum())
    return float(positive[inside].sum()) / total if total > 0 else math.nan
