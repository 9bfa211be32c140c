"""The matrix as data and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from .figures import Figures
from .merging import Cell, Matrix, Status, problems
from .results import Source
from .telling import Told, tell

MARKS = {
    Status.KEPT: "●",
    Status.DIFFERS: "◐",
    Status.UNEXPLAINED: "✕",
    Status.CHANGED: "⇄",
    Status.ABSENT: "\u2013",
    Status.MISSING: "?",
}
MEANINGS = {
    Status.KEPT: "as promised",
    Status.DIFFERS: "differs, explained",
    Status.UNEXPLAINED: "differs, unexplained",
    Status.CHANGED: "changed between two runs",
    Status.ABSENT: "can't be tried there, for a reason",
    Status.MISSING: "no result, or only one",
}


def to_json(matrix: Matrix, figures: Figures | None) -> str:
    """The matrix as one JSON document, cells with their status and outcome."""
    document = {
        "format": "deathwatch-conformance-matrix",
        "version": 1,
        "columns": [
            {**asdict(column), "bindings": list(bindings)} for column, bindings in matrix.columns
        ],
        "scenarios": [
            {
                **{k: v for k, v in asdict(scenario).items() if k != "differences"},
                "cells": [_cell(cell) for cell in matrix.row(scenario)],
            }
            for scenario in matrix.scenarios
        ],
        "figures": asdict(figures) if figures else None,
        "problems": problems(matrix),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cell(cell: Cell) -> dict[str, Any]:
    data: dict[str, Any] = {
        "column": cell.column.key,
        "version": cell.column.version,
        "binding": cell.binding,
        "status": cell.status.value,
        "runs": [{run.kind: run.text} for run in cell.runs],
    }
    if cell.difference:
        data["why"] = cell.difference.why
        data["source"] = asdict(cell.difference.source)
    return data


def to_markdown(matrix: Matrix, figures: Figures | None) -> str:
    """The matrix as Markdown: a table per group, and under it what differs and why."""
    return "\n".join(_markdown(matrix, figures)) + "\n"


def _markdown(matrix: Matrix, figures: Figures | None) -> Iterator[str]:
    yield "# How objects die: the conformance matrix\n"
    yield (
        f"{len(matrix.scenarios)} promises about cleanups, weak pointers, unique handles, caches"
        " and object death, each tried twice per column. In a Python column the first mark is the"
        " standard library's nearest thing, the second `lastref`.\n"
    )
    yield "; ".join(f"{MARKS[status]} {MEANINGS[status]}" for status in Status) + ".\n"
    yield "| column | version | build | platform |\n|---|---|---|---|"
    for column, _ in matrix.columns:
        texts = (column.name, column.version, column.build, column.platform)
        yield f"| {' | '.join(map(escape, texts))} |"
    yield ""
    wrong = problems(matrix)
    if wrong:
        yield "## Problems\n"
        yield from (f"- {escape(line)}" for line in wrong)
        yield ""
    if figures:
        yield from _figures(figures)
    for group in dict.fromkeys(scenario.group for scenario in matrix.scenarios):
        yield from _group(matrix, group)


def _group(matrix: Matrix, group: str) -> Iterator[str]:
    scenarios = [scenario for scenario in matrix.scenarios if scenario.group == group]
    yield f"## {escape(group)}\n"
    yield f"| id | promise | {' | '.join(escape(c.name) for c, _ in matrix.columns)} |"
    yield "|---|---|" + "---|" * len(matrix.columns)
    for scenario in scenarios:
        marks = [
            " ".join(MARKS[matrix.cell(scenario, column, b).status] for b in bindings)
            for column, bindings in matrix.columns
        ]
        yield f"| {scenario.id} | {escape(scenario.promise)} | {' | '.join(marks)} |"
    yield ""
    for scenario in scenarios:
        for told in tell(matrix, scenario):
            if told.status is not Status.KEPT:
                yield f"- **{scenario.id}** {_told(told)}"
    yield ""


def _told(told: Told) -> str:
    seen = " / ".join(f"`{text.replace('`', '')}`" for text in told.texts)
    what = escape(told.texts[0]) if told.status is Status.ABSENT else seen or "no result"
    why = f": {escape(told.why)} {_source(told.source)}" if told.source else ""
    return f"{told.who}: {what}{why}"


def _source(source: Source) -> str:
    return f"([{escape(source.text)}]({source.url}))" if source.url else f"({escape(source.text)})"


def _figures(figures: Figures) -> Iterator[str]:
    yield f"## The post's program, beside ours, in one run\n\n{escape(figures.machine)}.\n"
    yield "| program | system calls of a mapping's life | | cache hit, ns | registration, ns |"
    yield "|---|---|---|---|---|"
    for c in figures.contenders:
        calls = ", ".join(c.calls)
        yield (
            f"| {escape(c.name)} | {len(c.calls)} | {escape(calls)} | {c.cache_hit_ns:.1f} |"
            f" {c.add_cleanup_ns:.0f} |"
        )
    yield ""


def escape(text: str) -> str:
    """Text without a meaning in Markdown or HTML."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, "\\" + sign if sign not in "<>" else f"&#{ord(sign)};")
    return text
