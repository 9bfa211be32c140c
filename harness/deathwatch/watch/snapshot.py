"""Which objects are new since a moment?"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from itertools import filterfalse
from weakref import ref

from deathwatch.referents import referents

# As a program sees them that has replaced neither.
_objects = gc.get_objects
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

    The program can have its whole heap back meanwhile: from `lend` to `take_back`, or, for one
    collection, from `thaw` to `refreeze`. What is new by then is frozen with the rest, and known
    by weak references; what can't be weakly referenced, only where another new object leads to it.
    """

    def __init__(self) -> None:
        self.freezes = _CAN_FREEZE and gc.get_freeze_count() < INTERPRETERS_OWN
        self.tampered: str | None = None
        """What the program did to the frozen heap: freeze, or unfreeze."""
        self._known: dict[int, ref[object] | None] = {}
        self._old: list[object] = [None]
        self._young: list[object] | None = [None] if self.freezes else None
        self._carried: dict[int, ref[object] | None] = {}
        self._is_thawed = False
        self._lent: set[int] | None = None
        self.restart()

    def new(self) -> list[object]:
        """The tracked objects that were not there at the moment of the snapshot.

        Raises `RuntimeError` where the program has unfrozen or frozen the heap meanwhile: old and
        new can't be told apart any more.
        """
        objects = _objects()
        if self._lent is not None:
            return self._not_lent(objects)
        if self._young is None:
            return list(filterfalse(self._knows, objects))
        state = _tampered(objects, self._old, self._young)
        if state is None:
            return self._with_carried(_without(objects, self._young))
        self._give_up(state)
        self.restart()
        raise RuntimeError(
            f"gc.{state}() was called in the region, so that new objects can't be told from"
            " old ones: keep it outside"
        )

    def restart(self) -> None:
        """Make this the moment: what is new so far counts as old from now on."""
        self._known, self._carried, self._lent = {}, {}, None
        if self._young is None:
            self._known = {id(o): _weakly(o) for o in _objects()}
        else:
            self._freeze()

    def thaw(self) -> None:
        """Unfreeze the heap for one collection: nothing that counts may be made in it."""
        if not self.freezes or self._is_thawed:
            return
        objects = _objects()
        if _tampered(objects, self._old, self._young) is None:  # else `new` says so
            self._carry(objects)
            self._is_thawed = True
            gc.unfreeze()

    def refreeze(self) -> None:
        """Freeze the heap after `thaw`, not after `lend`."""
        if self._is_thawed and self._lent is None:
            self._freeze()

    def lend(self) -> None:
        """Unfreeze the heap for the program to work with."""
        self.thaw()
        if self._is_thawed and self._lent is None:
            self._lent = set(map(id, _objects())) - self._carried.keys()

    def take_back(self) -> None:
        """Freeze the heap after either. What the program itself has frozen meanwhile stays so, and
        is out of sight."""
        if self._lent is not None:
            objects = _objects()
            if _tampered(objects, None, self._young) is not None:
                self._give_up("freeze")
                return
            self._carry(self._not_lent(objects))
            self._lent = None
        self.refreeze()

    def carries(self, wanted: Callable[[type], bool]) -> bool:
        """Tell whether anything that is new and frozen is alive, by its class."""
        alive = {type(wr()) for wr in self._carried.values() if wr is not None}
        return any(map(wanted, alive))

    def release(self) -> None:
        """Leave the frozen heap as it was."""
        self._known.clear()
        self._carried.clear()
        if self.freezes:
            self.freezes = False
            gc.unfreeze()

    def _freeze(self) -> None:
        self._is_thawed = False
        gc.freeze()
        self._young = [None]

    def _give_up(self, state: str) -> None:
        self.freezes, self._is_thawed, self._young, self.tampered = False, False, None, state

    def _carry(self, objects: list[object]) -> None:
        self._carried.update((id(obj), _weakly(obj)) for obj in _without(objects, self._young))
        self._carried.pop(id(objects), None)

    def _not_lent(self, objects: list[object]) -> list[object]:
        lent, young = self._lent or (), self._young
        return [
            obj for obj in objects if id(obj) not in lent and obj is not lent and obj is not young
        ]

    def _with_carried(self, objects: list[object]) -> list[object]:
        """Add what is frozen and new: weakly referenced, or reached from there."""
        if not self._carried:
            return objects
        seen = set(map(id, objects))
        alive = [found for wr in self._carried.values() if wr is not None for found in [wr()]]
        level = [obj for obj in alive if obj is not None and id(obj) not in seen]
        alive.clear()
        found = objects + level
        seen.update(map(id, level))
        level = found
        while level:
            marks = {id(obj): obj for obj in referents(*level) if id(obj) in self._carried}
            level = [obj for mark, obj in marks.items() if mark not in seen]
            seen.update(marks)
            found = found + level
        return found

    def _knows(self, obj: object) -> bool:
        try:
            wr = self._known[id(obj)]
        except KeyError:
            return obj is self._known
        return wr is None or wr() is obj


def _without(objects: list[object], one: object) -> list[object]:
    """A function of its own: the cells of a closure made earlier would be among the objects."""
    return [o for o in objects if o is not one]


def _tampered(objects: Iterable[object], old: object, young: object) -> str | None:
    """Tell what was done to the heap since, by which witnesses are in sight; `old` may be None."""
    seen = False
    for obj in objects:
        if obj is old:
            return "unfreeze"
        if obj is young:
            seen = True
    return None if seen else "freeze"


def _weakly(obj: object) -> ref[object] | None:
    try:
        return ref(obj)
    except TypeError:
        return None
