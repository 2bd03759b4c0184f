"""What `loops.py` compiles: plain loops, in the part of Python that numba knows. Their arguments are told there."""

from __future__ import annotations

from typing import Any

import numpy as np

#: loop → its arrays: f8, int64, int32 (o), uint8, int8 (s), bool, by their dimensions;
#: a capital letter is written to
SIGNATURES = {
    "moments": "o1 f1 f1 F2",
    "offsets": "o1 f1 f1 f1 F1",
    "tally": "o1 u1 f1 f1 F3",
    "areas": "o1 o1 u1 f1 O1 F2",
    "placements": "o1 u1 f1 o1 f2 F2 F1",
    "parted": "u1 f1 o1 I1 U1 F1",
    "steps": "u1 f1 F1",
    "corners": "u1 f1 F1 F2",
    "between": "f2 f2 F1",
    "curves_at": "f2 F2",
    "extents": "o1 f1 s1 f1 F3 F2",
    "nearest": "f2 o2 f2 o2 O2",
    "logistic": "o1 f1 s1 f1 f2 b1 F2",
}


def moments(codes: Any, x: Any, weight: Any, sums: Any) -> None:  # pragma: no cover - runs compiled
    weighted = len(weight) > 0
    for i in range(len(codes)):
        w = weight[i] if weighted else 1.0
        if w > 0.0 and np.isfinite(x[i]):
            g = codes[i]
            sums[0, g] += 1.0
            sums[1, g] += w
            sums[2, g] += w * w
            sums[3, g] += w * x[i]


def offsets(codes: Any, x: Any, weight: Any, mean: Any, off: Any) -> None:  # pragma: no cover - runs compiled
    weighted = len(weight) > 0
    for i in range(len(codes)):
        w = weight[i] if weighted else 1.0
        if w > 0.0 and np.isfinite(x[i]):
            g = codes[i]
            off[g] += (w * (x[i] - mean[g])) ** 2


def tally(codes: Any, cell: Any, x: Any, weight: Any, sums: Any) -> None:  # pragma: no cover - runs compiled
    weighted = len(weight) > 0
    for i in range(len(codes)):
        w = weight[i] if weighted else 1.0
        b = cell[i]
        if w > 0.0 and b != 255:
            g = codes[i]
            sums[0, g, b] += 1.0
            sums[1, g, b] += w
            sums[2, g, b] += w * w
            sums[3, g, b] += w * x[i]


def areas(codes: Any, order: Any, flags: Any, weight: Any, group: Any, sums: Any) -> None:  # pragma: no cover
    weighted = len(weight) > 0
    m = len(order)
    tie = np.zeros((2, sums.shape[1]))  # Σw of this run's positives and negatives, by group
    for k in range(m):  # apart from the sweep, so that the processor waits for many rows at once
        group[k] = codes[order[k]]
    start = 0
    while start < m:
        end = start
        while True:
            g = group[end]
            w = weight[end] if weighted else 1.0
            side = 0 if flags[end] & 1 else 1
            tie[side, g] += w
            sums[2 + side, g] += w * w
            sums[5, g] += 1.0
            sums[6, g] += 1.0 - side
            end += 1
            if end == m or flags[end] & 2:
                break
        for k in range(start, end):
            g = group[k]
            up, down = tie[0, g], tie[1, g]
            if up != 0.0 or down != 0.0:
                sums[4, g] += up * (sums[1, g] + down / 2)
                sums[0, g] += up
                sums[1, g] += down
                tie[0, g] = 0.0
                tie[1, g] = 0.0
        start = end


def placements(
    order: Any, flags: Any, weight: Any, group: Any, sums: Any, spread: Any, influence: Any
) -> None:  # pragma: no cover - runs compiled
    weighted = len(weight) > 0
    m, groups = len(order), sums.shape[1]
    tie, square = np.zeros((2, groups)), np.zeros((2, groups))
    below, above = np.zeros(groups), np.zeros(groups)  # Σw of negatives beaten so far, of positives still to come
    area, scale = np.zeros(groups), np.zeros((2, groups))
    for g in range(groups):
        above[g] = sums[0, g]
        if sums[0, g] > 0.0 and sums[1, g] > 0.0:
            area[g] = sums[4, g] / (sums[0, g] * sums[1, g])
            for side in range(2):
                n = sums[side, g] ** 2 / sums[2 + side, g]
                scale[side, g] = (np.sqrt(n / (n - 1.0)) if n > 1.0 else 1.0) / sums[side, g]
    start = 0
    while start < m:
        end = start
        while True:
            g = group[end]
            w = weight[end] if weighted else 1.0
            side = 0 if flags[end] & 1 else 1
            tie[side, g] += w
            square[side, g] += w * w
            end += 1
            if end == m or flags[end] & 2:
                break
        if len(influence) > 0:
            for k in range(start, end):
                g = group[k]
                if scale[0, g] > 0.0:
                    row = order[k]
                    w = weight[k] if weighted else 1.0
                    if flags[k] & 1:
                        off = (below[g] + tie[1, g] / 2) / sums[1, g] - area[g]
                        influence[row] += w * off * scale[0, g]
                    else:
                        off = (above[g] - tie[0, g] / 2) / sums[0, g] - area[g]
                        influence[row] += w * off * scale[1, g]
        for k in range(start, end):
            g = group[k]
            up, down = tie[0, g], tie[1, g]
            if up != 0.0 or down != 0.0:
                if scale[0, g] > 0.0:
                    spread[0, g] += square[0, g] * ((below[g] + down / 2) / sums[1, g] - area[g]) ** 2
                    spread[1, g] += square[1, g] * ((above[g] - up / 2) / sums[0, g] - area[g]) ** 2
                below[g] += down
                above[g] -= up
                for side in range(2):
                    tie[side, g] = 0.0
                    square[side, g] = 0.0
        start = end


def parted(
    flags: Any, weight: Any, group: Any, place: Any, mine: Any, wide: Any
) -> None:  # pragma: no cover - runs compiled
    weighted = len(weight) > 0
    last = np.full(len(place), -1)  # the run of equal scores that a group's last row was in
    run = 0
    for k in range(len(flags)):
        if flags[k] & 2:
            run += 1
        g = group[k]
        at = place[g]
        mine[at] = (flags[k] & 1) | (2 if last[g] != run else 0)
        if weighted:
            wide[at] = weight[k]
        last[g] = run
        place[g] = at + 1


def steps(flags: Any, weight: Any, found: Any) -> None:  # pragma: no cover - runs compiled
    run = -1
    for k in range(len(flags)):
        if flags[k] & 2:
            run += 1
        found[2 * run + (flags[k] & 1)] += weight[k] if len(weight) > 0 else 1.0


def corners(flags: Any, weight: Any, at: Any, found: Any) -> None:  # pragma: no cover - runs compiled
    m, points = len(flags), len(at)
    total, passed = np.zeros(2), np.zeros(2)
    for k in range(m):
        total[flags[k] & 1] += weight[k] if len(weight) > 0 else 1.0
    place = 0
    while place < points and at[place] <= 0.0:
        place += 1
    for k in range(m - 1, -1, -1):
        passed[flags[k] & 1] += weight[k] if len(weight) > 0 else 1.0
        if flags[k] & 2:
            x, y = passed[0] / total[0], passed[1] / total[1]
            while place < points and (at[place] <= x + y or k == 0):
                found[0, place], found[1, place] = x, y
                place += 1


def between(first: Any, second: Any, found: Any) -> None:  # pragma: no cover - runs compiled
    bins = first.shape[1] // 2, second.shape[1] // 2
    total, passed = np.zeros((2, 2)), np.zeros((2, 2))
    at = np.zeros(2, np.int64)
    # the piece of each curve that lies over x: from (x0, y0) to (x1, y1), shares of negatives and positives passed
    x0, y0, x1, y1 = np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)
    for d in range(len(found)):
        for c in range(2):
            x1[c] = y1[c] = 0.0
            at[c] = 0
            for side in range(2):
                total[c, side] = passed[c, side] = 0.0
        for b in range(2 * bins[0]):
            total[0, b & 1] += first[d, b]
        for b in range(2 * bins[1]):
            total[1, b & 1] += second[d, b]
        if min(total[0, 0], total[0, 1], total[1, 0], total[1, 1]) <= 0.0:
            found[d] = np.nan
            continue
        x, area = 0.0, 0.0
        while True:
            over = False
            for c in range(2):
                while x1[c] <= x and not over:  # upright pieces have no width
                    if at[c] == bins[c]:
                        over = True
                    else:
                        x0[c], y0[c] = x1[c], y1[c]
                        for side in range(2):
                            b = 2 * at[c] + side
                            passed[c, side] += first[d, b] if c == 0 else second[d, b]
                        x1[c], y1[c] = passed[c, 0] / total[c, 0], passed[c, 1] / total[c, 1]
                        at[c] += 1
            if over:
                break
            ahead = min(x1[0], x1[1])
            left = right = 0.0
            for c in range(2):
                sign = 1.0 if c == 0 else -1.0
                rise = (y1[c] - y0[c]) / (x1[c] - x0[c])
                left += sign * (y0[c] + rise * (x - x0[c]))
                right += sign * (y0[c] + rise * (ahead - x0[c]))
            if left * right >= 0.0:
                area += (ahead - x) * (abs(left) + abs(right)) / 2
            else:  # the curves cross: two triangles
                area += (ahead - x) * (left * left + right * right) / (2 * (abs(left) + abs(right)))
            x = ahead
        found[d] = area


def curves_at(tables: Any, found: Any) -> None:  # pragma: no cover - runs compiled
    bins, points = tables.shape[1] // 2, found.shape[1]
    for d in range(len(tables)):
        down = up = 0.0
        for b in range(bins):
            down += tables[d, 2 * b]
            up += tables[d, 2 * b + 1]
        if down <= 0.0 or up <= 0.0:
            found[d] = np.nan
            continue
        x0 = y0 = x1 = y1 = passed_down = passed_up = 0.0
        b = 0
        for k in range(points):
            x = k / (points - 1.0)
            while x1 < x and b < bins:
                x0, y0 = x1, y1
                passed_down += tables[d, 2 * b]
                passed_up += tables[d, 2 * b + 1]
                x1, y1 = passed_down / down, passed_up / up
                b += 1
            found[d, k] = y1 if x1 <= x else y0 + (y1 - y0) / (x1 - x0) * (x - x0)


def extents(
    codes: Any, z: Any, hit: Any, weight: Any, ends: Any, rows: Any
) -> None:  # pragma: no cover - runs compiled
    weighted = len(weight) > 0
    for i in range(len(codes)):
        if hit[i] < 0 or not np.isfinite(z[i]) or (weighted and weight[i] <= 0.0):
            continue
        g, side = codes[i], hit[i]
        rows[side, g] += 1.0
        ends[side, 0, g] = min(ends[side, 0, g], z[i])
        ends[side, 1, g] = max(ends[side, 1, g], z[i])


def logistic(
    codes: Any, z: Any, hit: Any, weight: Any, at: Any, active: Any, sums: Any
) -> None:  # pragma: no cover - runs compiled
    weighted = len(weight) > 0
    for i in range(len(codes)):
        g = codes[i]
        w = weight[i] if weighted else 1.0
        if hit[i] < 0 or w <= 0.0 or not active[g] or not np.isfinite(z[i]):
            continue
        eta = at[0, g] + at[1, g] * z[i]
        shrunk = np.exp(-abs(eta))
        p = 1.0 / (1.0 + shrunk) if eta >= 0.0 else shrunk / (1.0 + shrunk)
        off = w * (hit[i] - p)
        wide = w * p * (1.0 - p)
        # ln of the probability of the label, which does not overflow
        sums[0, g] += w * ((eta if hit[i] == 1 else 0.0) - max(eta, 0.0) - np.log1p(shrunk))
        sums[1, g] += off
        sums[2, g] += off * z[i]
        sums[3, g] += wide
        sums[4, g] += wide * z[i]
        sums[5, g] += wide * z[i] * z[i]
        sums[6, g] += off * off
        sums[7, g] += off * off * z[i]
        sums[8, g] += off * off * z[i] * z[i]


def nearest(
    fit_numbers: Any, fit_codes: Any, numbers: Any, codes: Any, found: Any
) -> None:  # pragma: no cover - runs compiled
    a, b, k = numbers.shape[1], codes.shape[1], found.shape[1]
    far = np.empty(k)
    for i in range(len(numbers)):
        far[:] = np.inf
        found[i] = -1
        for j in range(len(fit_numbers)):
            distance = 0.0
            for u in range(b):
                if fit_codes[j, u] != codes[i, u]:
                    distance += 2.0
            for u in range(a):
                distance += (fit_numbers[j, u] - numbers[i, u]) ** 2
            if distance < far[k - 1]:
                place = k - 1
                while place > 0 and far[place - 1] > distance:
                    far[place] = far[place - 1]
                    found[i, place] = found[i, place - 1]
                    place -= 1
                far[place] = distance
                found[i, place] = j
