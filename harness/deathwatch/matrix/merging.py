"""What do all of them do? Merges results into one matrix, and judges every cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from .results import BadResults, Column, Difference, Results, Run, Scenario, read


class Status(Enum):
    """What a cell says about the promise."""

    KEPT = "kept"
    DIFFERS = "differs"
    UNEXPLAINED = "unexplained"
    CHANGED = "changed"
    ABSENT = "absent"
    MISSING = "missing"


FEWEST_RUNS = 2
"""One run tells nothing of what changes between two."""

FAILURES = frozenset({Status.UNEXPLAINED, Status.CHANGED, Status.MISSING})


@dataclass(frozen=True)
class Cell:
    """One scenario, in one column, with one binding, over all its runs."""

    scenario: Scenario
    column: Column
    binding: str
    runs: tuple[Run, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """What was seen, each once, in the order of the runs."""
        return tuple(dict.fromkeys(run.text for run in self.runs))

    @property
    def difference(self) -> Difference | None:
        """The explanation of the outcome, if there is one and it needs one."""
        if len(self.texts) != 1 or self.texts[0] == self.scenario.expected:
            return None
        for difference in self.scenario.differences:
            if difference.explains(self.column.key, self.binding, self.texts[0]):
                return difference
        return None

    @property
    def status(self) -> Status:
        if not self.runs:
            return Status.MISSING
        if len(set(self.runs)) > 1:
            return Status.CHANGED
        if len(self.runs) < FEWEST_RUNS:
            return Status.MISSING
        if self.runs[0].kind == "reason":
            return Status.ABSENT
        if self.texts[0] == self.scenario.expected:
            return Status.KEPT
        return Status.DIFFERS if self.difference else Status.UNEXPLAINED


@dataclass(frozen=True)
class Matrix:
    """Scenarios by columns, each column with its bindings. Every cell is there, if only MISSING."""

    columns: tuple[tuple[Column, tuple[str, ...]], ...]
    scenarios: tuple[Scenario, ...]
    found: dict[tuple[str, Column, str], tuple[Run, ...]]

    def cell(self, scenario: Scenario, column: Column, binding: str) -> Cell:
        runs = self.found.get((scenario.id, column, binding), ())
        return Cell(scenario, column, binding, runs)

    def row(self, scenario: Scenario) -> Iterator[Cell]:
        for column, bindings in self.columns:
            for binding in bindings:
                yield self.cell(scenario, column, binding)

    def cells(self) -> Iterator[Cell]:
        for scenario in self.scenarios:
            yield from self.row(scenario)

    def unused(self) -> list[tuple[Scenario, Difference]]:
        """Explanations that no cell needs. Of use where every column is there."""
        used = {id(cell.difference) for cell in self.cells()}
        return [(s, d) for s in self.scenarios for d in s.differences if id(d) not in used]


def matrix_of(paths: Iterable[Path]) -> Matrix:
    """Read and merge result files. Raises `BadResults`."""
    return merge([read(path) for path in paths])


def merge(results: list[Results]) -> Matrix:
    """Merge what was read from any number of files, from one machine or several.

    Files of the same interpreter, build and platform are further runs of one column: where they
    differ, the cell has changed. Other builds and platforms are columns of their own.
    """
    scenarios: dict[str, tuple[Scenario, str]] = {}
    bindings: dict[Column, dict[str, None]] = {}
    found: dict[tuple[str, Column, str], tuple[Run, ...]] = {}
    called = _told_apart({result.column for result in results})
    for result in results:
        column = called[result.column]
        for scenario in result.scenarios:
            known, file = scenarios.setdefault(scenario.id, (scenario, result.file))
            if known != scenario:
                raise BadResults(
                    f"{file} and {result.file} describe scenario {scenario.id} differently:"
                    " run both with the same version."
                )
            for binding, runs in result.cells[scenario.id].items():
                bindings.setdefault(column, {})[binding] = None
                key = (scenario.id, column, binding)
                found[key] = found.get(key, ()) + runs
    columns = tuple((column, tuple(bindings[column])) for column in sorted(bindings, key=_order))
    return Matrix(columns, tuple(scenario for scenario, _ in scenarios.values()), found)


def _told_apart(columns: set[Column]) -> dict[Column, Column]:
    """Each column, with version and platform in its name where another one has the same.

    Where that is not enough, with its build too.
    """
    longer = {c: f"{c.name} ({c.version}, {c.platform})" for c in columns}
    longest = {c: f"{c.name} ({c.version}, {c.platform}, {c.build})" for c in columns}
    names = Counter(c.name for c in columns)
    longer_names = Counter(longer.values())
    return {
        c: c
        if names[c.name] == 1
        else replace(c, name=longer[c] if longer_names[longer[c]] == 1 else longest[c])
        for c in columns
    }


def _order(column: Column) -> tuple[object, ...]:
    """CPython, free-threaded CPython, PyPy, Go, others; each by version."""
    family, _, minor = column.key.partition("-")
    free_threaded = minor.endswith("t")
    ranks = {"cpython": 1 if free_threaded else 0, "pypy": 2, "go": 3}
    numbers = [int(part) for part in minor.rstrip("t").split(".") if part.isdecimal()]
    return ranks.get(family, 4), family, numbers, column.version, column.platform, column.build


def problems(matrix: Matrix) -> list[str]:
    """What makes the matrix a failure, a line each."""
    return [_problem(cell) for cell in matrix.cells() if cell.status in FAILURES]


def _problem(cell: Cell) -> str:
    where = f"{cell.scenario.id}, {cell.column.name}, {cell.binding}"
    seen = " / ".join(repr(text) for text in cell.texts)
    if cell.status is Status.MISSING:
        few = f"{len(cell.runs)} run, where {FEWEST_RUNS} must agree"
        return f"{where}: {few if cell.runs else 'no result and no reason'}"
    if cell.status is Status.CHANGED:
        return f"{where}: changed between runs: {seen}"
    return f"{where}: {seen} instead of {cell.scenario.expected!r}, and nobody explained it"
