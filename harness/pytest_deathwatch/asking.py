"""Does a test ask the collector for older objects too? Then none may be frozen while it runs."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from .heap import NOT_FOREIGN

_ASKS = frozenset({"get_objects", "get_referrers"})
_ASKERS = (gc, gc.get_objects, gc.get_referrers)
_HOPS = 3
"""Calls from a test or fixture to the function that asks: it, its helper, and that one's."""
_known: WeakKeyDictionary[types.FunctionType, bool] = WeakKeyDictionary()


def asks_for_the_heap(item: Any) -> bool:
    """Tell whether a test, one of its fixtures or their helpers name what asks for all objects.

    Told from the names in their code: a function that is called by another way, through a class or
    from a distance of more than three calls, is not seen.
    """
    if hasattr(item, "dtest"):
        return any(name in each.source for each in item.dtest.examples for name in _ASKS)
    info = getattr(item, "_fixtureinfo", None)
    given = getattr(info, "name2fixturedefs", {}).values()
    asked = [getattr(item, "obj", None), *(each.func for same in given for each in same)]
    return any(_asks(function) for each in asked for function in _functions(each))


def unjudgeable(item: Any) -> str | None:
    """Say why the heap can't be frozen for a test, so that it is not judged; None where it can.

    To tell what is new without freezing takes a second for each test, where there are half a
    million objects. A run of pytest in a test loads Hypothesis anew where that is installed, and it
    asks who refers to the random generators that are registered (`hypothesis.register_random`).
    """
    runs_pytest = "pytester" in getattr(item, "fixturenames", ())
    if runs_pytest and "_hypothesis_pytestplugin" in sys.modules:
        return "it runs pytest, which loads Hypothesis anew, and that looks at the whole heap"
    if asks_for_the_heap(item):
        return "it looks at the whole heap, by gc.get_objects or gc.get_referrers"
    return None


def _asks(function: types.FunctionType) -> bool:
    known = _known.get(function)
    if known is None:
        known = _known[function] = _reaches(function)
    return known


def _reaches(function: types.FunctionType) -> bool:
    near, seen = [function], {id(function)}
    for _ in range(_HOPS):
        if any(map(_asks_itself, near)):
            return True
        called = {id(other): other for each in near for other in _called(each)}
        near = [other for mark, other in called.items() if mark not in seen]
        seen |= called.keys()
    return False


def _asks_itself(function: types.FunctionType) -> bool:
    """Tell whether a function's code names what asks, and where that is from: others have methods
    of such names."""
    names = _names(function.__code__)
    if _ASKS.isdisjoint(names):
        return False
    seen = [function.__globals__.get(name) for name in names]
    return "gc" in names or any(each is asker for each in seen for asker in _ASKERS)


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function's code has, with those of the functions in it."""
    names = set(code.co_names)
    for each in code.co_consts:
        if type(each) is types.CodeType:
            names |= _names(each)
    return names


def _called(function: types.FunctionType) -> Iterator[types.FunctionType]:
    """Return the functions that another one has in its closure, or names in its code."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # the cell is empty
            yield from _functions(cell.cell_contents)
    names, visible = _names(function.__code__), function.__globals__
    values = [visible[name] for name in names & visible.keys()]
    for module in values[:]:
        if type(module) is types.ModuleType:
            values += [vars(module)[name] for name in names & vars(module).keys()]
    for value in values:
        yield from filter(_is_foreign, _functions(value))


def _functions(obj: Any) -> Iterator[types.FunctionType]:
    """Return the function that an object is, and the one that it wraps."""
    obj = obj.__func__ if type(obj) is types.MethodType else obj
    if type(obj) is types.FunctionType:
        yield obj
        wrapped = vars(obj).get("__wrapped__")
        if type(wrapped) is types.FunctionType:
            yield wrapped


def _is_foreign(function: types.FunctionType) -> bool:
    """Tell whether a function is neither the standard library's nor the runner's."""
    name = function.__globals__.get("__name__")
    return type(name) is not str or name.partition(".")[0] not in NOT_FOREIGN
