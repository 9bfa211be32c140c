"""Which line is to change? One sentence for each pattern of leak that is certain."""

from __future__ import annotations

import types
import weakref
from collections.abc import Sequence
from typing import Any

from .modules import Root
from .names import instance_dict, is_a, plain
from .retention import Edge
from .rows_library import LRU_CACHE
from .steps import Path, position

# By the kind of an edge; the edge nearest to the object that has a sentence gives it.
_EDGES = {
    "lru_cache": "a cache keeps arguments and results until it is full, or cache_clear() is called",
    "local of a traceback": (
        "an exception that is kept keeps the frames of its traceback: keep"
        " error.with_traceback(None), or its text"
    ),
    "weakref callback": "a weak reference holds its callback, and all that this reaches",
    "thread-local": "it lasts as long as its thread, in a pool for ever: delete it after use",
    "context variable": "undo it with ContextVar.reset(token)",
    "token": "a Token keeps the value that it would restore: drop it after reset()",
    "default argument": "a default argument lasts as long as its function",
}
# By the beginning of the root's mark.
_ROOTS = {
    "os.register_at_fork": (
        "nothing can be unregistered from os.register_at_fork: register a function that reaches"
        " the object through a weak reference"
    ),
    "atexit": "atexit.unregister(…) it, or use weakref.finalize(…), which doesn't hold the object",
    "handler of": "restore the former handler with signal.signal(…)",
    "codecs.register": "codecs.unregister(…) the search function",
    "weakref.finalize": "a finalizer's function and arguments must not reach its object",
}
_METHOD_CACHE = (
    "a cache on a method keeps every `self` that it was called with: keep the results on the"
    " instance (functools.cached_property), or take the cache off"
)
_OWN_KEY = (
    "the value of this entry reaches its own key, so that a WeakKeyDictionary never drops it:"
    " the value must refer to the key weakly, if at all"
)
_WAITING = "the variable keeps its value while the thread waits: del it before"


def hint(root: Root, path: Path, edges: Sequence[Edge]) -> str:
    """Return what mends a leak like this, or nothing."""
    if any(_reaches_its_key(path, at) for at in range(len(path) - 1)):
        return _OWN_KEY
    for edge in reversed(edges):
        if edge.text.startswith("argument 1 of a cached call") and any(map(_caches_method, path)):
            return _METHOD_CACHE
        if edge.kind in _EDGES:
            return _EDGES[edge.kind]
    if root.slots is not None and " in thread " in root.text:
        return _WAITING
    return next((text for mark, text in _ROOTS.items() if root.mark.startswith(mark)), "")


def _caches_method(obj: object) -> bool:
    wrapped: Any = (instance_dict(obj) or {}).get("__wrapped__") if is_a(obj, LRU_CACHE) else None
    if not is_a(wrapped, types.FunctionType):
        return False
    scope = plain(wrapped.__qualname__).rpartition(".")[0]
    return bool(scope) and not scope.endswith("<locals>")


def _reaches_its_key(path: Path, at: int) -> bool:
    """Tell whether an entry of a WeakKeyDictionary is on the way, and its key too (W11)."""
    if not is_a(path[at], weakref.WeakKeyDictionary):
        return False
    data = (instance_dict(path[at]) or {}).get("data")
    if type(data) is not dict:
        return False
    indices = (position(data.values(), value) for value in path[at + 1 : at + 4])
    index = next((index for index in indices if index is not None), None)
    key = None if index is None else list(data)[index]
    return type(key) is weakref.ref and position(path[at:], key()) is not None
