"""What type checkers must make of the public names. Checked, never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Never, assert_type

from lastref import unique, weak
from lastref.cache import WeakCache
from lastref.cleanup import (
    Cleanup,
    CleanupQueue,
    CleanupStats,
    add_cleanup,
    cleanup_stats,
    drain,
    keep_alive,
)


class Node:
    name: str = ""


class Leaf(Node): ...


class Text(str): ...


def pointers(node: Node, leaf: Leaf, maybe: Node | None) -> None:
    assert_type(weak.make(node), weak.Pointer[Node])
    assert_type(weak.make(node).value(), Node | None)
    assert_type(weak.make(maybe), weak.Pointer[Node])
    assert_type(weak.make(None), weak.Pointer[Never])
    assert_type(weak.make(None).value(), None)
    assert_type(weak.Pointer(), weak.Pointer[Never])
    # A pointer to a leaf is one to a node, and the null pointer is one to anything.
    assert_type(wants_node_pointer(weak.make(leaf)), bool)
    assert_type(wants_node_pointer(weak.make(None)), bool)
    assert_type({weak.make(node): 1}, dict[weak.Pointer[Node], int])
    weak.make(node).value = None  # type: ignore[assignment]  # pyright: ignore


def wants_node_pointer(pointer: weak.Pointer[Node]) -> bool:
    return pointer == weak.make(None)


def handles(text: Text, pair: tuple[str, int]) -> None:
    assert_type(unique.make("a"), unique.Handle[str])
    assert_type(unique.make("a").value(), str)
    assert_type(unique.make(text), unique.Handle[str])
    assert_type(unique.make(b"a"), unique.Handle[bytes])
    assert_type(unique.make(1), unique.Handle[int])
    assert_type(unique.make(pair), unique.Handle[tuple[str, int]])
    assert_type(unique.make(unique.make(1)).value().value(), int)
    assert_type(unique.Handle(), unique.Handle[Never])
    assert_type(wants_handle(unique.make(True)), bool)
    assert_type({unique.make("a"): 1}, dict[unique.Handle[str], int])
    unique.make([])  # type: ignore[call-overload]  # pyright: ignore


def wants_handle(handle: unique.Handle[int]) -> bool:
    return handle == unique.make(1)


def caches(cache: WeakCache[str, Node]) -> None:
    assert_type(WeakCache(make_leaf), WeakCache[str, Leaf])
    assert_type(cache.get("a"), Node)
    get: Callable[[str], Node] = cache.get
    assert_type(get("a"), Node)
    cache.get(1)  # type: ignore[arg-type]  # pyright: ignore


def make_leaf(name: str) -> Leaf:
    leaf = Leaf()
    leaf.name = name
    return leaf


def cleanups(node: Node) -> None:
    queue = CleanupQueue(workers=0, name="mine")
    assert_type(add_cleanup(node, print, 1), Cleanup)
    assert_type(add_cleanup(node, make_leaf, "a", queue=queue), Cleanup)
    assert_type(add_cleanup(node, make_leaf, "a").stop(), bool)
    add_cleanup(node, make_leaf, 1)  # type: ignore[arg-type]  # pyright: ignore
    assert_type(queue.run_pending(), int)
    assert_type(queue.drain(), bool)
    assert_type(queue.drain(timeout=1.5), bool)
    assert_type(queue.stats(), CleanupStats)
    assert_type(drain(), bool)
    assert_type(drain(1), bool)
    assert_type(cleanup_stats(), CleanupStats)
    assert_type(cleanup_stats().executed, int)
    keep_alive(node)
