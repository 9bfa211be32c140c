"""Instruments: each checked on a known truth, each says when it can't be trusted."""

from __future__ import annotations

import json
import mmap
import os
import platform
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deathwatch.measure import (
    ChildFailed,
    MissingExtra,
    Strace,
    Unavailable,
    machine,
    run_job,
    snapshot,
)
from deathwatch.measure.memory import live_mappings
from deathwatch.measure.selftest import MAPS

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="strace and /proc are Linux's"
)


@pytest.fixture(scope="module")
def strace() -> Strace:
    try:
        return Strace.find()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """`module(body)`: the name of a module whose job "go" runs `body`, with `path` at hand."""

    def write(body: str) -> str:
        indented = "\n    ".join(body.splitlines())
        (tmp_path / "offending_job.py").write_text(
            "import mmap, os, sys, threading, time\n"
            "from deathwatch.measure import span\n"
            "from deathwatch.measure.processes import serve\n"
            "def go(job):\n"
            "    path = job.get('path')\n"
            f"    {indented}\n"
            "    return {}\n"
            "if __name__ == '__main__':\n"
            "    serve({'go': go})\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        return "offending_job"

    return write


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "content"
    file.write_bytes(b"content")
    return os.path.realpath(file)


def fake_strace(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "strace"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@linux_only
def test_strace_passes_its_self_test(strace: Strace) -> None:
    """100 maps by two threads among anonymous ones: counted as 100 (`find` has checked it)."""
    strace.check()
    assert strace.version().startswith("strace")


@linux_only
def test_strace_counts_a_leak_as_left(
    strace: Strace, module: Callable[[str], str], path: str
) -> None:
    """The offender keeps 3 of 5 mappings: the kernel saw 5 maps and 2 unmaps, and 3 are left."""
    body = """
held = []
with span('run'):
    for n in range(5):
        fd = os.open(path, os.O_RDONLY)
        mapping = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        os.close(fd)
        if n < 3:
            held.append(mapping)
        else:
            mapping.close()
"""
    _, spans = strace.trace(module(body), {"job": "go", "path": path}, [path])
    counts = spans["run"].counts
    assert (counts["mmap"], counts["munmap"], spans["run"].left) == (5, 2, 3)


@linux_only
def test_strace_follows_threads_that_unmap_for_each_other(
    strace: Strace, module: Callable[[str], str], path: str
) -> None:
    """8 threads map and unmap 400 times at once, addresses being handed from one to the other."""
    body = """
def work():
    for _ in range(50):
        fd = os.open(path, os.O_RDONLY)
        mapping = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        os.close(fd)
        mapping.close()
threads = [threading.Thread(target=work) for _ in range(8)]
with span('run'):
    [t.start() for t in threads]
    [t.join() for t in threads]
"""
    _, spans = strace.trace(module(body), {"job": "go", "path": path}, [path])
    counts = spans["run"].counts
    assert (counts["openat"], counts["mmap"], counts["munmap"]) == (400, 400, 400)
    assert spans["run"].left == 0


@linux_only
def test_without_strace_it_is_said_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed: unavailable, because of that, and the substitute is named."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        Unavailable, match=r"not installed; instead: ptrace from Python, or the"
    ) as caught:
        Strace.find()
    assert caught.value.instrument == "strace"


@linux_only
def test_strace_without_permission_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ptrace is forbidden, strace says so and ends: its own words are the reason."""
    fake_strace(tmp_path, "echo 'PTRACE_TRACEME: Operation not permitted' >&2; exit 1", monkeypatch)
    with pytest.raises(Unavailable, match="Operation not permitted"):
        Strace.find()


@linux_only
def test_strace_that_miscounts_is_unavailable(
    strace: Strace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offender loses every line about mmap: the self-test finds 0 of 100."""
    fake_strace(
        tmp_path,
        f"""
        for word in "$@"; do last2="$last"; last="$word"; case "$keep" in -o) out="$word";; esac
        keep="$word"; done
        {strace.command[0]} "$@"; status=$?
        grep -v ' mmap(' "$out" > "$out.less"; mv "$out.less" "$out"; exit $status""",
        monkeypatch,
    )
    with pytest.raises(Unavailable, match=f"{MAPS} maps counted 0 x mmap"):
        Strace.find()


def test_the_audit_hook_passes_its_self_test(run_python: Callable[..., str]) -> None:
    """100 known maps are heard, and the anonymous ones are not. In a process of its own."""
    run_python("from deathwatch.measure import requests; requests.check()")


def test_the_audit_hook_hears_requests_for_the_files_alone(
    run_python: Callable[..., str], path: str
) -> None:
    """Two opens, one map, one anonymous map and another file: heard are 2 opens and 1 map."""
    code = f"""
import mmap, os
from deathwatch.measure import listening
with listening([{path!r}]) as heard:
    open({path!r}).close()
    open(os.devnull).close()
    with open({path!r}, "rb") as file:
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mmap.mmap(-1, 4096)
open({path!r}).close()
print(heard.counts)
"""
    assert run_python(code).strip() == "{'open': 2, 'mmap': 1}"


@linux_only
def test_live_mappings_are_those_of_the_files(path: str) -> None:
    """Counted by path: neither more, nor those that are gone."""
    assert live_mappings([path]) == 0
    with open(path, "rb") as file:
        held = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for _ in range(3)]
    assert live_mappings([path]) == 3
    assert live_mappings(["/other"]) == 0
    for mapping in held:
        mapping.close()
    assert live_mappings([path]) == 0


@linux_only
def test_live_mappings_of_awkward_names_are_found(tmp_path: Path) -> None:
    """Spaces, newlines, bytes that are no UTF-8, and files that were removed meanwhile."""
    name = os.fsdecode(b"we ird\n\xff (x)")
    awkward = tmp_path / name
    awkward.write_bytes(b"content")
    with open(awkward, "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert live_mappings([os.path.realpath(awkward)]) == 1
    real = os.path.realpath(awkward)
    awkward.unlink()
    assert live_mappings([real]) == 1
    mapping.close()


@linux_only
def test_a_snapshot_sees_what_is_held(path: str) -> None:
    """One more mapping, two more descriptors, and the bytes that were touched."""
    snapshot([path])
    before = snapshot([path])
    fds = [os.open(path, os.O_RDONLY) for _ in range(2)]
    mapping = mmap.mmap(fds[0], 0, access=mmap.ACCESS_READ)
    ballast = mmap.mmap(-1, 8 * 1024 * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, len(ballast), mmap.PAGESIZE):
        ballast[page] = 1
    after = snapshot([path])
    for fd in fds:
        os.close(fd)
    mapping.close()
    size = len(ballast)
    ballast.close()
    duplicate = 1
    assert (after.mappings, before.mappings) == (1, 0)
    assert (after.descriptors or 0) - (before.descriptors or 0) == 2 + duplicate
    for what in ("rss", "pss", "uss"):
        grown = getattr(after, what) - getattr(before, what)
        assert size * 0.9 < grown < size * 1.5, what
    assert after.page_tables is not None
    assert (after.minor_faults or 0) > (before.minor_faults or 0)


def test_a_snapshot_without_psutil_names_the_extra(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """One sentence that says what to install."""
    code = """
import sys
sys.modules["psutil"] = None
from deathwatch.measure import MissingExtra, snapshot
try:
    snapshot([])
except MissingExtra as missing:
    print(missing)
"""
    said = run_python(code)
    assert "psutil" in said
    assert "pip install 'deathwatch[bench]'" in said
    assert said == f"{MissingExtra('psutil')}\n"


def test_the_machine_is_described_without_naming_anyone() -> None:
    """Nothing of it is a host name, a user name or a path of this machine."""
    described = json.dumps(machine.describe())
    for private in (os.path.expanduser("~"), platform.node(), sys.prefix, os.getcwd()):
        assert len(private) < 4 or private not in described
    assert machine.describe()["python"]["version"] in sys.version


@pytest.mark.parametrize("name", ["memory", "processes", "requests", "syscalls", "unavailable"])
def test_the_examples_of_the_instruments_run(name: str, run_python: Callable[..., str]) -> None:
    """In a process of its own, since an audit hook stays."""
    code = f"""
import doctest, importlib
module = importlib.import_module("deathwatch.measure.{name}")
print(*doctest.testmod(module))
"""
    failed, attempted = run_python(code).split()
    assert (failed, int(attempted) > 0) == ("0", True)


def test_a_job_answers(module: Callable[[str], str]) -> None:
    """What the job returns comes back; it ran in another process."""
    name = module("return {'pid': os.getpid(), 'got': job['number'] + 1}")
    answer = run_job(name, {"job": "go", "number": 41})
    assert answer["got"] == 42
    assert answer["pid"] != os.getpid()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no such font')", "ended with status 1: ValueError: no such font"),
        ("os._exit(3)", "ended with status 3"),
        ("os.kill(os.getpid(), 9)", "ended with status -9"),
        ("print('chatter')", "is not JSON"),
        ("os.write(1, b'[]'); os._exit(0)", "answered a list"),
    ],
)
def test_a_job_that_fails_says_how(module: Callable[[str], str], body: str, said: str) -> None:
    """No figure is made up for it: the last line of its error is in the message."""
    with pytest.raises(ChildFailed, match=said):
        run_job(module(body), {"job": "go"})


def test_a_job_that_hangs_is_killed(module: Callable[[str], str]) -> None:
    """A hang is a finding, and is said to be one."""
    with pytest.raises(ChildFailed, match=r"no answer within 0.5 s"):
        run_job(module("time.sleep(60)"), {"job": "go"}, timeout=0.5)


@linux_only
def test_an_interrupt_kills_the_job_and_all_that_it_started(
    module: Callable[[str], str], tmp_path: Path
) -> None:
    """KeyboardInterrupt in the parent leaves neither the child nor the child's own child."""
    pids = tmp_path / "pids"
    body = f"""
import subprocess
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
with open({os.fspath(tmp_path / "unfinished")!r}, 'w') as file:
    file.write(str(os.getpid()) + ' ' + str(child.pid))
os.rename(file.name, {os.fspath(pids)!r})
time.sleep(60)
"""
    main = threading.main_thread().ident
    assert main is not None
    interrupter = threading.Thread(target=interrupt_when, args=(pids.exists, main), daemon=True)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        run_job(module(body), {"job": "go"}, timeout=60)
    interrupter.join()
    for pid in map(int, pids.read_text().split()):
        await_end(pid)


def interrupt_when(condition: Callable[[], bool], thread: int) -> None:
    while not condition():
        time.sleep(0.01)
    signal.pthread_kill(thread, signal.SIGINT)


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


@pytest.mark.parametrize(
    ("broken", "use"),
    [
        ("selftest.known_truth = lambda path: None", "listening([]).__enter__()"),
        pytest.param("memory.live_mappings = lambda files: 0", "snapshot([])", marks=linux_only),
        ("objects.gc.get_objects = lambda: []", "live(int)"),
    ],
    ids=["listening", "snapshot", "live"],
)
def test_an_instrument_that_fails_its_self_test_is_unavailable_at_every_use(
    broken: str, use: str, run_python: Callable[..., str]
) -> None:
    """Nobody has to ask for the self-test. One that is whole again is tested again, and works."""
    code = f"""
from deathwatch.measure import Unavailable, listening, live, memory, objects, selftest, snapshot
kept = selftest.known_truth, memory.live_mappings, objects.gc.get_objects
{broken}
for _ in range(2):
    try:
        {use}
    except Unavailable as why:
        print(why)
    else:
        print("trusted")
selftest.known_truth, memory.live_mappings, objects.gc.get_objects = kept
{use}
"""
    said = run_python(code).splitlines()
    assert len(said) == 2
    assert all("unavailable, because" in line for line in said), said
