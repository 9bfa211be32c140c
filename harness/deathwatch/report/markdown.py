"""The same page as Markdown, for a pull request: plots are the tables of their figures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deathwatch.pages import clean

from .page import Page, Section, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@$&-])")


def render(page: Page) -> str:
    """The page as Markdown."""
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Page) -> Iterator[str]:
    yield f"# {escape(page.title)}"
    yield ""
    yield escape(page.lead)
    yield ""
    for value, what in page.tiles:
        yield f"- **{escape(value)}** {escape(what)}"
    for section in page.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield ""
    yield f"## {escape(section.title)}"
    for sentence in section.sentences:
        yield ""
        yield escape(sentence)
    for plot in section.plots:
        yield from _folded(plot.title, plot.table)
    for table in section.tables:
        if table.folded is None:
            yield ""
            yield from _rows(table)
        else:
            yield from _folded(table.folded, table)


def _folded(title: str, table: Table) -> Iterator[str]:
    yield ""
    yield f"<details><summary>{escape(title)}</summary>"
    yield ""
    yield from _rows(table)
    yield ""
    yield "</details>"


def _rows(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(escape, table.head))} |"
    marks = ["---:" if at in table.numbers else "---" for at in range(len(table.head))]
    yield f"| {' | '.join(marks)} |"
    for row in table.rows:
        yield f"| {' | '.join(map(escape, row))} |"


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line, and links and mentions nobody."""
    return _SPECIAL.sub(r"\\\1", " ".join(clean(text).split()))
