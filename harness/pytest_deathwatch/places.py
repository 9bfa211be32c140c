"""Which names of modules and classes do tests bind anew, so that what is left there is no leak?"""

from __future__ import annotations

import gc
import time
import types
from collections import Counter
from collections.abc import Iterable
from typing import Any
from weakref import ref

from deathwatch.explain.outside import held_elsewhere
from deathwatch.explain.walk import COUNTED
from deathwatch.explain.walk import key as count_key
from deathwatch.referents import referents
from deathwatch.watch.snapshot import weakly

from .grouping import CACHES, Bounds, Heap, in_library, only_in_bounds
from .heap import Key, is_a, key

_SHARE = 0.01
"""Of the time that the tests take, for finding places: each time is a walk over the heap."""
_START = 0.5
"""Seconds for it at the start of a run, where the first of many places are found."""
_AGAIN = 2
"""How often the same kinds have to be left somewhere before it is asked where: many are left once.
"""
_FEW = 100
"""Objects that are asked for at once at most: each costs a comparison per reference of the heap."""
_BORROWING = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType)
"""Classes whose objects show references that they only borrow, on CPython 3.14 and later: of these
each counts once."""
_MOST = 2_000
"""Objects of one value that are remembered at most, until the name is bound to the next."""


class Generation:
    """A value of a name, and all that hung on it when a test had bound it."""

    def __init__(self, value: object = None, objs: Iterable[object] = ()) -> None:
        known = list(objs)
        self.kind = key(value)
        self._ids = frozenset(map(id, known))
        self._refs = [wr for wr in map(weakly, known) if wr is not None]
        self.is_known = bool(self._refs) and len(known) <= _MOST

    def is_let_go(self) -> bool:
        """Tell whether nothing holds any of it but the rest of it: where it is in cycles, it is
        garbage that is older than the test, and is not collected while that is looked at."""
        alive = [wr() for wr in self._refs]  # `:=` would hold the last one for longer
        members = {id(obj): obj for obj in alive if obj is not None}
        fresh = list(members.values())
        while fresh:
            below = {id(obj): obj for obj in referents(*fresh) if id(obj) in self._ids}
            fresh = [obj for mark, obj in below.items() if mark not in members]
            members.update(below)
            below.clear()
        alive.clear()
        objs = list(members.values())
        members.clear()
        return not held_elsewhere(objs, _counted(objs), ours=1)


def _counted(objs: list[object]) -> Counter[int]:
    """Count the references among these, by the key of what they lead to."""
    exact = [obj for obj in objs if not is_a(obj, *_BORROWING)]
    counts = Counter(map(count_key, referents(*exact)))
    for obj in objs:
        if is_a(obj, *_BORROWING):
            counts.update(set(map(count_key, referents(obj))))
    return counts


class Places:
    """Names that tests were seen to bind to something new.

    A test that leaves something there, and nowhere else, leaves it in the place of what was there
    before: where that was of the same kind, and was let go of, nothing grows.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[ref[object], Generation]] = {}
        self._met: Counter[frozenset[Key]] = Counter()
        self._tried: set[frozenset[Key]] = set()
        self._spent = 0.0
        self._last = 0.0

    def learn(self, heap: Heap, objs: list[object], own: list[Any], seconds: float) -> None:
        """Note where these were left among others, in a run whose tests took so long until now.
        `own` is what else holds them for the plugin. The heap must not be frozen."""
        if not COUNTED or not objs:
            return
        values: list[object] = []
        for (_, name), (owner, _) in self._known.items():
            _look(owner(), name, heap, [], values)
        placed = heap.reach(values)
        kinds = frozenset(key(obj) for obj in objs if id(obj) not in placed)
        placed.clear()
        in_time = self._spent + self._last <= _START + _SHARE * seconds
        self._met[kinds] += 1
        if kinds and self._met[kinds] >= _AGAIN and in_time and kinds not in self._tried:
            self._tried.add(kinds)
            began = time.perf_counter()
            for owner, name in _places_of(heap, objs, [objs, values, own, *own]):
                self._known.setdefault((id(owner()), name), (owner, Generation()))
            self._last = time.perf_counter() - began
            self._spent += self._last
        self._note(heap)

    def excuse(self, heap: Heap, objs: list[object], own: list[Any]) -> bool:
        """Tell whether all these are in the place of something that was let go of, and surely
        nothing else holds them or leads to them: by counting references, so that the heap may be
        frozen."""
        if not COUNTED:
            return False
        holders: list[object] = []
        values: list[object] = []
        generations = []
        for (_, name), (owner, generation) in self._known.items():
            if _look(owner(), name, heap, holders, values):
                generations.append(generation)
        pairs = zip(generations, map(key, values), strict=True)
        if not all(g.is_known and g.kind == kind and g.is_let_go() for g, kind in pairs):
            self._note(heap)
            return False
        kept, roots = in_library(heap, CACHES)
        bounds = Bounds(kept | set(heap.reach(values)), holders=holders + roots)
        self._note(heap)
        return only_in_bounds(heap, objs, bounds, [*own, own, values])

    def _note(self, heap: Heap) -> None:
        """Remember what hangs on known places now."""
        for (mark, name), (owner, _) in list(self._known.items()):
            values: list[object] = []
            if owner() is None:
                del self._known[mark, name]
            elif _look(owner(), name, heap, [], values):
                generation = Generation(values[0], heap.reach(values).values())
                self._known[mark, name] = owner, generation


def _places_of(heap: Heap, objs: list[object], own: list[Any]) -> list[tuple[ref[object], str]]:
    """Return the names that are bound to any of these: one walk over the heap, and one more."""
    held = heap.held_elsewhere(map(id, objs), [heap.objects, *own])[:_FEW]
    marks = set(map(id, held))
    holders = [each for each in gc.get_referrers(*held) if type(each) is dict] if held else []
    holders = [each for each in holders if id(each) not in heap.objects]
    owners = gc.get_referrers(*holders) if holders else []
    found = []
    for owner in (each for each in owners if is_a(each, type, types.ModuleType)):
        names, wr = _names_of(owner), weakly(owner)
        if wr is not None and names is not None and any(each is names for each in holders):
            bound = [name for name, value in names.items() if id(value) in marks]
            found += [(wr, name) for name in bound if type(name) is str]
    return found


def _look(
    owner: object, name: str, heap: Heap, holders: list[object], values: list[object]
) -> bool:
    """Add the dict with this name, and what it has there, if that is new; tell whether it is."""
    names = _names_of(owner)
    if names is None or id(names.get(name)) not in heap.objects:
        return False
    holders.append(names)
    values.append(names[name])
    return True


def _names_of(owner: object) -> dict[str, object] | None:
    """Return the dict of a module or class itself, of which a class shows a copy."""
    return next((each for each in referents(owner) if type(each) is dict), None)
