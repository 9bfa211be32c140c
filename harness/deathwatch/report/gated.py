"""What a result of `deathwatch gate` says: the verdicts, and how each figure was taken."""

from __future__ import annotations

from collections import defaultdict

from deathwatch.judge.figures import SCHEMA, Result, parse_result
from deathwatch.judge.reading import Json, objects, text

from .page import Plot, Section, Table
from .plots import Line, lines, short

_WORST_FIRST = ["regressed", "missing", "inconclusive", "improved", "pass"]
_SHOWN_LINES = 24

__all__ = ["SCHEMA", "history", "section"]


def section(found: Json, name: str) -> Section:
    """The verdicts, the worst first; those that pass are folded."""
    result = parse_result(found)
    verdicts = {
        text(entry["name"], "name"): text(entry["verdict"], "verdict")
        for entry in objects(found.get("verdicts", []), "verdicts")
    }
    rows = [
        [
            verdicts.get(f.name, "missing"),
            str(f.tier),
            f.title,
            "-" if f.value is None else f"{short(f.value)} {f.unit}",
            f.instrument,
            f.how if f.because is None else f.because,
        ]
        for f in result.figures
    ]
    rows += [
        [verdict, "", name, "-", "", "in the baseline, and measured no more"]
        for name, verdict in verdicts.items()
        if name not in {f.name for f in result.figures}
    ]
    rows.sort(key=lambda row: _WORST_FIRST.index(row[0]) if row[0] in _WORST_FIRST else -1)
    bad = [row for row in rows if row[0] != "pass"]
    head = ["verdict", "tier", "figure", "now", "by", "how it was taken"]
    passed = f"{len(rows) - len(bad)} of {len(rows)} figures pass"
    made = Section(name, f"Gate, {result.interpreter} on {result.platform}", [f"{passed}."])
    made.sentences += result.missing
    if bad:
        made.tables.append(Table(head, bad, frozenset({3}), verdicts=0))
    made.tables.append(Table(head, rows, frozenset({3}), verdicts=0, folded="all figures"))
    return made


def history(results: list[Result]) -> Section | None:
    """How figures moved over the committed results; None with fewer than two of one kind."""
    moved: dict[tuple[str, str], dict[str, list[tuple[float, float, str]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    began = sorted({result.began for result in results})
    if len(began) < 2:
        return None
    counted: dict[str, int] = defaultdict(int)
    for result in sorted(results, key=lambda one: one.began):
        where = f"{result.interpreter}, {result.platform}"
        counted[where] += 1
        for figure in result.figures:
            if figure.value is not None:
                line = moved[figure.title, figure.unit][where]
                line.append((counted[where], figure.value, result.began[:10]))
    made = Section("history", "History", [
        f"{len(began)} results of the gate, from {began[0][:10]} to {began[-1][:10]}."
        " Drawn are figures that moved, each interpreter's results in their order."
    ])  # fmt: skip
    for (title, unit), named in moved.items():
        changed = {
            name: points for name, points in named.items() if len({y for _, y, _ in points}) > 1
        }
        if changed:
            found = [Line(name, [(x, y) for x, y, _ in points]) for name, points in changed.items()]
            rows = [
                [name, f"{x:g}", day, short(y)]
                for name, points in changed.items()
                for x, y, day in points
            ]
            drawn = lines(title, found, "result, in the order of time", unit, logarithmic=False)
            table = Table(["where", "result", "day", unit], rows, frozenset({1, 3}))
            made.plots.append(Plot(title, drawn, table))
    made.plots[_SHOWN_LINES:] = []
    if not made.plots:
        made.sentences.append("No figure has moved between them.")
    return made
