"""Who is it that holds this in C? What an orphan says of its holder.

An orphan is an object that the collector tracks and that has more references than the collector
can find: a list of the interpreter's, the arguments of a thread, an extension's variable.
"""

from __future__ import annotations

import atexit
import sys
import types
from contextlib import suppress
from contextvars import Context
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import Any

from .modules import Rank, Root
from .names import (
    callable_text,
    class_dict,
    describe,
    is_a,
    is_exactly,
    kind_text,
    module_dict,
    module_of,
    mro,
)
from .steps import Path, position


def root_of(path: Path) -> tuple[Root, int]:
    """Name the holder of a path's first object, and say how many objects that takes."""
    orphan = path[0]
    for row in _ROWS:
        found = row(path)
        if found is not None:
            text, mark, length = found
            return Root(Rank.INTERPRETER, orphan, text, "…", mark, None, 1), length
    text = f"{describe(orphan)}, held outside the collector's view"
    return Root(Rank.UNSEEN, orphan, text, "…", kind_text(orphan), None, 1), 0


Found = tuple[str, str, int]


def _of_module(module: str, name: str) -> object:
    found = sys.modules.get(module)
    return module_dict(found).get(name) if is_a(found, types.ModuleType) else None


def _callbacks(path: Path) -> list[Any] | None:
    orphan = path[0]
    return orphan if type(orphan) is list and len(path) > 1 else None


def at_fork(path: Path) -> Found | None:
    """Three lists, told apart by what the standard library registers in each."""
    callbacks = _callbacks(path)
    if callbacks is None or not all(_is_called(each) for each in callbacks):
        return None
    names = {callable_text(each).rpartition(".")[2] for each in callbacks}
    if position(callbacks, _of_module("threading", "_after_fork")) is not None:
        when = "after_in_child"
    elif names & {"acquire()", "_acquireLock()"}:
        when = "before"
    elif names & {"release()", "_releaseLock()"}:
        when = "after_in_parent"
    elif position(callbacks, _of_module("encodings", "search_function")) is not None:
        return f"codecs.register({_called(path[1])})", "codecs.register", 1
    else:
        return f"os.register_at_fork({_called(path[1])})", "os.register_at_fork", 1
    text = f"os.register_at_fork({when}={_called(path[1])})"
    return text, "os.register_at_fork", 1


def _is_called(obj: object) -> bool:
    return any("__call__" in class_dict(cls) for cls in mro(type(obj)))


def _called(obj: object) -> str:
    return callable_text(obj).removesuffix("()")


def at_exit_list(path: Path) -> Found | None:
    """Since 3.14, a list of (function, arguments, keyword arguments)."""
    callbacks = _callbacks(path)
    if callbacks is None or type(path[1]) is not tuple or len(path[1]) != 3:
        return None
    return _at_exit(path[1:], *path[1])


def _at_exit(path: Path, function: object, args: Any, kwargs: object) -> Found:
    called = _called(function)
    if len(path) > 2 and path[1] is args:
        number = (position(args, path[2]) or 0) + 1
        return f"argument {number} of atexit callback {called}()", f"atexit {called}", 3
    if len(path) > 2 and path[1] is kwargs:
        return f"keyword argument of atexit callback {called}()", f"atexit {called}", 3
    return f"atexit callback {called}()", f"atexit {called}", 2 if len(path) > 1 else 1


def at_exit_callback(path: Path) -> Found | None:
    """Up to 3.13, the callbacks are in a C array, but `atexit.unregister` compares each."""
    if not _is_called(path[0]) or position(atexit_callbacks(), path[0]) is None:
        return None
    called = _called(path[0])
    return f"atexit callback {called}()", f"atexit {called}", 0


def arguments(path: Path) -> Found | None:
    """Up to 3.13, `atexit` shows its callbacks but not their arguments: a likely guess, and said.

    Threads that were started without `threading` keep their arguments in the same way.
    """
    if not is_exactly(path[0], tuple, dict) or len(path) < 2 or sys.version_info >= (3, 14):
        return None
    callbacks = [
        each for each in atexit_callbacks() if not _is_stdlib(each) and _takes(each, path[0])
    ]
    if not callbacks:
        return None
    names = ", ".join(_called(each) + "()" for each in callbacks[:3])
    index = position(path[0], path[1]) if type(path[0]) is tuple else None
    which = "keyword argument" if index is None else f"argument {index + 1}"
    return f"{which} of a call in C, most likely of atexit callback {names}", "atexit", 1


def _takes(callback: Any, given: Any) -> bool:
    """Tell whether a callback can have been given these (keyword) arguments.

    Of anything but functions and their methods there is no telling, short of running its code.
    """
    bound = type(callback) is types.MethodType
    function = callback.__func__ if bound else callback
    if type(function) is not types.FunctionType:
        return True
    code = function.__code__
    if type(given) is tuple:
        return bool(code.co_flags & CO_VARARGS) or bound + len(given) <= code.co_argcount
    first = max(bound, code.co_posonlyargcount)
    named = code.co_varnames[first : code.co_argcount + code.co_kwonlyargcount]
    return all(
        type(each) is str and (bool(code.co_flags & CO_VARKEYWORDS) or each in named)
        for each in list(given)
    )


def _is_stdlib(callback: Any) -> bool:
    top = module_of(callback).partition(".")[0]
    return top in sys.stdlib_module_names and top != "builtins"


def codec_errors(path: Path) -> Found | None:
    if type(path[0]) is not dict or "xmlcharrefreplace" not in path[0] or len(path) < 2:
        return None
    index = position(path[0].values(), path[1]) or 0
    return f"codecs.register_error({list(path[0])[index]!r})", "codecs.register_error", 1


def context(path: Path) -> Found | None:
    """The context of a thread is known to that thread alone."""
    if type(path[0]) is not Context:
        return None
    others = len(sys._current_frames()) > 1
    return ("a context of another thread" if others else "a context in C"), "context", 0


_ROWS = (at_fork, at_exit_list, at_exit_callback, codec_errors, context, arguments)


def atexit_callbacks() -> list[object]:
    """Return what is registered with `atexit`, in the order of registration.

    `atexit.unregister` compares every callback to its argument: this one is equal to none, and
    notes them. A callback whose class defines `__eq__` is asked as well, and is not noted; one
    that raises there hides those that `atexit` comes to after it.
    """
    probe = _Probe()
    with suppress(Exception):  # of a user's `__eq__`
        atexit.unregister(probe)  # type: ignore[arg-type]
    return probe.found


def registrations(callback: object) -> int:
    """Return how often a callback is registered with `atexit`."""
    return sum(each is callback for each in atexit_callbacks())


class _Probe:
    """Equal to nothing."""

    __slots__ = ("found",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.found: list[object] = []

    def __eq__(self, other: object) -> bool:
        self.found.append(other)
        return False
