"""By which reference does one object hold the next? One table: a type, and how its edges are named.

A row looks at an object of a path and at those after it, says what a person would write for the
step, and how many objects the step takes: an instance's `__dict__`, a closure's tuple and cell or
a chain of tracebacks are folded into it.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections import deque
from collections.abc import Iterator
from contextvars import Context, ContextVar, Token

from .names import class_text, describe, mro
from .retention import Edge
from .rows_code import (
    of_cell,
    of_exception,
    of_frame,
    of_function,
    of_method,
    of_suspended,
    of_traceback,
)
from .rows_data import (
    of_class,
    of_dict,
    of_instance,
    of_module,
    of_namespace,
    of_sequence,
    of_set,
)
from .rows_library import (
    LRU_CACHE,
    c_type,
    of_context,
    of_context_var,
    of_future,
    of_getter,
    of_lru_cache,
    of_mapping_proxy,
    of_partial,
    of_simple_queue,
    of_thread_local,
    of_token,
    of_weak_key_dictionary,
    of_weakref,
)
from .steps import Path, Row, Step, words

# A new kind of edge is one row here. The rows of an object's class and of its bases are asked in
# the order of its MRO, then `of_instance`.
ROWS: dict[type, Row] = {
    dict: of_dict,
    list: of_sequence,
    tuple: of_sequence,
    deque: of_sequence,
    set: of_set,
    frozenset: of_set,
    type: of_class,
    types.ModuleType: of_module,
    types.SimpleNamespace: of_namespace,
    types.FunctionType: of_function,
    types.MethodType: of_method,
    types.BuiltinFunctionType: of_method,
    types.CellType: of_cell,
    types.FrameType: of_frame,
    types.TracebackType: of_traceback,
    types.GeneratorType: of_suspended("generator", "gi"),
    types.CoroutineType: of_suspended("coroutine", "cr"),
    types.AsyncGeneratorType: of_suspended("async generator", "ag"),
    BaseException: of_exception,
    types.MappingProxyType: of_mapping_proxy,
    functools.partial: of_partial,
    LRU_CACHE: of_lru_cache,
    weakref.ref: of_weakref,
    weakref.WeakKeyDictionary: of_weak_key_dictionary,
    Context: of_context,
    ContextVar: of_context_var,
    Token: of_token,
}
# Rows of types in C modules that are not worth an import.
LATER: dict[tuple[str, str], Row] = {
    ("_thread", "_local"): of_thread_local,
    ("_queue", "SimpleQueue"): of_simple_queue,
    ("_asyncio", "Future"): of_future,
    ("_sqlite3", "Connection"): of_getter("row_factory", "text_factory"),
    ("_ssl", "_SSLContext"): of_getter("sni_callback"),
}


def rows() -> dict[int, Row]:
    """Return the table by the identity of types: hashing one may run a metaclass's code."""
    table = {id(cls): row for cls, row in ROWS.items()}
    for name, row in LATER.items():
        cls = c_type(*name)
        if cls is not None:
            table[id(cls)] = row
    return table


def step(table: dict[int, Row], path: Path, at: int) -> Step:
    """Name the edge from `path[at]` to what follows it."""
    owner = path[at]
    for cls in mro(type(owner)):
        row = table.get(id(cls))
        found = row(path, at) if row is not None else None
        if found is not None:
            return found
    found = of_instance(path, at)
    mark = f"inside {class_text(type(owner))}"
    return found or words("inside", f"held inside {describe(owner)}", 1, mark)


def edges(path: Path) -> Iterator[Edge]:
    """Name the edges of a path of objects."""
    table = rows()
    at = 0
    while at + 1 < len(path):
        kind, text, mark, length, base = step(table, path, at)
        at += length
        to = path[at]
        yield Edge(kind, text, base, describe(to), f"{mark} {class_text(type(to))}")
