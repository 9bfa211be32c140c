"""The baseline: written once, only shrinking, and never believed blindly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_deathwatch import baseline

ONE = """
    class Widget: pass
    KEPT = []
    def test_leaks(): KEPT.append(Widget())
"""
MENDED = """
    class Widget: pass
    def test_leaks(): Widget()
"""
OTHER = """
    class Gadget: pass
    KEPT = []
    def test_leaks(): KEPT.append(Gadget())
"""


@pytest.mark.usefixtures("judges")
def test_a_baseline_lets_known_leaks_pass_and_fails_new_ones(judge, pytester) -> None:
    """Written when missing; then one line a leak; stale ones are said and struck on update."""
    path = pytester.path / "leaks.txt"
    option = f"--deathwatch-baseline={path}"

    first = judge(ONE, option)
    (line,) = [row for row in path.read_text().splitlines() if not row.startswith("#")]
    assert first.ret == 0, first.text
    assert line.startswith(first.leaks[0]["fingerprint"] + "  test_it.Widget held by")

    again = judge(ONE, option)
    assert again.ret == 0
    assert again.leaks[0]["status"] == "baseline"
    assert "leaked" not in again.outcomes
    assert "1 in the baseline" in again.line

    new = judge(OTHER, option)
    assert new.ret == 1
    assert f"stale in the baseline, not shown by any test of this run: {line}" in new.text
    assert line in path.read_text(), "only an update changes it"

    updated = judge(MENDED, option, "--deathwatch-update")
    assert updated.ret == 0
    assert "1 struck out" in updated.text
    assert path.read_text() == baseline.HEADER


@pytest.mark.usefixtures("judges")
def test_no_baseline_is_written_where_ci_is_set(judge, pytester, monkeypatch) -> None:
    """A usage error in one sentence, before any test runs."""
    path = pytester.path / "leaks.txt"
    monkeypatch.setenv("CI", "true")
    run = judge(ONE, f"--deathwatch-baseline={path}")
    assert run.ret == 4
    assert "write it with --deathwatch-update and commit it" in run.errors
    assert not path.exists()


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"0123456789abcdef  fine\nnonsense\n", ":2: expected a fingerprint"),
        (b"\xff\xfe\n", ":1: not text in UTF-8"),
        (b"# fine\n\n0123456789ABCDEF x\n", ":3: expected a fingerprint"),
        (b"\x1b]0;title\x07\n", ":1: expected a fingerprint"),
    ],
)
def test_hostile_contents_are_an_error_with_a_line_number(
    tmp_path: Path, data: bytes, complaint: str
) -> None:
    """And nothing of it reaches the terminal raw."""
    path = tmp_path / "leaks.txt"
    path.write_bytes(data)
    with pytest.raises(baseline.BaselineError) as error:
        baseline.read(path)
    assert complaint in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_directory_is_no_baseline(tmp_path: Path) -> None:
    """The operating system's words, in one sentence."""
    with pytest.raises(baseline.BaselineError, match="can't be read"):
        baseline.read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_no_baseline(tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(baseline.BaselineError, match="not a regular file"):
        baseline.read(tmp_path / "pipe")


def test_a_byte_order_mark_is_no_complaint(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    path = tmp_path / "leaks.txt"
    path.write_bytes(b"\xef\xbb\xbf# known\n0123456789abcdef  app.Old\n")
    assert baseline.read(path) == {"0123456789abcdef": "app.Old"}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Sorted, one line each, whatever characters the words have."""
    path = tmp_path / "leaks.txt"
    baseline.write(path, [("f" * 16, "two\nlines\x1b[31m"), ("0" * 16, "ünicode")])
    assert path.read_text(encoding="utf-8").splitlines()[2:] == [
        f"{'0' * 16}  ünicode",
        f"{'f' * 16}  two lines?[31m",
    ]
    assert baseline.read(path) == {"0" * 16: "ünicode", "f" * 16: "two lines?[31m"}


@pytest.mark.skipif(os.name == "nt", reason="a folder without write permission is POSIX's")
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    """The new content comes by one rename, or not at all."""
    path = tmp_path / "leaks.txt"
    baseline.write(path, [("0" * 16, "old")])

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(baseline.BaselineError, match="No space left"):
        baseline.write(path, [("1" * 16, "new")])
    assert baseline.read(path) == {"0" * 16: "old"}
    assert list(tmp_path.iterdir()) == [path]


LONG_BASELINE = f"{'0' * 16}  test_it.Old held by test_it.OLD\n{'1' * 16}  test_it.Older\n"
TWO = ONE + "    def test_fine(): pass\n"


@pytest.mark.usefixtures("judges")
@pytest.mark.parametrize(
    ("source", "options", "why"),
    [
        (TWO, ["--collect-only"], "no test was run"),
        (TWO, ["-k", "nothing"], "exit status 5"),
        ("import nowhere", [], "the run was stopped"),
        ("def test_it(): raise KeyboardInterrupt", [], "the run was stopped"),
        ("import pytest\ndef test_it(): pytest.exit('', returncode=0)", [], "the run was stopped"),
        ("def test_it(): assert 0\ndef test_more(): pass", ["-x"], "the run was stopped"),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_is_not_complete_writes_no_baseline(
    judge, pytester, source: str, options: list[str], why: str, there: bool
) -> None:
    """Neither anew nor first: an empty one would call every leak mended. It is said."""
    path = pytester.path / "leaks.txt"
    if there:
        path.write_text(LONG_BASELINE)
    run = judge(source, f"--deathwatch-baseline={path}", "--deathwatch-update", *options)
    assert f"{path} was not written: " in run.text, run.text
    assert why in run.text
    assert (path.read_text() if path.exists() else None) == (LONG_BASELINE if there else None)


@pytest.mark.usefixtures("judges")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-k", "test_leaks"], "narrowed by -k"),
        (["-m", "not slow"], "narrowed by -m"),
        (["test_it.py"], "narrowed to some paths"),
        (["--deselect", "test_it.py::test_fine"], "narrowed by --deselect"),
    ],
)
def test_a_narrowed_run_strikes_nothing_out(judge, pytester, options: list[str], why: str) -> None:
    """What it doesn't show may still be there: new leaks are added, old ones kept."""
    path = pytester.path / "leaks.txt"
    path.write_text(LONG_BASELINE)
    run = judge(TWO, f"--deathwatch-baseline={path}", "--deathwatch-update", *options)
    assert run.ret == 0, run.text
    assert f"3 known leaks; the run was {why}: 2 that were not shown were kept" in run.text
    assert len(baseline.read(path)) == 3


@pytest.mark.usefixtures("judges")
def test_testpaths_are_no_narrowing(judge, pytester) -> None:
    """Whether pytest takes them or they are given: the whole suite was run."""
    pytester.makeini("[pytest]\ntestpaths = suite\n")
    pytester.mkdir("suite").joinpath("test_one.py").write_text("def test_it(): pass\n")
    for options in ([], ["suite"]):
        path = pytester.path / "leaks.txt"
        path.write_text(LONG_BASELINE)
        run = judge(None, f"--deathwatch-baseline={path}", "--deathwatch-update", *options)
        assert "0 known leaks, 2 struck out" in run.text, run.text


@pytest.mark.usefixtures("judges")
def test_a_failing_test_strikes_nothing_out(judge, pytester) -> None:
    """It was not judged, and may leak as ever."""
    path = pytester.path / "leaks.txt"
    path.write_text(LONG_BASELINE)
    source = "def test_it(): assert 0\ndef test_fine(): pass\n"
    run = judge(source, f"--deathwatch-baseline={path}", "--deathwatch-update")
    assert "tests failed, and those are not judged: 2 that were not shown were kept" in run.text
    assert len(baseline.read(path)) == 2


@pytest.mark.usefixtures("judges")
def test_a_lost_worker_writes_no_baseline(judge, pytester) -> None:
    """What it found is lost with it."""
    pytest.importorskip("xdist")
    path = pytester.path / "leaks.txt"
    path.write_text(LONG_BASELINE)
    source = "import os\ndef test_it(): os._exit(1)\ndef test_fine(): pass\n"
    run = judge(source, f"--deathwatch-baseline={path}", "--deathwatch-update", "-n1")
    assert f"{path} was not written: worker gw0 ended without its findings" in run.text, run.text
    assert path.read_text() == LONG_BASELINE
