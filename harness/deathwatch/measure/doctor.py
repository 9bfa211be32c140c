"""Says which instruments can be trusted here, how each was checked, and what would help.

Every instrument measures a truth that is known beforehand; one that comes out wrong, or can't run,
is unavailable here, and the one command that would make it work is printed beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from . import memory, objects, perf, ptrace, requests, selftest, syscalls
from .checked import afresh
from .instructions import Callgrind
from .processes import ChildFailed, Json, run_job, serve
from .unavailable import MissingExtra, Unavailable

_STRACE = "apt-get install strace (or your system's own way to install it)"
_VALGRIND = "apt-get install valgrind (or your system's own way to install it)"
_PERF = "mount -t tracefs nodev /sys/kernel/tracing (as root)"
_PSUTIL = "pip install 'deathwatch[bench]'"

Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument: what it counts, how it is checked, and the command that would help.

    `check` returns what it counted of the known truth, by name; raises `Unavailable`.
    """

    name: str
    counts: str
    checked: str
    check: Callable[[], Counts]
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of an instrument: `because` is None where it can be trusted."""

    instrument: Instrument
    counted: Counts
    because: str | None
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Check every instrument, each as it would be used; takes some seconds."""
    for instrument in INSTRUMENTS:
        try:
            yield Finding(instrument, instrument.check(), None)
        except (Unavailable, MissingExtra, ChildFailed, OSError, ImportError) as reason:
            remedy = getattr(reason, "remedy", None) or instrument.remedy
            yield Finding(instrument, {}, str(reason), remedy)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings, and the instruments' counts of one workload side by side.

    The exit status is 1 where system calls can be counted by nothing but requests, else 0.
    """
    findings = []
    for finding in examine():
        findings.append(finding)
        print("\n".join(_lines(finding)), flush=True)
    print(f"\nThe same {selftest.MAPS} maps by two threads, side by side:")
    print("\n".join(side_by_side(findings)))
    exact = ("strace", "ptrace", "perf tracepoints")
    return 0 if any(f.because is None and f.instrument.name in exact for f in findings) else 1


def side_by_side(findings: list[Finding]) -> Iterator[str]:
    """A table of what each instrument counted of the known truth. `-`: it can't see that."""
    names = ("openat", "mmap", "close", "munmap")
    yield f"  {'':18}" + "".join(f"{name:>8}" for name in names)
    truth = dict.fromkeys(names, selftest.MAPS)
    rows = [("the truth", truth)]
    rows += [(f.instrument.name, f.counted) for f in findings if "mmap" in f.counted]
    for title, counted in rows:
        cells = (str(counted[name]) if name in counted else "-" for name in names)
        yield f"  {title:18}" + "".join(f"{cell:>8}" for cell in cells)
    yield "  The descriptor that CPython before 3.13 duplicates for a map is closed with it."
    yield "  perf knows no files: its closes and munmaps are those of the whole process."


def _lines(finding: Finding) -> Iterator[str]:
    instrument = finding.instrument
    works = "works" if finding.because is None else "DOES NOT WORK"
    yield f"{instrument.name}: {works}. Counts {instrument.counts}."
    if finding.because is None:
        yield f"  checked: {instrument.checked}"
    else:
        yield f"  {finding.because}"
        yield f"  to make it work: {finding.remedy}"


def _strace() -> Counts:
    return syscalls.Strace.find().check()


def _requests() -> Counts:
    return _in_a_process("requests")


def _perf() -> Counts:
    return _in_a_process("perf")


def _in_a_process(name: str) -> Counts:
    """What leaves something behind in its process (an audit hook), or counts all of it (perf)."""
    answer = run_job(__name__, {"job": name})
    if "unavailable" in answer:
        raise Unavailable(*answer["unavailable"])
    return dict(answer)


def _callgrind() -> Counts:
    Callgrind.find()
    return {}


def _allocations() -> Counts:
    afresh(objects.check)
    return {}


def _child_requests(job: Json) -> Json:
    return _answer(_heard)


def _heard() -> Counts:
    counts = afresh(requests.check)
    return {"openat": counts["open"], "mmap": counts["mmap"]}


def _child_perf(job: Json) -> Json:
    return _answer(partial(afresh, perf.check))


def _answer(check: Callable[[], Counts]) -> Json:
    try:
        return dict(check())
    except Unavailable as reason:
        told = [reason.instrument, reason.because, reason.instead, reason.remedy]
        return {"unavailable": told}


INSTRUMENTS = (
    Instrument("strace", "system calls on chosen files", "100 maps by two threads among anonymous"
               " ones, counted right", _strace, _STRACE),
    Instrument("ptrace", "system calls on chosen files", "the same 100 maps, counted right",
               ptrace.check, syscalls.PERMIT),
    Instrument("perf tracepoints", "system calls by name", "opens and maps of the same 100,"
               " counted right", _perf, _PERF),
    Instrument("audit hook", "requests to open and map, which are no system calls",
               "the same 100 maps, heard right", _requests, "nothing more: it is part of Python"),
    Instrument("callgrind", "instructions", "N, 2N and 3N operations: the differences agree",
               _callgrind, _VALGRIND),
    Instrument("allocations", "blocks, bytes and their peak", "100 objects of known size",
               _allocations, "run it with a CPython that has the GIL"),
    Instrument("memory", "mappings, descriptors, RSS, PSS, page tables, faults",
               "10 maps of 64 pages: as many mappings, more RSS than PSS",
               partial(afresh, memory.check), _PSUTIL),
    Instrument("live objects", "instances that the collector tracks",
               "100 objects, alive and dead", partial(afresh, objects.check_live),
               "use CPython or PyPy"),
)  # fmt: skip

if __name__ == "__main__":
    serve({"requests": _child_requests, "perf": _child_perf})
