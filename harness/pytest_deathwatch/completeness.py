"""Was this run the whole suite? What a part of it doesn't show may still be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .findings import Findings

_NARROWING = {
    "keyword": "-k",
    "markexpr": "-m",
    "lf": "--lf",
    "stepwise": "--stepwise",
    "deselect": "--deselect",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
}


class Completeness:
    """Notes what a run left out. Of workers it sees what pytest-xdist tells the controller."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._deselected = 0
        self._uncollected = 0
        self._interrupted = False
        self.lost: list[str] = []
        """Workers that ended without their findings."""

    def pytest_deselected(self, items: list[Any]) -> None:
        self._deselected += len(items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._uncollected += report.failed

    def pytest_keyboard_interrupt(self) -> None:
        """Ctrl-C, or `pytest.exit` with whatever status."""
        self._interrupted = True

    def broken(self, session: pytest.Session) -> str | None:
        """Say why the run was not one to write a baseline from; None where it was."""
        if self._config.option.collectonly:
            return "no test was run"
        if self._interrupted or session.shouldstop or session.shouldfail:
            return "the run was stopped"
        if session.exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return f"the run ended with exit status {int(session.exitstatus)}"
        if self.lost:
            return f"worker {', '.join(self.lost)} ended without its findings"
        return None

    def narrowed(self, session: pytest.Session, findings: Findings) -> str | None:
        """Say why leaks that were not shown may still be there; None after a whole run, in which
        no test was left unjudged, or not rerun for lack of time."""
        return next(self._narrowings(session, findings), None)

    def _narrowings(self, session: pytest.Session, findings: Findings) -> Iterator[str]:
        for name, option in _NARROWING.items():
            if getattr(self._config.option, name, None):
                yield f"the run was narrowed by {option}"
        if self._deselected:
            yield f"{self._deselected} tests were deselected"
        if self._uncollected:
            yield f"{self._uncollected} files could not be collected"
        if not _covers_all(self._config):
            yield "the run was narrowed to some paths"
        if session.testsfailed:
            yield "tests failed, and those are not judged"
        if findings.unjudged:
            yield f"{len(findings.unjudged)} tests could not be judged"
        if findings.outlived:
            yield f"{findings.outlived} tests were judged by what died later"


def _covers_all(config: pytest.Config) -> bool:
    """Tell whether the paths of the command line cover `testpaths`, or where there are none, all.

    Without a configuration file pytest takes the root from the arguments; then the folder that it
    was started in counts.
    """
    if config.args_source == pytest.Config.ArgsSource.TESTPATHS:
        return True
    here = config.invocation_params.dir
    root = config.rootpath if config.inipath is not None else here
    wanted = [Path(root, each).resolve() for each in config.getini("testpaths")] or [root.resolve()]
    given = [Path(here, each).resolve() for each in config.args]
    return all(any(path.is_relative_to(each) for each in given) for path in wanted)
