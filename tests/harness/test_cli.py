"""The command: its options, its exit statuses, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deathwatch.cli import main

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def deathwatch(tmp_path: Path) -> Run:
    """`deathwatch(*arguments)`: the finished command, run in `tmp_path`."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deathwatch", *arguments],
            capture_output=True,
            text=True,
            timeout=250,
            cwd=tmp_path,
            **options,
        )

    return run


@pytest.fixture
def files(tmp_path: Path) -> str:
    (tmp_path / "files").mkdir()
    for n in range(6):
        (tmp_path / "files" / f"{n}.dat").write_bytes(b"x" * 9000)
    return os.fspath(tmp_path / "files" / "*.dat")


def test_without_a_command_it_says_what_there_is(deathwatch: Run) -> None:
    """Help on standard error, exit status 2."""
    done = deathwatch()
    assert done.returncode == 2
    assert "bench" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["bench", "--help"], ["bench", "mmap", "--help"]]
)
def test_help_needs_no_extra(arguments: list[str], tmp_path: Path) -> None:
    """Neither rich nor psutil: none of them is imported before the benchmark runs."""
    code = f"""
import sys
sys.modules["rich"] = sys.modules["psutil"] = None
from deathwatch.cli import main
sys.exit(main({arguments!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "usage: deathwatch" in done.stdout


@pytest.mark.parametrize("missing", ["rich", "psutil"])
def test_without_the_extra_one_sentence_names_it(missing: str, tmp_path: Path, files: str) -> None:
    """Exit status 1, before anything is measured, and without a traceback."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
from deathwatch.cli import main
sys.exit(main(["bench", "mmap", "--files", {files!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"deathwatch bench: {missing} is not installed, and the benchmarks need it:"
        " pip install 'deathwatch[bench]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--opens", "0"], "argument --opens: '0' is not a number from 1 to 1000000"),
        (["--opens", "many"], "argument --opens: 'many' is not a number from 1 to 1000000"),
        (["--opens", "1e9"], "argument --opens: '1e9' is not a number from 1 to 1000000"),
        (["--opens", "²"], "argument --opens: '²' is not a number from 1 to 1000000"),
        (["--threads", "999"], "argument --threads: '999' is not a number from 1 to 128"),
        (["--threads", "-1"], "argument --threads: '-1' is not a number from 1 to 128"),
        (["--max-files", ""], "argument --max-files: '' is not a number from 1 to 1000000"),
        (["--contenders", "naive,magic"], "argument --contenders: 'magic' is none of naive, dict"),
        (["--contenders", ""], "argument --contenders: '' is none of naive, dict"),
        (["--files", "/nonexistent/*"], "deathwatch bench: no file matches '/nonexistent/*'\n"),
        (["--files", os.devnull], "is a readable regular file of 1 byte to 256.0 MB\n"),
        (["--output", os.devnull], "it is there, and is no regular file\n"),
        (["--output", "nowhere/r.json"], "there is no folder "),
        (["--nonsense"], "unrecognized arguments: --nonsense\n"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(
    deathwatch: Run, arguments: list[str], said: str
) -> None:
    """Exit status 2; the last line says what was wrong, and there is no traceback."""
    done = deathwatch("bench", "mmap", *arguments, env={**os.environ, "PYTHONUTF8": "1"})
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_benchmark_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`deathwatch bench` alone names what there is."""
    with pytest.raises(SystemExit) as exit_:
        main(["bench"])
    assert exit_.value.code == 2
    assert "BENCHMARK" in capsys.readouterr().err


def test_json_goes_to_standard_output_and_to_the_file(
    deathwatch: Run, files: str, tmp_path: Path
) -> None:
    """With `--json` standard output is JSON and nothing else: what was written."""
    arguments = ["--files", files, "--contenders", "naive", "--opens", "50", "--threads", "2"]
    done = deathwatch("bench", "mmap", *arguments, "--json", "--output", "r.json", "--no-strace")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "r.json").read_text())


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_interrupt_ends_it_and_all_that_it_started(
    files: str, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """A real signal in the middle: its exit status, the old result whole, and no process left."""
    target = tmp_path / "result.json"
    target.write_text('{"old": true}\n')
    command = [sys.executable, "-m", "deathwatch", "bench", "mmap", "--files", files]
    process = subprocess.Popen(
        [*command, "--opens", "200000", "--output", os.fspath(target)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        started = await_children(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status
    assert "Traceback" not in err
    assert out == ""
    if number == signal.SIGINT:
        assert err.splitlines()[-1] == "deathwatch: interrupted; no result was left half-written"
    assert target.read_text() == '{"old": true}\n'
    assert sorted(os.listdir(tmp_path)) == ["files", "result.json"]
    for pid in started:
        await_end(pid)


def await_children(process: subprocess.Popen[str]) -> list[int]:
    """Wait until a measuring process is under way; all descendants there are."""
    if not sys.platform.startswith("linux"):
        time.sleep(2)
        return []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = descendants(process.pid)
        if any("deathwatch.bench.jobs" in command_line(pid) for pid in found):
            return found
        time.sleep(0.01)
    raise AssertionError("no measuring process was seen")


def descendants(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except OSError:  # it ended meanwhile
        pass
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def await_end(pid: int) -> None:
    """A killed process is gone, or waits as a zombie for whoever inherited it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} still runs")


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX system")
def test_a_reader_that_goes_away_costs_no_result(files: str, tmp_path: Path) -> None:
    """`deathwatch bench mmap | head -1`: no traceback, and the result was written before."""
    command = [sys.executable, "-m", "deathwatch", "bench", "mmap", "--files", files, "--json"]
    options = ["--contenders", "naive", "--opens", "50", "--threads", "1", "--no-strace"]
    process = subprocess.Popen(
        [*command, *options, "--output", "r.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read().decode()
    assert process.wait(timeout=60) == 1
    process.stderr.close()
    assert "Traceback" not in err
    assert json.loads((tmp_path / "r.json").read_text())["failed"] == []
