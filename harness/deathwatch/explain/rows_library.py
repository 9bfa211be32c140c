"""Edges of what the standard library writes in C, or keeps under names that nobody reads."""

from __future__ import annotations

import _thread
import functools
import gc
import sys
import types
import weakref
from contextvars import Context
from itertools import repeat
from typing import Any

from .frames import ctypes
from .names import callable_text, class_dict, class_text, describe, instance_dict, module_dict, mro
from .roots import threads
from .steps import Path, Row, Step, after, attribute, name_in, position, words


class _NoSuchType:
    """On PyPy, `functools.lru_cache` makes ordinary closures."""


_wrapper = type(functools.lru_cache(len))
LRU_CACHE: type = _NoSuchType if issubclass(_wrapper, types.FunctionType) else _wrapper


def of_partial(path: Path, at: int) -> Step | None:
    owner, child, then = path[at], path[at + 1], after(path, at)
    function, args, keywords = (
        vars(functools.partial)[name].__get__(owner) for name in ("func", "args", "keywords")
    )
    name = f"functools.partial({callable_text(function)})"
    if child is args and then is not None:
        text = f"argument {(position(child, then) or 0) + 1} of {name}"
        return words("partial argument", text, 2)
    if child is keywords and then is not None:
        text = f"argument {name_in(child, then)!r} of {name}"
        return words("partial argument", text, 2)
    return None


def of_lru_cache(path: Path, at: int) -> Step | None:
    """From the cache to a result, or through a key to an argument of the call that is cached."""
    owner = path[at]
    namespace = instance_dict(owner)
    found = [obj for obj in gc.get_referents(owner) if type(obj) is dict and obj is not namespace]
    if not found or path[at + 1] is namespace:
        return None
    first = at + 2 if path[at + 1] is found[0] and at + 2 < len(path) else at + 1
    name, child = callable_text(owner), path[first]
    if position(found[0].keys(), child) is None:
        if child is (namespace or {}).get("__wrapped__"):
            return attribute("__wrapped__", 1)
        return words("lru_cache", f"cached result of {name}", first - at)
    if type(child) is not tuple or first + 1 == len(path):
        return words("lru_cache", f"argument 1 of a cached call of {name}", first - at)
    argument = _argument(child, path[first + 1])
    return words("lru_cache", f"{argument} of a cached call of {name}", first + 1 - at)


def _argument(key: tuple[Any, ...], child: object) -> str:
    """Name an argument in a key: positional ones, a bare object as a mark, names and values."""
    index = position(key, child) or 0
    mark = next((at for at, part in enumerate(key) if type(part) is object), len(key))
    return f"argument {index + 1}" if index < mark else f"argument {key[index - 1]!r}"


def of_weakref(path: Path, at: int) -> Step | None:
    if vars(weakref.ref)["__callback__"].__get__(path[at]) is path[at + 1]:
        return words("weakref callback", "callback of a weak reference", 1)
    return None


def of_weak_key_dictionary(path: Path, at: int) -> Step | None:
    """Name a value by its key; of anything else, nothing."""
    data = (instance_dict(path[at]) or {}).get("data")
    here = at + 1 if path[at + 1] is data else at + 2
    if type(data) is not dict or here + 1 >= len(path) or path[here] is not data:
        return None
    index = position(data.values(), path[here + 1])
    if index is None:
        return None
    target = list(data)[index]()
    key = "dead key" if target is None else describe(target)
    mark = "dead key" if target is None else class_text(type(target))
    return words("weak dict value", f"value of the weak key <{key}>", here + 1 - at, f"weak {mark}")


def of_mapping_proxy(path: Path, at: int) -> Step | None:
    return words("mapping", "the mapping of the proxy", 1)


def of_context(path: Path, at: int) -> Step | None:
    """A context is a tree of nodes in C: skip them."""
    for variable, value in path[at].items():
        index = position(path[at + 1 :], value)
        if index is not None:
            text = f"ContextVar {variable.name!r}"
            return words("context variable", text, index + 1)
    return None


def of_context_var(path: Path, at: int) -> Step | None:
    return words("context variable", f"default of ContextVar {path[at].name!r}", 1)


def of_token(path: Path, at: int) -> Step | None:
    owner = path[at]
    if owner.old_value is path[at + 1]:
        return words("token", f"old value of ContextVar {owner.var.name!r}, kept by its Token", 1)
    return None


def of_thread_local(path: Path, at: int) -> Step | None:
    """A local, its table of threads, and one thread's namespace."""
    for here in (at + 1, at + 2):
        if here + 1 < len(path) and type(path[here]) is dict:
            name = name_in(path[here], path[here + 1])
            if name is not None and name in path[here]:
                text = f"thread-local {name!r} of {_whose(path[at + 1], path[here])}"
                return words("thread-local", text, here + 1 - at, f"thread-local {name!r}", name)
    return None


def _whose(table: dict[Any, object], namespace: object) -> str:
    """Say whose namespace it is: this thread's, or the other's, if there is but one other.

    PyPy shows none of its threads' tokens.
    """
    if sys.implementation.name == "pypy":
        return "a thread"
    index = position(table.values(), namespace)
    if index is not None and _is_mine(list(table)[index]):
        return "this thread"
    others = {name for ident, name in threads().items() if ident != _thread.get_ident()}
    return f"thread {others.pop()!r}" if len(others) == 1 else "another thread"


def _is_mine(token: Any) -> bool:
    """Tell whether a thread-local's table has an entry for this thread by this token.

    Since 3.13 all the thread-locals of a thread have the same; before, a weak reference to an
    object of their own that the thread's state holds.
    """
    if type(token) is not weakref.ref:
        other = _thread._local()
        other.mine = True
        tables = [obj for obj in gc.get_referents(other) if type(obj) is dict]
        return any(position(each, token) is not None for each in tables)
    if ctypes is None:
        return False
    state = ctypes.pythonapi.PyThreadState_GetDict
    state.restype = ctypes.c_void_p  # a borrowed reference
    kept = ctypes.cast(state(), ctypes.py_object).value
    return position(kept.values(), token()) is not None


def of_simple_queue(path: Path, at: int) -> Step | None:
    length = 2 if type(path[at + 1]) is list and at + 2 < len(path) else 1
    return words("queue item", "an item waiting in the SimpleQueue", length)


def of_future(path: Path, at: int) -> Step | None:
    """`_asyncio.Future` and `Task` show their fields through getters."""
    owner, child = path[at], path[at + 1]
    for name in ("_coro", "_result", "_exception", "_callbacks", "_fut_waiter", "_loop"):
        if _got(owner, name) is child:
            return attribute(name, 1)
    callbacks = _asyncio_callbacks(owner)
    if any(child is part for pair in callbacks for part in pair):
        return words("done callback", "a done callback of the future", 1)
    if type(child) is Context:
        found = of_context(path, at + 1) if at + 2 < len(path) else None
        if found is None:
            return words("context", "the context of the task", 1)
        return found._replace(text=f"{found.text} of the task", length=found.length + 1)
    if type(child) is types.TracebackType:
        return words("traceback", "traceback of its exception", 1)
    return None


def of_getter(*names: str) -> Row:
    """Make a row for a C type that shows some fields through getters that only read."""

    def row(path: Path, at: int) -> Step | None:
        found = (name for name in names if _got(path[at], name) is path[at + 1])
        return next(map(attribute, found, repeat(1)), None)

    return row


def _got(owner: object, name: str) -> object:
    """Return a field by the first getter in C that the type or a base of it has."""
    for cls in mro(type(owner)):
        getter: Any = class_dict(cls).get(name)
        if type(getter) is types.GetSetDescriptorType:
            return getter.__get__(owner)
    return None


def _asyncio_callbacks(owner: Any) -> list[Any]:
    future = c_type("_asyncio", "Future")
    return list(vars(future)["_callbacks"].__get__(owner) or ()) if future else []


def c_type(module: str, name: str) -> type | None:
    """Return a type of a C module, if that has been imported."""
    found = sys.modules.get(module)
    if type(found) is not types.ModuleType:
        return None
    cls = module_dict(found).get(name)
    return cls if type(cls) is type else None
