"""What is known already, so that tests which show nothing new are not rerun?"""

from __future__ import annotations

import gc
import types
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from weakref import WeakSet

from deathwatch.referents import referents

from .cycles import Mark
from .grouping import LRU_CACHE, Heap
from .heap import Key, is_a, is_builtin, is_container, is_foreign, key, keys, package

# How often a kind of object has to be left without a leak before such objects alone are no reason
# to rerun a test. A class that is the program's own stays under suspicion for longer, and is
# acquitted for one file of tests alone: what one file caches, another one leaks. By function it
# would be exacter still: the suite of attrs took 35 % longer, and by file 26 %.
_HARMLESS_AFTER = 10
_FOREIGN_HARMLESS_AFTER = 20
# How many tests have to add to a known leak when rerun before others that leave such an object are
# believed (in the suite of click a thousand do); as many more for each one that doesn't.
_BELIEVED_AFTER = 10
_STEPS = 2
"""How many young objects may be between a leak and its holder: a cache's entry, and its key."""

_UNTOLD = (
    type,
    types.FrameType,
    types.TracebackType,
    types.GeneratorType,
    types.CoroutineType,
)
"""Objects of these classes are of as many kinds as there is code."""


class Leak:
    """A confirmed leak as later tests meet it: which kind of object, held by which container.

    The holder is held strongly: it is something that lives as long as the program does. Without
    one the kind must tell, and that of a builtin object, a method or a cell, doesn't.
    """

    def __init__(self, fingerprint: str, obj: object, holder: Holder | None) -> None:
        self.fingerprint = fingerprint
        self.kind = key(obj)
        self.holder = holder and holder.obj
        self._is_near = holder is None or holder.is_near

    def shown_by(self, alike: list[object], heap: Heap) -> list[object]:
        """Return which of the survivors of this kind are this leak again."""
        if self.holder is None:
            if is_builtin(self.kind):
                return []
            return [obj for obj in alike if not heap.referred(obj)]
        held = set(filter(heap.objects.__contains__, map(id, referents(self.holder))))
        if not self._is_near:
            held = set(heap.reach([heap.objects[mark] for mark in held]))
        return [obj for obj in alike if id(obj) in held]

    def is_of(self, fingerprints: Collection[str]) -> bool:
        """Tell whether this is one of these leaks, with a holder to know it by."""
        return self.holder is not None and self.fingerprint in fingerprints


class Memory:
    """Confirmed leaks and cycles, and kinds of objects that were seen not to leak."""

    def __init__(self) -> None:
        self.leaks: list[Leak] = []
        # Whether a test, whatever its parameters, was seen to add to a known leak: what it left of
        # the kind may be in the place of what it left before.
        self._shows: dict[tuple[str, str], bool] = {}
        self._doubts: Counter[str] = Counter()
        self.cycles: dict[Mark, str] = {}
        self._harmless: Counter[tuple[str, Key]] = Counter()
        self._marks: dict[frozenset[Key], set[Mark]] = {frozenset(): set()}
        # Whether what tests make of these kinds, and no more, has always been garbage in the end.
        self.tells: dict[frozenset[Key], bool] = {frozenset(): True}
        # What the first test that made these kinds had in cycles, before anything was collected.
        self.foreseen: dict[frozenset[Key], set[Mark]] = {}
        # Patterns of what tests made and had no kind that tells in it, and of what was left of it
        # with no reason to look closer, with the number of objects that tests leave of it.
        self.untelling: set[int] = set()
        self.quiet: dict[int, int] = {}
        # How much more often these had all died in the collection than not: a rerun had to tell.
        self.foresight = 0
        self.caches: WeakSet[Any] = WeakSet()  # `lru_cache`s that excused something

    def forget_fixtures(self) -> None:
        """Let go of what fixtures held: it may die now that their scope can end."""
        self.leaks = [leak for leak in self.leaks if leak.fingerprint]

    def recognise(self, survivors: list[object]) -> tuple[Counter[str], list[object]]:
        """Return how many of the survivors are of known leaks, by the fingerprints of these, and
        the objects that aren't theirs."""
        shown: Counter[str] = Counter()
        if not self.leaks or not survivors:
            return shown, survivors
        heap = Heap(survivors)
        alike: defaultdict[Key, list[object]] = defaultdict(list)
        for obj, kind in zip(survivors, keys(survivors), strict=True):
            alike[kind].append(obj)
        explained: set[int] = set()
        for leak in self.leaks:
            objs = leak.shown_by(alike[leak.kind], heap) if leak.kind in alike else []
            if objs:
                shown[leak.fingerprint] += len(objs)
                explained.update(heap.reach(objs))
        return shown, [obj for obj in survivors if id(obj) not in explained]

    def doubtful(self, shown: Iterable[str], test: str) -> set[str]:
        """Return which of these leaks the test must be rerun for to be believed."""
        return {
            leak
            for leak in shown
            if leak
            and self._doubts[leak] > -_BELIEVED_AFTER
            and (leak, _function(test)) not in self._shows
        }

    def learn(self, leaks: Iterable[str], grown: Collection[str], test: str) -> None:
        """Note which of these leaks had grown when the test was rerun."""
        for leak in leaks:
            self._shows[leak, _function(test)] = leak in grown
            self._doubts[leak] += -1 if leak in grown else _BELIEVED_AFTER

    def shown(self, leaks: Iterable[str], test: str) -> set[str]:
        """Return these leaks without those that the test was seen not to add to."""
        return {leak for leak in leaks if self._shows.get((leak, _function(test)), True)}

    def suspects(self, survivors: Collection[object], test: str) -> set[Key]:
        """Return the kinds of survivors that are a reason to rerun the test that left them."""
        file = _file(test)
        found: set[Key] = set()
        harmless: set[Key] = set()
        for obj, kind in zip(survivors, keys(survivors), strict=True):
            if kind in found or kind in harmless:
                continue
            if self._is_harmless(kind, is_foreign(type(obj)), file):
                if kind[0] != "class":  # of which metaclasses may differ
                    harmless.add(kind)
            elif not is_plain(obj):
                found.add(kind)
        return found

    def _is_harmless(self, kind: Key, foreign: bool, file: str) -> bool:
        if foreign:
            return self._harmless[file, kind] >= _FOREIGN_HARMLESS_AFTER
        return self._harmless["", kind] >= _HARMLESS_AFTER

    def acquit(self, kinds: Iterable[Key], test: str) -> None:
        """Note that a test left such objects and didn't leak them."""
        for kind in kinds:
            self._harmless.update([("", kind), (_file(test), kind)])

    def learn_quiet(self, like: int, survivors: Iterable[object]) -> None:
        """Note that tests of this pattern leave these, and that they are of no interest: the next
        such test leaves the same. Not where a class doesn't say what kind they are."""
        leaks = {leak.kind for leak in self.leaks}
        left = [obj for obj in survivors if not is_plain(obj)]
        may_differ = any(is_a(obj, *_UNTOLD) for obj in left) or any(
            key(obj) in leaks for obj in survivors
        )
        if not may_differ:
            self.quiet[like] = len(left)

    def known(self, marks: Collection[Mark]) -> tuple[set[str], set[Mark]]:
        """Return the fingerprints of the cycles that were judged, and the others."""
        news = {mark for mark in marks if mark not in self.cycles}
        return {self.cycles[mark] for mark in marks if mark not in news}, news

    def marks(self, kinds: frozenset[Key]) -> set[Mark] | None:
        return self._marks.get(kinds)

    def learn_marks(self, kinds: frozenset[Key], marks: set[Mark]) -> None:
        self._marks[kinds] = marks


def _function(test: str) -> str:
    """Return a test's id without its parameters."""
    return test.partition("[")[0]


def _file(test: str) -> str:
    """Return the file of a test, by the test's id."""
    return test.partition("::")[0]


def is_plain(obj: object) -> bool:
    """Tell whether a container says nothing: it holds plain values alone, of which the runner's
    frames have many; or, a list, what is Hypothesis' own: strategies get one when they are first
    drawn from."""
    if not is_container(obj):
        return False
    held = gc.get_referents(obj)
    if not any(map(gc.is_tracked, held)):
        return True
    return type(obj) is list and all(package(type(each)) == "hypothesis" for each in held)


class Holder(NamedTuple):
    """What refers to an object, by itself or by what survived with the object."""

    obj: object
    is_near: bool


def holders_of(objs: list[object], young: Collection[int]) -> list[Holder | None]:
    """Return for each object a container that refers to it, other than what survived with it,
    by the ids of that: it may be a part of the leak. Where there is none, an `lru_cache` that
    refers to what survived and leads to the object in a few steps, by its key.

    One walk over the heap for all of them, and one more for each step.
    """
    return _holders_of(objs, young, {id(objs)}, _STEPS)


def _holders_of(
    objs: list[object], young: Collection[int], mine: set[int], steps: int
) -> list[Holder | None]:
    asked = tuple(objs)  # which CPython 3.13 and later would find as a holder
    mine |= {id(asked), *map(id, objs)}
    referrers = [each for each in gc.get_referrers(*asked) if id(each) not in mine]
    between = [each for each in referrers if id(each) in young]
    near = [each for each in referrers if id(each) not in young and _can_hold(each)]
    is_near = steps == _STEPS
    near = [o for o in near if not _is_of_young(o, young)] if is_near else _caches(near)
    found = _by_referrer(objs, near, [Holder(each, is_near) for each in near])
    if steps and between and None in found:
        mine |= {id(referrers), id(between), id(near)}
        farther = _holders_of(between, young, mine, steps - 1)
        by_others = _by_referrer(objs, between, farther)
        found = [one or other for one, other in zip(found, by_others, strict=True)]
    return found


def _caches(holders: list[object]) -> list[object]:
    """Return which of these are an `lru_cache`, or the dict of one: other holders, as namespaces,
    hold more than one leak."""
    dicts = [each for each in holders if type(each) is dict]
    owners = [o for o in gc.get_referrers(*dicts) if type(o) is LRU_CACHE] if dicts else []
    theirs = set(map(id, referents(*owners)))
    return [o for o in holders if type(o) is LRU_CACHE or (type(o) is dict and id(o) in theirs)]


def _by_referrer(
    objs: list[object], referrers: list[object], holders: list[Holder | None]
) -> list[Holder | None]:
    """Return for each object the first holder that one of its referrers has."""
    pairs = [
        (set(map(id, referents(each))), holder)
        for each, holder in zip(referrers, holders, strict=True)
        if holder
    ]
    return [next((holder for ids, holder in pairs if id(obj) in ids), None) for obj in objs]


def _can_hold(obj: object) -> bool:
    return is_container(obj) or hasattr(type(obj), "__dict__")


def _is_of_young(holder: object, young: Collection[int]) -> bool:
    """Tell whether this is the `__dict__` of a young object, which was made when it was asked for:
    CPython 3.13 and later have none before."""
    from deathwatch.explain.names import instance_dict

    return type(holder) is dict and any(
        id(owner) in young and instance_dict(owner) is holder for owner in gc.get_referrers(holder)
    )
