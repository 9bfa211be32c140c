"""What a result of `deathwatch bench mmap` says: the headline of the report."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from deathwatch.bench.contenders import CONTENDERS
from deathwatch.bench.headlines import headlines
from deathwatch.judge.reading import Json, number, objects, text

from .page import Plot, Section, Table
from .plots import Row, bars, boxes, short

SCHEMA = "deathwatch.bench.mmap/1"


def tiles(found: Json) -> Iterator[tuple[str, str]]:
    """Headline figures: calls per open at a stated overlap, mappings, where naive breaks."""
    for overlap in objects(found["overlaps"], "overlaps"):
        ours, naive = (_per_open(_run(found, name, overlap)) for name in ("ours", "naive"))
        if ours and naive:
            title = text(overlap["title"], "an overlap's title")
            yield f"{short(naive)} → {short(ours)}", f"system calls per open: {title}"
    held = objects(found["overlaps"], "overlaps")[-1]
    made = [_mappings(_run(found, name, held)) for name in ("naive", "ours")]
    if None not in made:
        yield f"{short(made[0] or 0)} → {short(made[1] or 0)}", "live mappings, everything held"
    for limit in objects(found["limits"], "limits"):
        if limit["contender"] == "naive" and limit["errors"]:
            allowed, opened = (number(limit[key], key) for key in ("descriptor_limit", "opened"))
            error = "/".join(text(name, "an error") for name in limit["errors"])
            yield (
                f"{opened:,.0f} opens",
                f"naive fails ({error}), {allowed:,.0f} descriptors allowed",
            )


def section(found: Json, name: str, python: str) -> Section:
    """The result in sentences and plots."""
    made = Section(name, f"Mapped files, {python}", [text(s, "") for s in headlines(found)])
    for overlap in objects(found["overlaps"], "overlaps"):
        made.plots += _plots(found, overlap)
    instrument = found["instrument"] or {}
    said = {key: text(v, key) for key, v in instrument.items() if isinstance(v, str)}
    how = said.get("version") or said.get("name", "nothing")
    checked = f", which was checked on {said['checked']}" if "checked" in said else ""
    made.sentences.append(
        f"How it was taken: {said.get('counts', 'calls')} by {how}{checked}. Each figure in a"
        " process of its own, nothing timed under a trace. Memory is what the process grew by at"
        " the peak; RSS counts a shared page once per mapping. Time is beside naive in alternating"
        " rounds; it depends on the page cache."
    )
    return made


def _plots(found: Json, overlap: Json) -> Iterator[Plot]:
    title = text(overlap["title"], "an overlap's title")
    runs = [(name, _run(found, name, overlap)) for name in CONTENDERS]
    counted = [(name, value) for name, run in runs if (value := _per_open(run)) is not None]
    if counted:
        rows = [
            Row(CONTENDERS[name].title, (value,), short(value), name == "ours")
            for name, value in counted
        ]
        table = Table(["contender", "calls per open"], [[r.name, r.shown] for r in rows],
                      frozenset({1}))  # fmt: skip
        yield Plot(
            f"Calls per open: {title}", bars("system calls per open, lower is better", rows), table
        )
    timed = [(name, values) for name, run in runs if len(values := _ratios(run)) > 0]
    if timed:
        rows = [
            Row(
                CONTENDERS[name].title,
                values,
                f"{statistics.median(values):.2f}, median of {len(values)} rounds",
                name == "ours",
            )
            for name, values in timed
            if name != "naive"
        ]
        table = Table(
            ["contender", "median", "least", "most"],
            [[r.name, short(statistics.median(r.values)), short(min(r.values)),
              short(max(r.values))] for r in rows],
            frozenset({1, 2, 3}),
        )  # fmt: skip
        yield Plot(
            f"Time, naive = 1: {title}", boxes("time over naive's, lower is better", rows), table
        )


def _run(found: Json, contender: str, overlap: Json) -> Json:
    for run in objects(found["runs"], "runs"):
        if (run["contender"], run["overlap"]) == (contender, overlap["name"]):
            return run
    return {}


def _per_open(run: Json) -> float | None:
    calls: Any = run.get("calls") or {}
    opened = number(calls.get("opened", 0), "opened")
    total = sum(number(count, "a count") for count in calls.get("counts", {}).values())
    return total / opened if opened else None


def _mappings(run: Json) -> float | None:
    peak: Any = (run.get("memory") or {}).get("peak") or {}
    return None if peak.get("mappings") is None else number(peak["mappings"], "mappings")


def _ratios(run: Json) -> tuple[float, ...]:
    time: Any = run.get("time") or {}
    own, naive = time.get("seconds", []), time.get("naive_seconds", [])
    pairs = zip(own, naive, strict=False)
    return tuple(number(a, "seconds") / number(b, "seconds") for a, b in pairs)
