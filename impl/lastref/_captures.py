"""Would this cleanup keep its own object alive?

A cleanup whose function or argument holds the object never runs (semantics C6). Go panics where
it can see that one level down (C7, C8); so does `check`, with a `ValueError`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from types import BuiltinMethodType, FunctionType, MethodType, MethodWrapperType
from typing import Any
from weakref import ref

ATOMIC = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types whose instances hold no other object."""

CONTAINERS = frozenset({tuple, list, dict, set, frozenset})
"""Searched without `gc.get_referents`, which stops all threads on free-threaded builds."""

_LOOK_INTO = 1000
"""Larger ones are not searched: a registration must not cost as much as its argument is large."""

_REMEMBERED = 256
_harmless: set[ref[FunctionType]] = set()
"""Functions that can hold nothing: no closure, no default beyond `ATOMIC`. Weak."""


def check(obj: object, func: Callable[[Any], object], arg: Any) -> bool:
    """Raise where `func` or `arg` holds `obj`; True where `func` alone never can.

    One level: closure variables, `__self__`, defaults and partial arguments of `func`; elements
    and attributes of `arg`. Deeper is not looked. `TypeError` where `func` is not callable.
    """
    kind = type(arg)
    if kind is tuple:  # several arguments: here, they take half as long as in `_check_arg`
        if len(arg) <= _LOOK_INTO:
            for value in arg:
                if value is obj:
                    raise _never_runs(obj, "an element of arg")
    elif kind not in ATOMIC:
        _check_arg(obj, arg)
    inner: Any = func
    if inner is obj:
        raise _never_runs(obj, "func itself")
    if type(func) is MethodType:
        if inner.__self__ is obj:
            raise _never_runs(obj, "__self__ of func")
        inner = inner.__func__
    if type(inner) is FunctionType and (ref(inner) in _harmless or _holds_nothing(inner)):
        return inner is func
    if not callable(func):
        raise TypeError(f"func must be callable, not {type(func).__name__!r}")
    for name, value in _edges(inner):
        if value is obj:
            raise _never_runs(obj, f"{name} of func")
    return False


def _check_arg(obj: object, arg: object) -> None:
    if arg is obj:
        raise _never_runs(obj, "arg itself")
    for name, value in _edges(arg):
        if value is obj:
            raise _never_runs(obj, f"{name} of arg")


def _never_runs(obj: object, holder: str) -> ValueError:
    return ValueError(
        f"the cleanup would keep its own {type(obj).__name__!r} object alive and never run: it is "
        f"{holder}. Give the cleanup what it needs of the object (a descriptor, a path, a key)."
    )


def _holds_nothing(func: FunctionType) -> bool:
    if (
        func.__closure__ is not None
        or func.__dict__
        or not ATOMIC.issuperset(map(type, func.__defaults__ or ()))
        or not ATOMIC.issuperset(map(type, (func.__kwdefaults__ or {}).values()))
    ):
        return False
    if len(_harmless) >= _REMEMBERED:
        # Functions made at every call (a lambda at the call site) would grow it without end.
        _harmless.clear()
    _harmless.add(ref(func))
    return True


def _edges(holder: Any) -> Iterable[tuple[str, object]]:
    """What `holder` holds one level down, named as a person would.

    Asks for the exact type: `isinstance` would ask the holder.
    """
    kind = type(holder)
    if kind in CONTAINERS:
        return _elements(holder)
    if kind is ref:
        return (("the callback", holder.__callback__),)
    if kind is FunctionType:
        return _function_edges(holder)
    if kind is MethodType:
        return chain((("__self__", holder.__self__),), _edges(holder.__func__))
    if kind is BuiltinMethodType or kind is MethodWrapperType:
        return (("__self__", holder.__self__),)
    if issubclass(kind, partial):
        return _partial_edges(holder)
    return _instance_edges(holder)


def _elements(holder: Any) -> Iterator[tuple[str, object]]:
    if len(holder) <= _LOOK_INTO:
        values = (*holder, *holder.values()) if type(holder) is dict else tuple(holder)
        for value in values:
            yield "an element", value


def _function_edges(func: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=False):
        try:
            yield f"closure variable {name!r}", cell.cell_contents
        except ValueError:  # not bound yet
            continue
    for value in func.__defaults__ or ():
        yield "a default", value
    for name, value in (func.__kwdefaults__ or {}).items():
        yield f"default of {name!r}", value
    for name, value in func.__dict__.items():
        yield f"attribute {name!r}", value


def _partial_edges(func: partial[object]) -> Iterator[tuple[str, object]]:
    for index, value in enumerate(func.args):
        yield f"argument {index} of the partial", value
    for name, value in func.keywords.items():
        yield f"argument {name!r} of the partial", value
    yield "the function of the partial", func.func
    yield from _edges(func.func)


def _instance_edges(holder: object) -> Iterator[tuple[str, object]]:
    seen = False
    for value in gc.get_referents(holder):
        yield "an element or attribute", value
        if type(value) is dict and not seen:
            # Maybe the instance's own dictionary: asking for it sooner would have made it.
            seen = True
            for name, attribute in _attributes(holder).items():
                yield f"attribute {name!r}", attribute


def _attributes(holder: object) -> dict[str, object]:
    try:
        return dict(vars(holder))
    except Exception:  # no `__dict__`, or a property of that name
        return {}
