"""A pytest plugin: what became of every test, and what it cost, as JSON in $SUITE_OUTCOMES."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

PHASES = ("setup", "call", "teardown")


class Outcomes:
    """Outcomes by test and phase, and the processor time from each test's start to the next's."""

    def __init__(self) -> None:
        self.outcomes: dict[str, list[str]] = {}
        self.starts: list[tuple[str, float]] = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.starts.append((nodeid, time.process_time()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when in PHASES:
            said = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            self.outcomes.setdefault(report.nodeid, []).append(f"{report.when} {said}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        ends = [*(start for _, start in self.starts[1:]), time.process_time()]
        seconds = {name: end - start for (name, start), end in zip(self.starts, ends, strict=False)}
        found = {"outcomes": self.outcomes, "seconds": seconds}
        Path(os.environ["SUITE_OUTCOMES"]).write_text(json.dumps(found))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Outcomes())
