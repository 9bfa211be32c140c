"""Is it gone since, what tests left for whose reruns there was no time?"""

from __future__ import annotations

import gc
from typing import NamedTuple
from weakref import ref

from deathwatch.explain.walk import COUNTED
from deathwatch.watch.snapshot import weakly

from .grouping import Heap, on_method_caches
from .heap import Key, key
from .memory import is_plain

_WATCHED = 100_000
"""Objects that are watched at most, for as many tests as they are of."""


class _Left(NamedTuple):
    """What one test left that is a reason to rerun it."""

    kinds: set[Key]
    refs: list[ref[object]]


class Waiting:
    """Tests that were not rerun, with weak references to what they left.

    What dies while other tests run does not grow with every run: it was in a variable that each
    test binds anew, a cache that one clears, a fixture whose scope ended. All of it has to die: of
    what lives on, nothing is known.
    """

    def __init__(self) -> None:
        self._tests: dict[str, _Left] = {}
        self._watched = 0

    def add(self, test: str, kinds: set[Key], refs: list[ref[object]]) -> None:
        """Wait until these are dead, which a test left of these kinds."""
        if self._watched + len(refs) <= _WATCHED:
            self._tests[test] = _Left(kinds, refs)
            self._watched += len(refs)

    def forget(self, test: str) -> None:
        """Leave a test out whatever becomes of what it left."""
        if test in self._tests:
            self._watched -= len(self._tests.pop(test).refs)

    def gone(self) -> dict[str, set[Key]]:
        """Return, and forget, the tests of which nothing is left, with the kinds of it.

        The whole heap should just have been collected.
        """
        gone = {
            test: left.kinds
            for test, left in self._tests.items()
            if all(each() is None for each in left.refs)
        }
        for test in gone:
            self.forget(test)
        return gone

    def collect(self) -> None:
        """Collect what may be left of them, where the program has not turned that off."""
        if self._tests and gc.isenabled() and gc.get_threshold()[0]:
            gc.collect()


def watchable(survivors: list[object], kinds: set[Key], own: list[object]) -> list[ref[object]]:
    """Return weak references that tell when all survivors of these kinds are dead; none where
    nothing tells that. `own` are further lists of ours that hold survivors.

    What can't be weakly referenced is dead when what it leads to is dead, and what leads to it,
    where it leads to anything and nothing else refers to it: that takes exact reference counts,
    which free-threaded builds have not. What only a cache of its own method replaces is a leak all
    the same.
    """
    heap = Heap(survivors)
    watched = {
        mark: obj for mark, obj in heap.objects.items() if key(obj) in kinds and not is_plain(obj)
    }
    bare = _bare(watched)
    if bare and not COUNTED:
        return []
    if bare:
        below = heap.reach(bare.values())
        if not bare.keys() <= heap.reaching(below.keys() - _bare(below).keys()):
            return []
        watched.update(below)
        watched.update((mark, heap.objects[mark]) for mark in heap.reaching(bare))
        holding = [survivors, watched, bare, below, heap.objects, *own]
        if heap.held_elsewhere([*_bare(watched)], holding):
            return []
    if on_method_caches(list(watched.values())):
        return []
    return list(filter(None, map(weakly, watched.values())))


def _bare(objs: dict[int, object]) -> dict[int, object]:
    """Return those that can't be weakly referenced."""
    return {mark: obj for mark, obj in objs.items() if weakly(obj) is None}
