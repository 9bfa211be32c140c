"""A cache that keeps nothing alive, and creates nothing twice: the Go post's `Cache[K, V]`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import ref

from lastref._evictions import evictions, remove_if_dead
from lastref._flight import Flight
from lastref.cleanup import add_cleanup
from lastref.weak import _without_weak_references

__all__ = ["WeakCache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class WeakCache(Generic[K, V]):
    """`get(key)` returns the living value for `key`, or else `create(key)`, held weakly.

    - A hit takes no lock. Threads that miss one key at once share one call of `create`, which the
      first of them makes; misses of different keys don't wait for each other.
    - A `create` that fails fails its own caller only: whatever it raised, `KeyboardInterrupt`
      included, is not cached and not kept, and each of those who waited tries for itself.
    - A `create` that, by way of other keys, caches and threads perhaps, asks for its own key gets
      `RuntimeError` from `get` instead of waiting for ever.
    - The entry leaves when its value has died, and never takes a fresh one with it. Nothing is
      kept of a cache that was dropped while its values live.
    - A forked child creates what another thread was creating at the fork.

    Keeps alive: `create`; a key until its value has died and a thread of ours, asking the keys'
    `__hash__` and `__eq__`, has removed the entry. So a key that reaches its value keeps it alive
    as long as the cache, as in `weakref.WeakValueDictionary`. While threads wait for a value, it
    is held for them.

    Not guaranteed:

    - That a value is found again after the last reference to it elsewhere was dropped. On CPython
      it dies there and then, so hold what you got.
    - That a value with a `__del__` is never handed out while that runs, and so resurrected: where
      it dies by its reference count, it is forgotten only afterwards (W5). Use a cleanup instead.
    - Freedom from waiting in an event loop: `get` may call `create`, or wait for another thread's,
      and blocks the calling thread for it. With asyncio, use `asyncio.to_thread(cache.get, key)`
      where `create` is slow.

    `get` raises `TypeError` for an unhashable key, and for a created value without weak
    references (None, int, str, tuple, list, dict and others; semantics C13), naming the type and
    the remedy; `RuntimeError` as said above; and what `create` raises.

    >>> class Page:
    ...     def __init__(self, number): self.number = number
    >>> pages = WeakCache(Page)
    >>> page = pages.get(7)
    >>> page.number, pages.get(7) is page
    (7, True)
    """

    __slots__ = ("__weakref__", "_create", "_entries")

    def __init__(self, create: Callable[[K], V]) -> None:
        if not callable(create):
            raise TypeError(f"create must be callable, not an instance of {type(create).__name__}")
        self._create = create
        self._entries: dict[K, _Entry] = {}

    def get(self, key: K) -> V:
        """Return the living value for `key`, creating it if there is none."""
        try:
            value: V | None = self._entries[key]()
        except KeyError:
            value = None
        return self._miss(key) if value is None else value

    def _miss(self, key: K) -> V:
        digest = hash(key)
        while True:
            flight = Flight(self, key, digest)
            try:
                try:
                    first = flight.take_off()
                    if first is flight:
                        return self._lead(flight, key)
                finally:
                    flight.land()
            finally:
                if flight.aloft:  # a Ctrl-C got between, and others wait
                    flight.land()
            value: V | None = first.wait()
            if value is not None:
                return value

    def _lead(self, flight: Flight, key: K) -> V:
        entry = self._entries.get(key)  # perhaps filed between our look and our turn
        value: V | None = None if entry is None else entry()
        if value is None:
            value = self._create(key)
            self._file(key, value)
        flight.value = value
        return value

    def _file(self, key: K, value: V) -> None:
        try:
            # The callback does nothing. With one, every interpreter clears the entry before the
            # collector runs finalizers; without, CPython 3.15 clears it after them (gh-136189),
            # and the cache would hand out a value that was finalized.
            entry = _Entry(value, id)
        except TypeError:
            what = _without_weak_references(type(value))
            raise TypeError(f"create returned what can't be cached: {what}") from None
        entry.key = key
        # Weak, both: a cleanup lives as long as the value, and the cache may be dropped before.
        # Registered before it is filed: a Ctrl-C between leaves nothing that stays.
        add_cleanup(value, _evict, (ref(self), ref(entry)), queue=evictions)
        self._entries[key] = entry


class _Entry(ref[Any]):
    """The cache's weak reference to a value; knows the key that it is filed under."""

    __slots__ = ("__weakref__", "key")

    key: Any


def _evict(weak: tuple[ref[WeakCache[Any, Any]], ref[_Entry]]) -> None:
    cache, entry = weak[0](), weak[1]()
    if cache is not None and entry is not None:
        remove_if_dead(cache._entries, entry.key)
