"""Schedules, contenders, and the jobs that are run in processes of their own."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deathwatch import collect
from deathwatch.bench import jobs
from deathwatch.bench.contenders import CONTENDERS, LRU_SIZE, Contender, map_naive
from deathwatch.bench.overlaps import Get, Overlap, orders, overlaps, run
from deathwatch.measure.processes import Json

FILES = 20
OPENS = 600


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    names = [os.path.join(os.path.realpath(tmp_path), f"{n:02}") for n in range(FILES)]
    for name in names:
        Path(name).write_bytes(b"content")
    return names


@pytest.fixture(params=list(CONTENDERS))
def contender(request: pytest.FixtureRequest) -> Contender:
    return CONTENDERS[request.param]


@pytest.fixture(params=overlaps(4), ids=lambda overlap: str(overlap.name))
def overlap(request: pytest.FixtureRequest) -> Overlap:
    found: Overlap = request.param
    return found


@pytest.fixture
def leaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The offender: it maps as the naive one does, and keeps every third for ever."""
    kept: list[Any] = []

    def make() -> Get:
        def get(path: str) -> Any:
            mapped = map_naive(path)
            if path.endswith(("0", "3", "6", "9")):
                kept.append(mapped)
            return mapped

        return get

    offender = replace(CONTENDERS["naive"], name="leaking", make=make)
    monkeypatch.setitem(CONTENDERS, "leaking", offender)
    yield "leaking"
    kept.clear()
    collect()


def job(contender: str, overlap: Overlap, paths: list[str], **more: Any) -> Json:
    return {
        "contender": contender,
        "overlap": overlap.name,
        "threads": overlap.threads,
        "ring": overlap.ring,
        "files": paths,
        "opens": OPENS,
        "rounds": 2,
        **more,
    }


def test_the_overlaps_are_stated() -> None:
    """In words that go into every headline."""
    assert [overlap.title for overlap in overlaps(8)] == [
        "1 thread, ring of 128",
        "8 threads, rings of 16",
        "8 threads, all held",
    ]


def test_the_schedule_is_the_same_in_every_run() -> None:
    """Every contender is asked for the same files in the same order, uneven as they are."""
    overlap = Overlap("rings", 4, 32)
    files = [f"{n}" for n in range(50)]
    asked = orders(overlap, files, 10_000)
    assert asked == orders(overlap, files, 10_000)
    assert [len(paths) for paths in asked] == [2500] * 4
    flat = [path for paths in asked for path in paths]
    assert flat.count("0") > 4 * flat.count("49") > 0


def test_everybody_holds_at_the_peak(paths: list[str], overlap: Overlap) -> None:
    """At the peak all threads have opened, and each still holds its ring, or everything."""
    held: list[object] = []

    class Held:
        def __init__(self) -> None:
            held.append(None)

        def __del__(self) -> None:
            held.pop()

    def at_peak() -> int:
        collect()
        return len(held)

    outcome = run(lambda path: Held(), overlap, orders(overlap, paths, OPENS), at_peak=at_peak)
    assert outcome.peak == (OPENS if overlap.ring is None else overlap.threads * overlap.ring)
    collect()
    assert held == []
    assert outcome.opened == OPENS
    assert outcome.seconds > 0


def test_a_thread_stops_at_its_first_os_error(paths: list[str]) -> None:
    """It is counted by name, and what was opened before is still held at the peak."""
    opened: list[object] = []

    def get(path: str) -> object:
        if len(opened) == 10:
            raise OSError(errno.EMFILE, "too many")
        opened.append(object())
        return opened[-1]

    outcome = run(get, Overlap("held", 1, None), [paths])
    assert (outcome.opened, dict(outcome.errors)) == (10, {"EMFILE": 1})


def test_a_contender_that_crashes_ends_the_run(paths: list[str]) -> None:
    """Anything but an OSError is a bug: one thread's is raised, and the others don't hang."""

    def get(path: str) -> object:
        if path == paths[3]:
            raise ZeroDivisionError
        return object()

    with pytest.raises(ZeroDivisionError):
        run(get, Overlap("held", 4, None), [[path] for path in paths[:4]])


def test_contenders_hand_out_the_file(contender: Contender, paths: list[str]) -> None:
    """Each gives something whose memory is the file's content."""
    mapped = contender.make()(paths[0])
    with memoryview(getattr(mapped, "data", mapped)) as view:
        assert bytes(view) == b"content"


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name not in ("naive", "lru")])
def test_contenders_share_what_is_held(name: str, paths: list[str]) -> None:
    """While somebody holds a mapping, all but the naive one and a full LRU hand out that one."""
    get = CONTENDERS[name].make()
    held = [get(path) for path in paths]
    assert [id(get(path)) for path in paths] == [id(mapped) for mapped in held]
    del held
    collect()
    assert len(get(paths[0]) if name != "ours" else get(paths[0]).data) == len(b"content")


def test_contenders_keep_no_more_than_they_say(
    contender: Contender, overlap: Overlap, paths: list[str]
) -> None:
    """After release and a collection nothing is alive but what `keeps` allows: deaths by name."""
    figures = jobs.JOBS["deaths"](job(contender.name, overlap, paths))
    assert figures["errors"] == {}
    assert figures["opened"] == OPENS
    assert figures["left"] <= contender.keeps(FILES)
    assert figures["left"] + sum(figures["died"].values()) == figures["handed_out"]
    assert set(figures["died"]) <= {"refcount", "collector"}
    if contender.name == "dict":
        assert figures["left"] == FILES
    if contender.name == "lru":
        assert figures["left"] == LRU_SIZE


@pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="elsewhere objects die by the collector alone"
)
def test_naive_mappings_die_by_reference_count(overlap: Overlap, paths: list[str]) -> None:
    """On CPython no collection is needed for one of them."""
    figures = jobs.JOBS["deaths"](job("naive", overlap, paths))
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        assert figures["handed_out"] == OPENS  # one dropped by another thread waits a while
    else:
        assert figures["died"] == {"refcount": OPENS}
        assert figures["alive_before_collecting"] == 0


def test_a_leak_is_counted_as_left(leaking: str, paths: list[str]) -> None:
    """The offender keeps two fifths of the files' mappings: the watches see just those alive."""
    overlap = Overlap("held", 2, None)
    kept = sum(
        path.endswith(("0", "3", "6", "9"))
        for mine in orders(overlap, paths, OPENS)
        for path in mine
    )
    figures = jobs.JOBS["deaths"](job(leaking, overlap, paths))
    assert figures["left"] >= kept > 0
    assert figures["alive_at_peak"] == OPENS


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_leak_is_seen_by_the_kernel_too(leaking: str, paths: list[str]) -> None:
    """The mappings that are left are in the process's own list of mappings."""
    overlap = Overlap("held", 2, None)
    figures = jobs.JOBS["memory"](job(leaking, overlap, paths))
    assert figures["before"]["mappings"] < figures["after"]["mappings"] < OPENS
    assert figures["peak"]["mappings"] >= OPENS


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("name", "at_peak"), [("naive", OPENS), ("dict", FILES), ("ours", FILES)])
def test_the_kernel_sees_as_many_mappings_as_are_held(
    name: str, at_peak: int, paths: list[str]
) -> None:
    """Everything held: one for each open, or one for each file; after release, what is kept."""
    figures = jobs.JOBS["memory"](job(name, Overlap("held", 4, None), paths))
    assert figures["peak"]["mappings"] == at_peak
    assert figures["after"]["mappings"] == CONTENDERS[name].keeps(FILES)
    assert figures["peak"]["rss"] > figures["before"]["rss"]


def test_rounds_alternate_with_the_naive_one(paths: list[str]) -> None:
    """As many rounds of each, so that their ratio is of one process and one moment."""
    figures = jobs.JOBS["time"](job("dict", Overlap("rings", 2, 8), paths))
    assert len(figures["seconds"]) == len(figures["naive_seconds"]) == 2
    assert all(seconds > 0 for seconds in figures["seconds"] + figures["naive_seconds"])
