"""Run published test suites without the plugin and with it, and write down what differs.

    python tests/suites/run.py --output results
    python tests/suites/run.py --only 'c*' --pairs 1 --output build
    python tests/suites/run.py --instructions attrs

Each suite is the source distribution of its package, in an environment of its own; both are made
once, and kept. A suite runs in alternating pairs, a pair being one run without the plugin and one
with it. The exit status is 1 where a test has another outcome with the plugin, a run did not come
to its end, or a group of leaks is false or was not looked at yet. Costs are stated, not judged: in
processor time, and for the suites asked for in instructions too, counted by valgrind's cachegrind
in one pair more. These are the same on an idle and a busy machine, and take fifteen times as long.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import threading
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from table import as_markdown

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEADLINE = 900.0
"""Seconds for one run of a suite, ten times what the slowest takes on an idle machine."""
TRIVIAL = 1000
"""Tests in the generated suite, in which none does anything."""
CACHEGRIND = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
_NOT_FOR_SUITES = ("CI", "GITHUB_ACTIONS", "PYTEST_ADDOPTS", "PYTHONPATH")


@dataclass
class Suite:
    """One suite: where it is, and how it is run."""

    name: str
    version: str
    python: Path
    folder: Path
    arguments: list[str]


@dataclass
class Run:
    """One run: its exit status, its processor time with that of its children, its tests."""

    status: int
    seconds: float
    log: Path
    outcomes: dict[str, list[str]] = field(default_factory=dict)
    each: dict[str, float] = field(default_factory=dict)


def main() -> int:
    options = _options()
    # A shell's job in the background ignores it, and so would the suites, of which some send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    known = {row["fingerprint"]: row for row in _toml("groups.toml").get("group", [])}
    table = _toml("suites.toml")
    folder = Path(options.folder).resolve()
    plugin = _copy_of_plugin(folder)
    rows = []
    for entry in table["suite"]:
        if fnmatch(entry["name"], options.only):
            suite = _prepared(entry, table["pytest"], folder)
            rows.append(_tried(suite, plugin, known, options.pairs, folder))
            if fnmatch(entry["name"], options.instructions):
                rows[-1]["instructions"] = _instructions(suite, plugin, folder)
                if not rows[-1]["instructions"]:
                    rows[-1]["wrong"].append("it did not come to its end under cachegrind")
    if not options.no_trivial:
        suite = _trivial(folder, table["pytest"])
        rows.append(_tried(suite, plugin, known, options.pairs, folder))
    result = {
        "format": "deathwatch-suites",
        "version": 1,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.machine()}",
        "pytest": table["pytest"],
        "pairs": options.pairs,
        "instructions": options.instructions,
        "suites": rows,
    }
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    (output / "suites.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (output / "suites.md").write_text(as_markdown(result))
    wrong = [f"{row['name']}: {line}" for row in rows for line in row["wrong"]]
    print("\n".join(wrong) or "every suite ends as it does without the plugin; no group is false")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--output", default="results", help="a folder")
    parser.add_argument("--folder", default=ROOT / ".nox" / "suites-kept", help="kept")
    parser.add_argument("--only", default="*", metavar="GLOB", help="suites, by name")
    parser.add_argument("--pairs", type=int, default=5, help="of runs, of each suite")
    parser.add_argument(
        "--instructions", default="", metavar="GLOB", help="suites to count them of"
    )
    parser.add_argument("--no-trivial", action="store_true", help="leave the generated suite out")
    options = parser.parse_args()
    if options.instructions and not shutil.which(CACHEGRIND[0]):
        parser.error("--instructions needs valgrind on PATH")
    return options


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text())


# Preparing


def _copy_of_plugin(folder: Path) -> Path:
    """Copy the plugin, so that no edit meanwhile changes what is measured, and compile it."""
    copy = folder / "plugin"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT / "harness", copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "outcomes.py", copy)
    compileall.compile_dir(copy, quiet=1)  # as what is installed is
    return copy


def _prepared(entry: dict[str, Any], pytest: str, folder: Path) -> Suite:
    """Download and unpack a source distribution, and make its environment, where need be."""
    name, version = entry["name"], entry["version"]
    place = folder / f"{name}-{version}"
    source = place / "source"
    if not (place / "complete").exists():
        print(f"{name} {version}: downloading and installing", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        _pip("download", "--no-deps", "--no-binary", name, "-d", str(place), f"{name}=={version}")
        (archive,) = place.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(source, filter="data")
        needs = [f"pytest=={pytest}", *entry.get("needs", [])]
        _make_environment(place / "environment", [*needs, str(archive)])
        (place / "complete").touch()
    (inner,) = source.iterdir()
    return Suite(name, version, _python(place), inner, entry.get("arguments", []))


def _trivial(folder: Path, pytest: str) -> Suite:
    """Write a suite of tests that do nothing."""
    place = folder / "trivial"
    source = place / "source"
    source.mkdir(parents=True, exist_ok=True)
    tests = [f"def test_{n:04}():\n    pass\n" for n in range(TRIVIAL)]
    (source / "test_trivial.py").write_text("\n\n".join(tests))
    if not (place / "complete").exists():
        _make_environment(place / "environment", [f"pytest=={pytest}"])
        (place / "complete").touch()
    arguments = [f"--rootdir={source}", "-c", os.devnull]
    return Suite("(trivial)", "", _python(place), source, arguments)


def _python(place: Path) -> Path:
    scripts = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return place / "environment" / scripts


def _make_environment(folder: Path, requirements: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    _pip("install", *requirements, python=str(_python(folder.parent)))


def _pip(*arguments: str, python: str = sys.executable) -> None:
    command = [python, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments[1:]], check=True)


# Running


def _tried(
    suite: Suite, plugin: Path, known: dict[str, dict[str, str]], pairs: int, folder: Path
) -> dict[str, Any]:
    """Run a suite in pairs; return its row of the table."""
    report = folder / "report.json"
    without: list[Run] = []
    with_it: list[Run] = []
    groups: dict[str, dict[str, Any]] = {}
    judged: dict[str, Any] = {}
    for _ in range(pairs):
        without.append(_run(suite, plugin, folder))
        report.unlink(missing_ok=True)
        with_it.append(_run(suite, plugin, folder, *_options_for(report)))
        judged = json.loads(report.read_text()) if report.exists() else {"groups": []}
        for group in judged["groups"]:
            groups.setdefault(group["fingerprint"], group)
    leaks = [_classed(g, known) for g in groups.values() if g["kind"] == "leak"]
    row = {
        "name": suite.name,
        "version": suite.version,
        "tests": len(without[0].outcomes),
        "reruns": judged.get("reruns", 0),
        "unjudged": len(judged.get("unjudged", {})),
        "unsearched": judged.get("unsearched", 0),
        "cycles": sum(g["kind"] == "cycle" for g in groups.values()),
        "groups": leaks,
        "seconds": [round(run.seconds, 3) for run in without],
        "seconds_with": [round(run.seconds, 3) for run in with_it],
        "milliseconds_per_test": _median_per_test(without, with_it),
        "wrong": _wrong(without, with_it, leaks, bool(judged.get("tests"))),
    }
    print(
        f"{suite.name} {suite.version}: {row['tests']} tests, {len(leaks)} groups,"
        f" {row['seconds']} s without, {row['seconds_with']} s with",
        flush=True,
    )
    return row


def _options_for(report: Path) -> list[str]:
    return ["-p", "pytest_deathwatch", "--deathwatch", f"--deathwatch-report={report}"]


def _instructions(suite: Suite, plugin: Path, folder: Path) -> list[int]:
    """Count the instructions of a suite, without the plugin and with it; none where a run fails."""
    counts = []
    for options in ([], _options_for(folder / "report.json")):
        run = _run(suite, plugin, folder, *options, under=CACHEGRIND)
        found = re.search(r"I\s+refs:\s+([\d,]+)", run.log.read_text(errors="replace"))
        if run.status not in (0, 1) or not found:
            return []
        counts.append(int(found[1].replace(",", "")))
    print(f"{suite.name}: {counts[0]:,} instructions without, {counts[1]:,} with", flush=True)
    return counts


def _run(
    suite: Suite, plugin: Path, folder: Path, *options: str, under: list[str] | None = None
) -> Run:
    """Run a suite once. Processor time, since the machine does other work as well."""
    found = folder / "outcomes.json"
    found.unlink(missing_ok=True)
    environment = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_SUITES}
    environment |= {"PYTHONPATH": str(plugin), "SUITE_OUTCOMES": str(found)}
    if under:
        environment["PYTHONHASHSEED"] = "0"
    command = [str(suite.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "outcomes"]
    log = folder / f"{suite.name.strip('()')}{'-with' if options else ''}.log"
    with log.open("w") as output:
        child = subprocess.Popen(
            [*(under or []), *command, *options, *suite.arguments],
            cwd=suite.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        timer = threading.Timer(DEADLINE, child.kill)
        timer.start()
        before = _children()
        status = child.wait()
        timer.cancel()
    seconds = _children() - before
    if not found.exists():
        return Run(status, seconds, log)
    data = json.loads(found.read_text())
    return Run(status, seconds, log, data["outcomes"], data["seconds"])


def _children() -> float:
    """Return the processor time of the children that ended, and theirs, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


# Comparing


def _classed(group: dict[str, Any], known: dict[str, dict[str, str]]) -> dict[str, Any]:
    said = known.get(group["fingerprint"], {})
    return {
        "fingerprint": group["fingerprint"],
        "class": said.get("class", "unclassified"),
        "summary": group["summary"],
        "tests": len(group["tests"]),
        "first": min(group["tests"]),
        "where": said.get("where", ""),
        "why": said.get("why", ""),
    }


def _median_per_test(without: list[Run], with_it: list[Run]) -> float:
    """Return what the plugin adds to the middle one of all tests, in milliseconds."""
    tests = without[0].each.keys()
    for run in [*without, *with_it]:
        tests &= run.each.keys()
    added = [
        statistics.median(run.each[test] for run in with_it)
        - statistics.median(run.each[test] for run in without)
        for test in tests
    ]
    return round(1000 * statistics.median(added), 3) if added else 0.0


def _wrong(
    without: list[Run], with_it: list[Run], leaks: list[dict[str, Any]], came_to_its_end: bool
) -> list[str]:
    lines = []
    if not came_to_its_end:
        lines.append("no report: it did not come to its end")
    for run in without:
        if run.status:
            lines.append(f"status {run.status} without the plugin")
    for run in with_it:
        if run.status not in (0, 1):
            lines.append(f"status {run.status} with the plugin")
        for test in sorted(without[0].outcomes.keys() | run.outcomes.keys()):
            one, other = without[0].outcomes.get(test), run.outcomes.get(test)
            if one != other:
                lines.append(f"{test}: {one} without the plugin, {other} with it")
    lines += [
        f"{leak['class']}: [{leak['fingerprint']}] {leak['summary']}"
        for leak in leaks
        if leak["class"] != "real"
    ]
    return list(dict.fromkeys(lines))


if __name__ == "__main__":
    sys.exit(main())
