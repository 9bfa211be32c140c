"""Which objects are new since a moment?"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from itertools import filterfalse
from weakref import ref

_CAN_FREEZE = hasattr(gc, "freeze")
INTERPRETERS_OWN = 2_000
"""Fewer frozen objects than this are no heap that a program froze: a bare interpreter tracks more
than 4,000. CPython 3.12 starts with 375 of its own in the permanent generation."""


class Snapshot:
    """The objects that the collector tracks at a moment, told from those that come later.

    Where nothing is frozen yet, the heap is frozen (`gc.freeze`), so that telling new objects
    costs as much as there are new ones, and reused addresses don't matter. Garbage among older
    objects then waits for `release`. Where something is frozen already (the program's own
    freezing, or an outer snapshot), it could not be restored, so addresses are noted instead, with
    weak references against their reuse where the objects have them. The few objects that CPython
    3.12 itself starts with as frozen are thawed with the rest, and live on.

    Freezing and unfreezing take constant time on builds with a GIL; free-threaded builds visit
    every object. Counting frozen objects visits them on every build, so it is done once, when
    normally there are none; later, two witnesses tell: an old one, which shows up when the heap
    is unfrozen, and a young one, which disappears when it is frozen again.
    """

    def __init__(self) -> None:
        self.freezes = _CAN_FREEZE and gc.get_freeze_count() < INTERPRETERS_OWN
        self.tampered: str | None = None
        """What the program did to the frozen heap, where `new` has seen it: freeze, or unfreeze."""
        self._known: dict[int, ref[object] | None] = {}
        if self.freezes:
            self._old: list[object] = [None]
            gc.freeze()
            self._young: list[object] = [None]
        else:
            self._known = _noted()

    def new(self) -> list[object]:
        """The tracked objects that were not there at the moment of the snapshot.

        Raises `RuntimeError` where the program has unfrozen or frozen the heap meanwhile: old and
        new can't be told apart any more.
        """
        objects = gc.get_objects()
        if not self.freezes:
            return list(filterfalse(self._knows, objects))
        state = _tampered(objects, self._old, self._young)
        if state is None:
            return _without(objects, self._young)
        self.freezes = False
        self.tampered = state
        raise RuntimeError(
            f"gc.{state}() was called in the region, so that new objects can't be told from"
            " old ones: keep it outside"
        )

    def restart(self) -> None:
        """Make this the moment: what is new so far counts as old from now on."""
        if self.freezes:
            gc.freeze()
            self._young = [None]
        else:
            self._known = _noted()

    def release(self) -> None:
        """Leave the frozen heap as it was."""
        self._known.clear()
        if self.freezes:
            self.freezes = False
            gc.unfreeze()

    def _knows(self, obj: object) -> bool:
        try:
            wr = self._known[id(obj)]
        except KeyError:
            return obj is self._known
        return wr is None or wr() is obj


def _noted() -> dict[int, ref[object] | None]:
    return {id(o): weakly(o) for o in gc.get_objects()}


def _without(objects: list[object], one: object) -> list[object]:
    """A function of its own: the cells of a closure made earlier would be among the objects."""
    return [o for o in objects if o is not one]


def _tampered(objects: Iterable[object], old: object, young: object) -> str | None:
    """Tell what was done to the frozen heap since, by which witnesses are in sight."""
    seen = False
    for obj in objects:
        if obj is old:
            return "unfreeze"
        if obj is young:
            seen = True
    return None if seen else "freeze"


def weakly(obj: object) -> ref[object] | None:
    """Return a weak reference, or None where the object can't have one."""
    try:
        return ref(obj)
    except TypeError:
        return None
