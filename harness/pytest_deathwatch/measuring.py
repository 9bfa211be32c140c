"""Rerunning one test, and counting what each rerun leaves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import ref

import pytest

from deathwatch.referents import referents
from deathwatch.watch.snapshot import weakly

from . import cycles, judging
from .cycles import Mark
from .findings import Finding
from .grouping import FRAMES, Heap, replaced_but_kept
from .heap import Key, Window, is_a, is_builtin, is_foreign, key
from .rerunning import Reruns

_FIRST = 4
"""References of an object by which it is known again."""
_SLOW = 1.0
"""Seconds that one rerun may take, before a test is rerun only as often as decides."""
_LITTLE = 0.1
"""Seconds that reruns of one test may take whatever the budget says, once they have begun."""
_MANY = 20_000
"""Survivors of one rerun, of which the same holds: each is counted again after every rerun."""


@dataclass
class Evidence:
    """What the reruns of one test have shown. Holds survivors until `clear`."""

    problem: str | None = None
    reruns: int = 0
    haste: str = ""
    wanted: set[Key] = field(default_factory=set)
    """The kinds whose growth is looked for; all if there are none."""
    samples: list[Counter[Key]] = field(default_factory=list)
    alone: list[Counter[Key]] = field(default_factory=list)
    """Of each sample what no instance of a telling class, function or frame leads to."""
    fresh: list[Counter[Key]] = field(default_factory=list)
    marks: list[set[Mark]] = field(default_factory=list)
    described: dict[Mark, Finding] = field(default_factory=dict)
    let_go: set[Key] = field(default_factory=set)
    """Kinds of what every rerun left anew, and another test lets go of."""
    objects: list[object] = field(default_factory=list)
    latest: list[object] = field(default_factory=list)
    kept: list[object] = field(default_factory=list)

    @property
    def grown(self) -> set[Key]:
        """All kinds of which there are more after every rerun."""
        return judging.growing(self.samples)

    @property
    def growing(self) -> set[Key]:
        """Those that are a leak: a list or a cell in one is no reason to suspect others."""
        alone = judging.growing(self.alone)
        return {kind for kind in self.grown if not is_builtin(kind) or kind in alone}

    @property
    def suspect(self) -> set[Key]:
        """Those whose growth was looked for. Where one is, all that grows is to be explained: it
        may hang on what other tests have left without harm."""
        return set(filter(self.is_wanted, self.growing))

    @property
    def undecided(self) -> bool:
        latest = [dict.fromkeys(filter(self.is_wanted, sample), 1) for sample in self.samples[-2:]]
        return judging.undecided(latest, self.suspect)

    @property
    def replaced(self) -> set[Key]:
        return set(filter(self.is_wanted, judging.replaced(self.samples, self.fresh)))

    def is_wanted(self, kind: Key) -> bool:
        return not self.wanted or kind in self.wanted

    @property
    def cycles(self) -> set[Mark]:
        return judging.repeated(self.marks)

    def per_run(self, kind: Key) -> int:
        """Return how many objects of a kind each rerun has added."""
        if len(self.samples) < 2:
            return 1
        added = self.samples[-1][kind] - self.samples[0][kind]
        return max(1, round(added / (len(self.samples) - 1)))

    def take(self) -> tuple[list[object], list[object]]:
        """Hand over the survivors, those of earlier reruns and of the latest, and forget them.

        A kept exception keeps the frames that ran the test, with this evidence in their locals.
        """
        kept, latest = self.kept[:], self.latest[:]
        self.clear()
        return kept, latest

    def clear(self) -> None:
        self.objects.clear()
        self.latest.clear()
        self.kept.clear()


def _haste(took: float, left: int) -> str:
    """Say why a test is to be rerun as rarely as possible, if it is."""
    if left > _MANY:
        return f"rerun twice only: a rerun left {left} objects"
    return f"rerun twice only: a rerun took {took:.1f} s" if took > _SLOW else ""


def _telling(obj: object) -> bool:
    """Tell whether this may be kept in the place of another one without any growth in numbers."""
    return is_a(obj, *FRAMES) or is_foreign(type(obj))


class Birth(NamedTuple):
    """In which rerun an object was met first, and what tells it from a later one at its address."""

    rerun: int
    mark: ref[object] | tuple[tuple[int, int], ...]


def births(objects: list[object], known: dict[int, Birth], now: int) -> dict[int, Birth]:
    """Return the births of these objects by their ids: known ones, or in the rerun `now`.

    What can't be weakly referenced is taken for the same object while what it refers to first is
    the same, and for a new one where a new object that can be refers to it.
    """
    found: dict[int, Birth] = {}
    unsure = []
    for obj in objects:
        try:
            birth = Birth(now, ref(obj))
        except TypeError:
            unsure.append(obj)
            continue
        before = known.get(id(obj))
        found[id(obj)] = before if before is not None and before.mark is birth.mark else birth
    new = [obj for obj in objects if id(obj) in found and found[id(obj)].rerun == now]
    below = Heap([*new, *unsure]).reach(new)
    sure = dict(found)
    for obj in unsure:
        first = [id(each) for each in referents(obj)[:_FIRST]]
        mark = tuple((each, sure[each].rerun if each in sure else 0) for each in first)
        before = known.get(id(obj))
        is_old = before is not None and before.mark == mark and id(obj) not in below
        found[id(obj)] = before if is_old and before is not None else Birth(now, mark)
    return found


class Measurement:
    """One test, rerun until it is decided."""

    def __init__(
        self,
        reruns: Reruns,
        window: Window,
        passing: Collection[object],
        seconds: float,
        usual: tuple[float, float],
    ) -> None:
        """`seconds` are how long the reruns may take, about, and `usual` is what the test took,
        without what reruns don't set up again and with it."""
        self._reruns = reruns
        self._window = window
        self._passing = passing
        self._seconds = seconds
        self._usual = usual
        self._born: dict[int, Birth] = {}

    def measure(
        self,
        item: pytest.Item,
        stay: pytest.Item,
        times: int,
        kinds: set[Key],
        marks: set[Mark],
        is_news: Callable[[Evidence], bool],
    ) -> Evidence:
        """Rerun `item`, keeping the scopes that `stay` needs.

        `kinds` are counted, or all of them if there are none; `marks` are looked for.
        Ends after the first rerun that rules a leak out, and after `times`; where that leaves a
        leak that is news, after twice as many: a cache that fills has time to be full. A test
        whose first rerun is slow, or leaves very many objects, gets two: the fewest that decide.
        Where it is not decided, and no more reruns fit into the budget, that is the problem.
        """
        evidence = Evidence(wanted=kinds)
        self._window.mine.extend([vars(self), *vars(evidence).values(), evidence])
        self._window.restart()
        limit = times
        while evidence.reruns < limit:
            evidence.reruns += 1
            evidence.clear()
            began = time.perf_counter()
            evidence.problem = self._reruns.rerun(item, stay)
            if evidence.problem:
                return evidence
            self._sample(item, evidence, marks)
            took = time.perf_counter() - began
            if evidence.reruns == 1:
                evidence.haste = _haste(took, len(evidence.objects))
                limit = 2 if evidence.haste else times
            unsure = evidence.cycles & marks and evidence.reruns < 2
            if not unsure and not evidence.undecided:
                return evidence
            if evidence.reruns == times == limit and is_news(evidence):
                limit = 2 * times
            if evidence.reruns < limit and not self._fits(evidence.reruns, took):
                evidence.problem = f"took {took:.1f} s: more don't fit in (--deathwatch-budget)"
                return evidence
        return evidence

    def _fits(self, reruns: int, took: float) -> bool:
        """Tell whether one more rerun fits in, after so many of which the last took so long. The
        first may have set up scopes again that stay now, and takes longer than the test did where
        there is much to look at."""
        own, whole = self._usual
        expected = own if reruns == 1 and took <= 2 * whole else took
        return expected <= max(self._seconds - (reruns - 1) * took, _LITTLE)

    def _sample(self, item: pytest.Item, evidence: Evidence, suspects: set[Mark]) -> None:
        if suspects:
            garbage = self._window.garbage()
            found = cycles.cycles(garbage)
            evidence.marks.append(set(found))
            if evidence.reruns > 1:
                self._describe(item, evidence, suspects, found, garbage)
            found.clear()
            garbage.clear()
        self._window.settle()
        self._look(item, evidence)

    @staticmethod
    def _describe(
        item: pytest.Item,
        evidence: Evidence,
        suspects: set[Mark],
        found: dict[Mark, list[object]],
        garbage: list[object],
    ) -> None:
        """Put the cycles that every rerun has made so far into words, while they are there."""
        heap = Heap(garbage)
        for mark in evidence.cycles & suspects:
            if mark not in evidence.described:
                evidence.described[mark] = cycles.finding_of(mark, found[mark], heap, item.nodeid)

    def run_another(self, other: pytest.Item, stay: Any, evidence: Evidence) -> None:
        """Find out whether another test lets go of the exceptions that every rerun leaves anew: a
        memo that is cleared before it is filled keeps no more than the latest, and not for long.

        What nothing foreign can be weakly referenced of is not watched.
        """
        heap = Heap(evidence.latest)
        watched = {
            key(obj): _watchable(heap.reach([obj]).values())
            for obj in replaced_but_kept(evidence.latest, evidence.replaced)
            if is_a(obj, BaseException, *FRAMES)
        }
        heap.objects.clear()
        if not any(watched.values()):
            return
        evidence.clear()
        evidence.reruns += 1
        self._window.mine.append(watched)
        self._reruns.rerun(other, stay)
        self._window.settle()
        evidence.let_go = {
            kind for kind, refs in watched.items() if any(wr() is None for wr in refs)
        }
        self._meet(other, evidence, len(evidence.samples))

    def _look(self, item: pytest.Item, evidence: Evidence) -> None:
        """Count what is alive of all reruns, and what the latest has added."""
        objects = self._meet(item, evidence, evidence.reruns)
        evidence.samples.append(_count(objects))
        evidence.alone.append(_count(_alone(objects)))
        evidence.fresh.append(_count(filter(_telling, evidence.latest)))

    def _meet(self, item: pytest.Item, evidence: Evidence, now: int) -> list[object]:
        objects = self._window.survivors(item, self._passing)
        self._born = births(objects, self._born, now)
        born = [self._born[id(obj)].rerun for obj in objects]
        evidence.objects[:] = objects
        evidence.latest[:] = [o for o, n in zip(objects, born, strict=True) if n == now]
        # what the first rerun made may be a cache, and what the last made may be on its way out
        evidence.kept[:] = [
            o for o, n in zip(objects, born, strict=True) if (n > 1 or now == 2) and n < now
        ]
        return objects


def _count(objects: Iterable[object]) -> Counter[Key]:
    return Counter(map(key, objects))


def _alone(objects: list[object]) -> list[object]:
    """Return what no object leads to that is of a kind that tells."""
    below = Heap(objects).reach(obj for obj in objects if not is_builtin(key(obj)))
    return [obj for obj in objects if id(obj) not in below]


def _watchable(objs: Iterable[object]) -> list[ref[object]]:
    return list(filter(None, map(weakly, (obj for obj in objs if is_foreign(type(obj))))))
