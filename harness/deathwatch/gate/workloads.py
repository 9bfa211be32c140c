"""What is done again and again to a library of cleanups, weak pointers, handles and caches.

Each workload is given the library, as a module with `lastref`'s public names, and a number of
operations; it makes ready what they need and returns what does them, and keeps what it made alive
until then. No cleanup becomes due in them, so that no other thread works meanwhile.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

Work = Callable[[], object]
Workload = Callable[[Any, int], Work]


class Node:
    """An object that can be weakly referenced."""

    def __init__(self, key: object = None) -> None:
        self.key = key


def release(arg: object) -> None:
    """A cleanup that does nothing."""


def cache_hit(lib: Any, operations: int) -> Work:
    """`WeakCache.get` of a key whose value is held."""
    cache = lib.WeakCache(Node)
    held = cache.get("key")

    def work() -> None:
        get = cache.get
        for _ in range(operations):
            get("key")
        lib.keep_alive(held)

    return work


def mapped_hit(path: str) -> Workload:
    """`MappedFileCache.get` of a path whose mapping is held."""

    def prepare(lib: Any, operations: int) -> Work:
        cache = lib.MappedFileCache()
        held = cache.get(path)

        def work() -> None:
            get = cache.get
            for _ in range(operations):
                get(path)
            lib.keep_alive(held)

        return work

    return prepare


def unique_hit(lib: Any, operations: int) -> Work:
    """`unique.make` of a str whose handle is held."""
    held = lib.unique.make("a value")

    def work() -> None:
        make = lib.unique.make
        for _ in range(operations):
            make("a value")
        lib.keep_alive(held)

    return work


def pointer_value(lib: Any, operations: int) -> Work:
    """`.value()` of a weak pointer whose object is held."""
    node = Node()
    pointer = lib.weak.make(node)

    def work() -> None:
        for _ in range(operations):
            pointer.value()
        lib.keep_alive(node)

    return work


def cleanup_register(lib: Any, operations: int) -> Work:
    """`add_cleanup` of a module's function on objects that stay alive, once each."""
    nodes = [Node() for _ in range(operations)]
    lib.add_cleanup(weakref, release, 1)  # the worker starts with the first registration

    def work() -> list[Node]:
        add = lib.add_cleanup
        for node in nodes:
            add(node, release, 1)
        return nodes

    return work


def mapped_life(path: str) -> Workload:
    """`MappedFile`, made and dropped."""

    def prepare(lib: Any, operations: int) -> Work:
        def work() -> None:
            for _ in range(operations):
                lib.MappedFile(path)

        return work

    return prepare


def workloads(path: str) -> dict[str, Workload]:
    """All of them by name; `path` is the file that is mapped."""
    return {
        "cache.hit": cache_hit,
        "cleanup.register": cleanup_register,
        "mapped.hit": mapped_hit(path),
        "mapped.life": mapped_life(path),
        "pointer.value": pointer_value,
        "unique.hit": unique_hit,
    }


TITLES = {
    "cache.hit": "a hit of the weak cache",
    "cleanup.register": "registering a cleanup",
    "mapped.hit": "a hit of the mapped-file cache",
    "mapped.life": "a mapping's life",
    "pointer.value": "a look through a weak pointer",
    "unique.hit": "a unique handle of a known str",
}
