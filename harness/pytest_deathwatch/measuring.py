"""Rerunning one test, and counting what each rerun leaves."""

from __future__ import annotations

import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import ref

import pytest

from . import cycles, judging
from .cycles import Mark
from .findings import Finding
from .grouping import Heap
from .heap import Key, Window, is_a, is_foreign, key
from .rerunning import Reruns

_FRAMES = (types.FrameType, types.TracebackType)
_PATIENCE = 0.5
"""Seconds in which other threads may still let go of what looks like a leak."""


_SLOW = 1.0
"""Seconds that one rerun may take, before a test is rerun only as often as decides."""
_MANY = 20_000
"""Survivors of one rerun, of which the same holds: each is counted again after every rerun."""
_FREE = 60.0
"""Seconds that all reruns together may take beyond what the tests themselves took."""


class Budget:
    """What reruns may cost: at most as much as the tests did, and a minute."""

    def __init__(self) -> None:
        self.tests = 0.0
        self.reruns = 0.0

    def is_spent(self) -> bool:
        return self.reruns > _FREE + self.tests

    @contextmanager
    def rerunning(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.reruns += time.perf_counter() - began


@dataclass
class Evidence:
    """What the reruns of one test have shown. Holds survivors until `clear`."""

    problem: str | None = None
    reruns: int = 0
    haste: str = ""
    samples: list[Counter[Key]] = field(default_factory=list)
    fresh: list[Counter[Key]] = field(default_factory=list)
    marks: list[set[Mark]] = field(default_factory=list)
    described: dict[Mark, Finding] = field(default_factory=dict)
    objects: list[object] = field(default_factory=list)
    latest: list[object] = field(default_factory=list)
    kept: list[object] = field(default_factory=list)

    @property
    def growing(self) -> set[Key]:
        return judging.growing(self.samples)

    @property
    def replaced(self) -> set[Key]:
        return judging.replaced(self.samples, self.fresh)

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
    return is_a(obj, *_FRAMES) or is_foreign(type(obj))


class Measurement:
    """One test, rerun until it is decided."""

    def __init__(self, reruns: Reruns, window: Window, passing: Collection[object]) -> None:
        self._reruns = reruns
        self._window = window
        self._passing = passing
        self._kinds: set[Key] = set()
        self._born: dict[int, tuple[int, ref[object] | None]] = {}

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
        """
        evidence = Evidence()
        self._kinds = kinds
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
            took = time.perf_counter() - began
            self._sample(item, evidence, marks)
            if evidence.reruns == 1:
                evidence.haste = _haste(took, len(evidence.objects))
                limit = 2 if evidence.haste else times
            unsure = evidence.cycles & marks and evidence.reruns < 2
            if not unsure and not judging.undecided(evidence.samples):
                return evidence
            if evidence.reruns == times == limit and is_news(evidence):
                limit = 2 * times
        if evidence.growing:
            self._wait_for_threads(item, evidence)
        return evidence

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

    def _look(self, item: pytest.Item, evidence: Evidence) -> None:
        """Count what is alive of all reruns, and what the latest has added."""
        now = evidence.reruns
        objects = self._window.survivors(item, self._passing)
        born = [self._birth(obj, now) for obj in objects]
        self._born = {id(obj): birth for obj, birth in zip(objects, born, strict=True)}
        evidence.objects[:] = objects
        evidence.latest[:] = [o for o, (n, _) in zip(objects, born, strict=True) if n == now]
        # what the first rerun made may be a cache, and what the last made may be on its way out
        evidence.kept[:] = [
            o for o, (n, _) in zip(objects, born, strict=True) if (n > 1 or now == 2) and n < now
        ]
        evidence.samples.append(self._count(objects))
        evidence.fresh.append(self._count(filter(_telling, evidence.latest)))

    def _count(self, objects: Iterable[object]) -> Counter[Key]:
        kinds = self._kinds
        return Counter(kind for kind in map(key, objects) if not kinds or kind in kinds)

    def _birth(self, obj: object, now: int) -> tuple[int, ref[object] | None]:
        """Return in which rerun an object was met first; addresses are used again."""
        known = self._born.get(id(obj))
        if known is not None and (known[1] is None or known[1]() is obj):
            return known
        try:
            return now, ref(obj)
        except TypeError:
            return now, None

    def _wait_for_threads(self, item: pytest.Item, evidence: Evidence) -> None:
        """Give running threads time to let go, and count again if there are any."""
        deadline = time.monotonic() + _PATIENCE
        while threading.active_count() > 1 and evidence.growing and time.monotonic() < deadline:
            evidence.clear()
            time.sleep(0.05)
            self._window.settle()
            evidence.samples.pop()
            evidence.fresh.pop()
            self._look(item, evidence)
