"""Try every scenario on one interpreter, or with Go, twice, and write what was observed as JSON.

    python tests/conformance/run.py --output results/conformance
    python tests/conformance/run.py --go --output results/conformance

Each cell is a process of its own with a deadline; the second run goes through them in another
order. The exit status is 1 where a cell changed between the runs, is empty, or differs from the
promise without an explanation: `deathwatch matrix` merges the files and shows all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from scenarios.catalogue import GO, GROUPS, LASTREF, STDLIB, Scenario, catalogue
from scenarios.sources import resolve

HERE = Path(__file__).resolve().parent
DEADLINE = 30.0
"""Seconds for a cell, twenty times what the slowest takes on an idle machine."""

Run = dict[str, str]
Cells = dict[str, list[Run]]


def main() -> int:
    options = _options()
    if options.name:
        column = _python_column()
        print(f"{column['name']} ({column['version']})")
        return 0
    scenarios = [s for s in catalogue().values() if fnmatch(s.id, options.only)]
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        if options.go:
            column, observe = _go(Path(folder))
        else:
            column, observe = _python_column(), _observe_python
        bindings = (GO,) if options.go else (STDLIB, LASTREF)
        found = _try_all(scenarios, bindings, observe, options)
    output = Path(options.output, f"{column['key']}.json")
    result = {
        "format": "deathwatch-conformance",
        "version": 1,
        "column": column,
        "scenarios": [_described(s, found[s.id]) for s in scenarios],
    }
    from deathwatch.matrix import matrix_of, problems
    from deathwatch.writing import write_text

    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, text)
    wrong = problems(matrix_of([output]))
    print(f"{column['name']} {column['version']}: {len(scenarios)} scenarios -> {output}")
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--output", default="results/conformance", help="a folder")
    parser.add_argument("--go", action="store_true", help="try Go instead of this interpreter")
    parser.add_argument("--name", action="store_true", help="say which interpreter this is")
    parser.add_argument("--only", default="*", metavar="GLOB", help="scenarios, by id")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


# Trying


def _try_all(
    scenarios: list[Scenario],
    bindings: tuple[str, ...],
    observe: Callable[[str, Scenario], Run],
    options: argparse.Namespace,
) -> dict[str, Cells]:
    tasks = [(s, b) for s in scenarios for b in bindings]
    found: dict[str, Cells] = {s.id: {b: [] for b in bindings} for s in scenarios}
    for number in range(options.runs):
        if number:
            random.Random(number).shuffle(tasks)
        with ThreadPoolExecutor(options.jobs) as pool:
            for (s, b), run in zip(
                tasks, pool.map(lambda t: _try(*t, observe), tasks), strict=True
            ):
                found[s.id][b].append(run)
    return found


def _try(scenario: Scenario, binding: str, observe: Callable[[str, Scenario], Run]) -> Run:
    reason = scenario.absent.get(binding)
    return {"reason": reason} if reason else observe(binding, scenario)


def _observe_python(binding: str, scenario: Scenario) -> Run:
    module = scenario.observe.__module__.rpartition(".")[2]
    return _observed([sys.executable, str(HERE / "cell.py"), binding, module, scenario.id])


def _observed(command: list[str]) -> Run:
    """What a cell's process says, or what happened to it instead."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            output, errors = child.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            _end(child)
            return {"outcome": f"no end within {DEADLINE:g} s"}
    if child.returncode < 0:
        return {"outcome": f"died by {signal.Signals(-child.returncode).name}"}
    lines = [line for line in output.splitlines() if line.startswith("@{")]
    if child.returncode or not lines:
        sys.stderr.write(errors[-300:])
        return {"outcome": f"ended with status {child.returncode}"}
    run: Run = json.loads(lines[-1][1:])
    if run.get("outcome", "").startswith("raised "):
        sys.stderr.write(f"{' '.join(command[-2:])}: {errors.strip()[-300:]}\n")
    return run


def _end(child: subprocess.Popen[str]) -> None:
    """End a cell's process and those that it started."""
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.communicate()


# Which interpreter, which Go


def _python_column() -> dict[str, str]:
    implementation = platform.python_implementation()
    minor = "{}.{}".format(*sys.version_info)
    threading_letter = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return {
        "key": f"{implementation.lower()}-{minor}{threading_letter}",
        "name": f"{implementation} {minor}{threading_letter}",
        "version": _version(),
        "build": " ".join(sys.version.split()),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _version() -> str:
    own = platform.python_version()
    pypy = getattr(sys, "pypy_version_info", None)
    return f"{own}, PyPy {pypy.major}.{pypy.minor}.{pypy.micro}" if pypy else own


def build_go(folder: Path) -> tuple[Path, str]:
    """Build the Go program with the toolchain on PATH, downloading nothing; and its version."""
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod"}
    environment.setdefault("GOCACHE", str(folder / "cache"))
    program = folder / "conformance"
    build = ["go", "build", "-o", str(program), "."]
    subprocess.run(build, cwd=HERE / "go", env=environment, check=True)
    return program, _go_version().split()[2].removeprefix("go")


def _go_version() -> str:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    command = ["go", "version"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def _go(folder: Path) -> tuple[dict[str, str], Callable[[str, Scenario], Run]]:
    program, version = build_go(folder)
    unknown = set(_lines([str(program), "-list"])) - set(catalogue())
    if unknown:
        raise SystemExit(f"Go has scenarios that are not in the catalogue: {unknown}")

    def observe(binding: str, scenario: Scenario) -> Run:
        if scenario.id == "M5/calls":  # counted from outside of the program
            return _observe_python(str(program), scenario)
        return _observed([str(program), scenario.id])

    column = {
        "key": "go",
        "name": f"Go {'.'.join(version.split('.')[:2])}",
        "version": version,
        "build": _go_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    return column, observe


def _lines(command: list[str]) -> Iterable[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


# Writing


def _described(scenario: Scenario, cells: Cells) -> dict[str, Any]:
    return {
        "id": scenario.id,
        "group": GROUPS[scenario.id[0]],
        "title": scenario.title,
        "promise": scenario.promise,
        "expected": scenario.expected,
        "sources": [resolve(source) for source in scenario.sources],
        "where": f"tests/conformance/{scenario.where}",
        "differences": [
            {
                "binding": d.binding,
                "columns": list(d.columns),
                "outcome": d.outcome,
                "why": d.why,
                "source": resolve(d.source),
            }
            for d in scenario.differences
        ],
        "cells": cells,
    }


if __name__ == "__main__":
    sys.exit(main())
