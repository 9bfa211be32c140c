"""When is the whole heap to be collected? What is older than a test is frozen while it runs."""

from __future__ import annotations

import gc
import sys
import time

_SHARE = 100
"""How many times as long as the last collection of the whole heap took the next one is waited for:
so that all of them take 1 % of a run."""
_FIRST = 10.0
"""Seconds until the first one."""
_GROWTH = 1.25
"""By how much the process may have grown since the last one, before one is due at once: as
CPython lets the objects of its oldest generation grow (`long_lived_pending`)."""
_GROWTH_OF_LIVING = 1.5
"""The same where the last one made the process no smaller by a tenth: most of it lives."""
_LOOK = 0.02
"""Seconds between looks at the size of the process: each takes as long as a trivial test's check,
and ten times as long in some sandboxes."""


class Collecting:
    """Collects between tests, as the interpreter would have done meanwhile.

    By time and by size, and not by the number of objects: one may hold a megabyte. Elsewhere than
    on Linux by time alone.
    """

    def __init__(self) -> None:
        self.left = 0
        """Objects that tests have left since, and that may be garbage by now."""
        self._due = 0.0
        self._look = 0.0
        self._size = 0
        self._growth = _GROWTH

    def between_tests(self) -> bool:
        """Collect where that is due, and there is anything that it could free; tell whether it was.

        The heap must not be frozen. Nothing is done where the program has turned collection off.
        """
        if not self.left or not may_collect():
            return False
        began = time.perf_counter()
        if not self._due:  # pytest has collected the tests by now
            self._due, self._size = began + _FIRST, _resident()
        if began < self._due:
            if began < self._look:
                return False
            self._look = began + _LOOK
            if _resident() <= self._size * self._growth:
                return False
        before = _resident()
        gc.collect()
        self._size = _resident()
        self._growth = _GROWTH if self._size < 0.9 * before else _GROWTH_OF_LIVING
        ended = time.perf_counter()
        self.left, self._due = 0, ended + _SHARE * (ended - began)
        return True


def may_collect() -> bool:
    """Tell whether the program has left automatic collection on."""
    return gc.isenabled() and gc.get_threshold()[0] > 0


def _resident() -> int:
    """Return how many pages of the process are in memory, 0 where that can't be told.

    The highest ever (`getrusage`) is no help: a process starts with that of the one it came from.
    """
    if sys.platform != "linux":
        return 0
    try:
        with open("/proc/self/statm", "rb") as numbers:
            return int(numbers.read().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
