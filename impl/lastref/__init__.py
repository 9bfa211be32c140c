"""How objects die: cleanups, weak pointers, unique handles, and caches that free themselves.

A reference implementation, in Python, of what Go 1.24 has for it. Each promise's id (C1, W3, U6,
...) stands in the docstring that makes it. Needs the standard library alone.

>>> import lastref
>>> class Connection: pass
>>> connection, closed = Connection(), []
>>> cleanup = lastref.add_cleanup(connection, closed.append, "socket 7")
>>> pointer = lastref.weak.make(connection)
>>> pointer.value() is connection
True
"""

from . import unique, weak
from .cache import WeakCache
from .cleanup import (
    Cleanup,
    CleanupQueue,
    CleanupStats,
    add_cleanup,
    cleanup_stats,
    drain,
    keep_alive,
)
from .mapped import MappedFile, MappedFileCache

__all__ = [
    "Cleanup",
    "CleanupQueue",
    "CleanupStats",
    "MappedFile",
    "MappedFileCache",
    "WeakCache",
    "add_cleanup",
    "cleanup_stats",
    "drain",
    "keep_alive",
    "unique",
    "weak",
]
