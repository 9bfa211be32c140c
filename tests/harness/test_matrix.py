"""The conformance matrix: merging, judging, showing, and what hostile files can't do."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deathwatch.cli import main
from deathwatch.matrix import BadResults, Status, matrix_of, problems, read

Json = dict[str, Any]


def results(outcome: str = "ran", *, key: str = "cpython-3.11", **column: str) -> Json:
    """A result file of one scenario, as the runner writes it."""
    return {
        "format": "deathwatch-conformance",
        "version": 1,
        "column": {
            "key": key,
            "name": column.get("name", "CPython 3.11"),
            "version": column.get("version", "3.11.7"),
            "build": "3.11.7 (main) [GCC]",
            "platform": column.get("platform", "Linux x86_64"),
        },
        "scenarios": [
            {
                "id": "C1/thread",
                "group": "Cleanups",
                "title": "The thread of a cleanup",
                "promise": "It runs.",
                "expected": "ran",
                "where": "tests/conformance/scenarios/cleanups.py:1",
                "sources": [{"text": "PEP 442", "url": "https://peps.python.org/pep-0442/"}],
                "differences": [
                    {
                        "binding": "lastref",
                        "columns": ["cpython-*"],
                        "outcome": "did not",
                        "why": "It was told so.",
                        "source": {"text": "measured"},
                    }
                ],
                "cells": {"lastref": [{"outcome": outcome}, {"outcome": outcome}]},
            }
        ],
    }


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(data: object, name: str = "one.json") -> Path:
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return path

    return save


def status(path: Path) -> Status:
    [cell] = matrix_of([path]).cells()
    return cell.status


def test_a_cell_is_judged_by_what_was_promised_and_explained(save: Callable[..., Path]) -> None:
    """As promised; different and explained; different and not."""
    assert status(save(results("ran"))) is Status.KEPT
    assert status(save(results("did not"))) is Status.DIFFERS
    assert status(save(results("exploded"))) is Status.UNEXPLAINED
    assert status(save(results("did not", key="pypy-3.11"))) is Status.UNEXPLAINED


def test_a_cell_that_changes_between_runs_fails_and_shows_both(
    save: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit status 1, and both outcomes in the message and on the page."""
    data = results("ran")
    data["scenarios"][0]["cells"]["lastref"][1] = {"outcome": "did not"}
    assert main(["matrix", str(save(data)), "--output", str(tmp_path)]) == 1
    assert "changed between runs: 'ran' / 'did not'" in capsys.readouterr().err
    page = (tmp_path / "conformance.html").read_text(encoding="utf-8")
    assert "<q>ran</q> / <q>did not</q>" in page


def test_files_of_one_build_are_runs_of_one_column(save: Callable[..., Path]) -> None:
    """The same build on two machines must see the same: else the cell has changed."""
    one, two = save(results("ran")), save(results("did not"), "two.json")
    matrix = matrix_of([one, two])
    assert len(matrix.columns) == 1
    assert [cell.status for cell in matrix.cells()] == [Status.CHANGED]


def test_other_builds_and_platforms_are_columns_of_their_own(save: Callable[..., Path]) -> None:
    """Merged from several machines, in the order of versions."""
    paths = [
        save(results(key="go", name="Go 1.27", version="1.27.3"), "go.json"),
        save(results(platform="Darwin arm64"), "mac.json"),
        save(results(key="cpython-3.13t", name="CPython 3.13t", version="3.13.1"), "t.json"),
        save(results(key="cpython-3.9", name="CPython 3.9", version="3.9.1"), "old.json"),
        save(results()),
    ]
    columns = [(c.name, c.platform) for c, _ in matrix_of(paths).columns]
    assert columns == [
        ("CPython 3.9", "Linux x86_64"),
        ("CPython 3.11 (3.11.7, Darwin arm64)", "Darwin arm64"),
        ("CPython 3.11 (3.11.7, Linux x86_64)", "Linux x86_64"),
        ("CPython 3.13t", "Linux x86_64"),
        ("Go 1.27", "Linux x86_64"),
    ]


def test_one_run_is_not_two(save: Callable[..., Path]) -> None:
    """Nothing can be said of what changes between two runs."""
    data = results("ran")
    del data["scenarios"][0]["cells"]["lastref"][1]
    assert problems(matrix_of([save(data)])) == [
        "C1/thread, CPython 3.11, lastref: 1 run, where 2 must agree"
    ]


def test_columns_of_one_name_are_told_apart(
    save: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By version and platform, on the page and in what is wrong."""
    mac = save(results("exploded", platform="Darwin arm64"), "mac.json")
    assert main(["matrix", str(save(results())), str(mac), "--output", str(tmp_path)]) == 1
    assert "CPython 3.11 (3.11.7, Darwin arm64), lastref: 'exploded'" in capsys.readouterr().err
    page = (tmp_path / "conformance.html").read_text(encoding="utf-8")
    assert "CPython 3.11 (3.11.7, Linux x86_64)" in page


def test_builds_of_one_version_are_told_apart(save: Callable[..., Path]) -> None:
    """Version and platform may be the same: then the build is named too."""
    other = results("did not")
    other["column"]["build"] = "3.11.7 (main) [Clang]"
    names = [c.name for c, _ in matrix_of([save(results()), save(other, "two.json")]).columns]
    assert names == [
        "CPython 3.11 (3.11.7, Linux x86_64, 3.11.7 (main) [Clang])",
        "CPython 3.11 (3.11.7, Linux x86_64, 3.11.7 (main) [GCC])",
    ]


@pytest.mark.parametrize(
    ("outcome", "shown"), [("ran", False), ("exploded", True)], ids=["none", "one"]
)
def test_the_legend_has_every_mark_of_the_page(
    outcome: str, shown: bool, save: Callable[..., Path], tmp_path: Path
) -> None:
    """A mark that only problems have is explained where there is one."""
    main(["matrix", str(save(results(outcome))), "--output", str(tmp_path)])
    page = (tmp_path / "conformance.html").read_text(encoding="utf-8")
    legend = page.partition('<ul class="legend">')[2].partition("</ul>")[0]
    assert "as promised" in legend
    assert ("differs, unexplained" in legend) is shown


def test_a_missing_cell_is_a_problem_and_a_reason_is_none(save: Callable[..., Path]) -> None:
    """No empty cell without a reason."""
    other = results(key="pypy-3.11", name="PyPy 3.11")
    other["scenarios"] = []
    absent = results()
    absent["scenarios"][0]["cells"]["lastref"] = [{"reason": "No threads."}] * 2
    assert problems(matrix_of([save(absent)])) == []
    empty = copy.deepcopy(absent)
    empty["scenarios"][0]["cells"]["lastref"] = []
    assert problems(matrix_of([save(empty)])) == [
        "C1/thread, CPython 3.11, lastref: no result and no reason"
    ]


def test_descriptions_that_disagree_are_refused(save: Callable[..., Path]) -> None:
    """Two versions of the suite can't be merged, and the message names both files."""
    other = results(platform="Darwin arm64")
    other["scenarios"][0]["expected"] = "something else"
    with pytest.raises(BadResults, match=r"one\.json and .*two\.json describe scenario C1/thread"):
        matrix_of([save(results()), save(other, "two.json")])


def _set(path: str, value: object) -> Callable[[Json], None]:
    def change(data: Json) -> None:
        *way, last = [int(p) if p.isdecimal() else p for p in path.split(".")]
        at: Any = data
        for step in way:
            at = at[step]
        at[last] = value

    return change


HOSTILE: dict[str, Callable[[Json], None]] = {
    "not ours": _set("format", "something else"),
    "a later version": _set("version", 2),
    "a column that is a list": _set("column", []),
    "a key that is a path": _set("column.key", "../../etc/passwd"),
    "a key that is not ASCII": _set("column.key", "cpython-\uff13"),
    "a name with a tag": _set("column.name", "<script>"),
    "a terminal's escape": _set("column.build", "\x1b[2J"),
    "a text that can't be encoded": _set("scenarios.0.title", "\ud800"),
    "a text that turns the reading direction": _set("scenarios.0.title", "a\u202eb"),
    "a link that is code": _set("scenarios.0.sources.0.url", "javascript:alert(1)"),
    "a link that leaves its attribute": _set("scenarios.0.sources.0.url", 'https://a/"onclick=x'),
    "an id that is a number": _set("scenarios.0.id", 7),
    "an absolute path": _set("scenarios.0.where", "/etc/passwd"),
    "a huge text": _set("scenarios.0.promise", "x" * 100_000),
    "a run of neither kind": _set("scenarios.0.cells.lastref.0", {"verdict": "fine"}),
    "a run of both kinds": _set("scenarios.0.cells.lastref.0", {"outcome": "a", "reason": "b"}),
    "an outcome that is nothing": _set("scenarios.0.cells.lastref.0", {"outcome": None}),
    "a binding with a tag": _set("scenarios.0.cells", {"<b>": []}),
    "a path that leaves": _set("scenarios.0.where", "a/../../../etc/passwd"),
    "no scenario": _set("scenarios", []),
    "many scenarios": _set("scenarios", [{}] * 3000),
    "the same scenario twice": lambda data: data["scenarios"].append(data["scenarios"][0]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence_that_names_it(
    kind: str, save: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, one line, nothing written."""
    data = results()
    HOSTILE[kind](data)
    output = tmp_path / "out"
    assert main(["matrix", str(save(data)), "--output", str(output)]) == 2
    message = capsys.readouterr().err
    assert "one.json" in message
    assert message.count("\n") == 1
    assert "\x1b" not in message
    assert not output.exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nothing", "{", "[" * 100_000, "NaN", '{"format": NaN}', "9" * 5000, '"\\ud800"'],
    ids=["empty", "list", "word", "open", "deep", "nan", "inner nan", "long number", "surrogate"],
)
def test_what_is_not_json_is_refused(text: str, save: Callable[..., Path]) -> None:
    """Whatever the JSON reader makes of it."""
    with pytest.raises(BadResults, match=r"one\.json"):
        read(save(text))


def test_what_is_no_file_is_refused_and_nothing_hangs(tmp_path: Path) -> None:
    """Missing, a folder, and bytes that are not UTF-8."""
    latin = tmp_path / "latin.json"
    latin.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.json", tmp_path, latin):
        with pytest.raises(BadResults):
            read(path)


MARKUP = "<img src=x onerror=alert(1)> & \"quotes\" 'here' | `code` [x](y)"


def test_everything_from_a_file_is_escaped(save: Callable[..., Path], tmp_path: Path) -> None:
    """No markup of a result file reaches the page or the document."""
    data = results(MARKUP)
    for field in ("title", "promise", "expected"):
        data["scenarios"][0][field] = MARKUP
    data["column"]["build"] = MARKUP
    data["scenarios"][0]["sources"] = [{"text": MARKUP}]
    main(["matrix", str(save(data)), "--output", str(tmp_path)])
    page = (tmp_path / "conformance.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "<img" not in (tmp_path / "conformance.md").read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_links_every_cell(
    save: Callable[..., Path], tmp_path: Path
) -> None:
    """One script and one style, both inline; each mark leads to what was observed."""
    main(["matrix", str(save(results("did not"))), "--output", str(tmp_path)])
    page = (tmp_path / "conformance.html").read_text(encoding="utf-8")
    assert not re.search(r"<(link|img|iframe)|src=|@import|url\(", page)
    assert page.count("<script>") == 1
    marks = re.findall(r'<a class="\w+" href="#([^"]+)"', page)
    assert marks
    for mark in marks:
        assert f'<span id="{mark}">' in page
    assert "It was told so." in page


def test_the_document_says_what_differs_and_why(save: Callable[..., Path], tmp_path: Path) -> None:
    """JSON and Markdown carry outcome, explanation and source."""
    assert main(["matrix", str(save(results("did not"))), "--output", str(tmp_path)]) == 0
    text = (tmp_path / "conformance.md").read_text(encoding="utf-8")
    assert "`did not`: It was told so. (measured)" in text
    data = json.loads((tmp_path / "conformance.json").read_text(encoding="utf-8"))
    [cell] = data["scenarios"][0]["cells"]
    assert (cell["status"], cell["why"]) == ("differs", "It was told so.")


def test_figures_are_shown_and_checked(save: Callable[..., Path], tmp_path: Path) -> None:
    """The post's program beside ours; figures that are none are refused."""
    contender = {"name": "Go", "calls": ["openat"], "cache_hit_ns": 15.5, "add_cleanup_ns": 195}
    figures = {
        "format": "deathwatch-post",
        "version": 1,
        "machine": "one run",
        "contenders": [contender],
    }
    one, post = str(save(results())), str(save(figures, "post.json"))
    assert main(["matrix", one, post, "--output", str(tmp_path)]) == 0
    assert "15.5 ns" in (tmp_path / "conformance.html").read_text(encoding="utf-8")
    for bad in ("fast", -1, True, None, 1e300):
        contender["cache_hit_ns"] = bad
        post = str(save(figures, "post.json"))
        assert main(["matrix", one, post, "--output", str(tmp_path)]) == 2
