"""Is it gone since, what tests left for whose reruns there was no time?"""

from __future__ import annotations

import gc
from typing import NamedTuple
from weakref import ref

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

    What dies while other tests run does not grow with every run: a variable that each test binds
    anew, or a cache that one clears. All of it has to die: what lives on may be a leak, or may not.
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
        if self._tests and gc.isenabled():
            gc.collect()


def watchable(survivors: list[object], kinds: set[Key], own: list[object]) -> list[ref[object]]:
    """Return weak references that tell when all survivors of these kinds are dead; none where
    nothing tells that. `own` are further lists of ours that hold survivors.

    What can't be weakly referenced dies with what leads to it, where nothing else refers to it.
    What only a cache of its own method replaces is a leak all the same.
    """
    heap = Heap(survivors)
    wanted = {m: obj for m, obj in heap.objects.items() if key(obj) in kinds and not is_plain(obj)}
    bare = [mark for mark, obj in wanted.items() if weakly(obj) is None]
    if bare:
        wanted.update((mark, heap.objects[mark]) for mark in heap.reaching(bare))
        bare = [mark for mark, obj in wanted.items() if weakly(obj) is None]
    if bare and heap.held_elsewhere(bare, [survivors, wanted, heap.objects, *own]):
        return []
    if on_method_caches(list(wanted.values())):
        return []
    return list(filter(None, map(weakly, wanted.values())))
