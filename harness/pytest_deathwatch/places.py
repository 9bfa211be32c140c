"""Which names of modules and classes do tests bind anew, so that what is left there is no leak?"""

from __future__ import annotations

import gc
import sys
import time
import types
from typing import Any
from weakref import ref

from deathwatch.explain.walk import COUNTED
from deathwatch.referents import referents
from deathwatch.watch.snapshot import weakly

from .grouping import Bounds, Heap, in_library, only_in_bounds
from .heap import Key, is_a, key

_SHARE = 0.01
"""Of the time that the tests take, for finding places: each time is a walk over the heap."""
_START = 0.5
"""Seconds for it at the start of a run, where the first of many places are found."""
_FEW = 100
"""Objects that are asked for at once at most: each costs a comparison per reference of the heap."""


class Places:
    """Names that tests were seen to bind to something new.

    A test that leaves something there, and nowhere else, leaves it in the place of what was there
    before: a name has one value. Unless that refers to more of its kind, as the head of a chain.
    """

    def __init__(self) -> None:
        self._known: set[tuple[ref[object], str]] = set()
        self._tried: set[frozenset[Key]] = set()
        self._spent = 0.0
        self._last = 0.0

    def learn(self, objs: list[object], own: list[Any], seconds: float) -> bool:
        """Note where these were left, in a run whose tests took so long until now; tell whether any
        place is new. `own` is what else holds them for the plugin. The heap must not be frozen."""
        kinds = frozenset(map(key, objs))
        is_late = self._spent + self._last > _START + _SHARE * seconds
        if not COUNTED or not kinds or kinds in self._tried or is_late:
            return False
        self._tried.add(kinds)
        began = time.perf_counter()
        before = len(self._known)
        heap = Heap(objs)
        held = heap.held_elsewhere(heap.objects, [objs, own, heap.objects, *own])[:_FEW]
        marks = set(map(id, held))
        holders = [each for each in gc.get_referrers(*held) if type(each) is dict] if held else []
        for holder in holders:
            owner = None if id(holder) in heap.objects else _owner(holder)
            if owner is not None:
                names = [name for name, value in holder.items() if id(value) in marks]
                self._known.update((owner, name) for name in names if type(name) is str)
        self._last = time.perf_counter() - began
        self._spent += self._last
        return len(self._known) > before

    def excuse(self, heap: Heap, objs: list[object], own: list[Any]) -> list[object] | None:
        """Return those that don't hang on known places; none of them where surely nothing else
        holds them or leads to them, by counting references, so that the heap may be frozen; and
        None where anything does."""
        holders: list[object] = []
        values: list[object] = []
        for owner, name in self._known:
            _look(owner(), name, heap, holders, values)
        if _is_chained(heap, values):
            return None
        kept, roots = in_library(heap)
        bounds = Bounds(kept | set(heap.reach(values)), holders=holders + roots)
        left = [obj for obj in objs if obj not in bounds]
        if left or only_in_bounds(heap, objs, bounds, [*own, own, left, values]):
            return left
        return None


def _look(
    owner: object, name: str, heap: Heap, holders: list[object], values: list[object]
) -> None:
    """Add the dict with this name, and what it has there, if that is among the survivors."""
    names = _names_of(owner)
    if names is not None and id(names.get(name)) in heap.objects:
        holders.append(names)
        values.append(names[name])


def _is_chained(heap: Heap, values: list[object]) -> bool:
    """Tell whether anything that hangs on these refers to something older of the kind of one."""
    kinds = set(map(key, values))
    classes = set(map(id, map(type, values)))
    beyond = referents(*heap.reach(values).values())
    alike = [obj for obj in beyond if id(type(obj)) in classes and id(obj) not in heap.objects]
    return any(key(obj) in kinds for obj in alike)


def _names_of(owner: object) -> dict[str, object] | None:
    """Return the dict of a module or class itself, of which `vars` shows a copy."""
    if type(owner) is types.ModuleType:
        return vars(owner)
    return next((each for each in referents(owner) if type(each) is dict), None)


def _owner(names: dict[object, object]) -> ref[object] | None:
    """Return the module or class that has its names in this dict."""
    name = names.get("__name__")
    module = sys.modules.get(name) if type(name) is str else None
    if type(module) is types.ModuleType and vars(module) is names:
        return ref(module)
    if "__module__" not in names:
        return None
    for each in gc.get_referrers(names):
        if is_a(each, type) and _names_of(each) is names:
            return weakly(each)
    return None
