"""Why is this object alive? The question: which roots to start from, and when to stop."""

from __future__ import annotations

import gc
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from deathwatch.referents import referents

from .edges import edges
from .interpreter import at_exit_callback, registrations, root_of
from .modules import Modules, Rank, Root
from .names import class_text, describe
from .outside import around, count_references, held_elsewhere, references_from, unreached
from .paths import tell
from .retention import Edge, Retention, RetentionPath, Verdict
from .roots import (
    context,
    event_loop,
    handled_exceptions,
    hidden_temporaries,
    hooks,
    kept_exceptions,
    other_threads,
    own_generators,
    own_locals,
    temporary,
)
from .walk import COUNTED, CPYTHON, Walk, count, key, references_to


def why_alive(obj: object, *, paths: int = 3) -> Retention:
    """Say who keeps an object alive: up to `paths` strong paths from roots to it.

    Automatic collection is off meanwhile, and afterwards as it was. In a child that another thread
    forks meanwhile, it stays off.

    >>> import deathwatch.explain, sys
    >>> class Session: ...
    >>> session = sys.session = Session()
    >>> print(deathwatch.explain.why_alive(session).paths[0])
    sys.session
    >>> del sys.session
    """
    held = [obj]
    del obj
    search = _Search(held, _references(held))
    enabled = gc.isenabled()
    try:
        # A collection now would change the heap meanwhile, and go through a list of all of it.
        gc.disable()
        search.run(sys._getframe(1))
        return search.answer(paths)
    finally:
        try:
            search.clear()
            held.clear()
        finally:
            if enabled:
                gc.enable()


def _references(held: list[object]) -> int | None:
    """Return how many references others have to the object, or None where they aren't counted."""
    if not COUNTED or _is_everlasting(held):
        return None
    return _count(held) - _OWN


def _count(held: list[object]) -> int:
    return sys.getrefcount(held[0])


# Since 3.12 (PEP 683) the count of `None`, `int` or `()` is a mark: 3 << 30 in 3.14, and on 32 bits
# less than a quarter of that.
_MARKED = 1 << 29
_OWN = _count([object()]) if COUNTED else 0


def _is_everlasting(held: list[object]) -> bool:
    """Tell whether the interpreter counts no references to the object, which it never frees."""
    return CPYTHON and _count(held) >= _MARKED


class _Way(NamedTuple):
    """From a root to the object, both included; without a root, from what the object holds."""

    root: Root | None
    objs: list[object]


class _Search:
    """One question: the stages in turn, until every reference is accounted for.

    Nothing is named before the search is over: reading a `__dict__` may create it.
    """

    __slots__ = (
        "accounted",
        "calls",
        "circle",
        "found",
        "held",
        "mine",
        "modules",
        "own",
        "references",
        "roots",
        "stacks",
        "walk",
    )

    def __init__(self, held: list[object], references: int | None) -> None:
        self.held = held
        self.references = references
        self.modules = Modules()
        self.walk = Walk(held[0])
        self.mine: list[Root] = []
        self.roots: dict[int, Root] = {}
        self.accounted = 0
        # Where the order of the walk comes to what this thread's calls hold, and within that to
        # what the object itself holds.
        self.calls = sys.maxsize
        self.own = slice(0, 0)
        self.found: list[_Way] = []
        self.stacks: list[tuple[set[int], Rank, str, str]] = []
        self.circle: list[object] = []  # a cycle, from an object back to it

    def clear(self) -> None:
        self.walk.clear()
        self.roots.clear()
        self.mine.clear()
        self.found.clear()
        self.circle.clear()

    def missing(self) -> int | None:
        """Return how many references are not accounted for yet."""
        if self.references is None:
            return None
        return self.references - self.accounted - self.walk.found

    def complete(self) -> bool:
        missing = self.missing()
        return missing is not None and missing <= 0

    def run(self, frame: types.FrameType) -> None:
        """Go through the stages, and collect the paths."""
        self.walk.bar(self.modules.barrier())
        self.walk.shut([self, self.held, *own_generators(frame)])
        self.mine += [*own_locals(frame), *handled_exceptions()]
        self.stacks = list(hidden_temporaries(frame))
        self._direct(self.mine)
        stages = [
            self._user,
            self._named,
            self._libraries,
            self._calls,
            self._own_part,
            self._passing,
        ]
        while stages and not self.complete():
            stages.pop(0)()
            if not CPYTHON and self.walk.hits:
                break  # a pass over the whole heap takes seconds on PyPy; better roots come first
        self._ways(self.walk)
        region: list[object] = []
        suspects = self._suspects()
        if suspects or self._more_to_find():
            for stage in stages:
                stage()
            region = self._unreached(suspects)
        self._orphans(region, suspects)
        if CPYTHON and not self.complete():
            self._itself()

    def _user(self) -> None:
        self._stage(self.modules.roots(Rank.USER), self._foreign)

    def _named(self) -> None:
        self._stage([*context(), *event_loop(), *kept_exceptions(), *hooks(), *other_threads()])

    def _libraries(self) -> None:
        self._stage(self.modules.roots(Rank.LIBRARY))
        for rank in Rank.STDLIB, Rank.RUNNER:
            if not self.complete():
                self._stage(self.modules.roots(rank))

    def _calls(self) -> None:
        self.calls = len(self.walk.order)
        self._stage(root for root in self.mine if root.rank is Rank.LOCAL)

    def _own_part(self) -> None:
        """What the object alone keeps: through it, the object holds itself."""
        start = len(self.walk.order)
        refs = referents(*self.held)
        itself = count(refs, self.held[0])
        if itself:
            self.accounted += itself
            self.found.append(_Way(None, [*self.held]))
        self.walk.stage(refs, self.complete)
        self.own = slice(start, len(self.walk.order))

    def _passing(self) -> None:
        self._stage(root for root in self.mine if root.rank > Rank.LOCAL)

    def _stage(
        self, roots: Iterable[Root], foreign: Callable[[object], bool] | None = None
    ) -> None:
        roots = list(roots)
        for root in roots:
            self.roots.setdefault(key(root.value), root)
        if roots and roots[0].rank < Rank.LOCAL:
            self._direct(roots)
        self.walk.stage([root.value for root in roots], self.complete, foreign)

    def _direct(self, roots: list[Root]) -> None:
        """Take note of the roots that are the object itself."""
        for root in roots:
            if root.value is self.held[0]:
                self.found.append(_Way(root, [root.value]))
                self.accounted += root.slots or 0

    def _foreign(self, obj: object) -> bool:
        return obj is not self.held[0] and self.modules.foreign(obj)

    def _ways(self, walk: Walk) -> None:
        """Collect the ways to the first of the holders."""
        for holder in walk.holders():
            way = walk.way(holder)
            if way is not None:
                objs = [*map(walk.order.__getitem__, way), *self.held]
                self.found.append(_Way(self.roots.get(key(objs[0])), objs))

    def _more_to_find(self) -> bool:
        """Tell whether C code may hold the object.

        On PyPy there is no telling: what the collector knows may be dead.
        """
        if self.references is not None:
            return not self.complete()
        return CPYTHON and not self._lasting()

    def _lasting(self) -> bool:
        return any(way.root is not None and way.root.rank < Rank.LOCAL for way in self.found)

    def _suspects(self) -> list[object]:
        """Return the objects on the ways that have more references than were found.

        A variable of a call in progress may hold what C code holds as well, and for longer.
        """
        if self.references is None or self._lasting():
            return []
        nodes = {key(obj): obj for way in self.found for obj in way.objs[:-1]}
        known = self._known()
        pairs = {(key(a), key(b)) for way in self.found for a, b in self._pairs(way)}
        more = held_elsewhere(list(nodes.values()), known + Counter(at for _, at in pairs), 3)
        if not more:
            return []
        known.update(self.walk.references_to(set(map(key, more))))
        count_references(self.held, known)
        del nodes
        return held_elsewhere(more, known, 2)

    def _in_c(self, orphans: list[object]) -> list[object]:
        """Leave out the cells of this thread's calls, whose frames are read without their cells."""
        if COUNTED:
            return orphans
        values = {key(root.value) for root in self.mine}
        return [obj for obj in orphans if not _is_cell_of(obj, values)]

    def _from_calls(self, objs: list[object]) -> Counter[int]:
        """Count the references to these from what the variables of this thread's calls hold."""
        order, own = self.walk.order, self.own
        wanted = set(map(key, objs))
        counts = references_to(order[self.calls : own.start], wanted)
        counts.update(references_to(order[own.stop :], wanted))
        return counts

    def _pairs(self, way: _Way) -> Iterator[tuple[object, object]]:
        return pairwise([*self.held, *way.objs] if way.root is None else way.objs)

    def _orphans(self, region: list[object], suspects: list[object]) -> None:
        """Find what C code holds: among suspects, in the object's own part, and out of reach."""
        walk = self.walk
        self.accounted += references_from(region, self.held[0])
        orphans = []
        if suspects:
            known = self._known()
            known.update(walk.references_to(set(map(key, suspects))))
            count_references([*region, *self.held], known)
            orphans = held_elsewhere(suspects, known, 2)
        own = walk.order[self.own]  # not before: this holds suspects, too
        if region or own:
            known = self._known()
            known.update(map(key, [*own, *suspects, *orphans]))
            region += own
            del own
            count_references([*region, *self.held], known)
            known.update(self._from_calls(region))
            orphans += self._in_c(held_elsewhere(region, known, 1))
        if not orphans and not region:
            return
        branch = walk.branch(self.calls, orphans)
        first = len(self.found)
        self._ways(branch)
        self.found[first:] = [self._orphan(way) for way in self.found[first:]]
        branch.clear()
        if len(self.found) == first and not any(way.root is None for way in self.found):
            self._garbage(region)

    def _itself(self) -> None:
        """Find out whether the object is itself what C code was given to call."""
        found = at_exit_callback(self.held)
        if found is not None:
            text, mark, _ = found
            self.found.append(
                _Way(Root(Rank.INTERPRETER, self.held[0], text, "…", mark), [*self.held])
            )
            self.accounted += registrations(self.held[0])

    def _garbage(self, region: list[object]) -> None:
        """Find a cycle that holds the object, but that it is not a part of."""
        self.circle, way = around(region, self.held[0])
        if way:
            self.found.append(_Way(Root(Rank.GARBAGE, way[0], "", "…", ""), way))

    def _known(self) -> Counter[int]:
        """Return the references that we, and the slots of this thread's frames, have to objects."""
        known = Counter(key(obj) for way in self.found for obj in way.objs)
        for root in self.mine:
            known[key(root.value)] += 1 + (root.slots or 0)
        return known

    def _unreached(self, suspects: list[object]) -> list[object]:
        own = [self, self.held, self.mine, self.roots, self.found, self.walk, self.walk.order]
        own += [suspects, *self.held, *(way.objs for way in self.found)]
        return unreached(self.walk.marks(), own, (Root, _Way))

    def _orphan(self, way: _Way) -> _Way:
        orphan = way.objs[0]
        for addresses, rank, call, mark in self.stacks:
            if id(orphan) in addresses:
                what = temporary(orphan)
                text = f"{what} of {call}"
                return _Way(Root(rank, orphan, text, "…", f"{what} of {mark}", None, 1), way.objs)
        root, length = root_of(way.objs)
        return _Way(root, way.objs[length:])

    def _told(self) -> Iterator[RetentionPath]:
        for root, objs in self.found:
            if root is None:
                continue
            if root.rank is Rank.GARBAGE:
                text = f"garbage: {describe(objs[0])}, in a cycle of its own"
                root = root._replace(text=text, mark=f"garbage {class_text(type(objs[0]))}")
            yield tell(root, objs, self.modules)

    def answer(self, limit: int) -> Retention:
        """Put what was found into words."""
        told = list(self._told())
        cycle_found = bool(self.circle) or any(way.root is None for way in self.found)
        lasting = [path for path in told if path.kind != "machinery"]
        told = lasting if lasting or cycle_found else told
        told.sort(key=self._order(told))
        chosen: dict[tuple[str, ...], RetentionPath] = {}
        for path in told:
            chosen.setdefault((path.mark, *(edge.mark for edge in path.edges)), path)
        own = [[*self.held, *way.objs] for way in self.found if way.root is None]
        told_circles = [tuple(edges(circle)) for circle in own or [self.circle]]
        cycle = min(told_circles, key=lambda told: (len(told), [edge.text for edge in told]))
        circle = own[0] if own else self.circle
        missing = self.missing()
        unseen = None if missing is None else max(0, missing)
        references = None if self.references is None else self.references - self._runners()
        everlasting = _is_everlasting(self.held)
        verdict = Verdict.IMMORTAL if everlasting else _verdict(told, cycle, unseen)
        return Retention(
            target=describe(self.held[0]),
            type=class_text(type(self.held[0])),
            verdict=verdict,
            paths=tuple(chosen.values())[:limit],
            cycle=cycle,
            cycle_of=describe(circle[0]) if circle else "",
            references=references,
            unseen=unseen,
            notes=_notes(references, unseen, verdict, everlasting=everlasting),
        )

    def _order(self, told: list[RetentionPath]) -> Callable[[RetentionPath], tuple[object, ...]]:
        """Return how paths are sorted: of modules that have the object, the one that made it."""
        kinds = {path.kind for path in told if len(path.edges) == 1}
        makers = {self.modules.maker(Rank[kind.upper()], self.held[0]) for kind in kinds}

        def order(path: RetentionPath) -> tuple[object, ...]:
            return Rank[path.kind.upper()], len(path.edges), path.root not in makers, str(path)

        return order

    def _runners(self) -> int:
        """Count the references that calls of a test runner have to the object: they say nothing.

        A variable that an inner function uses has it by a cell, which several calls may share.
        """
        calls = [root for root in self.mine if root.rank is Rank.MACHINERY]
        target = {key(self.held[0])}
        cells = {key(root.value) for root in calls if _is_cell_of(root.value, target)}
        return len(cells) + sum(root.slots or 0 for root in calls if root.value is self.held[0])


def _is_cell_of(obj: object, values: set[int]) -> bool:
    return type(obj) is types.CellType and not values.isdisjoint(map(key, referents(obj)))


def _notes(
    references: int | None, unseen: int | None, verdict: Verdict, *, everlasting: bool
) -> tuple[str, ...]:
    if everlasting:
        return ("the interpreter never frees this object, and counts no references to it",)
    if verdict is Verdict.UNKNOWN:
        return (f"this interpreter ({sys.implementation.name}) counts no references",)
    if not unseen:
        return ()
    verb = "is" if unseen == 1 else "are"
    return (f"{unseen} of {references} references {verb} held outside the collector's view",)


def _verdict(paths: list[RetentionPath], cycle: tuple[Edge, ...], unseen: int | None) -> Verdict:
    ranks = [Rank[path.kind.upper()] for path in paths]
    if any(rank <= Rank.INTERPRETER for rank in ranks):
        return Verdict.IMMORTAL
    if unseen or Rank.UNSEEN in ranks:
        return Verdict.UNSEEN
    if cycle:
        return Verdict.CYCLE
    return Verdict.PASSING if paths or unseen is not None else Verdict.UNKNOWN
