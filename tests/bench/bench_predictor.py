"""The predictor beside the bare compiled model and `model.predict`: a matrix that is ready, raw rows, and images.

Shares are of the floor: the bare compiled model at its best batch size, with or without XLA, its input in tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Bench, Speed, in_turn, main, number, repeats_for, seconds
from subjects import FLOOR_ROWS, Case, adult, bare, floor_line, small_cnn, small_network

from tasks.load import tensorflow
from tasks.load.arrangement import identity
from tasks.load.outputs import describe
from tasks.load.predictor import Predictor

#: what model.predict is given: it needs seconds for more
PREDICT_ROWS = 4_096
#: seconds that a case's candidates take in turn
BUDGET = 15.0
BARE, PLAIN = "floor: bare compiled, its best", "bare compiled, a plain loop from numpy"
READY, WIDE = "predictor, ready matrix, float32", "predictor, ready matrix, float64"
RAW, MARGIN, PIXELS = "predictor, raw coded rows", "predictor, raw coded rows, margin", "predictor, images of 0–255"

#: what is run, and on how many rows
Candidates = dict[str, tuple[Callable[[], Any], int]]


def run(bench: Bench) -> None:
    for make in (adult, small_network, small_cnn):
        case = make(bench)
        image = case.problem.modality == "image"
        n = len(case.matrix) if image else bench.size(FLOOR_ROWS, 4096)
        with bench.speed(f"Predictor, {case.name}", f"{n:,} rows a call. {floor_line(case)}") as table:
            with table.attempt("predictor"):
                measure(bench, case, table, image_candidates(case) if image else table_candidates(case, n))
            with table.attempt("model.predict"):
                documented(bench, case, table)


def table_candidates(case: Case, n: int) -> Candidates:
    """The model on its matrix; where it has preprocessing, on raw rows too."""
    places = np.arange(n) % len(case.matrix)
    matrix, coded = case.matrix[places], case.problem.rows[places]
    wide = matrix.astype(np.float64)
    width = matrix.shape[1]
    outputs = describe(case.model, "binary", ("no", "yes"), "y", "benchmark")
    on_matrix, predictor = Predictor(case.model, outputs, identity(width), (width,)), case.problem.predictor
    found: Candidates = {
        BARE: (case.floor.work, case.floor.rows),
        PLAIN: (_loop(case, matrix), n),
        READY: (lambda: on_matrix(matrix), n),
        WIDE: (lambda: on_matrix(wide), n),
    }
    if case.key == "adult":
        found |= {RAW: (lambda: predictor(coded), n), MARGIN: (lambda: predictor(coded, "margin"), n)}
    return found


def image_candidates(case: Case) -> Candidates:
    n = len(case.matrix)
    return {
        BARE: (case.floor.work, case.floor.rows),
        PLAIN: (_loop(case, case.matrix), n),
        PIXELS: (lambda: case.problem.predictor(case.problem.rows), n),
    }


def _loop(case: Case, inputs: np.ndarray) -> Callable[[], Any]:
    """The best bare function as a plain loop calls it: a tensor made of each slice, an array of each result."""
    tf = tensorflow()
    batch = min(case.floor.batch, len(inputs))
    function = bare(case.model, batch, xla=case.floor.xla)
    starts = range(0, len(inputs) - batch + 1, batch)
    return lambda: [function(tf.constant(inputs[at : at + batch])).numpy() for at in starts]


def measure(bench: Bench, case: Case, table: Speed, candidates: Candidates) -> None:
    """All in turn; the figures are shares of the floor."""
    works = {name: work for name, (work, _) in candidates.items()}
    for work in works.values():
        work()  # what is compiled on the first call
    once = sum(in_turn(works, 1).values())
    taken = in_turn(works, 1 if bench.quick else repeats_for(once, BUDGET, most=25, least=3))
    rates = {name: rows / taken[name] for name, (_, rows) in candidates.items()}
    floor = rates[BARE]
    table.ours = 1 / rates.get(RAW, rates.get(READY, rates.get(PIXELS, 0.0)))
    for name in candidates:
        share = rates[name] / floor
        note = f"{number(share)} of the floor"
        table.row(name, number(1e3 / rates[name]), number(rates[name]), number(1 / share), "", note)
    bench.figure(f"predictor.matrix.{case.key}", rates.get(READY, rates.get(PIXELS, 0.0)) / floor)
    if RAW in rates:
        bench.figure(f"predictor.encoded.{case.key}", rates[RAW] / floor)
    for name in (READY, RAW, PIXELS):
        if name in works:
            bench.profiled(f"predictor.{case.key}: {name}", works[name])


def documented(bench: Bench, case: Case, table: Speed) -> None:
    """model.predict with its own batches of 32."""
    rows = case.problem.rows
    some = rows[np.arange(bench.size(min(PREDICT_ROWS, 32 * len(rows)), 64)) % len(rows)]
    case.documented(some[:64])
    taken = seconds(lambda: case.documented(some), bench.size(2, 1))
    who = "model.predict, preprocessing included" if case.key == "adult" else "model.predict, as documented"
    table.line(who, len(some), taken, overhead=case.overhead(taken, len(some)), note=f"{len(some):,} rows")


if __name__ == "__main__":
    main(__file__, run, __doc__)
