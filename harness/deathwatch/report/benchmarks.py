"""What a JSON of pytest-benchmark's says: a plot per benchmark, and cost against size."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from deathwatch.judge.reading import Json, mapping, number, numbers, objects, text

from .page import Plot, Section, Table
from .plots import Line, Row, boxes, duration, lines, short

SAMPLED = 200
"""Rounds that a box is drawn of: quartiles of more look the same."""


def is_one(found: Json) -> bool:
    """Whether pytest-benchmark wrote this."""
    return "machine_info" in found and "benchmarks" in found


def section(found: Json, name: str) -> Section:
    """A plot for each benchmark with its spread, and one of each cost against size or threads."""
    info = mapping(found["machine_info"], "machine_info")
    python = info.get("deathwatch") or " ".join(
        text(info.get(key, ""), key) for key in ("python_implementation", "python_version")
    )
    made = Section(name, f"Benchmarks, {text(python, 'the interpreter')}")
    made.sentences.append(
        "Time of one operation, from the least to the most of all rounds; ours beside its rivals"
        " in alternating rounds of one process, where a ratio is given (with its quartiles). A box"
        " holds the middle half of the rounds, the line in it is the median."
    )
    families: dict[str, list[Json]] = defaultdict(list)
    for entry in _entries(found):
        if not _extra(entry).get("untimed"):
            families[_family(entry)].append(entry)
    for family, entries in families.items():
        grown = [*_growth(family, entries, "size"), *_growth(family, entries, "threads")]
        made.plots += grown or [_plot(family, entries)]
        if grown:
            made.tables.append(_spread(family, entries))
    counters = [row for entry in _entries(found) for row in _counters(entry)]
    if counters:
        head = ["benchmark", "counter", "figure"]
        made.tables.append(Table(head, counters, frozenset({2}), folded="counters"))
    return made


def _entries(found: Json) -> list[Json]:
    """Every benchmark in the file."""
    return objects(found["benchmarks"], "benchmarks")


def _family(entry: Json) -> str:
    return text(entry["name"], "a benchmark's name").partition("[")[0].removeprefix("test_")


def _extra(entry: Json) -> Json:
    return mapping(entry.get("extra_info", {}), "extra_info")


def _rows(entry: Json) -> Iterator[Row]:
    """What was measured, and its rivals beside it. The parameters tell rows of a family apart."""
    extra = _extra(entry)
    contender = extra.get("contender")
    parameters = text(entry["name"], "name").partition("[")[2].removesuffix("]")
    name = text(contender or parameters or "lastref", "contender")
    ours = contender is None or contender in OURS
    yield Row(name, _rounds(entry), duration(_median(entry)), ours)
    for rival, values in mapping(extra.get("rivals", {}), "rivals").items():
        rounds = tuple(sorted(numbers(values, "rounds of a rival")))
        shown = f"{rival} ({parameters})" if parameters and not contender else rival
        yield Row(text(shown, "rival"), rounds, duration(statistics.median(rounds)))


OURS = frozenset(
    {
        "MappedFileCache",
        "WeakCache",
        "deathwatch.why_alive",
        "add_cleanup",
        "unique.make",
        "weak.make",
        "ours",
    }
)


def _plot(family: str, entries: Sequence[Json]) -> Plot:
    rows = [row for entry in entries for row in _rows(entry)]
    said = ["time of one operation", *filter(None, map(_ratio, entries))]
    table = Table(["", "median", "least", "most"],
                  [[r.name, r.shown, duration(min(r.values)), duration(max(r.values))]
                   for r in rows], frozenset({1, 2, 3}))  # fmt: skip
    title = family.replace("_", " ")
    return Plot(title, boxes("; ".join(said), rows, duration), table)


def _spread(family: str, entries: Sequence[Json]) -> Table:
    """The rounds of a family that is drawn against its size: quartiles beside each other."""
    rows = []
    for entry in entries:
        extra = _extra(entry)
        for row in _rows(entry):
            values = row.values if len(row.values) > 1 else row.values * 2
            low, middle, high = statistics.quantiles(values, n=4)
            at = " ".join(f"{what} {extra[what]}" for what in ("size", "threads") if what in extra)
            rows.append([row.name, at, *map(duration, (min(row.values), low, middle, high))])
    head = ["contender", "at", "least", "first quartile", "median", "third quartile"]
    return Table(head, rows, frozenset({2, 3, 4, 5}), folded=f"{family.replace('_', ' ')}: spread")


def _ratio(entry: Json) -> str | None:
    extra = _extra(entry)
    if "ratio" not in extra or "quartiles" not in extra:
        return None
    low, high = numbers(extra["quartiles"], "quartiles")
    return f"{number(extra['ratio'], 'ratio'):.2f} times as fast ({low:.2f}-{high:.2f})"


def _growth(family: str, entries: Sequence[Json], what: str) -> Iterator[Plot]:
    """A plot for each kind of a benchmark that was run at several sizes, or by several threads."""
    kinds: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    ours: set[str] = set()
    for entry in entries:
        extra = _extra(entry)
        if what in extra:
            kind = text(extra.get("kind", ""), "kind")
            at = number(extra[what], what)
            first, *rivals = _rows(entry)
            name = text(extra.get("contender", "lastref"), "contender")
            if first.ours:
                ours.add(name)
            kinds[kind][name].append((at, _median(entry)))
            for rival, row in zip(mapping(extra.get("rivals", {}), "rivals"), rivals, strict=True):
                kinds[kind][text(rival, "rival")].append((at, statistics.median(row.values)))
    for kind, named in kinds.items():
        found = [Line(name, sorted(points), name in ours) for name, points in named.items()]
        if max(len(line.points) for line in found) > 1 and _positive(found):
            about = f"{family.replace('_', ' ')}{f', {kind}' if kind else ''}"
            title = f"{about}: cost against {what}"
            rows = [[ln.name, short(x), duration(y)] for ln in found for x, y in ln.points]
            drawn = lines(
                title, found, what, "time of one operation", logarithmic=True, shown=duration
            )
            yield Plot(title, drawn, Table(["contender", what, "median"], rows, frozenset({1, 2})))


def _positive(found: list[Line]) -> bool:
    return all(x > 0 and y > 0 for line in found for x, y in line.points)


def _rounds(entry: Json) -> tuple[float, ...]:
    """Nanoseconds of one operation, in each round."""
    stats = mapping(entry["stats"], "stats")
    scale = 1e9 / _operations(entry)
    if stats.get("data"):
        data = numbers(stats["data"], "data")
        every = max(1, len(data) // SAMPLED)
        return tuple(value * scale for value in sorted(data)[::every])
    keys = ("min", "q1", "median", "q3", "max")
    return tuple(number(stats[key], key) * scale for key in keys)


def _median(entry: Json) -> float:
    stats = mapping(entry["stats"], "stats")
    return number(stats["median"], "median") * 1e9 / _operations(entry)


def _operations(entry: Json) -> float:
    extra: Any = entry.get("extra_info") or {}
    operations = number(extra.get("operations", 1), "operations")
    return operations if operations >= 1 else 1.0


def _counters(entry: Json) -> Iterator[list[str]]:
    for name, value in mapping(_extra(entry).get("deathwatch", {}), "deathwatch").items():
        found = value.items() if isinstance(value, dict) else [("", value)]
        for part, figure in found:
            shown = "-" if figure is None else figure if isinstance(figure, str) else f"{figure}"
            title = f"{text(name, 'a counter')} {text(part, 'a counter')}".strip()
            yield [text(entry["name"], "name"), title, text(shown, "a figure")]
