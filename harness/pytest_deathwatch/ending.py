"""The end of a run: findings come together, and files are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from . import baseline, files
from .completeness import Completeness
from .reporting import Terminal, Verdicts, leaked

_SENT = "deathwatch"
_LATE = "deathwatch-late"


class Ending:
    """Merges what workers of pytest-xdist found; writes baseline and reports."""

    def __init__(
        self,
        config: pytest.Config,
        verdicts: Verdicts,
        terminal: Terminal,
        path: Path | None,
        writes: bool,
        report: Path | None,
    ) -> None:
        self.config = config
        self.verdicts = verdicts
        self.terminal = terminal
        self.path = path
        self.writes = writes
        self.report = report
        self.completeness = Completeness(config)
        config.pluginmanager.register(self.completeness, "deathwatch-completeness")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of pytest-xdist found. A worker that crashed sends nothing."""
        sent = getattr(node, "workeroutput", {}).get(_SENT)
        if sent is None:
            self.completeness.lost.append(node.gateway.id)
            self.terminal.notes.append(
                f"deathwatch: worker {node.gateway.id} ended without its findings"
            )
        else:
            self.verdicts.findings.merge(sent)
            for nodeid, location, news in node.workeroutput[_LATE]:
                report = leaked(nodeid, tuple(location), news)
                self.config.hook.pytest_runtest_logreport(report=report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[_SENT] = self.verdicts.findings.to_dict()
            output[_LATE] = self.verdicts.late
            return
        self.verdicts.classify()
        self._write_baseline(session)
        self._write_report()
        self._add_properties()

    def _write_baseline(self, session: pytest.Session) -> None:
        """Write what this run has shown; what is not shown is struck out by a whole run alone."""
        if self.path is None or not self.writes:
            return
        if broken := self.completeness.broken(session):
            self.terminal.notes.append(f"deathwatch: {self.path} was not written: {broken}")
            return
        entries = self._shown()
        unseen = self.verdicts.stale()
        narrowed = self.completeness.narrowed(session, self.verdicts.findings)
        if narrowed:
            entries.update(unseen)
        try:
            baseline.write(self.path, entries.items())
        except baseline.BaselineError as error:
            self.terminal.notes.append(f"deathwatch: {error}")
            return
        self.terminal.notes.append(
            f"deathwatch: wrote {self.path}: {len(entries)} known leaks"
            + _what_became_of(len(unseen), narrowed)
        )
        self.verdicts.baseline = entries
        self.verdicts.classify()

    def _shown(self) -> dict[str, str]:
        """Return the leaks of this run; words once written stay: positions in them change."""
        groups = self.verdicts.findings.of("new", "baseline")
        known = self.verdicts.baseline
        return {g.fingerprint: known.get(g.fingerprint, g.summary) for g in groups}

    def _write_report(self) -> None:
        if self.report is None:
            return
        try:
            files.write(self.report, self.verdicts)
        except baseline.BaselineError as error:
            self.terminal.notes.append(f"deathwatch: {error}")

    def _add_properties(self) -> None:
        """Put the findings into the JUnit file, as properties of the suite."""
        try:
            from _pytest.junitxml import xml_key
        except ImportError:
            return
        xml = self.config.stash.get(xml_key, None)
        if xml is None:
            return
        # the report that a test leaks is no case of its own; pytest gave it one without a name
        cases = xml.node_reporters_ordered
        cases[:] = [case for case in cases if getattr(case, "attrs", True)]
        xml.add_global_property("deathwatch.new", str(len(self.verdicts.findings.of("new"))))
        for group in self.verdicts.findings.ordered():
            value = f"{group.status}: {group.summary}; tests: {' '.join(sorted(group.tests))}"
            xml.add_global_property(f"deathwatch.{group.kind}.{group.fingerprint}", value)


def _what_became_of(unseen: int, narrowed: str | None) -> str:
    if narrowed is None:
        return f", {unseen} struck out" if unseen else ""
    return f"; {narrowed}: {unseen} that were not shown were kept"
