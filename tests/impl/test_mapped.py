"""MappedFile: what it maps, what it refuses, and when it lets go."""

from __future__ import annotations

import doctest
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path
from types import FrameType

import pytest

import lastref.mapped
from deathwatch import assert_dies, collect, watch
from lastref import MappedFile

CONTENT = bytes(range(256)) * 64

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc, which only Linux has"
)
posix_only = pytest.mark.skipif(os.name != "posix", reason="FIFOs and devices of a POSIX system")
cpython_only = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="elsewhere mappings die by the collector alone"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "content"
    file.write_bytes(CONTENT)
    return file


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def mapped_times(path: Path) -> int:
    collect()
    with open("/proc/self/maps", "rb") as maps:
        return sum(line.rstrip(b"\n").endswith(os.fsencode(path)) for line in maps)


def test_data_is_the_content_read_only(path: Path) -> None:
    """`.data` is a read-only memoryview of the whole file, `len()` its size."""
    mapped = MappedFile(path)
    assert bytes(mapped.data) == CONTENT
    assert len(mapped) == len(mapped.data) == len(CONTENT)
    assert mapped.data.readonly
    with pytest.raises(TypeError):
        mapped.data[0] = 1


@pytest.mark.parametrize("spelling", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_any_spelling_of_a_path_is_accepted(path: Path, spelling: Callable[[Path], str]) -> None:
    """str, bytes and PathLike name the same file; `.path` is what `os.fspath` makes of it."""
    spelled = spelling(path)
    mapped = MappedFile(spelled)
    assert bytes(mapped.data) == CONTENT
    assert mapped.path == os.fspath(spelled)


def test_an_empty_file_has_empty_data(tmp_path: Path) -> None:
    """The kernel maps no empty file; its data is empty all the same, and read-only."""
    (tmp_path / "empty").touch()
    mapped = MappedFile(tmp_path / "empty")
    assert len(mapped) == 0
    assert bytes(mapped.data) == b""
    assert mapped.data.readonly


def test_a_released_view_takes_nothing_from_the_others(path: Path) -> None:
    """Each `.data` is a view of its own: one user's `with` doesn't end another's."""
    mapped = MappedFile(path)
    others = mapped.data
    with mapped.data as view:
        assert view[1] == 1
    assert bytes(others[:4]) == bytes(mapped.data[:4]) == CONTENT[:4]


def mapping_of(view: memoryview) -> mmap:
    assert isinstance(view.obj, mmap)
    return view.obj


@cpython_only
def test_the_mapping_cannot_be_closed_under_its_views(path: Path) -> None:
    """Closing by hand what others see is refused by CPython: never a view into unmapped memory."""
    mapped = MappedFile(path)
    with pytest.raises(BufferError):
        mapping_of(mapped.data).close()
    assert bytes(mapped.data) == CONTENT


@pytest.mark.skipif(sys.implementation.name == "cpython", reason="CPython refuses with BufferError")
def test_pypy_closes_a_mapping_under_its_views(path: Path) -> None:
    """The stated deviation: a mapping closed by hand is gone for its views, not unsafe to read."""
    mapped = MappedFile(path)
    view = mapped.data
    mapping_of(view).close()
    assert bytes(view[:4]) == b""
    with pytest.raises(ValueError, match="closed"):
        bytes(mapped.data)


@linux_only
def test_a_view_outlives_the_file_and_the_mapping_goes_with_the_last(path: Path) -> None:
    """Slices and casts keep the mapping, not the object; the last of them takes it along.

    In Go the same slice would be a use after unmap.
    """
    mapped = MappedFile(path)
    slice_of_cast = mapped.data.cast("I")[4:8]
    owner = mapped.data[:0].obj
    watched = watch(mapped)
    del mapped
    collect()
    assert not watched.alive
    assert mapped_times(path) == 1
    assert bytes(slice_of_cast) == CONTENT[16:32]
    del owner
    assert mapped_times(path) == 1
    del slice_of_cast
    assert mapped_times(path) == 0


def test_threads_share_an_object_each_with_views_of_its_own(path: Path) -> None:
    """8 threads take and release `.data` of one object at once, and each reads what is there.

    Views of one inner view failed here in half of the runs on free-threaded 3.13, "operation
    forbidden on released memoryview object", and could have been views into unmapped memory.
    """
    mapped = MappedFile(path)
    wrong: list[object] = []
    start = threading.Barrier(8)

    def read() -> None:
        start.wait()
        try:
            for _ in range(20_000):
                with mapped.data as view:
                    if bytes(view[4:8]) != CONTENT[4:8]:
                        wrong.append(view.nbytes)
        except ValueError as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert bytes(mapped.data) == CONTENT


def test_it_dies_when_dropped(path: Path) -> None:
    """Nothing but its holders keeps a MappedFile alive; it can be referenced weakly."""
    assert weakref.ref(MappedFile(path)) is not None
    assert_dies(lambda: MappedFile(path))


@cpython_only
def test_it_is_unmapped_by_its_reference_count(path: Path) -> None:
    """On CPython the unmapping waits for no collection."""
    assert_dies(lambda: MappedFile(path), cause="refcount")


@pytest.mark.parametrize(
    ("name", "error", "number"),
    [
        ("missing", FileNotFoundError, errno.ENOENT),
        ("folder", IsADirectoryError, errno.EISDIR),
        ("fifo", OSError, errno.ENODEV),
        ("socket", OSError, errno.ENXIO),
        ("/dev/null", OSError, errno.ENODEV),
        ("/dev/zero", OSError, errno.ENODEV),
        ("content/below", NotADirectoryError, errno.ENOTDIR),
    ],
)
@linux_only
def test_what_is_no_file_is_refused(
    tmp_path: Path, path: Path, name: str, error: type[OSError], number: int
) -> None:
    """The ordinary OSError with its errno and the path; no descriptor and no frames are kept."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    bind_socket(tmp_path)
    before = descriptors()
    with pytest.raises(error) as caught:
        MappedFile(tmp_path / name)
    assert caught.value.errno == number
    assert caught.value.filename == os.fspath(tmp_path / name)
    assert caught.value.__context__ is None
    if sys.implementation.name == "pypy":  # its mmap frees the duplicate it made by collection
        collect()
    assert descriptors() == before


def bind_socket(folder: Path) -> None:
    """Bind a socket at folder/socket, by a relative path: those of sockets are short."""
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(folder)
        try:
            bound.bind("socket")
        finally:
            os.chdir(here)


@posix_only
def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """An open of a FIFO that nobody writes to would wait for ever: this one does not."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = f"from lastref import MappedFile; MappedFile({os.fspath(fifo)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert "OSError" in done.stderr
    assert os.fspath(fifo) in done.stderr


@linux_only
@pytest.mark.parametrize("name", ["/proc/self/status", "/proc/self/maps"])
def test_a_file_made_up_as_it_is_read_is_not_called_empty(name: str) -> None:
    """Its size is 0 and its content isn't: an OSError, where empty data would be a lie."""
    before = descriptors()
    with pytest.raises(OSError, match="made up as it is read") as caught:
        MappedFile(name)
    assert caught.value.filename == name
    assert descriptors() == before


@linux_only
def test_the_kernels_own_refusal_names_the_path() -> None:
    """A regular file whose file system maps nothing: the kernel's errno, with the path added."""
    name = "/sys/kernel/mm/transparent_hugepage/enabled"
    if not os.path.exists(name):
        pytest.skip(f"this kernel has no {name}")
    with pytest.raises(OSError, match=name) as caught:
        MappedFile(name)
    assert caught.value.errno == errno.ENODEV


@posix_only
def test_an_unreadable_file_is_refused(path: Path) -> None:
    """PermissionError, as from open. Root may read everything, so another user tries."""
    path.chmod(0)
    if os.geteuid():
        with pytest.raises(PermissionError):
            MappedFile(path)
        return
    code = f"""
import os
from lastref import MappedFile
for folder in {[os.fspath(p) for p in path.parents]!r}:
    os.chmod(folder, os.stat(folder).st_mode | 0o111)
os.setuid(65534)
try:
    MappedFile({os.fspath(path)!r})
except PermissionError as error:
    print("refused", error.filename)
"""
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in path.parents}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=30
        )
    finally:
        for folder, mode in modes.items():
            if stat.S_IMODE(folder.stat().st_mode) != mode:
                folder.chmod(mode)
    assert done.stdout == f"refused {path}\n", done.stderr


class Garbage:
    def __fspath__(self) -> int:
        return 3


@pytest.mark.parametrize("path", [3, None, 1.5, Garbage(), object()])
def test_what_is_no_path_is_a_type_error(path: object) -> None:
    """A descriptor is no path either: `MappedFile` opens and closes its own."""
    with pytest.raises(TypeError):
        MappedFile(path)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["a\0b", b"a\0b"])
def test_an_embedded_nul_is_a_value_error(path: str | bytes) -> None:
    """As from `open`."""
    with pytest.raises(ValueError, match="null"):
        MappedFile(path)


@linux_only
@cpython_only
def test_a_live_mapping_holds_no_descriptor_from_3_13_and_one_before(path: Path) -> None:
    """CPython 3.11 and 3.12 keep a duplicate for the life of the mapping."""
    before = descriptors()
    mapped = MappedFile(path)
    assert descriptors() - before == (0 if sys.version_info >= (3, 13) else 1)
    del mapped
    assert descriptors() == before


class Interruption(BaseException):
    """Stands for KeyboardInterrupt, so that a real one still stops the tests."""


@pytest.fixture
def interruptions() -> Iterator[Callable[[float], object]]:
    """`interruptions(seconds)`: raise `Interruption` so much later, wherever Python is."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interruption

    handler = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def open_and_assign(path: Path) -> None:
    """The ordinary way, which loses descriptors to interrupts."""
    fd = os.open(path, os.O_RDONLY)
    os.close(fd)


@linux_only
@cpython_only
@pytest.mark.parametrize("opener", [MappedFile, open_and_assign])
def test_an_interrupt_leaves_no_descriptor(
    path: Path,
    interruptions: Callable[[float], object],
    opener: Callable[[Path], object],
) -> None:
    """Wherever KeyboardInterrupt falls, the descriptor is closed.

    `fd = os.open(...)` loses it: the signal arrives during the system call, and is raised between
    the call and the assignment. It shows that the test can fail.
    """
    interrupted(opener, path, interruptions, 3)
    before = descriptors()
    times = interrupted(opener, path, interruptions, 1000)
    lost = descriptors() - before
    assert times > 500, "the signals missed the calls they were meant for"
    assert lost == 0 if opener is MappedFile else lost > 50


def interrupted(
    opener: Callable[[Path], object],
    path: Path,
    interruptions: Callable[[float], object],
    times: int,
) -> int:
    """Open `path` again and again, interrupted at another moment each time; how often it was."""
    hits = 0
    for n in range(times):
        try:
            interruptions(2e-5 + n % 97 * 1e-6)
            open_for(0.001, opener, path)
            interruptions(0)
        except Interruption:
            hits += 1
    return hits


def open_for(seconds: float, opener: Callable[[Path], object], path: Path) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        opener(path)


@linux_only
def test_reading_what_was_truncated_ends_the_process(path: Path) -> None:
    """The stated hazard: a file cut short while mapped is SIGBUS, which Python can't catch."""
    path.write_bytes(b"x" * 100_000)
    code = f"""
from lastref import MappedFile
mapped = MappedFile({os.fspath(path)!r})
open({os.fspath(path)!r}, "wb").close()
mapped.data[50_000]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert done.returncode == -signal.SIGBUS


@posix_only
def test_a_replaced_file_is_seen_as_it_was(path: Path) -> None:
    """Renaming over a mapped file leaves the mapping of the old one, whole."""
    mapped = MappedFile(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as new:
        new.write(b"new")
    os.replace(new.name, path)
    assert bytes(mapped.data) == CONTENT
    assert bytes(MappedFile(path).data) == b"new"


def test_it_says_what_it_maps(path: Path) -> None:
    """`repr` names the path and the size, for reports of what is alive."""
    assert repr(MappedFile(path)) == f"<MappedFile {path!r}, {len(CONTENT)} bytes>".replace(
        repr(path), repr(os.fspath(path))
    )


def test_the_examples_in_the_docstrings_run() -> None:
    """Every public docstring's example is true."""
    done = doctest.testmod(lastref.mapped)
    assert done.attempted >= 8
    assert not done.failed
