"""A creation in flight, which others wait for that want the same.

No lock is held while code of others may run, and a collection, a signal, a fork or a key's own
`__eq__` may run any: every step that must not be torn is one call into C.
"""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock, get_ident
from typing import Any
from weakref import ref

# Seconds after which a waiter looks up. Landing wakes it at once; this bounds how long threads
# wait that wait for each other, or that a Ctrl-C cut off from those waiting before them.
_SLICE = 0.05

# Flights by hash, to keep the lists short that are searched. Grown at their ends only, so that
# their order decides who was first; only its owner takes a flight out.
_sky: tuple[list[Flight], ...] = tuple([] for _ in range(64))
# Which thread waits for which. Weak, as on PyPy a dict of ints can hold what was taken out of it.
_waiting: dict[int, ref[Flight]] = {}


class Flight:
    """One thread's creation of the value for a key. Its owner must land it on every way out.

    Holds the value for those who wait, as the owner may drop it at once; never an exception.
    """

    __slots__ = (
        "__weakref__",
        "_cache",
        "_digest",
        "_gate",
        "_key",
        "_region",
        "aloft",
        "landed",
        "owner",
        "value",
    )

    def __init__(self, cache: object, key: Any, digest: int) -> None:
        self._cache = cache
        self._key = key
        self._digest = digest
        self._region = _sky[digest % len(_sky)]
        self._gate = Lock()
        self._gate.acquire()
        self.owner = get_ident()
        self.landed = False
        self.aloft = True
        self.value: Any = None

    def take_off(self) -> Flight:
        """Return the flight for this key that is aloft: an earlier one, or else this one.

        Of two that see each other, the earlier in the list wins, whatever keys' `__eq__` does
        meanwhile. (With `dict.setdefault` both may win, if `__eq__` is Python code.)
        """
        self._region.append(self)
        for other in self._region.copy():
            if other is self or (not other.landed and other._is_for_the_same(self)):
                return other
        raise AssertionError("a flight was taken out by another thread")

    def _is_for_the_same(self, other: Flight) -> bool:
        if self._digest != other._digest or self._cache is not other._cache:
            return False
        return self._key is other._key or bool(self._key == other._key)

    def land(self) -> None:
        """Let the waiters go, with `value` if it was set. May be done again."""
        self.landed = True
        # Not after a look whether it is there: free-threaded, `in` can overlook what others move.
        with suppress(ValueError):
            self._region.remove(self)
        self.aloft = False
        self._gate.release()

    def wait(self) -> Any:
        """Wait until it has landed. Return its value, or None if it brought none.

        Raises `RuntimeError` instead of waiting for ever, where this thread, by way of others
        perhaps, waits for itself; of the threads in such a circle one raises.
        """
        me = get_ident()
        try:
            self._wait(me)  # its loop is not here: see `tests/harness/test_bytecode.py`
        finally:
            _waiting.pop(me, None)
        return self.value

    def _wait(self, me: int) -> None:
        while not self.landed:
            _waiting[me] = ref(self)
            if self._is_ours_to_break(me):
                raise RuntimeError(f"creating the value for {self._key!r} needs that value itself")
            if self._gate.acquire(timeout=_SLICE):
                self._gate.release()

    def _is_ours_to_break(self, me: int) -> bool:
        """Whether we wait for ourselves, and are the one of the circle that gives up.

        Every thread registers before it looks, so the last to wait sees the whole circle; the
        others see it at their next look. All choose the same one.
        """
        circle: list[Flight] = [self]
        owners = [self.owner]
        while owners[-1] != me:
            wr = _waiting.get(owners[-1])
            flight = None if wr is None else wr()
            if flight is None or flight.owner in owners:  # no circle, or one without us
                return False
            circle.append(flight)
            owners.append(flight.owner)
        return me == max(owners) and not any(flight.landed for flight in circle)


def _land_what_was_left_in_the_parent() -> None:
    """In a forked child, whose only thread is the one that forked."""
    me = get_ident()
    for region in _sky:
        for flight in region.copy():
            if flight.owner != me:
                flight.landed = True
                region.remove(flight)
    for ident in list(_waiting):
        if ident != me:
            del _waiting[ident]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_land_what_was_left_in_the_parent)
