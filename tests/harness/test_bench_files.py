"""Choosing the files to map, and writing what came of it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deathwatch.bench import results
from deathwatch.bench.errors import BadRequest
from deathwatch.bench.files import choose


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(5):
        (tmp_path / f"{n}.dat").write_bytes(b"x" * (n + 1))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "deep.dat").write_bytes(b"deep")
    return Path(os.path.realpath(tmp_path))


def test_this_machines_own_files_are_chosen_alike_each_time() -> None:
    """Real paths of regular files that aren't empty, each once, the same in every run."""
    chosen = choose(None, 20)
    assert chosen == choose(None, 20)
    assert 1 <= len(chosen.paths) == len(set(chosen.paths)) <= 20
    for path, size in zip(chosen.paths, chosen.sizes, strict=True):
        assert os.path.realpath(path) == path
        assert os.path.isfile(path)
        assert os.path.getsize(path) == size > 0
    assert "Python modules" in chosen.origin


def test_the_users_own_files_are_taken_by_path(folder: Path) -> None:
    """The first of those that match, in the order of their paths, and how many there were."""
    chosen = choose([f"{folder}/*.dat"], 3)
    assert chosen.paths == tuple(os.fspath(folder / f"{n}.dat") for n in range(3))
    assert chosen.sizes == (1, 2, 3)
    assert "of 5 usable of 5 that match" in chosen.describe()


def test_two_stars_go_into_folders_and_patterns_add_up(folder: Path) -> None:
    """Relative patterns too."""
    chosen = choose([f"{folder}/**/deep.dat", f"{folder}/0.*"], 9)
    assert {os.path.basename(path) for path in chosen.paths} == {"deep.dat", "0.dat"}


def test_one_file_of_many_names_is_taken_once(folder: Path) -> None:
    """By symbolic and hard links: the kernel knows one file."""
    if os.name != "posix":
        pytest.skip("links need a privilege here")
    (folder / "soft").symlink_to(folder / "0.dat")
    os.link(folder / "1.dat", folder / "hard")
    chosen = choose([f"{folder}/soft", f"{folder}/hard", f"{folder}/[01].dat"], 9)
    assert len(chosen.paths) == 2


def test_a_pattern_without_a_match_is_refused(folder: Path) -> None:
    """In a sentence that repeats it."""
    with pytest.raises(BadRequest, match=r"^no file matches '.*nothing\*'$"):
        choose([f"{folder}/nothing*"], 9)


def test_matches_that_cannot_be_mapped_are_refused(folder: Path) -> None:
    """Folders and empty files match, and are not mapped."""
    (folder / "below" / "empty").touch()
    with pytest.raises(BadRequest, match="none of the 2 matches of .* is a readable regular file"):
        choose([f"{folder}/below", f"{folder}/below/empty"], 9)


def test_only_base_names_are_published(folder: Path) -> None:
    """A folder's name tells about the user; a file's name and size are enough."""
    published = json.dumps(choose([f"{folder}/*.dat"], 5).to_dict())
    assert json.loads(published)[0] == {"name": "0.dat", "bytes": 1}
    assert os.fspath(folder) not in published


def test_a_result_is_written_whole(tmp_path: Path) -> None:
    """What is read back is what was written, and nothing lies beside it."""
    target = tmp_path / "result.json"
    results.write(target, {"a": 1})
    results.write(target, {"b": [2]})
    assert json.loads(target.read_text()) == {"b": [2]}
    assert os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize("offence", [{"a": {1, 2}}, {"a": float("nan")}, {"a": object()}])
def test_a_write_that_fails_midway_leaves_the_old_file(
    tmp_path: Path, offence: dict[str, object]
) -> None:
    """The offender can't be said in JSON: half of it was written by then, but beside the file."""
    target = tmp_path / "result.json"
    results.write(target, {"old": True})
    with pytest.raises((TypeError, ValueError)):
        results.write(target, {"padding": "x" * 100_000, **offence})
    assert json.loads(target.read_text()) == {"old": True}
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path: Path) -> None:
    """The kernel refuses the write itself (RLIMIT_FSIZE), in a process of its own."""
    resource = pytest.importorskip("resource", reason="limits are POSIX's")
    target = tmp_path / "result.json"
    results.write(target, {"old": True})
    code = f"""
import resource, signal
from pathlib import Path
from deathwatch.bench import results
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
try:
    results.write(Path({os.fspath(target)!r}), ["x" * 50_000])
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{os.strerror(errno.EFBIG)}\n", done.stderr
    assert json.loads(target.read_text()) == {"old": True}
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    """The link stays one; the file that it names is replaced."""
    if os.name != "posix":
        pytest.skip("symbolic links need a privilege here")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "result.json")
    results.check_target(tmp_path / "link")
    results.write(tmp_path / "link", [1])
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "there" / "result.json").read_text()) == [1]


@pytest.mark.parametrize("name", [os.devnull, ".", "missing/result.json", "file/result.json", "\0"])
def test_what_cannot_be_replaced_is_refused_before_anything_is_measured(
    tmp_path: Path, name: str
) -> None:
    """A device, a folder, a folder that is not there: one sentence, and nothing is touched."""
    (tmp_path / "file").touch()
    before = os.stat(os.devnull)
    with pytest.raises(BadRequest, match="^can't write "):
        results.check_target(tmp_path / name)
    assert os.stat(os.devnull).st_mode == before.st_mode


def test_results_go_to_the_checkout_or_stay_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`results/` of the checkout around the current directory, else the current directory."""
    (tmp_path / "clone" / "harness" / "deathwatch").mkdir(parents=True)
    (tmp_path / "clone" / "results").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "clone" / "harness")
    assert results.default_path("r.json") == tmp_path / "clone" / "results" / "r.json"
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert results.default_path("r.json") == tmp_path / "elsewhere" / "r.json"
