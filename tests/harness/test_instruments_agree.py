"""Every instrument beside the others on one workload, and each made to fail its self-test."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from deathwatch.measure import Strace, Unavailable, perf, ptrace, selftest
from deathwatch.measure.doctor import Finding, examine, side_by_side
from deathwatch.measure.instructions import Callgrind, per_operation
from deathwatch.measure.objects import allocation, live

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux's kernel is asked here"
)
cpython_only = pytest.mark.skipif(
    sys.implementation.name != "cpython" or bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="only CPython with the GIL counts its blocks exactly",
)


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    """Every instrument, examined once."""
    return list(examine())


def test_every_instrument_says_works_or_why_not(findings: list[Finding]) -> None:
    """None is left out, and what does not work names a reason."""
    assert len(findings) == 8
    for finding in findings:
        assert finding.because is None or len(finding.because) > 10, finding.instrument.name
        assert finding.remedy or finding.because is None


def test_instruments_that_work_agree_on_the_same_maps(findings: list[Finding]) -> None:
    """Each that can see them counted 100 opens and 100 maps of the same 100."""
    counted = {
        f.instrument.name: f.counted
        for f in findings
        if f.because is None and "openat" in f.counted
    }
    assert "audit hook" in counted
    for name, counts in counted.items():
        assert (counts["openat"], counts["mmap"]) == (selftest.MAPS, selftest.MAPS), name
    table = "\n".join(side_by_side(findings))
    for name in counted:
        assert name in table


@linux_only
def test_ptrace_counts_as_strace_does(tmp_path: Path) -> None:
    """The same job under both: the same calls by name, also with the threads' races."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    real = os.path.realpath(path)
    try:
        strace = Strace.find()
        ptrace.check()
    except Unavailable as reason:
        pytest.skip(str(reason))
    job = {"job": "maps", "path": real}
    _, by_strace = strace.trace(selftest.__name__, job, [real])
    _, by_ptrace = ptrace.trace(selftest.__name__, job, [real])
    found = [dict(by["self-test"].counts) for by in (by_ptrace, by_strace)]
    if sys.implementation.name == "pypy":  # it asks one descriptor or another once more
        assert all(counts.pop("fcntl", 0) <= 4 for counts in found)
    assert found[0] == found[1]
    assert by_ptrace["self-test"].left == by_strace["self-test"].left == 0


@linux_only
def test_a_traced_job_that_dies_is_a_failure_and_no_count(tmp_path: Path) -> None:
    """The offender's file is missing: no figure is made up for it."""
    from deathwatch.measure import ChildFailed

    job = {"job": "maps", "path": str(tmp_path / "missing")}
    with pytest.raises(ChildFailed):
        ptrace.trace(selftest.__name__, job, [])


def test_perf_without_tracefs_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unavailable, because of that, and what to use instead is named."""
    monkeypatch.setattr(perf, "TRACEFS", (str(tmp_path),))
    with pytest.raises(Unavailable, match="perf tracepoints unavailable.*instead: strace"):
        perf.check()


@pytest.fixture
def callgrind() -> Iterator[Callgrind]:
    try:
        yield Callgrind.find()
    except Unavailable as reason:
        pytest.skip(str(reason))


@linux_only
def test_callgrind_counts_a_loop_twice_the_same(callgrind: Callgrind) -> None:
    """Two processes, one build: the same per operation, to a tenth of a percent."""
    job = {"job": "known", "operations": 1000}
    module = "deathwatch.measure.instructions"
    slopes = []
    for _ in range(2):
        _, counted = callgrind.count(module, job)
        slopes.append((counted["2N"] - counted["1N"]) / 1000)
    assert slopes[0] == pytest.approx(slopes[1], rel=0.001)


def test_without_valgrind_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unavailable, and not zero instructions."""
    monkeypatch.setenv("PATH", "/nonexistent")
    Callgrind.find.cache_clear()  # type: ignore[attr-defined]
    try:
        with pytest.raises(Unavailable, match="callgrind unavailable, because"):
            Callgrind.find()
    finally:
        Callgrind.find.cache_clear()  # type: ignore[attr-defined]


def test_the_least_of_the_spans_is_what_an_operation_costs() -> None:
    """A thread that woke up in one span of each length does not count."""
    counted = {"a x1 #0": 150, "a x2 #0": 200, "a x1 #1": 100, "a x2 #1": 290}
    assert per_operation(counted, 10) == {"a": 10.0}


@cpython_only
def test_allocations_are_those_of_what_is_held() -> None:
    """100 objects more are 100 blocks more, and their bytes; what was dropped is in the peak."""

    def held(number: int) -> list[bytes]:
        return [bytes(100) for _ in range(number)]

    few, many = allocation(lambda: held(100)), allocation(lambda: held(200))
    assert many.blocks - few.blocks == pytest.approx(100, abs=2)
    assert many.bytes - few.bytes == pytest.approx(100 * sys.getsizeof(bytes(100)), rel=0.1)
    dropped = allocation(lambda: len(held(1000)))
    assert dropped.bytes < 1000 < dropped.peak


class Node:
    pass


class Child(Node):
    pass


def test_live_objects_are_counted_with_their_subclasses() -> None:
    """Two are alive, one of a subclass; the dead ones are not counted."""
    import gc

    gc.collect()
    held = [Node(), Child()]
    Node()
    gc.collect()
    assert live(Node) == 2
    assert live(Child) == 1
    held.clear()
    gc.collect()
    assert live(Node) == 0


def test_the_doctor_prints_every_instrument(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each instrument, and the counts side by side; the status says whether one is exact."""
    from deathwatch.cli import main
    from deathwatch.measure import checked

    monkeypatch.setattr(checked, "_passed", set())  # as in a process of its own
    status = main(["doctor"])
    said = capsys.readouterr().out
    for name in ("strace", "ptrace", "perf", "audit hook", "callgrind", "allocations", "memory"):
        assert f"{name}" in said
    assert "live objects: works" in said
    assert "side by side" in said
    exact = any(f"{name}: works" in said for name in ("strace", "ptrace", "perf tracepoints"))
    assert status == (0 if exact else 1)
    if "DOES NOT WORK" in said:
        assert "to make it work: " in said
