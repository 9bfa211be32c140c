"""Which of the surviving objects is the leak, what hangs on it, and who holds it?"""

from __future__ import annotations

import functools
import gc
import queue
import sys
import threading
import types
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deathwatch.explain.outside import held_elsewhere
from deathwatch.explain.walk import COUNTED
from deathwatch.explain.walk import key as count_key
from deathwatch.referents import referents

from .findings import Finding
from .heap import (
    RUNNERS,
    Key,
    exactly,
    is_a,
    is_container,
    is_foreign,
    key,
    name_of,
    of_classes,
    of_kinds,
    words,
)

if TYPE_CHECKING:
    from deathwatch.explain import RetentionPath

EXPLAINED = 8
"""Objects of one test that are explained at most: one per kind of outermost object."""

_PASSING = ("machinery", "local", "passing")
"""Whose paths are no reason to live on: of the run's frames, this package's among them."""

_FEW = 100
"""Survivors with a reference too many whose holders are looked for at most: each costs a comparison
per reference of the heap."""

LRU_CACHE = type(functools.lru_cache(len))
FRAMES: tuple[type, ...] = (types.FrameType, types.TracebackType)


class Heap:
    """References among the objects that survived."""

    def __init__(self, objects: Iterable[object]) -> None:
        self.objects = {id(obj): obj for obj in objects}

    def reach(self, roots: Iterable[object]) -> dict[int, object]:
        """Return what the roots reach through survivors alone, themselves included."""
        seen = {id(root): root for root in roots}
        todo = list(seen.values())
        while todo:
            fresh = {}
            for obj in referents(*todo):
                mark = id(obj)
                if mark in self.objects and mark not in seen:
                    fresh[mark] = obj
            seen.update(fresh)
            todo = list(fresh.values())
        return seen

    def reaching(self, ids: Iterable[int]) -> set[int]:
        """Return the ids of what reaches these through survivors alone, themselves included."""
        found = set(ids)
        todo = list(found)
        while todo:
            fresh = set(self._referrers[todo.pop()]) - found
            found |= fresh
            todo += fresh
        return found

    def referred(self, obj: object) -> bool:
        """Tell whether another survivor refers to this one."""
        return any(mark != id(obj) for mark in self._referrers[id(obj)])

    @functools.cached_property
    def _referrers(self) -> defaultdict[int, list[int]]:
        """Which survivors refer to which, by id: each is asked once, whatever is looked for."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        survivors = frozenset(self.objects)
        for mark, obj in self.objects.items():
            for ref in survivors.intersection(map(id, referents(obj))):
                found[ref].append(mark)
        return found

    def held_elsewhere(self, marks: Iterable[int], known: Iterable[object]) -> tuple[object, ...]:
        """Return the survivors with these ids to which there are more references than those of
        other survivors and of what is known, among which are our own `objects`.

        Each of them counts once: a suspended generator of CPython 3.14 shows references that it
        only borrows. So there may be too many here, and never too few.
        """
        others = {id(each): each for each in known if id(each) not in self.objects}
        counts = Counter(
            ref for each in others.values() for ref in set(map(count_key, referents(each)))
        )
        objs = [self.objects[mark] for mark in marks]
        # no loop, whose variable would hold the last of them
        counts.update({count_key(obj): len(self._referrers[id(obj)]) for obj in objs})
        return tuple(held_elsewhere(objs, counts, ours=1))

    def outermost(self, kinds: set[Key]) -> list[object]:
        """Return the objects of these kinds that no other one of them reaches, telling ones first.

        Of objects that reach each other, one stands for all.
        """
        mine = {mark: obj for mark, obj in self.objects.items() if key(obj) in kinds}
        within = Heap(mine.values())
        referred = {
            id(ref)
            for obj in mine.values()
            for ref in referents(obj)
            if ref is not obj and id(ref) in mine
        }
        tops = [obj for mark, obj in mine.items() if mark not in referred]
        covered = set(within.reach(tops))
        for obj in sorted((o for m, o in mine.items() if m in referred), key=_telling):
            if id(obj) not in covered:
                tops.append(obj)
                covered.update(within.reach([obj]))
        return sorted(tops, key=_telling)


def _telling(obj: object) -> int:
    """Rank what a person wants to read of: instances of their own classes first."""
    if is_foreign(type(obj)):
        return 0
    return 2 if is_container(obj) else 1


def representatives(heap: Heap, kinds: set[Key], grown: set[Key], bounds: Bounds) -> list[object]:
    """Return one object to explain for each kind of outermost object, out of bounds if possible.

    Outermost among all that has grown, of which `kinds` are to be explained.
    A plain container is represented by an instance of a foreign class in it, if there is one, and
    everything around a thread that runs by the thread: its frames hold things out of sight.
    """
    chosen: dict[Key, object] = {}
    running = set(map(id, threading.enumerate()))
    threads = [o for o in heap.objects.values() if id(o) in running and key(o) in kinds]
    if threads:
        chosen = {key(thread): thread for thread in threads}
        around = heap.reaching(heap.reach(threads))
        heap = Heap(obj for mark, obj in heap.objects.items() if mark not in around)
    tops = [top for top in heap.outermost(grown) if key(top) in kinds]
    for top in sorted(tops, key=bounds.__contains__):
        telling = top
        if _telling(top) == 2:
            telling = min(heap.reach([top]).values(), key=_telling)
            if _telling(telling):
                telling = top
        chosen.setdefault(key(telling), telling)
    return list(chosen.values())


_BOUNDED = ("re._cache", "re._cache2", "sys.last_exc", "sys.last_value", "sys.last_traceback")
"""Roots in the standard library that replace what they hold, and aren't an `lru_cache`. The last
three have the last error that a console or a runner has shown."""


def _in_library(heap: Heap) -> tuple[set[int], list[object]]:
    """Return the ids of what these roots hold, and all that hangs on it; and the dicts that do."""
    held: list[object] = []
    holders: list[object] = []
    for module, _, name in (each.partition(".") for each in _BOUNDED):
        owner = sys.modules.get(module)
        names = vars(owner) if type(owner) is types.ModuleType else {}
        value = names.get(name)
        if type(value) is dict:
            holders.append(value)
            held += referents(value)
        elif value is not None:
            holders.append(names)
            held.append(value)
    held = [obj for obj in held if id(obj) in heap.objects]
    return set(heap.reach(held)), holders


@dataclass(frozen=True)
class Hanging:
    """What hangs on one survivor, in numbers."""

    objects: int
    size: int
    types: dict[str, int]
    foreign: bool
    ids: frozenset[int]

    @classmethod
    def on(cls, heap: Heap, obj: object) -> Hanging:
        below = heap.reach([obj])
        held = below.values()
        counts = Counter(words((key(each)[0],)) for each in held)
        foreign = any(is_foreign(type(each)) for each in held)
        return cls(len(held), sum(map(_size, held)), dict(counts), foreign, frozenset(below))


def _size(obj: object) -> int:
    """Return the size in bytes, 0 where an object's own answer is an error."""
    try:
        return sys.getsizeof(obj)
    except Exception:
        return 0


@dataclass
class Bounds:
    """What the program itself bounds: ids of what caches and queues hold, and all that hangs on it.

    `holders` are these caches and queues with their parts, and `caches` the `lru_cache`s of modules
    in which one holds any of it: of the dozen in `typing`, tests fill one after another.
    """

    cached: set[int] = field(default_factory=set)
    queued: set[int] = field(default_factory=set)
    holders: list[object] = field(default_factory=list)
    caches: list[Any] = field(default_factory=list)

    @classmethod
    def of(cls, heap: Heap, whole: Heap, caches: list[Any] | None = None) -> Bounds:
        """Look at these caches alone, or at whatever there is; what the standard library replaces
        is looked for in the `whole` of what is left."""
        keepers = _keepers() if caches is None else {LRU_CACHE: caches, deque: [], queue.Queue: []}
        queues = [each for each in keepers[deque] if each.maxlen is not None]
        queues += [each.queue for each in keepers[queue.Queue] if each.maxsize > 0]
        cached, parts, used = bounded(heap, keepers[LRU_CACHE])
        queued, queues = in_bounded_queues(heap, queues)
        kept, roots = _in_library(whole)
        return cls(cached | kept, queued, parts + queues + roots, used)

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self.cached or id(obj) in self.queued

    def explains(self, mark: int, path: RetentionPath) -> bool:
        """Tell whether a path to the object with this address is one that the program will cut."""
        if mark in self.queued and any(edge.kind == "deque index" for edge in path.edges):
            return True
        return mark in self.cached and any(
            "cached call" in edge.text or "cached result" in edge.text for edge in path.edges
        )


def _keepers() -> dict[type, list[Any]]:
    """Return all objects that are exactly of these types; the heap must not be frozen."""
    found: dict[type, list[Any]] = {LRU_CACHE: [], deque: [], queue.Queue: []}
    for obj in exactly(gc.get_objects(), *found):
        found[type(obj)].append(obj)
    return found


def finding_of(
    obj: object, hanging: Hanging, test: str, per_run: int, bounds: Bounds
) -> tuple[Finding | None, bool]:
    """Explain one survivor, and tell whether another thread may still let go of it. No finding for
    what only the runner or a call in progress holds.

    The caller must hold no other survivor: it would be a holder, and hide the real one.
    """
    from deathwatch.explain import why_alive

    retention = why_alive(obj)
    if str(retention.verdict) not in ("immortal", "outside the collector's view"):
        return None, False
    # Not the object itself: in a cell of this call it would look held by more than is known, and
    # half of the heap more would be searched.
    mark = id(obj)
    paths = tuple(
        path
        for path in retention.paths
        if not _is_runners(path) and not _is_bounded(path) and not bounds.explains(mark, path)
    )
    if not paths and str(retention.verdict) == "immortal" and not retention.unseen:
        return None, False
    if paths and _is_idle(paths[0]) and not hanging.foreign:
        return None, False
    retention = replace(retention, paths=paths)
    data = retention.to_dict()
    path = str(paths[0]) if paths else str(retention.verdict)
    # the thread itself, a variable or a task of its own, or what its call in C holds
    may_pass = threading.active_count() > 1 and (
        not paths
        or paths[0].kind in ("named", "unseen")
        or str(paths[0]).startswith("threading._active")
    )
    finding = Finding(
        kind="leak",
        fingerprint=retention.fingerprint,
        type=data["type"],
        summary=f"{data['target']} held by {path}" if paths else f"{data['target']} held {path}",
        text=str(retention),
        verdict=str(retention.verdict),
        objects=hanging.objects * max(1, per_run),
        size=hanging.size * max(1, per_run),
        types={name: count * max(1, per_run) for name, count in hanging.types.items()},
        judged=[test],
    )
    return finding, may_pass


def _is_bounded(path: RetentionPath) -> bool:
    return str(path).startswith(_BOUNDED)


_IDLE = ("os.register_at_fork", "sys.path_importer_cache")
"""Roots that no one takes anything from: callbacks, and a finder for each folder that was ever
imported from. What such an entry holds may be a leak; the entry alone is none."""


def _is_idle(path: RetentionPath) -> bool:
    return str(path).startswith(_IDLE)


def _is_runners(path: RetentionPath) -> bool:
    """Tell whether a path is a call in progress, or leads through an object of the runner's.

    Test modules reach all of it: their loader, which rewrites asserts, knows the session.
    """
    return path.kind in _PASSING or any(
        edge.mark.rpartition(" ")[2].partition(".")[0] in RUNNERS for edge in path.edges
    )


def excused(heap: Heap, leaking: list[object], bounds: Bounds, own: list[Any]) -> set[int]:
    """Return the ids of what nothing holds but what bounds it, and lists and dicts of our own."""
    doubtful = [obj for obj in leaking if obj in bounds]
    return only_held_by(heap, doubtful, [*bounds.holders, *own])


def held_beside(heap: Heap, kinds: set[Key], bounds: Bounds, own: list[Any]) -> list[object]:
    """Return what is in bounds and has one more reference than its cache or queue gives, one object
    of each of these kinds. What a cache keeps for a while, a registry may keep for good.

    None where references aren't counted.
    """
    if not COUNTED:
        return []
    marks = [mark for mark, obj in heap.objects.items() if obj in bounds and key(obj) in kinds]
    found = heap.held_elsewhere(marks, [heap.objects, *bounds.holders, *own]) if marks else ()
    return list({key(obj): obj for obj in found}.values())


def only_held_by(heap: Heap, objs: list[object], holders: Iterable[object]) -> set[int]:
    """Return the ids of those of `objs` of which nothing from before but `holders` has the object,
    or what leads to it.

    An answer that costs one walk over the heap at most, and saves the search for paths. None on
    free-threaded builds, where `gc.get_referrers` finds nothing up to 3.13 (cpython#118522).
    """
    if not COUNTED:
        return set()
    leading = {id(obj): heap.reaching([id(obj)]) for obj in objs}
    holders = [objs, heap.objects, *holders]
    asked = heap.held_elsewhere(set().union(*leading.values()), holders)
    if len(asked) > _FEW:
        return set()
    known = {id(asked), *heap.objects, *map(id, holders)}
    others = [each for each in gc.get_referrers(*asked) if id(each) not in known] if asked else []
    held = set(map(id, referents(*others)))
    return {mark for mark, marks in leading.items() if marks.isdisjoint(held)}


def only_in_bounds(heap: Heap, objs: list[object], bounds: Bounds, own: list[Any]) -> bool:
    """Tell whether all these are in bounds, and surely nothing else holds them or leads to them.

    By counting alone, so that the heap may be frozen; never where references aren't counted.
    """
    if not COUNTED or not all(obj in bounds for obj in objs):
        return False
    leading = heap.reaching(map(id, objs))
    return not heap.held_elsewhere(leading, [objs, heap.objects, *bounds.holders, *own])


def bounded(heap: Heap, wrappers: list[Any]) -> tuple[set[int], list[object], list[Any]]:
    """Return the ids of what those `functools.lru_cache`s that have a size hold, and all that hangs
    on it; such caches, with their parts; and those of them in whose modules one holds anything.

    Such a cache replaces its entries in the end. Where it is the cache of a method of the object's
    own class, it keeps instances alive that no one asked it to keep: that stays a leak.
    """
    held: list[object] = []
    parts: list[object] = []
    used: list[Any] = []
    wanted = set(heap.objects)
    for wrapper in wrappers:
        if wrapper.cache_parameters()["maxsize"] is not None:
            parts += [wrapper, *(ref for ref in referents(wrapper) if type(ref) is dict)]
            entries = [heap.objects[mark] for mark in _entries(wrapper, wanted)]
            if entries:
                used.append(wrapper)
            instances = {id(obj) for obj in entries if is_own_method(wrapper, obj)}
            # without the keys, and the cache's dict, that lead to one
            held.extend(obj for obj in entries if instances.isdisjoint(heap.reach([obj])))
    modules = set(map(_module_of, used))
    alike = [each for each in wrappers if _module_of(each) in modules]
    return set(heap.reach(held)), parts, alike


def _module_of(wrapper: Any) -> str:
    module = wrapper.__module__
    return module if type(module) is str else "?"


def in_bounded_queues(heap: Heap, queues: list[deque[Any]]) -> tuple[set[int], list[deque[Any]]]:
    """Return the ids of what queues with a size hold, and all that hangs on it; and such queues.

    A `deque` with a `maxlen` drops its other end, and a full `queue.Queue` takes nothing. Queues
    that survived with the objects bound nothing: there is one more of them after every run.
    """
    queues = [each for each in queues if id(each) not in heap.objects]
    held = [obj for obj in referents(*queues) if id(obj) in heap.objects] if queues else []
    return set(heap.reach(held)), queues


def on_method_caches(objs: list[object]) -> list[object]:
    """Return those that the `lru_cache` of a method of their own class holds as its `self`."""
    return [
        obj
        for obj in of_classes(objs, lambda cls: is_foreign(cls) and bool(_method_caches(cls)))
        if any(_entries(wrapper, {id(obj)}) for wrapper in _method_caches(type(obj)))
    ]


def _method_caches(cls: type) -> list[Any]:
    return [v for base in cls.__mro__ for v in vars(base).values() if type(v) is LRU_CACHE]


def is_own_method(wrapper: Any, obj: object) -> bool:
    return any(wrapper is each for each in _method_caches(type(obj)))


def _entries(wrapper: Any, wanted: set[int]) -> set[int]:
    """Return which of the wanted are in a cache's entries: cache, key, arguments."""
    function = wrapper.__wrapped__
    level = [obj for obj in referents(wrapper) if obj is not function]
    level = [obj for obj in level if not is_a(obj, type, types.ModuleType)]
    found: set[int] = set()
    seen: set[int] = set()
    for _ in range(4):
        found.update(id(obj) for obj in level if id(obj) in wanted)
        seen.update(map(id, level))
        inner = [
            obj
            for obj in level
            if is_container(obj)
            or "_lru" in name_of(type(obj))
            or name_of(type(obj)) == "_HashedSeq"
        ]
        level = [obj for obj in referents(*inner) if id(obj) not in seen]
    return found


def replaced_but_kept(
    latest: list[object], kinds: set[Key], but: Collection[Key] = ()
) -> list[object]:
    """Return what every run leaves anew in the place of the last, and no cache has to keep.

    Two kinds: instances in the `lru_cache` of their own method, and exceptions that are kept with
    their traceback, and so keep the locals of every frame in it; `but` those of some kinds.
    """
    candidates = of_kinds(latest, kinds)
    found = on_method_caches(candidates)
    if any(is_a(obj, *FRAMES) for obj in candidates):
        heap = Heap(latest)
        for top in heap.outermost({key(obj) for obj in latest}):
            below = heap.reach([top]).values()
            frames = [obj for obj in below if type(obj) is types.FrameType]
            if frames:
                kept = min(below, key=lambda obj: not is_a(obj, BaseException))
                found += [kept] if key(kept) not in but else []
    chosen: dict[Key, object] = {}
    for obj in found:
        chosen.setdefault(key(obj), obj)
    return list(chosen.values())
