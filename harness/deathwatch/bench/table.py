"""The result as a person reads it: sentences first, then one table, then how to read it.

Reads the result as it is written to JSON, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deathwatch.measure.processes import Json

from .contenders import CONTENDERS, LIVES
from .figures import errors, get, grown, held, left, made, per_open, time_ratio
from .headlines import MEGABYTE, headlines, short

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SHOWN_FAILURES = 5
_SPARED = [(95, "USS\nMB"), (91, "faults"), (84, "fds")]
"""Columns of the table that are left to the JSON where the terminal has fewer than so many."""


def show(result: Json, console: Console) -> None:
    """Print the whole report."""
    for sentence in headlines(result):
        console.print(sentence, highlight=False, markup=False)
    console.print()
    console.print(_table(result, console.width))
    for line in footnotes(result):
        console.print(line, highlight=False, markup=False)


def footnotes(result: Json) -> Iterator[str]:
    """The mapping's life, how to read the table, and what is missing."""
    if result["life"]:
        yield "Calls in one mapping's life:"
        for name, calls in result["life"].items():
            yield f"  {LIVES[name][0]}: {len(calls)} ({', '.join(calls)})"
    instrument = result["instrument"] or {"name": "nothing", "counts": "calls"}
    yield (
        f"Counted by {instrument['name']}: {instrument['counts']} on these files alone, never timed"
        " under it. made: mappings made; held: live ones at the peak; fds: descriptors they hold;"
        " died: mapped files handed out that died, r by reference count, c by the collector (in"
        " a run of its own: threads overlap differently each time);"
        " left: live mappings after release and a collection."
    )
    yield (
        "Memory, page tables (PTE) and minor faults: the peak less what was before. RSS counts a"
        " page once per mapping of it and overstates what de-duplication saves, USS inverts it,"
        " PSS is right within a process, but falls where another process maps the same file."
        " time: naive = 1, median of rounds that alternate with it. The page cache decides much:"
        " compare within one run only."
    )
    yield (
        "All but MappedFileCache map as people write it, open + mmap: compare caches by what they"
        " made, and mappings by their calls."
    )
    for line in result["missing"]:
        yield f"Missing: {line}."
    yield from _failed(result["failed"])


def _failed(lines: list[str]) -> Iterator[str]:
    for line in lines[:_SHOWN_FAILURES]:
        yield f"FAILED: {line}."
    if len(lines) > _SHOWN_FAILURES:
        yield f"FAILED: {len(lines) - _SHOWN_FAILURES} more, which the JSON names."


def _table(result: Json, width: int) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("contender", no_wrap=True)
    counted = (result["instrument"] or {}).get("counts")
    first = "requests\n/open" if counted == "requests" else "calls\n/open"
    columns = [first, "made", "held", "fds", "died", "left", "RSS\nMB", "PSS\nMB", "USS\nMB"]
    columns += ["PTE\nKB", "faults", "time"]
    skipped = {column for below, column in _SPARED if width < below}
    for column in columns:
        if column not in skipped:
            table.add_column(column, justify="right", no_wrap=True)
    for overlap in result["overlaps"]:
        table.add_row(f"[bold]{overlap['title']}[/]")
        for figures in result["runs"]:
            if figures["overlap"] == overlap["name"]:
                cells = zip(columns, _cells(figures), strict=True)
                kept = [cell for column, cell in cells if column not in skipped]
                title = CONTENDERS[figures["contender"]].title
                table.add_row(f" {title}{_broke(figures)}", *kept)
    return table


def _cells(figures: Json) -> Iterator[str]:
    yield _or_dash(per_open(figures), short)
    yield _or_dash(made(figures), str)
    yield _or_dash(held(figures), str)
    yield _or_dash(grown(figures, "descriptors"), str)
    yield _died(figures)
    yield _or_dash(left(figures), str)
    for key in ("rss", "pss", "uss"):
        yield _or_dash(grown(figures, key), _megabytes)
    yield _or_dash(grown(figures, "page_tables"), lambda size: f"{size / 1024:.0f}")
    yield _or_dash(grown(figures, "minor_faults"), str)
    yield _or_dash(time_ratio(figures), lambda ratio: f"{ratio:.2f}")


def _broke(figures: Json) -> str:
    names = errors(figures)
    return f" [red]({'/'.join(names)})[/]" if names else ""


def _died(figures: Json) -> str:
    died = get(figures, "deaths", "died")
    if died is None:
        return "-"
    return " ".join(f"{number}{cause[0]}" for cause, number in died.items()) or "0"


def _megabytes(size: int) -> str:
    number = size / MEGABYTE
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"


def _or_dash(value: Any, form: Any) -> str:
    return "-" if value is None else str(form(value))
