"""Who saw what? The cells of a scenario, put together by what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from .merging import Cell, Matrix, Status
from .results import Scenario, Source


@dataclass(frozen=True)
class Told:
    """Cells with one status, one outcome or reason, and one explanation."""

    status: Status
    texts: tuple[str, ...]
    why: str
    source: Source | None
    cells: tuple[Cell, ...]

    @property
    def who(self) -> str:
        """The columns by binding: "standard library on CPython 3.11, 3.12; Go 1.27"."""
        by_binding: dict[str, list[str]] = {}
        for cell in self.cells:
            by_binding.setdefault(cell.binding, []).append(cell.column.name)
        return "; ".join(_on(binding, names) for binding, names in by_binding.items())


def _on(binding: str, names: list[str]) -> str:
    if names[0].lower().startswith(binding):  # Go has but one binding, itself
        return ", ".join(names)
    shortened = [names[0]]
    for before, name in pairwise(names):
        family = before.partition(" ")[0]
        shortened.append(name.removeprefix(f"{family} "))
    return f"{binding} on {', '.join(shortened)}"


def tell(matrix: Matrix, scenario: Scenario) -> list[Told]:
    """What was seen of a scenario, the promised outcome first, failures before what is absent."""
    together: dict[tuple[Status, tuple[str, ...], str], list[Cell]] = {}
    for cell in matrix.row(scenario):
        why = cell.difference.why if cell.difference else ""
        together.setdefault((cell.status, cell.texts, why), []).append(cell)
    told = [
        Told(status, texts, why, _source(cells[0]), tuple(cells))
        for (status, texts, why), cells in together.items()
    ]
    order = list(Status)
    return sorted(told, key=lambda t: order.index(t.status))


def _source(cell: Cell) -> Source | None:
    return cell.difference.source if cell.difference else None


def tags(matrix: Matrix, scenario: Scenario) -> set[str]:
    """What is remarkable in a scenario, for filtering.

    "mended": lastref keeps the promise where the standard library doesn't; "ours": lastref
    differs; "go": Go differs; "apart": one binding differs between interpreters; "wrong": a
    failure.
    """
    found = set()
    outcomes: dict[str, set[str]] = {}
    for column, bindings in matrix.columns:
        status = {b: matrix.cell(scenario, column, b).status for b in bindings}
        if status.get("lastref") is Status.KEPT and status.get("standard library") in (
            Status.DIFFERS,
            Status.UNEXPLAINED,
        ):
            found.add("mended")
        for binding in bindings:
            cell = matrix.cell(scenario, column, binding)
            if cell.status in (Status.UNEXPLAINED, Status.CHANGED, Status.MISSING):
                found.add("wrong")
            if cell.status is Status.DIFFERS:
                found |= {"ours"} if binding == "lastref" else set()
                found |= {"go"} if binding == "go" else set()
            if cell.status in (Status.KEPT, Status.DIFFERS):
                outcomes.setdefault(binding, set()).update(cell.texts)
    if any(len(texts) > 1 for texts in outcomes.values()):
        found.add("apart")
    return found
