"""How fast a step goes, and how long it has yet to go."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

#: seconds that the pace is measured over: what was long ago, or was there from an earlier run, says little
WINDOW = 30.0
#: seconds below which it is not told
LEAST = 2.0


@dataclass
class Pace:
    """Units a second of one step, over the last WINDOW seconds. Not safe among threads: a step has one of its own."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def saw(self, done: int, at: float | None = None) -> None:
        """Notes how many units are done at a moment (seconds on the monotonic clock; now)."""
        now = time.monotonic() if at is None else at
        if self._seen and done < self._seen[-1][1]:  # a new count began
            self._seen.clear()
        if len(self._seen) > 1 and now - self._seen[-1][0] < WINDOW / 60:
            self._seen.pop()  # so that a quick step keeps sixty moments and not a million
            self._seen.append((now, done))
        else:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Units a second; None where too little was seen."""
        if len(self._seen) < 2:
            return None
        (then, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - then) if now - then >= LEAST and done > before else None

    def left(self, total: int) -> float | None:
        """Seconds until the total is reached; None where too little was seen."""
        rate = self.per_second
        return None if rate is None else max(0, total - self._seen[-1][1]) / rate

    def told(self, total: int) -> str:
        """`61,440 of 1,000,000, 17,000 a second, 0:00:55 left`, as far as it is known."""
        done = self._seen[-1][1] if self._seen else 0
        said = f"{done:,} of {total:,}"
        rate, left = self.per_second, self.left(total)
        if rate is not None and left is not None:
            said += f", {shown_rate(rate)} a second, {clock(left)} left"
        return said


def shown_rate(rate: float) -> str:
    """A rate to three digits: `0.25`, `17,000`."""
    return f"{rate:.2g}" if rate < 1 else f"{float(f'{rate:.3g}'):,.0f}" if rate >= 100 else f"{rate:.3g}"


def clock(seconds: float) -> str:
    """`0:00:55`, `26:03:10`."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
