"""MappedFile's system calls, as the kernel counts them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deathwatch.measure import Strace, Unavailable, run_job
from deathwatch.measure.processes import Json

FIVE = ("openat", "fstat", "mmap", "close", "munmap")
SEVEN = ("openat", "fstat", "fcntl", "mmap", "close", "close", "munmap")


@pytest.fixture(scope="module")
def strace() -> Strace:
    try:
        return Strace.find()
    except Unavailable as reason:
        pytest.skip(str(reason))


def life(strace: Strace, path: Path) -> tuple[str, ...]:
    real = os.path.realpath(path)
    job: Json = {"job": "life", "path": real}
    _, spans = strace.trace("deathwatch.bench.jobs", job, [real])
    return spans["ours"].calls


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="counts CPython's own calls")
def test_a_mappings_life_is_five_calls_from_3_13_and_seven_before(
    strace: Strace, tmp_path: Path
) -> None:
    """Opened, asked for its size, mapped, closed, unmapped: no other call on the file.

    CPython 3.11 and 3.12 duplicate the descriptor, and close the duplicate with the mapping.
    """
    path = tmp_path / "content"
    path.write_bytes(b"content")
    assert life(strace, path) == (FIVE if sys.version_info >= (3, 13) else SEVEN)


@pytest.mark.skipif(sys.implementation.name != "pypy", reason="counts PyPy's own calls")
def test_a_mappings_life_on_pypy_is_what_the_docstring_says(strace: Strace, tmp_path: Path) -> None:
    """PyPy duplicates the descriptor too: seven calls."""
    path = tmp_path / "content"
    path.write_bytes(b"content")
    calls = life(strace, path)
    assert sorted(calls) == sorted(("openat", "fstat", "dup", "mmap", "close", "close", "munmap"))


def test_an_open_that_fails_costs_one_call(strace: Strace, tmp_path: Path) -> None:
    """A missing file is asked for once: no look before the leap."""
    real = os.path.realpath(tmp_path / "missing")
    code = tmp_path / "missing_job.py"
    code.write_text(
        "from deathwatch.measure import span\n"
        "from deathwatch.measure.processes import serve\n"
        "from lastref import MappedFile\n"
        "def ask(job):\n"
        "    with span('missing'):\n"
        "        try:\n"
        "            MappedFile(job['path'])\n"
        "        except FileNotFoundError as error:\n"
        "            return {'refused': error.filename}\n"
        "serve({'ask': ask})\n"
    )
    sys.path.insert(0, os.fspath(tmp_path))
    try:
        job: Json = {"job": "ask", "path": real}
        assert run_job("missing_job", job) == {"refused": real}
        _, spans = strace.trace("missing_job", job, [real])
    finally:
        sys.path.remove(os.fspath(tmp_path))
    assert spans["missing"].calls == ("openat",)
