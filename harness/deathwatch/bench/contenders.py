"""Who is compared: ways of opening mapped files, each a function that makes a `get(path)`.

The one module of the harness that imports `lastref`, inside the functions that need it. All but
ours map as people write it (`open`, then `mmap.mmap`); ours is `lastref.MappedFile`, so that the
columns of calls show the mapping's own cost too, and the column of maps the cache's alone.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from typing import Any

from .overlaps import Get

LRU_SIZE = 16


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of opening mapped files.

    `keeps` is how many mappings it may hold once nobody else does, of so many files: whatever is
    alive beyond that after a collection has leaked.
    """

    name: str
    title: str
    make: Callable[[], Get]
    keeps: Callable[[int], int]


def map_naive(path: str) -> mmap:
    """Map a file as people write it. The mapping keeps a duplicate of the descriptor."""
    with open(path, "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def map_plain(path: str) -> mmap:
    """Map a file by `os.open`, with what the interpreter does by default."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return mmap(fd, 0, access=ACCESS_READ)
    finally:
        os.close(fd)


def map_untracked(path: str) -> mmap:
    """Map a file and keep no descriptor. Only CPython 3.13 and later can, see `CAN_UNTRACK`."""
    if sys.version_info < (3, 13) or sys.platform == "win32":
        raise NotImplementedError("mmap(trackfd=False) needs Python 3.13")
    fd = os.open(path, os.O_RDONLY)
    try:
        return mmap(fd, 0, access=ACCESS_READ, trackfd=False)
    finally:
        os.close(fd)


CAN_UNTRACK = sys.version_info >= (3, 13) and sys.platform != "win32"


def map_ours(path: str) -> Any:
    """Map a file by `lastref.MappedFile`."""
    from lastref import MappedFile

    return MappedFile(path)


def library() -> Any:
    """`lastref` itself, for workloads that are handed the library they try."""
    import lastref

    return lastref


def _naive() -> Get:
    return map_naive


def _strong_dict() -> Get:
    files: dict[str, mmap] = {}
    lock = threading.Lock()

    def get(path: str) -> mmap:
        try:
            return files[path]
        except KeyError:
            with lock:
                if path not in files:
                    files[path] = map_naive(path)
                return files[path]

    return get


def _lru_cache() -> Get:
    return lru_cache(maxsize=LRU_SIZE)(map_naive)


def _weak_value_dictionary() -> Get:
    files: weakref.WeakValueDictionary[str, mmap] = weakref.WeakValueDictionary()
    lock = threading.Lock()

    def get(path: str) -> mmap:
        with lock:
            mapped = files.get(path)
            if mapped is None:
                mapped = files[path] = map_naive(path)
            return mapped

    return get


class _SharedMap:
    """As much of Go's `sync.Map` as the post's algorithm uses, each operation atomic."""

    def __init__(self) -> None:
        self._entries: dict[str, Any] = {}
        self._lock = threading.Lock()

    def load(self, key: str) -> Any:
        return self._entries.get(key)

    def load_or_store(self, key: str, value: Any) -> Any:
        return self._entries.setdefault(key, value)

    def compare_and_delete(self, key: str, value: Any) -> None:
        with self._lock:
            if self._entries.get(key) is value:
                del self._entries[key]


def _post() -> Get:
    """The post's `Cache[K, V]` step by step, without its exercise: a race maps a file twice.

    The post deletes the entry of a dead file, where it meets one, and goes round again; the
    entry's own deletion is a cleanup on the worker's thread.
    """
    from lastref import add_cleanup, weak

    entries = _SharedMap()

    def delete(entry: tuple[str, Any]) -> None:
        entries.compare_and_delete(*entry)

    def get(path: str) -> mmap:
        made: mmap | None = None
        while True:
            pointer = entries.load(path)
            if pointer is None:
                if made is None:
                    made = map_naive(path)
                own = weak.make(made)
                pointer = entries.load_or_store(path, own)
                if pointer is own:
                    add_cleanup(made, delete, (path, own))
                    return made
            mapped: mmap | None = pointer.value()
            if mapped is not None:
                return mapped
            entries.compare_and_delete(path, pointer)

    return get


def _ours() -> Get:
    from lastref import MappedFileCache

    return MappedFileCache().get


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("naive", "naive: open + mmap", _naive, lambda files: 0),
        Contender("dict", "strong dict", _strong_dict, lambda files: files),
        Contender("lru", f"lru_cache({LRU_SIZE})", _lru_cache, lambda files: min(files, LRU_SIZE)),
        Contender("weakvalue", "WeakValueDict + lock", _weak_value_dictionary, lambda files: 0),
        Contender("post", "the post's algorithm", _post, lambda files: 0),
        Contender("ours", "MappedFileCache", _ours, lambda files: 0),
    )
}

LIVES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "naive": ("open + mmap", map_naive),
    "plain": ("os.open + mmap", map_plain),
    "ours": ("MappedFile", map_ours),
}
"""Whose calls in one mapping's life are listed: a name, in words, how it maps."""
