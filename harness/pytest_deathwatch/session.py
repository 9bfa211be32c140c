"""Every test under watch: what it leaves is looked at, and where need be the test is rerun."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
import types
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple
from weakref import ref

import pytest

from deathwatch.explain.walk import COUNTED
from deathwatch.watch.snapshot import weakly

from . import cycles, grouping
from .asking import Asking
from .budget import Budget, Pace
from .collecting import Collecting
from .cycles import Mark
from .findings import Finding, Findings, printable
from .grouping import Heap
from .heap import Key, Node, Window, exactly, is_a, key, of_kinds, pattern, static_roots
from .measuring import Evidence, Measurement
from .memory import Leak, Memory, holders_of
from .reporting import Verdicts
from .rerunning import Reruns
from .scopes import Scopes, left
from .waiting import Waiting, addresses

_PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between looks whether another thread has let go of what looks like a leak."""

_CALLS = (types.FunctionType, types.MethodType, types.GeneratorType, types.CoroutineType)
"""What the frames of another thread hold out of sight while it is called."""

_TOOK = pytest.StashKey[tuple[float, dict[str, float]]]()
"""Seconds that a test took until its teardown, and those of them for fixtures, by their scopes."""
_STAY = ("class", "module", "package", "session")
"""Scopes that reruns of a test don't set up again, inner ones first."""

_UNTIL_ALIKE = 3
"""Reruns until one begins with what the run before it began with."""
_FIFTH = 0.2
"""Of what judging may cost, for cycles where these are reported alone."""


class _Case(NamedTuple):
    """What is known of a test while its leaks are explained."""

    name: str
    evidence: Evidence
    bounds: grouping.Bounds
    young: set[int]
    explained: dict[int, str]
    """The fingerprints of the leaks that objects were found to be of, by the objects' ids."""


class Session:
    """The hooks of `--deathwatch`."""

    def __init__(self, config: pytest.Config, times: int, percent: int, verdicts: Verdicts) -> None:
        self.config = config
        self.times = times
        self.verdicts = verdicts
        self.findings: Findings = verdicts.findings
        self.memory = Memory()
        self.reruns = Reruns()
        self.scopes = Scopes()
        self.waiting = Waiting()
        self.pace = Pace()
        self.budget = Budget(self.pace, percent)
        self.cycle_budget = Budget(self.pace, percent, 1.0 if verdicts.cycles == "fail" else _FIFTH)
        self.collecting = Collecting()
        self.asking = Asking()
        self._window: Window | None = None
        self._clean = False
        # Whether a test has begun with what is its own, and whether some of that is out of sight,
        # as a fixture of a higher scope was set up only then.
        self._has_begun = self._is_cut = False
        # Whether such a fixture was set up since a rerun began, at any moment of it.
        self._has_restarted = False
        self._phases: dict[str | None, float] = {}
        self._fixtures: defaultdict[str, float] = defaultdict(float)
        self._previous: pytest.Item | None = None
        self._static: list[object] = []
        self._frozen = False
        self._configured = time.perf_counter()
        config.pluginmanager.register(self.reruns, "deathwatch-reruns")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        self.pace.expect(session, time.perf_counter() - self._configured)
        result = yield
        self.waiting.collect()
        self._acquit_gone()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Iterator[Any]:
        if self.reruns.active:
            return (yield)
        opened = time.perf_counter()
        self.reruns.remember(item)
        problem = self.asking.unjudgeable(item)
        window = self._window = self._open() if problem is None else None
        self._clean = True
        self._phases, self._fixtures = {}, defaultdict(float)
        self._has_begun = self._is_cut = False
        started = time.perf_counter()
        try:
            result = yield
            ended = time.perf_counter()
            self.pace.ran(ended - started)
            # the wrappers' generators are passing: pluggy's frame above holds them
            above = sys._getframe(1).f_locals
            took = self._phases.get("setup", 0.0) + self._phases.get("call", 0.0)
            item.stash[_TOOK] = took, self._fixtures
            if problem is not None and self._clean:
                self._leave(item.nodeid, problem)
            self._judge(item, nextitem, window, [above, *above.values()])
        finally:
            self._window = None
            if window is not None:
                self._end(window)
            else:
                self._frozen = False  # it is counted again
        judging = started - opened + time.perf_counter() - ended
        self.budget.judged(judging)
        self.findings.seconds += judging
        return result

    def _open(self) -> Window:
        return Window(self._roots(), self._frozen)

    def _end(self, window: Window) -> None:
        window.close()
        if self.collecting.between_tests():
            self._acquit_gone()
        window.end()
        self._frozen = window.frozen

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if not self.reruns.active:  # of the call, the last one: subtests have reports before it
            self._phases[report.when] = report.duration
        if not report.passed or hasattr(report, "wasxfail"):
            self._clean = False
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Iterator[Any]:
        """What a fixture of a higher scope makes is judged when its scope ends."""
        began = time.perf_counter()
        # one of a class is a test's own where that is in none
        scope = "function" if request.node is request._pyfuncitem else fixturedef.scope
        self._has_begun = self._has_begun or scope == "function"
        value = yield
        if not self.reruns.active:
            self._fixtures[scope] += time.perf_counter() - began
        window = self._window  # None while a scope is judged
        if window is not None and scope != "function":
            self._is_cut = self._is_cut or self._has_begun or "setup" in self._phases
            if not self.reruns.active and scope in ("class", "module"):
                item = request._pyfuncitem
                with contextlib.suppress(RuntimeError):  # the fixture froze or unfroze the heap
                    self.scopes.note(request.node, item, window.survivors(item))
            window.restart()
            self._has_restarted = True
        return value

    def _judge(
        self,
        item: pytest.Item,
        nextitem: pytest.Item | None,
        window: Window | None,
        passing: list[object],
    ) -> None:
        if item.session.shouldstop or item.session.shouldfail:
            return
        self.findings.tests += 1
        if window is None or not self._clean:
            self.collecting.left += 1  # it was not counted what it left
        else:
            try:  # a context manager would be among what is new
                shown = self._judge_test(item, nextitem, window, passing)
                self._previous = item
                self.verdicts.show(item, shown - {""}, item)
            except Exception as error:
                self._admit(item, error)
        if nextitem is None or nextitem.parent is not item.parent:
            self.memory.forget_fixtures()
        for node, scope in self.scopes.ended(item, nextitem):
            if window is not None:
                window.close()
            for first, kinds in left(scope, self.memory):
                try:
                    self._judge_scope(node, first, passing, item, kinds)
                except Exception as error:
                    self._admit(first, error)
                self._tear_down(item, nextitem)

    def _admit(self, item: pytest.Item, error: Exception) -> None:
        """Say that a test could not be judged, whatever the reason: the run goes on."""
        self._leave(item.nodeid, f"{type(error).__name__}: {error}")

    def _leave(self, name: str, reason: str) -> None:
        """Note why a test is not judged. What was said of it before may be wrong."""
        self.findings.unjudged[name] = printable(reason)
        self.findings.mended.pop(name, None)
        self.waiting.forget(name)

    def _acquit_gone(self) -> None:
        """Take tests for judged of which all died that was a reason to rerun them.

        Others that leave the like are watched as well: no kind is less of a reason for it.
        """
        for test in self.waiting.gone():
            del self.findings.unjudged[test]
            self.findings.outlived += 1

    def _leave_cycles(self, name: str) -> None:
        """Note that a test's cycles are not looked for, as that would take too long."""
        self.findings.unsearched += 1
        if self.verdicts.cycles == "fail":
            self._leave(name, self._too_slow())

    def _too_slow(self) -> str:
        percent = self.budget.percent
        return f"its reruns don't fit in {percent} % of what the run takes (--deathwatch-budget)"

    def _judge_test(
        self, item: pytest.Item, nextitem: pytest.Item | None, window: Window, passing: list[object]
    ) -> set[str]:
        """Return the fingerprints of the leaks and cycles that a test shows."""
        marks: set[Mark] | None = set()
        objs = window.made()
        like = pattern(objs, item)
        is_untelling = like in self.memory.untelling
        if is_untelling:
            objs.clear()
            if window.settle():
                like = pattern(window.made(), item)
            if like in self.memory.quiet:
                self.collecting.left += self.memory.quiet[like]
                return set()
        else:
            marks = self._cycles(item.nodeid, window, objs, like)
        own = _cost(item, _STAY)
        survivors = window.survivors(item, passing)
        self.collecting.left += len(survivors)
        counts, rest = self.memory.recognise(survivors)
        suspects = self.memory.suspects(rest, item.nodeid)
        if like is not None and is_untelling and not counts and not suspects:
            self.memory.learn_quiet(like, survivors)
        is_affordable = self.budget.allows(own)
        waits = suspects and not is_affordable and not self._is_cut
        watched = addresses(rest, window.made(), suspects) if waits else None
        survivors.clear()
        del survivors, rest
        doubtful = self.memory.doubtful(counts, item.nodeid)
        known, news = self.memory.known(marks or set())
        shown = self.memory.shown(counts, item.nodeid) | known
        if (news or marks is None) and not self.cycle_budget.allows(own):
            self._leave_cycles(item.nodeid)
            marks = news = set()
        if news or marks is None or item.nodeid in self.findings.unjudged:
            watched = None
        is_new = bool(suspects or news or marks is None)
        if not is_new and not is_affordable:
            doubtful.clear()
        if (is_new or doubtful) and self._may_rerun(item.nodeid, own):
            try:
                with self.budget.spending():
                    if doubtful:
                        shown -= self._not_grown(item, window, passing, doubtful, counts)
                    if marks is None:
                        with self.cycle_budget.spending():
                            known, news = self.memory.known(self._look_again(item, window))
                        shown |= known
                    if suspects or news:
                        other = self._beside(item, nextitem)
                        with contextlib.nullcontext() if suspects else self.cycle_budget.spending():
                            shown |= self._rerun(
                                item, item.parent, own, window, passing, suspects, news, other
                            )
            finally:
                self._tear_down(item, nextitem)
        elif watched is not None:
            self.waiting.add(item.nodeid, watched)
        return shown

    def _beside(self, item: pytest.Item, nextitem: pytest.Item | None) -> pytest.Item | None:
        """Return the last test that was judged, where it can run again without ending a scope that
        is needed: in the same class or module, or in another class where that of `item` ended."""
        other, parent = self._previous, item.parent
        if other is None or other is item:
            return None
        if other.parent is parent:
            return other
        if not isinstance(parent, pytest.Class) or not isinstance(other.parent, pytest.Class):
            return None
        has_ended = nextitem is None or parent not in nextitem.listchain()
        return other if has_ended and other.parent.parent is parent.parent else None

    def _may_rerun(self, name: str, seconds: float) -> bool:
        if not self.budget.allows(seconds):
            self._leave(name, self._too_slow())
            return False
        self.findings.rerun += 1
        return True

    def _judge_scope(
        self,
        node: Node,
        first: pytest.Item,
        passing: list[object],
        current: pytest.Item,
        kinds: set[Key],
    ) -> None:
        """Rerun a test with its whole scope, which is torn down each time."""
        stay = _STAY[1:] if isinstance(node, pytest.Class) else _STAY[2:]
        own = _cost(first, stay)
        if not self._may_rerun(first.nodeid, own):
            return
        self._window = None
        window = self._open()
        try:
            with self.budget.spending():
                shown = self._rerun(first, node.parent, own, window, passing, set(), set())
        finally:
            self._end(window)
        if not shown:
            self.memory.acquit(kinds, first.nodeid)
        self.verdicts.show(first, shown - {""}, current)

    def _roots(self) -> list[object]:
        self._static = self._static or static_roots(self.config)
        return [*self._static, vars(self.findings), self.memory]

    def _tear_down(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """End the scopes that reruns have set up again."""
        try:
            item.session._setupstate.teardown_exact(nextitem)
        except Exception as error:
            self._leave(item.nodeid, f"{type(error).__name__} after the reruns")

    def _cycles(
        self, name: str, window: Window, objs: list[object], like: int | None
    ) -> set[Mark] | None:
        """Let go of the garbage among `objs`, which a test made, and of the list of them; return
        the cycles of it, or None where a rerun has to show them.

        To keep all garbage and look at it takes as long as two collections, and most tests make
        what others have made: of these the garbage is let go of. Tests that make the same kinds,
        of which all die in the collection, are taken to drop the same cycles. Of what is made for
        the first time, and often for the last, all is looked at before the collection.
        """
        tells, foreseen = self.memory.tells, self.memory.foreseen
        made = cycles.telling_kinds(objs)
        if like is not None and not made and not exactly(objs, types.FrameType):
            self.memory.untelling.add(like)
        is_searched = self.verdicts.cycles != "ignore"
        if is_searched and not tells.get(made) and self.cycle_budget.for_one() <= 0:
            self._leave_cycles(name)
            is_searched = False
        if not is_searched:
            objs.clear()
            window.settle()
            return set()
        is_first = made not in tells and made not in foreseen
        with self.cycle_budget.spending():
            marks = self._foresee_cycles(objs) if is_first else None
        objs.clear()
        if marks is not None and (not marks or self.memory.foresight >= 0):
            foreseen[made] = marks
            window.mine.append(marks)  # else the test would have left it
            gone = self._gone(marks, made, window)
            if marks:
                self.memory.foresight += 1 if gone is not None else -1
            return gone
        if tells.get(made):
            if not window.settle():
                return set()
            tells[made] = not self._left(made, window)
            return self.memory.marks(made) if tells[made] else None
        foreseeable = bool(marks)
        with self.cycle_budget.spending():
            garbage, marks = self._look_for_cycles(window)
        window.settle()
        alive = self._left(made, window)
        if foreseeable:
            self.memory.foresight += -1 if alive else 1
        has_told = made not in tells and foreseen.get(made, marks) == marks
        tells[made] = has_told and garbage == made and not alive
        return marks

    def _foresee_cycles(self, objs: list[object]) -> set[Mark] | None:
        """Return the cycles among these, of which some may live on; None where any is news, and
        where there are too many objects to look at all of them.

        What is garbage of them is in the same cycles: none of them leads through what lives.
        """
        if len(objs) > cycles.LIMIT:
            return None
        marks = set(cycles.cycles(objs))
        return marks if marks <= self.memory.cycles.keys() else None

    def _gone(self, marks: set[Mark], made: frozenset[Key], window: Window) -> set[Mark] | None:
        """Let go of the garbage; return these if they were garbage, or None if any may live."""
        if not window.settle():
            return set()
        left = self._left(made, window)
        # A cycle dies as a whole: of one with a kind of which none is left, nothing is.
        return marks if not left or all(mark & (made - left) for mark in marks) else None

    @staticmethod
    def _left(kinds: frozenset[Key], window: Window) -> frozenset[Key]:
        return kinds and kinds & cycles.telling_kinds(window.made())

    def _look_again(self, item: Any, window: Window) -> set[Mark]:
        """Return the cycles that a rerun drops."""
        window.restart()
        if not self._rerun_once(item, window):
            return set()
        _, marks = self._look_for_cycles(window)
        window.settle()
        return marks

    def _not_grown(
        self,
        item: pytest.Item,
        window: Window,
        passing: list[object],
        leaks: set[str],
        before: Counter[str],
    ) -> set[str]:
        """Return those of these known leaks that a rerun doesn't add to: what the test left is in
        the place of something, or its container keeps it once.

        Where a run has set up a fixture of a higher scope, as the rerun of the last test in a
        module does, a part of what there was is old by then, and the next one is compared with that
        after it. A test of which no run is like the one before is not blamed.
        """
        is_whole = not self._is_cut
        for _ in range(_UNTIL_ALIKE):
            self._has_restarted = False
            after = self._left_by_a_rerun(item, window, passing)
            if after is None:
                break
            if is_whole and not self._has_restarted:
                grown = {leak for leak in leaks if after[leak] > before[leak]}
                self.memory.learn(leaks, grown, item.nodeid)
                return leaks - grown
            before, is_whole = after, not self._has_restarted
        return leaks

    def _left_by_a_rerun(
        self, item: pytest.Item, window: Window, passing: list[object]
    ) -> Counter[str] | None:
        """Return how many objects of known leaks there are after one more run of a test; None where
        it didn't pass."""
        if not self._rerun_once(item, window):
            return None
        window.settle()
        survivors = window.survivors(item, passing)
        left, rest = self.memory.recognise(survivors)
        survivors.clear()
        rest.clear()
        return left

    def _rerun_once(self, item: Any, window: Window) -> bool:
        """Rerun a test, and tell whether it passed."""
        self.findings.reruns += 1
        problem = self.reruns.rerun(item, item.parent)
        if problem:
            self._leave(item.nodeid, f"a rerun {problem}")
        return not problem

    def _look_for_cycles(self, window: Window) -> tuple[frozenset[Key], set[Mark]]:
        """Return the kinds of telling objects among the garbage, and its cycles."""
        garbage = window.garbage()
        try:
            kinds = cycles.telling_kinds(garbage)
            marks = self.memory.marks(kinds)
            if marks is None:
                marks = set(cycles.cycles(garbage))
                self.memory.learn_marks(kinds, marks)
                window.mine.append(marks)
            return kinds, marks
        finally:
            garbage.clear()

    def _rerun(
        self,
        item: pytest.Item,
        stay: Any,
        own: float,
        window: Window,
        passing: list[object],
        suspects: set[Key],
        marks: set[Mark],
        other: pytest.Item | None = None,
    ) -> set[str]:
        """Rerun a test, which takes so many seconds of its `own`, and return the fingerprints of
        the leaks and cycles that it shows. An `other` test may let go of what this one leaves anew
        each time."""
        name, (whole, _) = item.nodeid, item.stash[_TOOK]
        seconds = self.budget.for_one()
        measurement = Measurement(self.reruns, window, passing, seconds, (own, whole))
        evidence = measurement.measure(item, stay, self.times, suspects, marks, self._is_news)
        if other and evidence.replaced:
            if other.parent is not stay:
                stay = stay.parent
                self._tear_down(item, stay)
            measurement.run_another(other, stay, evidence)
        self.findings.reruns += evidence.reruns
        try:
            if evidence.problem:
                self._leave(name, f"a rerun {evidence.problem}")
                return set()
            shown = self._confirm(evidence, marks)
            window.close()
            leaks = self._leaks(name, evidence)
            # what grows in bounded caches alone is acquitted too
            self.memory.acquit(suspects - evidence.grown if leaks else suspects, name)
            return shown | leaks
        finally:
            evidence.clear()

    def _confirm(self, evidence: Evidence, marks: set[Mark]) -> set[str]:
        """Note which cycles every rerun made again, and which were made once."""
        shown = set()
        for mark in marks:
            finding = evidence.described.get(mark) if mark in evidence.cycles else None
            known = self.findings.add(finding).fingerprint if finding is not None else ""
            self.memory.cycles[mark] = known
            shown.add(known)
        return shown

    def _is_news(self, evidence: Evidence) -> bool:
        """Tell whether more grows than known leaks, and what caches hold that excused before."""
        growing = evidence.suspect
        if growing <= {leak.kind for leak in self.memory.leaks}:
            return False
        if not self.memory.caches:
            return True
        kept, latest = evidence.kept, evidence.latest
        heap = Heap([*kept, *latest])
        bounds = grouping.Bounds.of(heap, heap, list(self.memory.caches))
        grown = of_kinds(kept, growing)
        own = [evidence.objects, kept, latest]
        return not grown or not grouping.only_in_bounds(heap, grown, bounds, own)

    def _leaks(self, name: str, evidence: Evidence) -> set[str]:
        """Explain what grows, and what is replaced though no cache should keep it."""
        young = set(map(id, evidence.objects))
        kept, latest = evidence.take()
        growing = evidence.growing if evidence.suspect else set()
        counts, rest = self.memory.recognise(kept)
        shown = set(counts)
        explained = dict.fromkeys(set(map(id, kept)) - set(map(id, rest)), min(counts, default=""))
        heap, whole = Heap(rest), Heap([*kept, *latest])
        replaced = grouping.replaced_but_kept(latest, evidence.replaced, evidence.let_go)
        leaking = replaced[:]
        own: list[Any] = [kept, latest, rest, replaced, heap.objects, whole.objects]
        bounds = grouping.Bounds()
        for known in (True, False) if growing or replaced else ():
            # To look for all caches and queues is to go through all objects.
            bounds = grouping.Bounds.of(heap, whole, list(self.memory.caches) if known else None)
            leaking[:] = grouping.representatives(heap, growing, evidence.grown, bounds) + replaced
            leaking += grouping.held_beside(heap, growing, bounds, [*own, leaking])
            excused = grouping.excused(whole, leaking, bounds, [*own, leaking])
            leaking[:] = [obj for obj in leaking if id(obj) not in excused]
            if excused:
                self.memory.caches.update(bounds.caches)
            if not leaking:
                break
        del leaking[grouping.EXPLAINED :]
        hanging = [grouping.Hanging.on(whole, obj) for obj in leaking]
        # from here on this frame holds nothing but what is explained
        for each in own:
            each.clear()
        own.clear()
        bounds.holders.clear()
        bounds.caches.clear()
        case = _Case(name, evidence, bounds, young, explained)
        shown |= self._explain(case, leaking, hanging, shown)
        self.memory.learn(shown, shown, name)
        return shown

    def _explain(
        self,
        case: _Case,
        leaking: list[object],
        hanging: list[grouping.Hanging],
        shown: set[str],
    ) -> set[str]:
        # Only locals hold the known holders meanwhile: those count for nothing, where the plugin's
        # attributes would be the way to what C code alone holds else.
        known, self.memory.leaks = self.memory.leaks, []
        # one holder, one leak: the key of a registry and its value go together
        found = {id(leak.holder): leak.fingerprint for leak in known if leak.is_of(shown)}
        try:
            self._explain_each(case, leaking, hanging, known, found)
        finally:
            self.memory.leaks = known
            self.memory.quiet.clear()  # what tests left without harm may be one of these
        return set(found.values()) - {""}

    def _explain_each(
        self,
        case: _Case,
        leaking: list[object],
        hanging: list[grouping.Hanging],
        known: list[Leak],
        found: dict[int, str],
    ) -> None:
        """Add to the known leaks, and to the fingerprints by what holds them: no loop in the `try`
        (`tests/harness/test_bytecode.py`)."""
        evidence = case.evidence
        holders = holders_of(leaking, case.young) if leaking else []
        places = [
            id(obj if holder is None else holder.obj)
            for obj, holder in zip(leaking, holders, strict=True)
        ]
        if not COUNTED:  # a list that C holds would seem to be held by ours alone
            holders = []
        for rest in (leaking, hanging, places, holders):
            rest.reverse()
        patience = iter(_PATIENCE)
        unseen: list[tuple[Finding, grouping.Hanging, int, Leak]] = []
        while leaking:
            obj, what, place = leaking.pop(), hanging.pop(), places.pop()
            others = set(found.values()) - {""}
            may_be_part = bool(others) and not what.foreign
            if may_be_part and holders and holders[-1] is None and _is_alone():
                # No other object holds it, nor a variable out of sight: to search the whole
                # heap for a path takes a second where there are half a million objects.
                found.setdefault(place, min(others))
            finding = watched = None
            if place not in found:
                finding, may_pass = grouping.finding_of(
                    obj, what, case.name, evidence.per_run(key(obj)), case.bounds
                )
                if may_pass and finding and not self._is_known(finding):
                    watched = weakly(obj)
            holder = holders.pop() if holders else None
            if watched is not None:
                obj = holder = None  # the holder may be the thread's, and live with ours
                began = time.perf_counter()
                obj = _patiently(watched, patience)
                self.budget.waited(time.perf_counter() - began)
                if obj is None:
                    continue
            if watched is not None or not COUNTED:
                holder = holders_of([obj, *leaking], case.young)[0]
            is_call = is_a(obj, *_CALLS)
            if finding and finding.verdict != "immortal" and is_call and not _is_alone():
                unseen.append((finding, what, place, Leak("", obj, None)))
                del obj
                continue
            if place not in found:
                found[place] = self._add(finding, may_be_part, others, evidence.haste)
                case.explained[id(obj)] = found[place]
            if found[place] or holder is not None:  # what is none is none by its holder alone
                known.append(Leak(found[place], obj, holder))
            del obj, holder
        for finding, what, place, leak in unseen:
            # A thread that waits is one leak with its first call and the functions in its calls,
            # which C holds, and which lead to what has a path.
            near = {case.explained[mark] for mark in what.ids & case.explained.keys()} - {""}
            if not near and not what.foreign:
                near = set(found.values()) - {""}
            leak.fingerprint = found[place] = min(
                near or [self._add(finding, False, set(), evidence.haste)]
            )
            known.append(leak)

    def _is_known(self, finding: Finding) -> bool:
        groups = self.findings.groups
        return finding.fingerprint in groups or finding.fingerprint in self.verdicts.baseline

    def _add(self, finding: Finding | None, may_be_part: bool, others: set[str], note: str) -> str:
        """Add a finding; return its fingerprint, or "" for what only the runner holds.

        An object of the standard library's that something in C holds, beside a leak with a path,
        is a part of that: a stream's decoder hangs on it by a type that the collector skips.
        """
        if finding is None:
            return ""
        if may_be_part and finding.verdict != "immortal":
            return min(others)
        if note:
            finding.text += f"\n\n{note}"
        return self.findings.add(finding).fingerprint


def _cost(item: pytest.Item, stay: tuple[str, ...]) -> float:
    """Return what a rerun takes, in seconds, of which these scopes stay set up."""
    took, fixtures = item.stash[_TOOK]
    return max(0.0, took - sum(fixtures.get(scope, 0.0) for scope in stay))


def _is_alone() -> bool:
    """Tell whether there is no other thread, with variables out of sight."""
    return threading.active_count() == 1


def _patiently(watched: ref[object], patience: Iterator[float]) -> object | None:
    """Give other threads what is left of their time to let go of an object, and return it if none
    does."""
    for seconds in patience:
        time.sleep(seconds)
        if watched() is not None:
            gc.collect()
        if watched() is None:
            break
    return watched()
