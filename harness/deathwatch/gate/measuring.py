"""Takes the gate's figures, a group of them at a time, each group in processes of its own."""

from __future__ import annotations

import mmap
import os
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deathwatch.bench.run import publishable
from deathwatch.judge.figures import SCHEMA
from deathwatch.measure import (
    ChildFailed,
    MissingExtra,
    Unavailable,
    machine,
    run_job,
    trace_calls,
)
from deathwatch.measure.instructions import Callgrind, per_operation
from deathwatch.measure.processes import Json

from . import costing, counting, figures, sources
from .figures import Spec

PAIRS = 10
ROUNDS = 21
OPENS = 900

Announce = Callable[[str, int, int], None]
Measured = dict[str, Any]
"""A value by the key of its figure; instead of a number, a dict of `value` and `samples`."""

_REFCOUNTS = sys.implementation.name == "cpython"
_LINUX = sys.platform.startswith("linux")
_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@dataclass(slots=True)
class Context:
    """What a run of the gate works on: sources, and private files by the folder they are in."""

    head: sources.Sources
    base: sources.Sources | None
    no_base: str
    folder: Path
    _files: dict[str, list[str]] = field(default_factory=dict)

    def job(self, name: str, **more: Any) -> Json:
        return {"job": name, "source": str(self.head.folder), **more}

    def files(self, kind: str, count: int, size: int) -> list[str]:
        """Real paths of private files, written and forced to disk at first use."""
        if kind not in self._files:
            self._files[kind] = _write_files(self.folder / kind, count, size)
        return self._files[kind]

    def small(self) -> list[str]:
        return self.files("small", figures.FILES, 16 * mmap.PAGESIZE)

    def compared(self) -> sources.Sources:
        if self.base is None:
            raise Unavailable("a base to compare with", self.no_base)
        return self.base


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that are taken together. `lacking` says what a system without them lacks."""

    tier: int
    title: str
    specs: Callable[[Context], Iterator[Spec]]
    measure: Callable[[Context], Measured]
    lacking: str = ""


def measure(
    tiers: Collection[int], given_head: Path | None, given_base: str | None, announce: Announce
) -> Json:
    """Take every figure of `tiers` that this system offers; the result, ready for JSON.

    A figure that could not be taken has no value, and a reason. Raises `FileNotFoundError` where
    there is nothing to judge; `KeyboardInterrupt` leaves no process and no file behind.
    """
    chosen = [group for group in _groups() if group.tier in tiers]
    with _context(given_head, given_base) as context:
        found: list[Json] = []
        for done, group in enumerate(chosen):
            announce(group.title, done, len(chosen))
            found += [] if group.lacking else _take(group, context)
        announce("done", len(chosen), len(chosen))
        return {
            "schema": SCHEMA,
            "began": datetime.now(UTC).isoformat(timespec="seconds"),
            "platform": machine.short(),
            "interpreter": machine.python_short(),
            "machine": machine.describe(),
            "source": context.head.digest,
            "base": context.base.title if context.base else None,
            "tiers": sorted(tiers),
            "figures": found,
            "missing": _missing(chosen),
        }


def _missing(groups: list[Group]) -> list[str]:
    return [f"{group.title}: {group.lacking}" for group in groups if group.lacking]


def _take(group: Group, context: Context) -> Iterator[Json]:
    because = None
    measured: Measured = {}
    try:
        measured = group.measure(context)
    except (Unavailable, MissingExtra, ChildFailed, OSError) as error:
        because = publishable(str(error))[:1_000]
    for spec in group.specs(context):
        yield {**spec.to_dict(), **_value(measured.get(spec.key), because)}


def _value(found: Any, because: str | None) -> Json:
    if isinstance(found, dict):
        return {"value": None, "because": None, **found}
    if found is None:
        return {"value": None, "because": because or "the job did not answer it"}
    return {"value": found, "because": None}


@contextmanager
def _context(given_head: Path | None, given_base: str | None) -> Iterator[Context]:
    with tempfile.TemporaryDirectory(prefix="deathwatch-gate-") as name:
        folder = Path(os.path.realpath(name))
        head = sources.head(given_head, folder)
        base, no_base = None, ""
        try:
            base = sources.base(given_base, head, folder)
        except (sources.NoBase, OSError) as reason:
            no_base = str(reason)
        yield Context(head, base, no_base, folder)


def _write_files(folder: Path, count: int, size: int) -> list[str]:
    folder.mkdir()
    paths = []
    for number in range(count):
        path = folder / f"{number:03}"
        with open(path, "wb") as file:
            file.write(bytes([number + 1]) * size)
            file.flush()
            os.fsync(file.fileno())
        paths.append(str(path))
    return paths


def _groups() -> list[Group]:
    """Every group, in the order of the tiers, those that this system lacks included."""
    kernel = "" if _LINUX else f"{sys.platform} has no strace"
    proc = "" if _LINUX else f"{sys.platform} has no /proc"
    counted = "" if _REFCOUNTS else "only reference counts and CPython's allocators make it exact"
    blocks = "free-threaded builds don't count blocks exactly" if _FREE_THREADED else counted
    return [
        Group(0, "objects", lambda _: figures.objects(), _objects),
        Group(0, "requests", _request_specs, _requests, counted),
        Group(1, "system calls", _call_specs, _calls, kernel or counted),
        Group(2, "allocations", lambda _: figures.allocations(), _allocations, blocks),
        Group(3, "instructions", lambda _: figures.instructions(), _instructions,
              kernel.replace("strace", "callgrind") or counted),
        Group(4, "mappings", lambda _: figures.mappings(), _mappings, proc or counted),
        Group(5, "memory", lambda _: figures.memory(), _memory, proc or counted),
        Group(6, "sharing", lambda _: figures.sharing(), _sharing, proc or counted),
        Group(7, "time", lambda _: figures.times(), _times, counted),
        Group(8, "speed-up", lambda _: figures.speed_up(), _speed_up),
    ]  # fmt: skip


def _objects(context: Context) -> Measured:
    return run_job(counting.__name__, context.job("objects"))


def _missed(context: Context) -> int:
    (asked,) = counting.schedule(counting.RING, context.small())
    return counting.misses(asked, counting.RING.ring or 0)


def _request_specs(context: Context) -> Iterator[Spec]:
    return figures.requests(_missed(context), figures.FILES)


def _requests(context: Context) -> Measured:
    return run_job(counting.__name__, context.job("requests", files=context.small()))


def _call_specs(context: Context) -> Iterator[Spec]:
    return figures.calls(_missed(context), figures.FILES)


def _calls(context: Context) -> Measured:
    job = context.job("calls", files=context.small())
    tracer, _, spans = trace_calls(counting.__name__, job, context.small())
    by = {} if tracer == "strace" else {"instrument": tracer}
    return {name: {"value": len(span.calls), **by} for name, span in spans.items()}


def _allocations(context: Context) -> Measured:
    return run_job(costing.__name__, context.job("allocations", path=context.small()[0]))


def _instructions(context: Context) -> Measured:
    base = context.compared()
    callgrind = Callgrind.find()

    def count(folder: Path) -> dict[str, float]:
        job = {"job": "instructions", "source": str(folder), "path": context.small()[0]}
        _, counted = callgrind.count(costing.__name__, job)
        return per_operation(counted, costing.INSTRUCTIONS)

    runs = [count(base.folder), count(base.folder)]
    head = count(context.head.folder)
    return {
        name: {
            "value": value,
            "samples": {"base": [run[name] for run in runs if name in run], "head": [value]},
        }
        for name, value in head.items()
    }


def _mappings(context: Context) -> Measured:
    return run_job(counting.__name__, context.job("mappings", files=context.small()))


def _memory(context: Context) -> Measured:
    files = context.files("large", 32, 2 * 1024 * 1024)
    return run_job(counting.__name__, context.job("memory", files=files, page=mmap.PAGESIZE))


def _sharing(context: Context) -> Measured:
    files = context.files("shared", 15, 1024 * 1024)
    naive, ours = (
        run_job(
            counting.__name__,
            context.job("sharing", files=files, opens=OPENS, contender=contender),
        )
        for contender in ("naive", "ours")
    )
    if naive["errors"] or ours["errors"]:
        raise OSError(f"opens failed: {naive['errors'] or ours['errors']}")
    # page tables come by the page: less than one can't be seen
    return {
        "page_tables": naive["page_tables"] / max(ours["page_tables"], mmap.PAGESIZE),
        "faults": naive["faults"] / max(ours["faults"], 1),
    }


def _times(context: Context) -> Measured:
    base = context.compared()

    def timed(folder: Path) -> Json:
        job = {"job": "times", "source": str(folder), "path": context.small()[0]}
        return run_job(costing.__name__, {**job, "names": figures.TIMED})

    runs: list[tuple[Json, Json, Json]] = []
    for number in range(PAIRS):  # the order within a pair alternates too
        order = [base.folder, context.head.folder, base.folder][:: 1 if number % 2 else -1]
        first, head, last = (timed(folder) for folder in order)
        runs.append((first, head, last))
    return {
        f"{name}.{what}": _pairs([tuple(run[name][at] for run in triple) for triple in runs])
        for name in figures.TIMED
        for at, what in enumerate(("wall", "cpu"))
    }


def _pairs(triples: list[tuple[float, ...]]) -> Json:
    """Base, head, base: head beside the mean of its neighbours, and these beside each other."""
    ratios = [2 * head / (first + last) for first, head, last in triples]
    control = [last / first for first, _, last in triples]
    return {
        "value": statistics.median(head for _, head, _ in triples),
        "samples": {"ratios": ratios, "control": control},
    }


def _speed_up(context: Context) -> Measured:
    job = context.job("speed_up", files=context.small(), rounds=ROUNDS)
    ratios = run_job(counting.__name__, job)["ratios"]
    return {"ratio": {"value": statistics.median(ratios), "samples": {"ratios": ratios}}}
