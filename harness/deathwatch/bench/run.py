"""The benchmark of mapped files from end to end: choose, check instruments, measure, collect."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata

from deathwatch.measure import ChildFailed, Strace, Unavailable, machine, run_job
from deathwatch.measure.processes import Json

from . import jobs
from .contenders import CAN_UNTRACK, CONTENDERS
from .files import Chosen, choose
from .overlaps import SEED, SKEW, Overlap, overlaps

SCHEMA = "deathwatch.bench.mmap/1"

DESCRIPTOR_LIMIT = 256
"""Descriptors allowed where it is tried what breaks: macOS's default; Linux's is 1,024."""

MOST_MAPS = 100_000
"""Where the search for the kernel's limit of mappings gives up: some systems allow a million."""

_FOLDERS = re.compile(r"(?<![\w/\\])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\"(),:;]+[/\\])+")

Announce = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    files: tuple[str, ...] = ()
    max_files: int = 50
    opens: int = 10_000
    threads: int = 8
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    rounds: int = 5
    strace: bool = True


@dataclass(slots=True)
class _Bench:
    options: Options
    chosen: Chosen
    strace: Strace | None
    missing: list[str]
    result: Json

    def job(self, name: str, contender: str, overlap: Overlap) -> Json:
        return {
            "job": name,
            "contender": contender,
            "overlap": overlap.name,
            "threads": overlap.threads,
            "ring": overlap.ring,
            "opens": self.options.opens,
            "rounds": self.options.rounds,
            "files": list(self.chosen.paths),
        }


Step = tuple[str, Callable[[], None]]


def measure(options: Options, announce: Announce) -> Json:
    """Run the whole benchmark; the result, ready for JSON, is free of paths and names of people.

    `announce(what, done, total)` is told each step before it is taken. Each step is a process of
    its own. Figures that could not be had are None: `missing` says what this system does not
    offer, `failed` what went wrong, in sentences.

    Raises `BadRequest` where there is nothing to map; `KeyboardInterrupt` leaves no process behind.
    """
    began = time.monotonic()
    chosen = choose(options.files, options.max_files)
    bench = _begin(options, chosen)
    steps = list(_steps(bench))
    for done, (what, step) in enumerate(steps):
        announce(what, done, len(steps))
        try:
            step()
        except (ChildFailed, OSError) as error:
            bench.result["failed"].append(f"{what}: {publishable(str(error), chosen.paths)}")
    announce("done", len(steps), len(steps))
    bench.result["seconds"] = round(time.monotonic() - began, 1)
    return bench.result


def _begin(options: Options, chosen: Chosen) -> _Bench:
    stated = overlaps(options.threads)
    missing: list[str] = []
    result: Json = {
        "schema": SCHEMA,
        "deathwatch": _version(),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "options": {**asdict(options), "files": len(options.files), "seed": SEED, "skew": SKEW},
        "files": {"described": chosen.describe(), "chosen": chosen.to_dict()},
        "instrument": None,
        "overlaps": [{**asdict(overlap), "title": overlap.title} for overlap in stated],
        "life": None,
        "runs": [],
        "limits": [],
        "exhaustion": None,
        "missing": missing,
        "failed": [],
    }
    return _Bench(options, chosen, None, missing, result)


def _steps(bench: _Bench) -> Iterator[Step]:
    yield "checking the instruments", lambda: _check(bench)
    yield "calls in one mapping's life", lambda: _life(bench)
    for overlap in overlaps(bench.options.threads):
        for contender in bench.options.contenders:
            figures: Json = {"contender": contender, "overlap": overlap.name}
            bench.result["runs"].append(figures)
            yield from _contender_steps(bench, contender, overlap, figures)
    if sys.platform == "win32":
        bench.missing.append("where contenders break: Windows has no limit of descriptors to lower")
        return
    for contender in bench.options.contenders:
        yield _limit_step(bench, contender)
    if CAN_UNTRACK:
        yield "the kernel's limit of mappings", lambda: _exhaust(bench)


def _contender_steps(
    bench: _Bench, contender: str, overlap: Overlap, figures: Json
) -> Iterator[Step]:
    where = f"{CONTENDERS[contender].title}, {overlap.title}"

    def plainly(name: str) -> Callable[[], None]:
        def step() -> None:
            figures[name] = None
            figures[name] = run_job(jobs.__name__, bench.job(name, contender, overlap))

        return step

    yield f"calls: {where}", lambda: _count(bench, contender, overlap, figures)
    for name in ("memory", "deaths", "time"):
        yield f"{name}: {where}", plainly(name)


def _check(bench: _Bench) -> None:
    """Find an instrument that can be trusted, or say why there is none."""
    try:
        if not bench.options.strace:
            raise Unavailable("strace", "it was switched off", "the audit hook's requests")
        bench.strace = Strace.find()
    except Unavailable as reason:
        bench.missing.append(publishable(str(reason), bench.chosen.paths))
        bench.result["instrument"] = {
            "name": "audit hook",
            "counts": "requests",
            "checked": "100 known maps, before each run",
        }
    else:
        bench.result["instrument"] = {
            "name": "strace",
            "version": bench.strace.version(),
            "options": bench.strace.command[1:],
            "counts": "system calls",
            "checked": "100 known maps by two threads among 7 anonymous ones",
        }


def _life(bench: _Bench) -> None:
    if bench.strace is None:
        bench.missing.append("calls in one mapping's life: only the kernel can tell them")
        return
    path = bench.chosen.paths[0]
    _, spans = bench.strace.trace(jobs.__name__, {"job": "life", "path": path}, [path])
    bench.result["life"] = {name: list(span.calls) for name, span in spans.items()}


def _count(bench: _Bench, contender: str, overlap: Overlap, figures: Json) -> None:
    figures["calls"] = figures["requests"] = None
    if bench.strace is None:
        job = bench.job("requests", contender, overlap)
        figures["requests"] = run_job(jobs.__name__, job)
        return
    job = bench.job("count", contender, overlap)
    answer, spans = bench.strace.trace(jobs.__name__, job, bench.chosen.paths)
    seen = spans["run"]
    figures["calls"] = {**answer, "counts": seen.counts, "left": seen.left}


def _limit_step(bench: _Bench, contender: str) -> Step:
    def step() -> None:
        job = bench.job("limit", contender, Overlap("held", 1, None))
        # Where a mapping holds a descriptor, a cache needs one for each file.
        job["files"] = job["files"][: DESCRIPTOR_LIMIT // 2]
        job["descriptor_limit"] = DESCRIPTOR_LIMIT
        answer = run_job(jobs.__name__, job)
        bench.result["limits"].append(
            {"contender": contender, "files": len(job["files"]), **answer}
        )

    return f"where it breaks: {CONTENDERS[contender].title}", step


def _exhaust(bench: _Bench) -> None:
    smallest = min(zip(bench.chosen.sizes, bench.chosen.paths, strict=True))[1]
    job: Json = {"job": "exhaust", "path": smallest, "most": MOST_MAPS}
    bench.result["exhaustion"] = {
        "most": MOST_MAPS,
        "max_map_count": machine.max_map_count(),
        **run_job(jobs.__name__, job),
    }


def publishable(text: str, paths: Iterable[str] = ()) -> str:
    """`text` with paths cut down to their last part: folders tell about the user."""
    for folder in (os.path.expanduser("~"), os.getcwd(), *map(os.path.dirname, paths)):
        if len(folder) > 1:
            text = re.sub(rf"(?<!\w){re.escape(folder)}(?![\w.-])[/\\]?", "", text)
    return _FOLDERS.sub("", text)


def default_name() -> str:
    """The name of a result's file: what it measured, where, on which Python."""
    return f"mmap-{machine.short()}-{machine.python_short()}.json"


def _version() -> str | None:
    try:
        return metadata.version("deathwatch")
    except metadata.PackageNotFoundError:
        return None
