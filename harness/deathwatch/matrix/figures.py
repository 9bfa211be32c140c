"""What does the post's program cost, beside ours? Figures of one run on one machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import BadResults, Reader, load

FORMAT, VERSION = "deathwatch-post", 1


@dataclass(frozen=True)
class Contender:
    """One program: the system calls of a mapping's life in their order, and two costs in ns."""

    name: str
    calls: tuple[str, ...]
    cache_hit_ns: float
    add_cleanup_ns: float


@dataclass(frozen=True)
class Figures:
    """Contenders that ran on one machine, one after the other."""

    machine: str
    contenders: tuple[Contender, ...]


def is_figures(path: Path) -> bool:
    """Whether a file holds figures, or else, supposedly, conformance results."""
    data = load(path)
    return isinstance(data, dict) and data.get("format") == FORMAT


def read_figures(path: Path) -> Figures:
    """Read one file. Raises `BadResults`."""
    reader = Reader(str(path))
    top = reader.object(load(path), "the file")
    if top.get("format") != FORMAT or top.get("version") != VERSION:
        raise BadResults(f"{reader.file} has no figures of version {VERSION}.")

    def contender(data: Any, place: str) -> Contender:
        entry = reader.object(data, place)
        return Contender(
            name=reader.text(entry.get("name"), f"name in {place}"),
            calls=reader.many(entry.get("calls"), f"calls in {place}", reader.text),
            cache_hit_ns=_nanoseconds(reader, entry.get("cache_hit_ns"), place),
            add_cleanup_ns=_nanoseconds(reader, entry.get("add_cleanup_ns"), place),
        )

    return Figures(
        machine=reader.text(top.get("machine"), "machine"),
        contenders=reader.many(top.get("contenders"), "contenders", contender),
    )


def _nanoseconds(reader: Reader, data: Any, place: str) -> float:
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise reader.fail(place, "with costs in ns")
    if not math.isfinite(data) or not 0 < data < 1e9:
        raise reader.fail(place, "with costs between 0 and 1e9 ns")
    return float(data)
