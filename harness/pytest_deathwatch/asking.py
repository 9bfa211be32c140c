"""Does a test ask the collector for older objects too? Then none may be frozen while it runs."""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from .heap import NOT_FOREIGN, fixtures_of, package

_ASKERS = (gc.get_objects, gc.get_referrers)
_ASKS = frozenset(each.__name__ for each in _ASKERS)
_CALLS = 2
"""How far from a test or fixture the function that asks may be: a helper, or a helper's helper."""
_Function = types.FunctionType
_known: list[WeakKeyDictionary[_Function, bool]] = [WeakKeyDictionary() for _ in range(_CALLS + 1)]


class Asking:
    """Asks each function of tests once: those of one function, and no others, share what pytest
    knows of their fixtures."""

    def __init__(self) -> None:
        self._info: object = None
        self._answer: str | None = None

    def unjudgeable(self, item: pytest.Item) -> str | None:
        """Say why the heap can't be frozen for a test; None where it can."""
        info = getattr(item, "_fixtureinfo", None)
        if info is None or info is not self._info:
            self._info, self._answer = info, unjudgeable(item)
        return self._answer


def unjudgeable(item: Any) -> str | None:
    """Say why the heap can't be frozen for a test, so that it is not judged; None where it can.

    To tell what is new without freezing takes a second for each test, where there are half a
    million objects. A run of pytest in a test loads Hypothesis anew where that is installed, and it
    asks who refers to the random generators that are registered (`hypothesis.register_random`).
    """
    try:
        if "_hypothesis_pytestplugin" in sys.modules and "pytester" in item.fixturenames:
            return "it runs pytest, which loads Hypothesis anew, and that looks at the whole heap"
        if _asks_for_the_heap(item):
            return "it looks at the whole heap, by gc.get_objects or gc.get_referrers"
    except Exception:  # an item of another kind than pytest's own: it is run as it always was
        return None
    return None


def _asks_for_the_heap(item: Any) -> bool:
    """Tell whether a test, one of its fixtures or their helpers name what asks for all objects.

    Told from the names in their code: a function that is called by another way, as through a class,
    in a library by another function, or from a distance of more than two calls, is not seen.
    """
    return any(_asks(function, _CALLS) for function in _functions_of(item))


def _functions_of(item: Any) -> Iterator[_Function]:
    cls = getattr(item, "cls", None)
    yield from _functions(getattr(item, "obj", None))
    for name in ("setUp", "asyncSetUp", "tearDown", "asyncTearDown"):
        yield from _functions(getattr(cls, name, None))
    for fixture in fixtures_of(item):
        yield from _functions(fixture.func)
    if hasattr(item, "dtest"):
        for example in item.dtest.examples:
            with suppress(SyntaxError, ValueError):
                yield _Function(compile(example.source, "<doctest>", "exec"), item.dtest.globs)


def _asks(function: _Function, calls: int) -> bool:
    """Tell whether a function asks, itself or by so many calls."""
    known = _known[calls].get(function)
    if known is None:
        known = _known[calls][function] = _asks_itself(function) or (
            calls > 0
            and not _is_installed(function)
            and any(_asks(each, calls - 1) for each in _called(function))
        )
    return known


def _is_installed(function: _Function) -> bool:
    """Tell whether this is a library's: that could ask by one of its functions, as `asizeof` of
    pympler's, and seldom does."""
    return "-packages" in function.__code__.co_filename


def _asks_itself(function: _Function) -> bool:
    """Tell whether a function's code names what asks. Others have methods of such names."""
    names = _names(function.__code__)
    seen = [function.__globals__.get(name) for name in names]
    if any(each is asker for each in seen for asker in _ASKERS):
        return True
    return not _ASKS.isdisjoint(names) and ("gc" in names or any(each is gc for each in seen))


def _names(code: types.CodeType) -> set[str]:
    """Return the names that a function's code has, with those of the functions in it."""
    names = set(code.co_names)
    for each in code.co_consts:
        if type(each) is types.CodeType:
            names |= _names(each)
    return names


def _called(function: _Function) -> Iterator[_Function]:
    """Return the functions that another one has in its closure, or names in its code."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # the cell is empty
            yield from _functions(cell.cell_contents)
    names, visible = _names(function.__code__), function.__globals__
    values = [visible.get(name, sys.modules.get(name)) for name in names]
    modules = [each for each in values if type(each) is types.ModuleType]
    for module in modules:
        inside = [vars(module)[name] for name in names & vars(module).keys()]
        values += inside
        modules += (m for m in inside if type(m) is types.ModuleType and m not in modules)
    for value in values:
        yield from filter(_is_foreign, _functions(value))


def _functions(obj: Any) -> Iterator[_Function]:
    """Return the function that an object is or wraps, or both."""
    if type(obj) is types.MethodType:
        obj = obj.__func__
    if type(obj) is functools.partial:
        obj = obj.func
    if type(obj) is _Function:
        yield obj
    if type(obj) in (_Function, functools._lru_cache_wrapper):
        handle: Any = vars(obj).get("hypothesis")
        of_hypothesis = package(type(handle)) == "hypothesis"
        inner = (vars(obj).get("__wrapped__"), of_hypothesis and handle.inner_test)
        yield from (each for each in inner if type(each) is _Function)


def _is_foreign(function: _Function) -> bool:
    """Tell whether a function is neither the standard library's nor the runner's."""
    name = function.__globals__.get("__name__")
    return type(name) is not str or name.partition(".")[0] not in NOT_FOREIGN
