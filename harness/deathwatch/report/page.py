"""What a report says, apart from how it is shown: sections of sentences, tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .plots import Drawing


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head. `numbers`: indices of the columns that are set to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    verdicts: int | None = None  # the column of verdicts, which are coloured
    folded: str | None = None  # shown on request only, under this title


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing with its title, and the table of its figures for those who can't see it."""

    title: str
    drawing: Drawing
    table: Table


@dataclass(slots=True)
class Section:
    """A part of the page."""

    name: str
    title: str
    sentences: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(slots=True)
class Page:
    """The whole report.

    `tiles` are headline figures, each with what it is; `left_out` says which files are not in it.
    """

    title: str
    lead: str
    tiles: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
