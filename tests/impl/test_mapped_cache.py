"""MappedFileCache: one mapping of a file for as long as anyone holds it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deathwatch import collect, watch
from lastref import MappedFile, MappedFileCache

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc, which only Linux has"
)

FILES = 50
GETS = 10_000


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    names = [os.path.join(os.path.realpath(tmp_path), f"{n:02}") for n in range(FILES)]
    for n, name in enumerate(names):
        Path(name).write_bytes(bytes([n]) * 100)
    return names


@pytest.fixture
def path(paths: list[str]) -> str:
    return paths[1]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[None]:
    here = os.getcwd()
    os.chdir(tmp_path)
    yield
    os.chdir(here)


def mappings(folder: str) -> int:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        return sum(folder in line for line in maps)


def hold(cache: MappedFileCache, paths: list[str], held: list[MappedFile]) -> None:
    for n in range(GETS // 8):
        held.append(cache.get(paths[n * 7 % len(paths)]))


@linux_only
def test_ten_thousand_gets_by_eight_threads_make_fifty_mappings(paths: list[str]) -> None:
    """Everything held: exactly one mapping for each file, by the kernel's account."""
    cache = MappedFileCache()
    held: list[list[MappedFile]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def work(mine: list[MappedFile]) -> None:
        start.wait()
        hold(cache, paths, mine)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [mapped for mine in held for mapped in mine]
    assert len(everything) == GETS
    assert len({id(mapped) for mapped in everything}) == FILES
    assert mappings(os.path.dirname(paths[0])) == FILES
    assert all(bytes(m.data) == bytes([n % 50]) * 100 for n, m in enumerate(map(cache.get, paths)))


@linux_only
def test_ten_thousand_gets_by_one_thread_make_fifty_mappings_and_leave_none(
    paths: list[str],
) -> None:
    """The cache holds none of them: all are unmapped when their holders let go."""
    cache = MappedFileCache()
    held: list[MappedFile] = []
    for _ in range(8):
        hold(cache, paths, held)
    watches = [watch(mapped) for mapped in set(held)]
    assert mappings(os.path.dirname(paths[0])) == len(watches) == FILES
    held.clear()
    collect()
    assert mappings(os.path.dirname(paths[0])) == 0
    assert not any(watched.alive for watched in watches)


@pytest.mark.parametrize("spelling", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_spellings_of_one_path_share_one_mapping(path: str, spelling: Callable[[str], str]) -> None:
    """str, bytes and PathLike of one path are one key."""
    cache = MappedFileCache()
    mapped = cache.get(path)
    assert cache.get(spelling(path)) is mapped


def test_a_name_that_is_no_utf_8_is_one_key(tmp_path: Path) -> None:
    """Bytes that can't be decoded come back from str as they were."""
    if sys.platform in ("darwin", "win32"):
        pytest.skip("this system has no file names that are not UTF-8")
    name = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(name)).write_bytes(b"content")
    cache = MappedFileCache()
    mapped = cache.get(name)
    assert cache.get(os.fsdecode(name)) is mapped
    assert bytes(mapped.data) == b"content"


def test_a_relative_path_is_of_the_current_directory_at_the_call(
    tmp_path: Path, elsewhere: None
) -> None:
    """The same words mean another file in another directory, and get it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    cache = MappedFileCache()
    os.chdir("one")
    first = cache.get("file")
    assert cache.get(tmp_path / "one" / "file") is first
    os.chdir("../two")
    assert bytes(cache.get("file").data) == b"two"
    assert bytes(first.data) == b"one"


def test_parent_folders_are_not_folded_away(tmp_path: Path) -> None:
    """`link/../file` is the file beside the link's target, not the one beside the link."""
    if os.name != "posix":
        pytest.skip("symbolic links need a privilege here")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("beside the link")
    (tmp_path / "a" / "file").write_text("beside the target")
    cache = MappedFileCache()
    beside = cache.get(tmp_path / "file")
    assert bytes(beside.data) == b"beside the link"
    assert bytes(cache.get(f"{tmp_path}/link/../file").data) == b"beside the target"


def test_a_replaced_file_is_served_from_the_old_mapping_while_that_lives(path: str) -> None:
    """The stated assumption, which is the post's: files that are mapped aren't replaced."""
    cache = MappedFileCache()
    old = cache.get(path)
    Path(path + ".new").write_bytes(b"new")
    if os.name != "posix":
        pytest.skip("a mapped file can't be replaced here")
    os.replace(path + ".new", path)
    assert cache.get(path) is old
    assert bytes(old.data) == bytes([1]) * 100
    del old
    collect()
    assert bytes(cache.get(path).data) == b"new"


@linux_only
def test_a_view_alone_keeps_the_mapping_and_not_the_entry(path: str) -> None:
    """As documented: the next get maps anew, and the old view stays readable."""
    cache = MappedFileCache()
    view = cache.get(path).data[10:20]
    collect()
    assert mappings(path) == 1
    again = cache.get(path)
    assert mappings(path) == 2
    assert bytes(view) == bytes(again.data[10:20])


def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    """A file that was missing is found once it is there."""
    cache = MappedFileCache()
    with pytest.raises(FileNotFoundError):
        cache.get(tmp_path / "later")
    (tmp_path / "later").write_text("here")
    assert bytes(cache.get(tmp_path / "later").data) == b"here"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", FileNotFoundError),
        (b"", FileNotFoundError),
        (3, TypeError),
        (None, TypeError),
        ("a\0b", ValueError),
    ],
)
def test_what_mapped_file_refuses_the_cache_refuses(path: str, error: type[Exception]) -> None:
    """An empty path is no file; it is not taken for the current directory."""
    with pytest.raises(error):
        MappedFileCache().get(path)


class Name(str):
    """A path with baggage."""


def test_a_subclass_of_str_is_not_kept(path: str) -> None:
    """The entry's key is a plain str: what an instance of a subclass refers to is let go (U4)."""
    cache = MappedFileCache()
    name = Name(path)
    watched = watch(name)
    mapped = cache.get(name)
    del name
    collect()
    assert not watched.alive
    assert cache.get(path) is mapped
    assert type(mapped.path) is str


def test_a_dropped_cache_keeps_nothing_and_takes_nothing_along(path: str) -> None:
    """The cache dies at once; the mappings that it gave out stay."""
    cache = MappedFileCache()
    watched = watch(cache)
    mapped = cache.get(path)
    del cache
    collect()
    assert not watched.alive
    assert len(mapped) == 100
