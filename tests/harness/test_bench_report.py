"""The benchmark from end to end on small files, and what is said of it."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deathwatch.bench.headlines import headlines, survivors
from deathwatch.bench.run import publishable
from deathwatch.bench.table import footnotes, show
from deathwatch.measure import Strace, Unavailable, memory
from deathwatch.measure.processes import Json

FILES = 5
OPENS = 300
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs strace, /proc")


def bench(folder: Path, *arguments: str) -> tuple[Json, str]:
    """Run the real command on files of its own: what it wrote, and what it printed."""
    (folder / "files").mkdir()
    for n in range(FILES):
        (folder / "files" / f"{n}.dat").write_bytes(b"x" * 9000)
    target = folder / "result.json"
    command = [sys.executable, "-m", "deathwatch", "bench", "mmap", "--files"]
    done = subprocess.run(
        [*command, f"{folder}/files/*.dat", "--output", os.fspath(target), *arguments],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: Json = json.loads(target.read_text())
    return result, done.stdout


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Json, str]:
    arguments = ["--contenders", "naive,lru,ours", "--opens", f"{OPENS}", "--threads", "3"]
    return bench(tmp_path_factory.mktemp("bench"), *arguments)


@pytest.fixture
def result(real: tuple[Json, str]) -> Json:
    return copy.deepcopy(real[0])


@pytest.fixture
def printed(real: tuple[Json, str]) -> str:
    return real[1]


@pytest.fixture
def strace() -> None:
    try:
        Strace.find()
    except Unavailable as reason:
        pytest.skip(str(reason))


def figures(result: Json, contender: str, overlap: str) -> dict[str, Any]:
    (found,) = (
        run for run in result["runs"] if (run["contender"], run["overlap"]) == (contender, overlap)
    )
    return dict(found)


def test_nothing_failed_and_nothing_is_missing(result: Json) -> None:
    """Every contender at every overlap has calls, memory, deaths and time."""
    assert result["failed"] == []
    assert result["schema"] == "deathwatch.bench.mmap/1"
    assert len(result["runs"]) == 3 * 3
    for run in result["runs"]:
        for part in ("memory", "deaths", "time"):
            assert run[part]["errors"] == {}, (run["contender"], part)


@linux_only
@pytest.mark.usefixtures("strace")
def test_the_kernels_counts_are_the_formulas(result: Json) -> None:
    """Naive maps and unmaps once for each open; ours, everything held, once for each file."""
    naive = figures(result, "naive", "held")["calls"]
    assert naive["counts"]["mmap"] == naive["counts"]["munmap"] == OPENS
    assert naive["left"] == 0
    ours = figures(result, "ours", "held")["calls"]
    assert ours["counts"]["mmap"] == ours["counts"]["munmap"] == FILES
    assert ours["counts"]["openat"] == FILES
    assert ours["left"] == 0
    lru = figures(result, "lru", "held")["calls"]
    assert lru["left"] == FILES
    lives = result["life"]
    assert sum(naive["counts"].values()) == OPENS * len(lives["naive"])
    assert sum(ours["counts"].values()) == FILES * len(lives["ours"])


@linux_only
def test_memory_and_deaths_agree_with_the_counts(result: Json) -> None:
    """Live mappings at the peak and after release; what was handed out died."""
    assert figures(result, "naive", "held")["memory"]["peak"]["mappings"] == OPENS
    ring = figures(result, "naive", "ring")["memory"]["peak"]["mappings"]
    if sys.implementation.name == "cpython":
        assert ring == 128
    else:  # dropped mappings wait for the collector
        assert 128 <= ring <= OPENS
    assert figures(result, "ours", "held")["memory"]["peak"]["mappings"] == FILES
    assert figures(result, "ours", "held")["deaths"]["handed_out"] == FILES
    for run in result["runs"]:
        kept = FILES if run["contender"] == "lru" else 0
        assert run["memory"]["after"]["mappings"] == kept
        assert run["deaths"]["left"] == kept


@linux_only
def test_the_naive_one_breaks_at_the_descriptor_limit_and_ours_does_not(result: Json) -> None:
    """The naive mapping holds a descriptor each: EMFILE before as many maps as were allowed."""
    limits = {limit["contender"]: limit for limit in result["limits"]}
    assert limits["naive"]["errors"] == {"EMFILE": 1}
    assert 200 < limits["naive"]["opened"] < limits["naive"]["descriptor_limit"] == 256
    assert limits["ours"]["errors"] == {}
    assert limits["ours"]["opened"] == OPENS


def test_the_result_names_nobody(result: Json, tmp_path: Path) -> None:
    """No path, no user, no host: files by base name and size."""
    text = json.dumps(result)
    assert [file["name"] for file in result["files"]["chosen"]] == [
        f"{n}.dat" for n in range(FILES)
    ]
    for private in (os.path.expanduser("~"), os.fspath(tmp_path.parent.parent), sys.prefix):
        assert private not in text
    assert not re.search(r'"/\w+/', text)


def test_the_table_fits_and_says_it_all(printed: str) -> None:
    """At most 100 columns, every contender at every overlap, the headlines, how to read it."""
    assert max(map(len, printed.splitlines())) <= 100
    for wanted in ("1 thread, ring of 128", "3 threads, rings of 42", "3 threads, all held"):
        assert wanted in printed
    assert printed.count("\n  MappedFileCache ") == printed.count("\n  naive: open + mmap ") == 3
    assert "…" not in printed
    flat = " ".join(printed.split())
    assert "overstates what de-duplication saves" in flat
    assert "NOT DEAD" not in flat


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_is_legible_at_the_usual_widths(
    result: Json, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """No cell is cut short: columns are left out instead."""
    from rich.console import Console

    show(result, Console(width=width))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert "…" not in printed
    assert ("USS\n" in printed or " USS " in printed) == (width == 100)


def test_a_survivor_is_named_and_fails(result: Json) -> None:
    """The offender: mapped files of ours alive after release. The sentence says whose, how many."""
    figures(result, "ours", "held")["deaths"]["left"] = 3
    (said,) = survivors(result)
    assert said.startswith("NOT DEAD: MappedFileCache at 3 threads, all held left 3 mapped files")
    assert said in list(headlines(result))


@pytest.mark.parametrize(
    ("part", "path"),
    [("memory", ("after", "mappings")), ("calls", ("left",))],
)
@linux_only
@pytest.mark.usefixtures("strace")
def test_a_mapping_left_is_a_survivor_too(result: Json, part: str, path: tuple[str, ...]) -> None:
    """By the kernel's account alone, when the objects themselves are dead."""
    where = figures(result, "naive", "ring")[part]
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = 2
    (said,) = survivors(result)
    assert "naive: open + mmap at 1 thread, ring of 128 left 2 mappings" in said


def test_what_a_contender_may_keep_is_no_survivor(result: Json) -> None:
    """The LRU cache's 5 files are left, and it may keep 16."""
    assert list(survivors(result)) == []
    if sys.platform.startswith("linux"):
        assert figures(result, "lru", "held")["memory"]["after"]["mappings"] == FILES


def test_without_the_kernel_it_counts_requests_and_says_so(tmp_path: Path) -> None:
    """The audit hook's figures are never called system calls; what is missing is named."""
    arguments = ["--contenders", "ours", "--opens", "100", "--threads", "2", "--no-strace"]
    result, printed = bench(tmp_path, *arguments)
    assert result["instrument"]["counts"] == "requests"
    assert figures(result, "ours", "held")["calls"] is None
    assert figures(result, "ours", "held")["requests"]["requests"] == {"open": FILES, "mmap": FILES}
    assert result["life"] is None
    flat = " ".join(printed.split())
    assert "system calls" not in flat.replace("saves system calls", "")
    assert "requests" in next(line for line in printed.splitlines() if " RSS" in line)
    assert "audit hook: requests" in flat
    assert "Missing: strace unavailable, because it was switched off" in flat
    assert "Missing: calls in one mapping's life" in flat


def test_figures_that_a_system_does_not_tell_are_dashes(
    result: Json, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without /proc a snapshot has None and not 0, and the table has dashes."""
    from rich.console import Console

    memory.snapshot([])  # tests itself before its first use, which it could not below
    monkeypatch.setattr(memory, "_PROC", "/nonexistent")
    blind = memory.snapshot([])
    assert (blind.mappings, blind.page_tables) == (None, None)
    for run in result["runs"]:
        for when in ("before", "peak", "after"):
            run["memory"][when] = dict.fromkeys(run["memory"][when])
        run["calls"] = run["requests"] = None
    show(result, Console(width=100))
    printed = capsys.readouterr().out
    ours = next(line for line in printed.splitlines() if line.startswith("  MappedFileCache"))
    assert ours.split()[1:3] == ["-", "-"]
    assert "per open" not in printed


def test_a_contender_that_ran_into_this_machines_limit_is_said_to(result: Json) -> None:
    """Its figures are of fewer opens than the others': the row says so, and a sentence."""
    figures(result, "naive", "held")["memory"].update(errors={"EMFILE": 3}, opened=77)
    result["machine"]["descriptor_limit"] = [64, 128]
    (said,) = (line for line in headlines(result) if "stopped" in line)
    assert said == (
        "naive: open + mmap at 3 threads, all held stopped at EMFILE, after 77 of 300 opens:"
        " this machine allows 128 descriptors."
    )


def test_failed_steps_are_said_and_not_all_of_them(result: Json) -> None:
    """Five by name; the rest are in the JSON."""
    result["failed"] = [f"memory: number {n}: it ended with status 1" for n in range(8)]
    said = [line for line in footnotes(result) if line.startswith("FAILED")]
    assert len(said) == 6
    assert said[-1] == "FAILED: 3 more, which the JSON names."


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("cannot import 'x' (/srv/checkout/impl/x.py)", "cannot import 'x' (x.py)"),
        ("[Errno 2] No such file: '/data/my fonts/a.ttf'", "[Errno 2] No such file: 'a.ttf'"),
        (f"{os.path.expanduser('~')}/secret plans/x is gone", "secret plans/x is gone"),
        ("open/mmap and /proc/self/maps", "open/mmap and maps"),
        (f"explain{os.path.expanduser('~')}s.py", f"explain{os.path.expanduser('~')}s.py"),
        (r"C:\Users\someone\x.dll is missing", "x.dll is missing"),
    ],
)
def test_messages_lose_their_folders(text: str, published: str) -> None:
    """What goes into the JSON tells nothing of where things lie, nor whose they are."""
    assert publishable(text, ["/data/my fonts/a.ttf"]) == published
