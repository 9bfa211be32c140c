"""What is said of each finding: its status, the letter of a test, the terminal's sections."""

from __future__ import annotations

import os
from typing import Any

import pytest

from . import known
from .findings import Finding, Findings, Status, printable, size_text, types_text

WHEN = "deathwatch"
"""The phase of the report that says that a test leaks. The test's own reports are as ever."""

_SHOWN_TESTS = 5
_TITLES: dict[Status, str] = {
    "new": "leaks",
    "baseline": "leaks of the baseline",
    "expected": "expected leaks",
    "known": "known leaks of others",
    "cycle": "cycles that need the collector",
}


class Verdicts:
    """The findings, and what they count for in this run."""

    def __init__(
        self,
        findings: Findings,
        baseline: dict[str, str],
        matchers: list[known.Matcher],
        cycles: str,
    ) -> None:
        self.findings = findings
        self.baseline = baseline
        self.matchers = matchers
        self.cycles = cycles
        self.late: list[tuple[str, tuple[str, int | None, str], list[str]]] = []
        """What a worker of pytest-xdist can't log: outcomes of tests other than the current one."""

    def status(self, finding: Finding) -> Status:
        """Say what a finding counts for: only new ones fail the run."""
        finding.known = known.reason(finding, self.matchers)
        if finding.known is not None:
            return "known"
        if finding.tests and all(reason is not None for reason in finding.tests.values()):
            return "expected"
        if finding.fingerprint in self.baseline:
            return "baseline"
        return "cycle" if finding.kind == "cycle" and self.cycles != "fail" else "new"

    def classify(self) -> None:
        for finding in self.findings.groups.values():
            finding.status = self.status(finding)

    def stale(self) -> dict[str, str]:
        """Return the entries of the baseline that no test has shown."""
        return {
            fingerprint: words
            for fingerprint, words in self.baseline.items()
            if fingerprint not in self.findings.groups
        }

    def show(self, item: pytest.Item, fingerprints: set[str], current: pytest.Item) -> None:
        """Note what a test shows, and log its outcome where that is new.

        A worker of pytest-xdist may log reports of its `current` test alone.
        """
        reason = _reason(item)
        news = []
        leaks = 0
        for fingerprint in sorted(fingerprints):
            finding = self.findings.groups[fingerprint]
            finding.tests[item.nodeid] = reason
            leaks += finding.kind == "leak"
            if reason is None and self.status(finding) == "new":
                news.append(finding.summary)
        if reason is not None and not leaks and item.nodeid not in self.findings.unjudged:
            self.findings.mended[item.nodeid] = reason
        if news and item is not current and hasattr(item.config, "workerinput"):
            self.late.append((item.nodeid, item.location, news))
        elif news:
            report = leaked(item.nodeid, item.location, news)
            item.ihook.pytest_runtest_logreport(report=report)


def _reason(item: pytest.Item) -> str | None:
    """Return why a test is expected to leak. A marker without a reason is a suite's own."""
    for marker in item.iter_markers("leaks"):
        if "reason" in marker.kwargs or marker.args:
            return str(marker.kwargs.get("reason", *marker.args[:1]))
    return None


def leaked(
    nodeid: str, location: tuple[str, int | None, str], news: list[str]
) -> pytest.TestReport:
    """Return the report that a test leaks."""
    return pytest.TestReport(
        nodeid=nodeid,
        location=location,
        keywords={},
        outcome="passed",
        longrepr=None,
        when=WHEN,  # type: ignore[arg-type]
        deathwatch=news,
    )


class Terminal:
    """Letters, sections and exit status; everything that is said once for all processes."""

    def __init__(self, verdicts: Verdicts) -> None:
        self.verdicts = verdicts
        self.notes: list[str] = []

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, Any] | None:
        if getattr(report, "when", None) != WHEN:
            return None
        return "leaked", "L", ("LEAKED", {"red": True})

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        findings = self.verdicts.findings
        quiet = terminalreporter.verbosity < 0
        for status, title in _TITLES.items():
            groups = findings.of(status)
            if not groups:
                continue
            in_full = status == "new" or terminalreporter.verbosity > 0
            if in_full or not quiet:
                terminalreporter.section(f"{title}: {len(groups)}", sep="=", red=status == "new")
                for group in groups:
                    _write_group(terminalreporter, group, in_full)
        self._write_short(terminalreporter)
        self._write_rest(terminalreporter)
        terminalreporter.write_line(self.summary(), **self._colour())
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for group in findings.of("new"):
                terminalreporter.write_line(annotation(group))

    def _write_short(self, terminalreporter: Any) -> None:
        reports = terminalreporter.stats.get("leaked", [])
        # the reporter's own attribute has "a" and "A" spelt out already
        asked = set(terminalreporter.config.getoption("reportchars"))
        if reports and not asked.isdisjoint("AaLl"):
            terminalreporter.section("leaked tests", sep="-")
            for report in reports:
                for summary in report.deathwatch:
                    terminalreporter.write_line(f"LEAKED {report.nodeid} - {summary}")

    def _write_rest(self, terminalreporter: Any) -> None:
        findings = self.verdicts.findings
        for test, reason in sorted(findings.mended.items()):
            terminalreporter.write_line(
                f"{test} leaks no longer: its marker leaks(reason={reason!r}) can go"
            )
        for fingerprint, words in sorted(self.verdicts.stale().items()):
            terminalreporter.write_line(
                f"stale in the baseline, not shown by any test of this run: {fingerprint}  {words}"
            )
        if findings.unjudged:
            terminalreporter.write_line(f"{len(findings.unjudged)} tests could not be judged:")
            rows = sorted(findings.unjudged.items())
            shown = rows if terminalreporter.verbosity > 0 else rows[:_SHOWN_TESTS]
            for test, why in shown:
                terminalreporter.write_line(f"  {test}: {why}")
            if len(shown) < len(rows):
                terminalreporter.write_line(f"  ... and {len(rows) - len(shown)} more (-v)")
        for note in self.notes:
            terminalreporter.write_line(note)

    def _colour(self) -> dict[str, bool]:
        return {"red": True} if self.verdicts.findings.of("new") else {"green": True}

    def summary(self) -> str:
        """Return the one line that every run ends with."""
        findings = self.verdicts.findings
        words = [
            f"{len(groups)} {name}"
            for status, name in (
                ("new", "new"),
                ("baseline", "in the baseline"),
                ("expected", "expected"),
                ("known", "known"),
            )
            if (groups := findings.of(status))  # type: ignore[arg-type]
        ]
        text = f"deathwatch: leaks: {', '.join(words) or 'none'}"
        cycles = len(findings.of("cycle"))
        if cycles or findings.unsearched:
            text += f"; cycles: {cycles or 'none'}"
        if findings.unsearched:
            text += f", {findings.unsearched} tests not searched for any"
        judged = max(0, findings.tests - len(findings.unjudged))
        text += f" ({judged} tests judged, {findings.rerun} of them by reruns"
        if findings.outlived:
            text += f", {findings.outlived} by what died later"
        return text + ")"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and self.verdicts.findings.of("new"):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _write_group(terminalreporter: Any, group: Finding, in_full: bool) -> None:
    terminalreporter.write_line("")
    terminalreporter.write_line(f"[{group.fingerprint}] {group.summary}", bold=True)
    what = "each run drops" if group.kind == "cycle" else "each run adds"
    terminalreporter.write_line(
        f"  {what} {group.objects} objects, {size_text(group.size)}: {types_text(group.types)}"
    )
    for reason in sorted({r for r in (*group.tests.values(), group.known) if r}):
        terminalreporter.write_line(f"  reason: {printable(reason)}")
    if in_full:
        for line in group.text.splitlines():
            terminalreporter.write_line(f"  {line}")
    _write_tests(terminalreporter, group)


def _write_tests(terminalreporter: Any, group: Finding) -> None:
    tests = sorted(group.tests)
    shown = tests if terminalreporter.verbosity > 1 else tests[:_SHOWN_TESTS]
    terminalreporter.write_line(f"  shown by {len(tests)} test{'s' * (len(tests) != 1)}:")
    for test in shown:
        terminalreporter.write_line(f"    {test}")
    if len(shown) < len(tests):
        terminalreporter.write_line(f"    ... and {len(tests) - len(shown)} more")


def annotation(group: Finding) -> str:
    """Return a leak as an annotation of GitHub's workflow commands."""
    test = min(group.tests, default="")
    file = test.partition("::")[0]
    text = f"{group.summary} (shown by {len(group.tests)} tests, first {test})\n{group.text}"
    return f"::error file={_escaped(file, True)},title=deathwatch: leak::{_escaped(text)}"


def _escaped(text: str, is_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text
