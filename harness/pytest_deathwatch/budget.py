"""What may judging cost, and how much of it is left?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_FREE = 10.0
"""Seconds that a run may take with all that is done for judging, whatever it takes without."""
_LEAST = 1 / 2
"""Of the whole, for reruns, where to look at tests has taken more than the rest."""
_LEAD = 4.0
"""Seconds that may be spent before the run has taken four times as many: how long all of them
will take is a guess at first. So much of what is left one test may have, too."""
_SURE = 0.1
"""Of the tests of a run: when they have run, it is known whether it is a short one."""
_FEWEST = 2
"""Reruns that decide."""


class Pace:
    """How long a run takes without being judged, as far as can be told from the tests that have
    run, and from what it took to collect them.

    What is to come is estimated halfway between the mean and the geometric mean: a few slow tests
    at the start, which import what others use, say less of it than they took, and not nothing.
    """

    def __init__(self) -> None:
        self._collecting = 0.0
        self._took = 0.0
        self._logs = 0.0
        self._ran = 0
        self._expected = 0

    def expect(self, session: pytest.Session, seconds: float) -> None:
        """Note how many tests are to run, of those that workers of pytest-xdist share a part; and
        how long they were collected, with the imports that it took."""
        self._collecting = seconds
        workers = getattr(session.config, "workerinput", {}).get("workercount", 1)
        self._expected = math.ceil(len(session.items) / workers)

    def ran(self, seconds: float) -> None:
        """Note what a test took, with all that was set up and torn down for it."""
        self._took += seconds
        self._logs += math.log(max(seconds, 1e-6))
        self._ran += 1

    def so_far(self) -> float:
        """Return how many seconds the run has taken."""
        return self._collecting + self._took

    def progress(self) -> float:
        """Return which part of the tests has run, from 0 to 1."""
        return min(1.0, self._ran / max(1, self._expected))

    def total(self) -> float:
        """Return how many seconds the whole run is likely to take."""
        if not self._ran:
            return self._collecting
        left = max(0, self._expected - self._ran)
        mean, typical = self._took / self._ran, math.exp(self._logs / self._ran)
        return self.so_far() + left * math.sqrt(mean * typical)


class Budget:
    """What judging may cost: some percent of what the run takes without, and in a short run what is
    left of ten seconds. Reruns get what it doesn't take to look at the tests, and a half at least.

    One test gets four seconds of what is left, or a half of it, so that some is left for light ones
    after heavy ones; in a run that is short for all that is known, it gets all of it.
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

    def for_one(self) -> float:
        """Return how many seconds one test may be rerun."""
        left = self._allowed() - self._reruns
        return left if self._pace.total() < _FREE else max(left / 2, min(left, _LEAD))

    def allows(self, seconds: float) -> bool:
        """Tell whether a test that takes so long may be rerun: as often as decides, at least."""
        return _FEWEST * seconds <= self.for_one()

    def spent(self, seconds: float) -> None:
        """Note what reruns took."""
        self._reruns += seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Note what is done meanwhile as reruns."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent(time.perf_counter() - began)

    def waited(self, seconds: float) -> None:
        """Note what of the time was no work: a wait for other threads."""
        self._reruns -= seconds
        self._judging -= seconds

    def _allowed(self) -> float:
        total, share = self._pace.total(), self.percent / 100
        looking = max(0.0, self._judging - self._reruns)
        share = max(_LEAST * share, share - looking / max(self._pace.so_far(), 1e-6))
        spendable = min(share * total, _LEAD + self._pace.so_far() / 4)
        free = max(0.0, _FREE - total - looking) * min(1.0, self._pace.progress() / _SURE)
        return self._part * (spendable + free)
