"""Is it gone since, what tests left for whose reruns there was no time?"""

from __future__ import annotations

import gc
from collections.abc import Iterable

from deathwatch.watch.snapshot import INTERPRETERS_OWN

from .collecting import may_collect
from .grouping import FRAMES, on_method_caches
from .heap import Key, is_a, is_builtin, of_kinds
from .memory import is_plain

_WATCHED = 500_000
"""Objects that are watched at most, for as many tests as they are of."""


class Waiting:
    """Tests that were not rerun, and where the objects are that they left.

    What dies while other tests run does not grow with every run: it was in a variable that each
    test binds anew, a cache that one clears, a fixture whose scope ended. All of it has to die: of
    what lives on, nothing is known.

    By addresses alone: a program may count the weak references to its objects, and an object that
    its finalizer brings back outlives them. What else is by then at an address may be taken for the
    object, and its test is looked at again after the next collection.
    """

    def __init__(self) -> None:
        self._tests: dict[str, set[int]] = {}
        self._watched = 0

    def add(self, test: str, addresses: set[int]) -> None:
        """Wait until the objects at these addresses are dead, which a test left."""
        if self._watched + len(addresses) <= _WATCHED:
            self._tests[test] = addresses
            self._watched += len(addresses)

    def forget(self, test: str) -> None:
        """Leave a test out whatever becomes of what it left."""
        self._watched -= len(self._tests.pop(test, ()))

    def gone(self) -> list[str]:
        """Return, and forget, the tests of which nothing is left.

        The whole heap should just have been collected. None while any of it is frozen.
        """
        if not self._tests or gc.get_freeze_count() >= INTERPRETERS_OWN:
            return []
        taken = set().union(*self._tests.values()).intersection(map(id, gc.get_objects()))
        for addresses in self._tests.values():
            addresses &= taken
        self._watched = sum(map(len, self._tests.values()))
        gone = [test for test, addresses in self._tests.items() if not addresses]
        for test in gone:
            self.forget(test)
        return gone

    def collect(self) -> None:
        """Collect what may be left of them, where the program has not turned that off."""
        if self._tests and may_collect():
            gc.collect()


def addresses(
    survivors: Iterable[object], made: Iterable[object], kinds: set[Key]
) -> set[int] | None:
    """Return where the survivors of these kinds are, and of telling kinds all that were `made`, of
    which the runner may hold some for now.

    None where all may die and be a leak all the same: exceptions that are kept with their frames,
    and instances in the cache of their own method, which lets go of one for the next.
    """
    objs = [obj for obj in of_kinds(survivors, kinds) if not is_plain(obj)]
    if on_method_caches(objs) or any(is_a(obj, *FRAMES) for obj in objs):
        return None
    telling = {kind for kind in kinds if not is_builtin(kind)}
    return {*map(id, objs), *map(id, of_kinds(made, telling))}
