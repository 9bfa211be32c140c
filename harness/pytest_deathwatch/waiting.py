"""Is it gone since, what tests left for whose reruns there was no time?"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from itertools import compress
from typing import NamedTuple
from weakref import ref

from deathwatch.watch.snapshot import INTERPRETERS_OWN, weakly

from .grouping import on_method_caches
from .heap import Key, key
from .memory import is_plain

_WATCHED = 100_000
"""Objects that are watched at most, for as many tests as they are of."""

Place = tuple[int, int]
"""The addresses of an object and of its class."""


class Left(NamedTuple):
    """What one test left that is a reason to rerun it, as far as it is not known to be dead."""

    refs: list[ref[object]]
    places: set[Place]
    """Where the objects are that can't be weakly referenced."""

    def size(self) -> int:
        return len(self.refs) + len(self.places)


class Waiting:
    """Tests that were not rerun, and what they left.

    What dies while other tests run does not grow with every run: it was in a variable that each
    test binds anew, a cache that one clears, a fixture whose scope ended. All of it has to die: of
    what lives on, nothing is known.
    """

    def __init__(self) -> None:
        self._tests: dict[str, Left] = {}
        self._watched = 0

    def add(self, test: str, left: Left) -> None:
        """Wait until this is dead, which a test left."""
        if self._watched + left.size() <= _WATCHED:
            self._tests[test] = left
            self._watched += left.size()

    def forget(self, test: str) -> None:
        """Leave a test out whatever becomes of what it left."""
        if test in self._tests:
            self._watched -= self._tests.pop(test).size()

    def gone(self) -> list[str]:
        """Return, and forget, the tests of which nothing is left.

        The whole heap should just have been collected. None while any of it is frozen.
        """
        if not self._tests or gc.get_freeze_count() >= INTERPRETERS_OWN:
            return []
        taken = _taken({place for left in self._tests.values() for place in left.places})
        for left in self._tests.values():
            self._watched -= left.size()
            left.refs[:] = [each for each in left.refs if each() is not None]
            left.places.intersection_update(taken)
            self._watched += left.size()
        gone = [test for test, left in self._tests.items() if not left.size()]
        for test in gone:
            self.forget(test)
        return gone

    def collect(self) -> None:
        """Collect what may be left of them, where the program has not turned that off."""
        if self._tests and gc.isenabled() and gc.get_threshold()[0]:
            gc.collect()


def watch(survivors: Iterable[object], kinds: set[Key]) -> Left | None:
    """Return what tells whether all survivors of these kinds are dead; None where some are in the
    cache of their own method: what that lets go of, for the next, is a leak all the same."""
    objs = [obj for obj in survivors if key(obj) in kinds and not is_plain(obj)]
    if on_method_caches(objs):
        return None
    refs = [weakly(obj) for obj in objs]
    places = {_place(obj) for obj, wr in zip(objs, refs, strict=True) if wr is None}
    return Left([wr for wr in refs if wr is not None], places)


def _taken(places: set[Place]) -> set[Place]:
    """Return at which of these an object of the class is alive: the same one, or a later one."""
    if not places:
        return set()
    objs = gc.get_objects()
    wanted = {address for address, _ in places}
    return places.intersection(map(_place, compress(objs, map(wanted.__contains__, map(id, objs)))))


def _place(obj: object) -> Place:
    return id(obj), id(type(obj))
