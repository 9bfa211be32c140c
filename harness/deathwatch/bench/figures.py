"""Reading single figures out of a result, None where it has none."""

from __future__ import annotations

import statistics
from typing import Any

from deathwatch.measure.processes import Json


def get(figures: Json | None, *keys: str) -> Any:
    """What lies at the end of `keys`, None where one of them is missing."""
    found: Any = figures
    for key in keys:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def find(result: Json, contender: str, overlap: str) -> Json | None:
    """The figures of a contender at an overlap."""
    for figures in result["runs"]:
        if figures["contender"] == contender and figures["overlap"] == overlap:
            return dict(figures)
    return None


def title_of(result: Json, overlap: str) -> str:
    """An overlap as a person would say it."""
    return {str(o["name"]): str(o["title"]) for o in result["overlaps"]}[overlap]


def per_open(figures: Json | None) -> float | None:
    """System calls per open, or requests where only those were heard."""
    for kind, counts in (("calls", "counts"), ("requests", "requests")):
        opened = get(figures, kind, "opened")
        if opened:
            total: int = sum(get(figures, kind, counts).values())
            return total / int(opened)
    return None


def made(figures: Json | None) -> int | None:
    """Mappings made."""
    for kind, counts in (("calls", "counts"), ("requests", "requests")):
        found = get(figures, kind, counts)
        if found is not None:
            return int(found.get("mmap", 0))
    return None


def held(figures: Json) -> int | None:
    """Live mappings at the peak by the kernel's account, else mapped files alive by ours."""
    mappings: int | None = get(figures, "memory", "peak", "mappings")
    alive: int | None = get(figures, "deaths", "alive_at_peak")
    return alive if mappings is None else mappings


def left(figures: Json) -> int | None:
    """What is live after release and a collection, by the same account as `held`."""
    mappings: int | None = get(figures, "memory", "after", "mappings")
    alive: int | None = get(figures, "deaths", "left")
    return alive if mappings is None else mappings


def grown(figures: Json | None, key: str) -> int | None:
    """A figure of memory at the peak, less what it was before."""
    peak: int | None = get(figures, "memory", "peak", key)
    before: int | None = get(figures, "memory", "before", key)
    return None if peak is None or before is None else peak - before


def time_ratio(figures: Json) -> float | None:
    """Seconds as a ratio to naive's: the median of the rounds' ratios."""
    own: list[float] = get(figures, "time", "seconds") or []
    naive: list[float] = get(figures, "time", "naive_seconds") or []
    ratios = [mine / other for mine, other in zip(own, naive, strict=True)]
    return statistics.median(ratios) if ratios else None


def errors(figures: Json) -> list[str]:
    """Names of the errors at which threads stopped."""
    return list(get(figures, "memory", "errors") or get(figures, "calls", "errors") or ())
