"""What may judging cost, and how much of it is left?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_FREE = 10.0
"""Seconds that a run may take with all that is done for judging, whatever its tests take."""
_LEAST = 1 / 3
"""Of the whole, for reruns, where to look at tests has taken more than the rest."""
_LIGHT = 0.01
"""Of what is allowed: tests that need more share one half of it, so that some is left for those
that need little, wherever in the run they come."""
_FEWEST = 2
"""Reruns that decide."""


class Pace:
    """How long the tests of a run take, as far as can be told from those that have run.

    What is to come is estimated by the geometric mean: a few slow tests at the start, which import
    what others use, say little of it.
    """

    def __init__(self) -> None:
        self._took = 0.0
        self._logs = 0.0
        self._ran = 0
        self._expected = 0

    def expect(self, session: pytest.Session) -> None:
        """Note how many tests are to run; of those that workers of pytest-xdist share, a part."""
        workers = getattr(session.config, "workerinput", {}).get("workercount", 1)
        self._expected = math.ceil(len(session.items) / workers)

    def ran(self, seconds: float) -> None:
        """Note what a test took, with all that was set up and torn down for it."""
        self._took += seconds
        self._logs += math.log(max(seconds, 1e-6))
        self._ran += 1

    def so_far(self) -> float:
        return self._took

    def total(self) -> float:
        """Return how many seconds all tests of the run are likely to take."""
        if not self._ran:
            return 0.0
        left = max(0, self._expected - self._ran)
        return self._took + left * math.exp(self._logs / self._ran)


class Budget:
    """What judging may cost: some percent of what the tests take, and in a short run what is left
    of ten seconds. Reruns get what it doesn't take to look at the tests, and a third at least.
    """

    def __init__(self, pace: Pace, percent: int, part: float = 1.0) -> None:
        """`part` is how much of it this one may have."""
        self.percent = percent
        self._pace = pace
        self._part = part
        self._judging = 0.0
        self._reruns = 0.0

    def judged(self, seconds: float) -> None:
        """Note what it took to judge a test, reruns included."""
        self._judging += seconds

    def left(self) -> float:
        """Return the seconds that reruns may still take; fewer than 0 where they took more."""
        return self._allowed() - self._reruns

    def allows(self, seconds: float) -> bool:
        """Tell whether a test that takes so long may be rerun: as often as decides, at least."""
        allowed, needed = self._allowed(), _FEWEST * seconds
        if needed > _LIGHT * allowed:
            allowed /= 2
        return self._reruns + needed <= allowed

    def spent(self, seconds: float) -> None:
        """Note what reruns took."""
        self._reruns += seconds

    def waited(self, seconds: float) -> None:
        """Note what of the time was no work: a wait for other threads."""
        self._reruns -= seconds
        self._judging -= seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent(time.perf_counter() - began)

    def _allowed(self) -> float:
        total, share = self._pace.total(), self.percent / 100
        looking = self._judging - self._reruns
        if looking > 0 and self._pace.so_far():
            share = max(_LEAST * share, share - looking / self._pace.so_far())
        return self._part * (share * total + max(0.0, _FREE - total))
