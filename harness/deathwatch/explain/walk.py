"""Which objects can be reached? One forward pass, and the way back from an object to its root.

The pass is breadth first, in stages: each stage starts at roots of its own and enters nothing
that an earlier one has reached, so that a path of a better stage is never hidden by a shorter
one of a worse. All work per object is done in C, a chunk of objects at a time. No parents are
recorded: the way back is found by searching the chunk in which an object was first met.
"""

from __future__ import annotations

import _thread
import gc
import sys
import types
from array import array
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import compress, islice, repeat
from operator import is_
from typing import Any

from deathwatch.referents import referents as safe_referents

# Holders that are put into words before the best are chosen, each at the cost of searching one
# chunk for every step of its path: from so many chunks at either end, and so many from each.
CHUNKS, FROM_EACH = 8, 4

# Objects per call of `gc.get_referents`. 500 to 8,000 measure alike; the lists of references
# that one chunk yields are all that the pass holds beside its record.
CHUNK = 2048
# Objects of a chunk that are asked at once for the first that refers to another. 16 to 256 alike.
BLOCK = 64
HUGE = 10_000
"""Elements of a container that is asked after the others of its chunk."""
_CONTAINERS: tuple[Any, ...] = (list, dict, tuple, set, frozenset)
CPYTHON = sys.implementation.name == "cpython"
# Whether reference counts are exact: on free-threaded builds some are deferred.
COUNTED = CPYTHON and getattr(sys, "_is_gil_enabled", lambda: True)()
_is_tracked: Callable[[object], bool] | None = getattr(gc, "is_tracked", None)
# PyPy's own, and objects of its interpreter's.
_internal_referents: Any = getattr(gc, "get_rpy_referents", None)
_INTERNAL: Any = getattr(gc, "GcRef", None)
_drain = deque[object](maxlen=0).extend

# `id` is a multiple of 16, which makes for crowded hash tables; `object.__hash__` is the same
# address, rotated by 4 bits, and as unique. PyPy promises uniqueness of `id` alone.
key: Callable[[object], int] = object.__hash__ if CPYTHON else id


def _count_of_single() -> int:
    """Return what `sys.getrefcount` says inside `map` of an object in our list and in one other."""
    other = [object()]
    ours = list(other)
    return next(map(sys.getrefcount, ours))


# An object with one reference can't be met twice, and needs no mark: nine bytes an object
# instead of 73, and half the time. Only where counts are exact. Where one is too low, or a type
# visits what it doesn't own, the object is met again with our reference added: marked then, it
# can't send the pass round in circles.
_SINGLE = frozenset(range(_count_of_single() + 1 if COUNTED else 0))
_OTHERS = bytes([1, 0]) + bytes(254)


def _referents_on_pypy(*objs: object) -> list[object]:
    """Leave out what running code holds: there, a thread-local leads to its thread's frames."""
    local = _thread._local
    found = gc.get_referents(*[obj for obj in objs if not issubclass(type(obj), local)])
    for obj in objs:
        if issubclass(type(obj), local):
            found += _of_local(obj)
    return [obj for obj in found if type(obj) is not types.FrameType or not _is_own(obj)]


def _of_local(local: object) -> list[object]:
    """Return what a thread-local itself refers to: its dicts, one for each thread, its slots, and
    the arguments that it was made with.

    They are up to two steps off in the interpreter. The threads are one step off, and what compiled
    code of theirs works with, of any type, three more.
    """
    reached = [*_internal_referents(local)]
    found = [obj for obj in reached if not _is_internal(obj)]
    reached = [obj for obj in reached if _is_internal(obj) and not _is_thread(obj)]
    for _ in range(2):
        reached = [ref for obj in reached for ref in _internal_referents(obj)]
        found += [obj for obj in reached if not _is_internal(obj)]
        reached = list(filter(_is_internal, reached))
    return found


def _is_thread(obj: object) -> bool:
    """Tell whether this is a thread's own record: it has a lock, and leads to its frames."""
    return any(type(ref) in (types.FrameType, _thread.LockType) for ref in _internal_referents(obj))


def _is_internal(obj: object) -> bool:
    """Tell whether this is an object of the interpreter's own."""
    return type(obj) is _INTERNAL


def _is_own(frame: types.FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("deathwatch.")


referents: Callable[..., list[Any]] = safe_referents if CPYTHON else _referents_on_pypy


def count(refs: Iterable[object], target: object) -> int:
    return sum(map(is_, refs, repeat(target)))


def _is_huge(obj: Any) -> bool:
    cls = type(obj)
    return issubclass(cls, _CONTAINERS) and any(
        issubclass(cls, kind) and kind.__len__(obj) > HUGE for kind in _CONTAINERS
    )


def refers(objs: Iterable[object], target: object) -> bool:
    return any(map(is_, referents(*objs), repeat(target)))


def references_to(objs: list[object], wanted: Container[int]) -> Counter[int]:
    """Return how many references from these there are to a few objects, known by their keys."""
    found: Counter[int] = Counter()
    for at in range(0, len(objs), CHUNK):
        refs = map(key, referents(*objs[at : at + CHUNK]))
        found.update(filter(wanted.__contains__, refs))
    return found


class Walk:
    """What was reached, in order, and where it was first met.

    The target itself is never entered.
    It holds every object that it reached strongly, until `clear`.
    """

    __slots__ = (
        "_barrier",
        "_first",
        "_made",
        "_seen",
        "_stop",
        "_tracked",
        "found",
        "hits",
        "order",
        "target",
    )

    def __init__(self, target: object) -> None:
        self.target = target
        self.order: list[object] = []
        self.found = 0
        self.hits: list[int] = []
        self._barrier: set[int] = set()
        self._seen: set[int] = set()
        # Chunk n went over order[_first[n]:_stop[n]] and made order[_made[n]:_made[n + 1]];
        # the roots of a stage are a chunk that begins at -1.
        self._first = array("q")
        self._stop = array("q")
        self._made = array("q")
        # What the collector doesn't track leads to nothing that it tracks; but a free-threaded
        # 3.13 tracks no class, function or module any more once a second thread has started.
        self._tracked = COUNTED and _is_tracked is not None and _is_tracked(target)

    def bar(self, objs: Iterable[object]) -> None:
        """Enter these as roots of a stage, or not at all."""
        self._barrier.update(map(key, objs))
        self._seen.update(self._barrier)

    def shut(self, objs: Iterable[object]) -> None:
        """Don't enter these."""
        self._seen.update(map(key, objs))

    def stage(
        self,
        roots: Iterable[object],
        enough: Callable[[], bool],
        foreign: Callable[[object], bool] | None = None,
    ) -> None:
        """Reach what these roots reach first; end early when `enough` says so after a chunk.

        What `foreign` says of the roots' own referents is left for a later stage.
        """
        order = self.order
        new = dict(zip(map(key, roots), roots, strict=True))
        new.pop(key(self.target), None)
        self._record(-1, -1)
        self._seen -= self._barrier.intersection(new)
        self._barrier.difference_update(new)
        self._enter(new)
        position = len(order) - len(new)
        while position < len(order):
            level = len(order)
            while position < level:
                stop = min(position + CHUNK, level)
                self._expand(position, stop, foreign)
                position = stop
                if self.hits and self.hits[-1] == len(self._first) - 1 and enough():
                    return
            foreign = None

    def _record(self, first: int, stop: int) -> None:
        self._first.append(first)
        self._stop.append(stop)
        self._made.append(len(self.order))

    def _expand(self, first: int, stop: int, foreign: Callable[[object], bool] | None) -> None:
        self._record(first, stop)
        order, target = self.order, self.target
        refs = referents(*order[first:stop])
        if self._tracked:
            assert _is_tracked is not None
            refs = list(filter(_is_tracked, refs))
        if foreign is not None:
            refs = [obj for obj in refs if not foreign(obj)]
        if COUNTED:
            # Of flags in bytes the others are one call: 8 to 16 % of the pass less than by `not_`.
            single = bytes(map(_SINGLE.__contains__, map(sys.getrefcount, refs)))
            order.extend(compress(refs, single))
            shared = list(compress(refs, single.translate(_OTHERS)))
        else:
            shared = refs
        new = dict(zip(map(key, shared), shared, strict=True))
        mark = key(target)
        if mark in new:
            del new[mark]
            self.hits.append(len(self._first) - 1)
            self.found += count(refs, target)
        self._enter(new)

    def _enter(self, new: dict[int, object]) -> None:
        _drain(map(new.__delitem__, self._seen.intersection(new)))
        self._seen.update(new)
        self.order.extend(new.values())

    def holders(self) -> Iterator[int]:
        """Yield the positions of some of the objects that refer to the target.

        They come in the order reached, a few from each chunk, and from the first and the last
        chunks: of a thousand that are alike one is enough, and others are to be found beside them.
        """
        for chunk in dict.fromkeys([*self.hits[:CHUNKS], *self.hits[-CHUNKS:]]):
            yield from islice(self._split(self._first[chunk], self._stop[chunk]), FROM_EACH)

    def _split(self, first: int, stop: int) -> Iterator[int]:
        if not refers(self.order[first:stop], self.target):
            return
        if stop - first == 1:
            yield first
            return
        middle = (first + stop) // 2
        yield from self._split(first, middle)
        yield from self._split(middle, stop)

    def way(self, position: int) -> list[int] | None:
        """Return the positions from a root to this one; None where the heap changed meanwhile."""
        back = [position]
        while True:
            chunk = bisect_right(self._made, back[-1]) - 1
            first, stop = self._first[chunk], self._stop[chunk]
            if first < 0:
                return back[::-1]
            holder = self._first_referrer(first, stop, self.order[back[-1]])
            if holder is None:
                return None
            back.append(holder)

    def _first_referrer(self, first: int, stop: int, child: object) -> int | None:
        """Return the position of the first object that refers to another, a huge one last.

        To ask one that holds a hundred thousand others takes as long as all the rest.
        """
        order = self.order
        huge = [at for at in range(first, stop) if _is_huge(order[at])]
        rest = sorted({*range(first, stop)}.difference(huge)) if huge else range(first, stop)
        for start in range(0, len(rest), BLOCK):
            block = rest[start : start + BLOCK]
            if refers([order[at] for at in block], child):
                found = next((at for at in block if refers([order[at]], child)), None)
                if found is not None:
                    return found
        return next((at for at in huge if refers([order[at]], child)), None)

    def references_to(self, wanted: Container[int]) -> Counter[int]:
        """Return how many references a few objects have from what was reached, and the target."""
        return references_to([*self.order, self.target], wanted)

    def marks(self) -> set[int]:
        """Return the keys of all that was reached, and of the barrier."""
        return self._seen.union(map(key, self.order))

    def branch(self, start: int, roots: list[object]) -> Walk:
        """Walk from other roots to the target, through nothing that was reached before `start`."""
        other = Walk(self.target)
        # What has one reference can't be entered but from the object that holds it, which has
        # been reached: the marks of the others are enough.
        other._seen = self._seen.difference(map(key, self.order[start:]))
        other.stage(roots, lambda: False)
        return other

    def clear(self) -> None:
        """Let go of everything."""
        self.order.clear()
        self._seen.clear()
        self.target = None
