"""Which cleanups can never run? Those whose own function or argument holds their object (C17).

Registrations are found through a protocol, so that nothing is imported for it: a module that keeps
registrations has a function `__deathwatch_cleanups__()`, which yields for each pending one
`(obj, func, args, site)`: the object, what will be called with what, and where it was registered,
"file:line", or None where nobody asked for that to be kept. Modules with this function are found
in `sys.modules`. The registry of `weakref.finalize` is looked at as well.
"""

from __future__ import annotations

import builtins
import gc
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .referents import referents

HOOK = "__deathwatch_cleanups__"

Pending = tuple[object, Callable[..., object], tuple[object, ...], str | None]


@dataclass(frozen=True)
class NeverRuns:
    """One cleanup that can never run. Holds descriptions, not the objects.

    `obj` is the class of the object; `func` says which function it is and where that was
    defined; `path` names the classes from the function or argument to the object; `site` is
    "file:line" of the registration, or None where it was not recorded.
    """

    obj: str
    func: str
    path: tuple[str, ...]
    site: str | None

    def __str__(self) -> str:
        where = f", registered at {self.site}," if self.site else ""
        return (
            f"the cleanup {self.func} of a {self.obj!r} object{where} will never run: it holds"
            f" its object ({' -> '.join(self.path)})"
        )


def check_cleanups() -> list[NeverRuns]:
    """Report each pending cleanup that can never run, because it keeps its own object alive.

    Looks at every registration with `lastref.cleanup` and `weakref.finalize`, any number of steps
    from the function and the arguments, as Go's `GODEBUG=checkfinalizers=1` does (C17). Module
    globals, modules and classes are not followed: an object that these hold is alive on purpose.

    Not guaranteed: that what is reported stays so (a container that is emptied later lets go of
    the object), or that what only C holds is seen. The object, the function and the arguments are
    held while they are looked at. Runs in the calling thread, and takes time with all that the
    functions and arguments reach. For a site, registrations must have been recorded: start
    Python with `-X dev`, or call `lastref.cleanup.record_sites()` before; for `weakref.finalize`
    it is `tracemalloc` that knows.

    >>> import weakref
    >>> class Connection:
    ...     def close(self): pass
    >>> connection = Connection()
    >>> _ = weakref.finalize(connection, connection.close)
    >>> [found] = check_cleanups()
    >>> found.obj, found.path
    ('Connection', ('method', 'Connection'))
    """
    gc.collect()  # what is garbage already is no finding
    found = []
    for obj, func, args, site in _pending():
        path = _path(obj, (func, *args))
        if path is not None:
            found.append(NeverRuns(type(obj).__qualname__, _function(func), path, site))
    return found


def _pending() -> Iterator[Pending]:
    for module in list(sys.modules.values()):
        # Not getattr: some modules import others when asked for a name.
        hook: Callable[[], Iterable[Pending]] | None = _namespace(module).get(HOOK)
        if hook is not None:
            yield from hook()
    yield from _finalizes()


def _namespace(module: object) -> dict[str, Any]:
    return vars(module) if isinstance(module, ModuleType) else {}


def _finalizes() -> Iterator[Pending]:
    for finalize in list(getattr(weakref.finalize, "_registry", {})):
        alive = finalize.peek()
        if alive is not None:
            obj, func, args, kwargs = alive
            yield obj, func, (*args, *kwargs.values()), _allocated_at(finalize)


def _allocated_at(obj: object) -> str | None:
    """Where `tracemalloc` saw an object made, if it was told to look."""
    tracemalloc = sys.modules.get("tracemalloc")
    if tracemalloc is None:
        return None
    traceback = tracemalloc.get_object_traceback(obj)
    return f"{traceback[-1].filename}:{traceback[-1].lineno}" if traceback else None


def _function(func: object) -> str:
    code = getattr(getattr(func, "__func__", func), "__code__", None)
    code = code if isinstance(code, CodeType) else None  # PyPy's own functions have others
    name = getattr(func, "__qualname__", type(func).__qualname__)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else f"{name}"


def _path(obj: object, starts: tuple[object, ...]) -> tuple[str, ...] | None:
    """The shortest way from one of `starts` to `obj`, or None. Breadth first, forwards."""
    before: dict[int, object] = {id(start): None for start in starts}
    reached = list(starts)  # holds what `before` knows by its address
    queue = deque(starts)
    while queue:
        holder = queue.popleft()
        if holder is obj:
            return _classes(holder, before)
        for held in _held_by(holder):
            if id(held) not in before:
                before[id(held)] = holder
                reached.append(held)
                queue.append(held)
    return None


def _held_by(holder: object) -> Iterator[object]:
    if isinstance(holder, ModuleType | type | CodeType):  # PyPy's code leads to its globals
        return
    shared = _shared_by_all(holder) if isinstance(holder, FunctionType) else ()
    for held in referents(holder):
        if not isinstance(held, ModuleType | type) and all(held is not one for one in shared):
            yield held


def _shared_by_all(function: FunctionType) -> tuple[object, ...]:
    """What a function names but does not hold for itself: its globals, and the builtins."""
    return function.__globals__, getattr(function, "__builtins__", None), vars(builtins)


def _classes(last: object, before: dict[int, object]) -> tuple[str, ...]:
    path: list[str] = []
    step: object | None = last
    while step is not None:
        path.append(type(step).__qualname__)
        step = before[id(step)]
    return tuple(reversed(path))
