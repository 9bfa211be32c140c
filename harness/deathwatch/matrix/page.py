"""The matrix as one HTML page: no network, light and dark, filtered by a small script.

Everything that comes from a result file is escaped by the template. The script filters and opens;
without it the whole matrix is there to read. A content security policy allows this script and
nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from deathwatch.measure.unavailable import require
from deathwatch.pages import render

from .document import MARKS, MEANINGS
from .figures import Figures
from .merging import Cell, Matrix, Status, problems
from .results import Column, Scenario
from .telling import Told, tags, tell

SHOWN = (
    ("", "all promises"),
    ("mended", "mended by lastref"),
    ("ours", "lastref differs"),
    ("go", "Go differs"),
    ("apart", "interpreters differ"),
    ("wrong", "problems"),
)


def to_html(matrix: Matrix, figures: Figures | None) -> str:
    """The whole page. Raises `MissingExtra` where jinja2 is not installed."""
    script = _asset("page.js")
    rows = [_row(matrix, scenario) for scenario in matrix.scenarios]
    seen = {cell.status for cell in matrix.cells()}
    return render(
        "deathwatch.matrix",
        "page.html.jinja",
        style=_own(_asset("page.css")),
        script=_own(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        columns=[column for column, _ in matrix.columns],
        groups=list(dict.fromkeys(scenario.group for scenario in matrix.scenarios)),
        rows=rows,
        mended=sum("mended" in row["tags"] for row in rows),
        differs=sum("ours" in row["tags"] for row in rows),
        legend=[
            {**_sign(status), "meaning": MEANINGS[status]}
            for status in Status
            if status in seen or status in (Status.KEPT, Status.DIFFERS, Status.ABSENT)
        ],
        shown=_shown(rows),
        problems=problems(matrix),
        figures=figures,
    )


def _asset(name: str) -> str:
    return resources.files("deathwatch.matrix").joinpath(name).read_text("utf-8")


def _own(text: str) -> Any:
    """A file of this package, which is not to be escaped."""
    return require("markupsafe").Markup(text)


def _shown(rows: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """What can be chosen to see, with how many promises are left then."""
    counted = [
        (tag, name, sum(not tag or tag in row["tags"] for row in rows)) for tag, name in SHOWN
    ]
    return [entry for entry in counted if entry[2]]


def _row(matrix: Matrix, scenario: Scenario) -> dict[str, Any]:
    numbers = {column: index for index, (column, _) in enumerate(matrix.columns)}
    return {
        "scenario": scenario,
        "anchor": anchor(scenario.id),
        "line": _line(scenario.where),
        "tags": tags(matrix, scenario),
        "pairs": [
            {
                "name": _short(column),
                "marks": [
                    _mark(matrix.cell(scenario, column, binding), numbers[column])
                    for binding in bindings
                ],
            }
            for column, bindings in matrix.columns
        ],
        "told": [_told(told, numbers) for told in tell(matrix, scenario)],
    }


def _told(told: Told, numbers: dict[Column, int]) -> dict[str, Any]:
    return {
        **_sign(told.status),
        "absent": told.status is Status.ABSENT,
        "texts": told.texts,
        "why": told.why,
        "source": told.source,
        "cells": [
            {"anchor": _cell_anchor(cell, numbers[cell.column]), "where": _where(cell)}
            for cell in told.cells
        ],
    }


def _where(cell: Cell) -> str:
    return cell.column.name if cell.binding == "go" else f"{cell.column.name}, {cell.binding}"


def _sign(status: Status) -> dict[str, str]:
    return {"kind": status.value, "sign": MARKS[status]}


def _mark(cell: Cell, index: int) -> dict[str, str]:
    seen = " / ".join(cell.texts) or "no result"
    label = f"{cell.column.name}, {cell.binding}: {MEANINGS[cell.status]}: {seen}"
    return {**_sign(cell.status), "anchor": _cell_anchor(cell, index), "label": label}


def _short(column: Column) -> str:
    family, _, minor = column.name.partition(" ")
    return minor if family == "CPython" else family


def anchor(text: str) -> str:
    """A scenario's or binding's name as it stands in a link."""
    return "".join(c if c.isalnum() else "-" for c in text)


def _cell_anchor(cell: Cell, index: int) -> str:
    return f"{anchor(cell.scenario.id)}_{index}_{anchor(cell.binding)}"


def _line(where: str) -> str:
    file, _, line = where.partition(":")
    return f"{file}#L{line}" if line else file
