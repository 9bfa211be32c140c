"""How costs grow: with what is there already, and with the threads that ask.

Each at growing sizes with the standard library's nearest thing beside it, so that the growth is
seen and not guessed; the report draws them.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import lastref

SIZES = [100, 1_000, 10_000, 100_000]
LOOKS = 5_000
ROUNDS = 20


class Node:
    def __init__(self, key: object = None) -> None:
        self.key = key


def release(arg: object) -> None:
    pass


@pytest.mark.parametrize("size", SIZES)
def test_a_hit_of_the_cache(
    benchmark: BenchmarkFixture, versus: Callable[..., float], size: int
) -> None:
    """With so many entries, beside `WeakValueDictionary.get`."""
    cache = lastref.WeakCache(Node)
    held = [cache.get(key) for key in range(size)]
    values = weakref.WeakValueDictionary(enumerate(held))

    def ours() -> None:
        for _ in range(LOOKS):
            cache.get(7)

    def rival() -> None:
        for _ in range(LOOKS):
            values.get(7)

    versus(ours, rival, operations=LOOKS, name="WeakValueDictionary.get", rounds=ROUNDS)
    benchmark.extra_info["size"] = size


@pytest.mark.parametrize("size", SIZES)
def test_a_handle_of_a_known_str(
    benchmark: BenchmarkFixture, versus: Callable[..., float], size: int
) -> None:
    """With so many handles alive, beside a dict's `setdefault`."""
    texts = [f"text {number}" for number in range(size)]
    handles = [lastref.unique.make(text) for text in texts]
    known = {text: text for text in texts}

    def ours() -> None:
        for _ in range(LOOKS):
            lastref.unique.make("text 7")

    def rival() -> None:
        for _ in range(LOOKS):
            known.setdefault("text 7", "text 7")

    versus(ours, rival, operations=LOOKS, name="dict.setdefault", rounds=ROUNDS)
    lastref.keep_alive(handles)
    benchmark.extra_info["size"] = size


@pytest.mark.parametrize("size", SIZES[:-1])
def test_registering_a_cleanup(
    benchmark: BenchmarkFixture, versus: Callable[..., float], size: int
) -> None:
    """With so many registered already, beside `weakref.finalize`."""
    held = [Node() for _ in range(size)]
    for node in held:
        lastref.add_cleanup(node, release, 1)
    finalizers = [weakref.finalize(node, release, 1) for node in held]
    nodes = [Node() for _ in range(500)]
    ours_made: list[object] = []

    def ours() -> None:
        ours_made[:] = [lastref.add_cleanup(node, release, 1) for node in nodes]

    def rival() -> None:
        finalizers[size:] = [weakref.finalize(node, release, 1) for node in nodes]

    def undo() -> None:
        for handle in ours_made:
            handle.stop()  # type: ignore[attr-defined]
        for finalizer in finalizers[size:]:
            finalizer.detach()

    versus(ours, rival, operations=500, name="weakref.finalize", rounds=ROUNDS, before=undo)
    for finalizer in finalizers:
        finalizer.detach()
    benchmark.extra_info["size"] = size


@pytest.mark.parametrize("size", SIZES)
def test_looking_through_a_pointer(
    benchmark: BenchmarkFixture, versus: Callable[..., float], size: int
) -> None:
    """With so many pointers alive, beside a bare reference."""
    nodes = [Node() for _ in range(size)]
    pointers = [lastref.weak.make(node) for node in nodes]
    references = [weakref.ref(node) for node in nodes]
    pointer, reference = pointers[7], references[7]

    def ours() -> None:
        for _ in range(LOOKS):
            pointer.value()

    def rival() -> None:
        for _ in range(LOOKS):
            reference()

    versus(ours, rival, operations=LOOKS, name="weakref.ref()", rounds=ROUNDS)
    benchmark.extra_info["size"] = size


def locked(held: Node) -> Callable[[str], Node | None]:
    values = weakref.WeakValueDictionary({"key": held})
    lock = threading.Lock()

    def get(key: str) -> Node | None:
        with lock:
            return values.get(key)

    return get


def hit_contenders() -> dict[str, Callable[[], object]]:
    held = Node()
    cache = lastref.WeakCache(lambda key: held)
    found = lru_cache(maxsize=128)(lambda key: held)
    found("key")
    under_lock = locked(held)
    contenders: dict[str, Callable[[], object]] = {
        "WeakCache": lambda: cache.get("key"),
        "WeakValueDictionary + lock": lambda: under_lock("key"),
        "lru_cache": lambda: found("key"),
    }
    with suppress(ImportError):
        import cachetools

        @cachetools.cached(cachetools.LRUCache(maxsize=128), lock=threading.Lock())
        def remembered(key: str) -> Node:
            return held

        contenders["cachetools + lock"] = lambda: remembered("key")
    return contenders


class Dying:
    """Dies by `__del__`, which does nothing."""

    def __del__(self) -> None:
        pass


def cleanup_life() -> None:
    lastref.add_cleanup(Node(), release, 1)


def finalize_life() -> None:
    weakref.finalize(Node(), release, 1)


def pointer_life() -> None:
    node = Node()
    lastref.weak.make(node)


def reference_life() -> None:
    node = Node()
    weakref.ref(node)


INTERNED = "".join(["a text of ", "some length"])
KNOWN = {INTERNED: INTERNED}
HANDLE = lastref.unique.make(INTERNED)

FAMILIES: dict[str, Callable[[], dict[str, Callable[[], object]]]] = {
    "cache hits": hit_contenders,
    "lives with a cleanup": lambda: {
        "add_cleanup": cleanup_life,
        "weakref.finalize": finalize_life,
        "__del__": Dying,
    },
    "lives with a weak pointer": lambda: {
        "weak.make": pointer_life,
        "weakref.ref": reference_life,
    },
    "unique strings": lambda: {
        "unique.make": lambda: lastref.unique.make(INTERNED),
        "sys.intern": lambda: sys.intern(INTERNED),
        "dict.setdefault": lambda: KNOWN.setdefault(INTERNED, INTERNED),
    },
}
CASES = [(kind, name) for kind, family in FAMILIES.items() for name in family()]


@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16])
@pytest.mark.parametrize(("kind", "contender"), CASES)
def test_by_threads(benchmark: BenchmarkFixture, kind: str, contender: str, threads: int) -> None:
    """So many threads do one thing; its cost is the wall time over all that was done.

    The cleanups that were queued have run before the next round.
    """
    work = FAMILIES[kind]()[contender]

    def repeat() -> None:
        for _ in range(LOOKS):
            work()

    def together() -> None:
        workers = [threading.Thread(target=repeat) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        lastref.drain()

    benchmark.pedantic(together, rounds=10, warmup_rounds=1)
    benchmark.extra_info.update(
        threads=threads, operations=threads * LOOKS, contender=contender, kind=kind
    )
