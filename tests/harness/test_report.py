"""The report of real and of hostile result files, as HTML and as Markdown."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deathwatch.cli import main
from deathwatch.judge.figures import parse_result
from deathwatch.pages import clean
from deathwatch.report import benchmarks, gated, gathering, html, markdown, plots

pytest.importorskip("matplotlib", reason="plots need matplotlib, which has no wheels for PyPy")

HOSTILE = (
    "</title><script>alert(1)</script><img src=x onerror=alert(1)>\x00\ud800 @someone | ` [a](b)"
)


def gate(**figure: Any) -> dict[str, Any]:
    return {
        "schema": "deathwatch.gate/1",
        "platform": "linux-x86_64",
        "interpreter": "cpython-3.13",
        "began": "2026-01-01T00:00:00+00:00",
        "source": "0123abcd",
        "tiers": [2],
        "figures": [
            {
                "name": "cleanup.bytes",
                "tier": 2,
                "title": "bytes of a cleanup",
                "unit": "bytes",
                "instrument": "tracemalloc",
                "how": "the mean of many",
                "rule": {"kind": "baseline", "tolerance": 0.02},
                "value": 104.5,
                **figure,
            }
        ],
        "verdicts": [{"name": "cleanup.bytes", "verdict": "regressed", "message": "worse"}],
    }


def benchmark(**extra: Any) -> dict[str, Any]:
    entries = []
    for size in (10, 100, 1000):
        entries.append(
            {
                "name": f"test_a_walk[{size}]",
                "stats": {
                    "median": size * 1e-7,
                    "data": [size * 1e-7 * (1 + n / 50) for n in range(20)],
                },
                "extra_info": {"size": size, "rivals": {"rival": [size * 300.0] * 5}, **extra},
            }
        )
    info = {"python_implementation": "CPython", "python_version": "3.13.0"}
    return {"machine_info": info, "benchmarks": entries}


def made(tmp_path: Path, *found: Any) -> tuple[str, str]:
    paths = []
    for number, content in enumerate(found):
        path = tmp_path / f"result{number}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        paths.append(path)
    page = gathering.page(paths, None)
    return html.render(page), markdown.render(page)


class Elements(HTMLParser):
    """Tags and attributes of a page, and whatever it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data") and not (value or "").startswith("#"):
                self.loads.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def test_the_page_shows_verdicts_plots_and_how_figures_were_taken(tmp_path: Path) -> None:
    """A regressed figure stands unfolded; benchmarks have a plot each, and cost against size."""
    page, text = made(tmp_path, gate(), benchmark())
    for said in ("regressed", "bytes of a cleanup", "104 bytes", "tracemalloc", "the mean of many"):
        assert said in page
    assert "a walk: cost against size" in page
    assert page.count("<svg") == 1
    assert "cost against size: spread" not in page
    assert "a walk: spread" in page
    assert "bytes of a cleanup" in text
    assert "| regressed | 2 |" in text


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    """Self-contained: no script, no picture, font or style from elsewhere."""
    page, _ = made(tmp_path, gate(), benchmark())
    found = Elements(page)
    assert found.loads == ["data:,"]
    assert "script" not in found.tags
    assert "default-src 'none'" in page
    assert "url(" not in page.replace("url(#", "")
    assert "@import" not in page


@pytest.mark.parametrize("field", ["title", "unit", "instrument", "how"])
def test_hostile_text_is_shown_and_never_run(tmp_path: Path, field: str) -> None:
    """Tags, attributes, control characters: text in both forms, and no element."""
    page, text = made(tmp_path, gate(**{field: HOSTILE}))
    found = Elements(page)
    assert not {"script", "img"} & set(found.tags)
    assert found.handlers == []
    assert "\x00" not in page
    page.encode("utf-8")
    assert re.findall(r"(?<!\\)<(?!/?details>|/?summary>)", text) == []


def test_hostile_names_of_benchmarks_are_text(tmp_path: Path) -> None:
    """In plots too, whose text is SVG."""
    found = benchmark(rivals={HOSTILE: [1.0, 2.0]}, contender=HOSTILE)
    found["benchmarks"][0]["name"] = HOSTILE
    page, _ = made(tmp_path, found)
    assert not {"script", "img"} & set(Elements(page).tags)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"schema": "deathwatch.bench.mmap/1"},
        {"schema": "deathwatch.equal-code/1", "machine": {"python": {}}},
        {"schema": "deathwatch.bench.mmap/1", "machine": {"python": {"implementation": 5}}},
        {"schema": "deathwatch.gate/1", "figures": 5},
        {"machine_info": {}, "benchmarks": [{"name": "x"}]},
        {"machine_info": {}, "benchmarks": [{"name": "x", "stats": {"median": "y"}}]},
        {"machine_info": 5, "benchmarks": 5},
    ],
)
def test_a_file_that_is_not_as_expected_is_left_out_and_named(tmp_path: Path, content: Any) -> None:
    """The others are shown all the same."""
    page, text = made(tmp_path, content, gate())
    assert "bytes of a cleanup" in page
    for shown in (page, text.replace("\\", "")):
        assert "result0.json" in shown
        assert "left out" in shown


def test_history_shows_figures_that_moved() -> None:
    """Two committed results with different figures make a line; equal ones make none."""
    first, second = gate(value=100), gate(value=104)
    second["began"] = "2026-02-01T00:00:00+00:00"
    moved = gated.history([parse_result(first), parse_result(second)])
    assert moved is not None
    assert [plot.title for plot in moved.plots] == ["bytes of a cleanup"]
    assert [row[2] for row in moved.plots[0].table.rows] == ["2026-01-01", "2026-02-01"]
    assert gated.history([parse_result(first)]) is None
    second = copy.deepcopy(first)
    second["began"] = "2026-02-01T00:00:00+00:00"
    same = gated.history([parse_result(first), parse_result(second)])
    assert same is not None
    assert same.plots == []


def test_history_is_read_from_what_git_has(tmp_path: Path) -> None:
    """Every committed version of a result file, a deleted and a mangled one passed over."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*arguments: str) -> None:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)

    git("init", "-q")
    path = tmp_path / "gate.json"
    for month, content in enumerate([gate(value=100), "mangled", gate(value=104)], start=1):
        if isinstance(content, dict):
            content["began"] = f"2026-0{month}-01T00:00:00+00:00"
        path.write_text(json.dumps(content), encoding="utf-8")
        git("add", "gate.json")
        git("commit", "-q", "-m", "results", "--no-gpg-sign")
    page = gathering.page([path], tmp_path)
    (history,) = [section for section in page.sections if section.name == "history"]
    assert history.plots[0].table.rows == [
        ["cpython-3.13, linux-x86_64", "1", "2026-01-01", "100"],
        ["cpython-3.13, linux-x86_64", "2", "2026-03-01", "104"],
    ]
    path.write_text(json.dumps({**gate(value=108), "began": "2026-04-01T00:00:00+00:00"}))
    page = gathering.page([path], tmp_path)
    (history,) = [section for section in page.sections if section.name == "history"]
    assert [row[3] for row in history.plots[0].table.rows] == ["100", "104", "108"]


def test_the_command_writes_both_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """HTML, and Markdown beside it; nothing else is left."""
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(gate()), encoding="utf-8")
    assert main(["report", str(path), "--output", str(tmp_path / "page.html")]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gate.json", "page.html", "page.md"]
    assert "Written" in capsys.readouterr().err


def test_contenders_are_called_by_their_names() -> None:
    """Ours has the colour of ours, a rival never has, and both have their spread."""
    found = benchmark(contender="lru_cache")
    for entry in found["benchmarks"]:
        del entry["extra_info"]["size"]
    (plot,) = benchmarks.section(found, "b").plots
    assert {row[0] for row in plot.table.rows} == {"lru_cache", "rival"}
    assert "var(--ours)" not in plot.drawing.svg
    for entry in found["benchmarks"]:
        entry["extra_info"]["contender"] = "WeakCache"
    (plot,) = benchmarks.section(found, "b").plots
    assert "var(--ours)" in plot.drawing.svg


def test_bars_begin_at_zero() -> None:
    """A bar of a hundredth is a hundredth as long, also where others are much longer."""
    drawn = plots.bars("t", [plots.Row("a", (10.0,), "10"), plots.Row("b", (0.1,), "0.1")])
    widths = []
    for path in re.findall(r'<path d="(M [^"]+z ?)" clip-path="[^"]*" style="fill', drawn.svg):
        xs = [float(x) for x in re.findall(r"[ML] ([\d.]+) [\d.]+", path)]
        widths.append(max(xs) - min(xs))
    assert widths[0] / widths[1] == pytest.approx(100, rel=0.01)


def test_a_file_that_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 and no page where there is nothing to show."""
    output = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "none.json"), "--output", str(output)]) == 2
    assert "none.json is left out" in capsys.readouterr().err
    assert not output.exists()


def test_the_page_is_not_lost_to_its_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--output page.md would write both to one file."""
    assert main(["report", "--output", str(tmp_path / "page.md")]) == 2
    assert ".md" in capsys.readouterr().err


def test_runs_on_unchanged_code_are_counted(tmp_path: Path) -> None:
    """How often the gate failed falsely, in each setting."""
    setting = {"busy loops": 3, "runs": 30, "failures": ["one"], "verdicts": {"blocking: pass": 9}}
    python = {"implementation": "CPython", "version": "3.13.0"}
    found = {
        "schema": "deathwatch.equal-code/1",
        "machine": {"python": python},
        "settings": [setting],
    }
    _, text = made(tmp_path, found)
    assert "| 3 | all | 30 | 1 | blocking: pass: 9 |" in text


def test_a_page_that_cannot_be_written_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, status 1."""
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(gate()), encoding="utf-8")
    assert main(["report", str(path), "--output", str(tmp_path / "no" / "page.html")]) == 1
    assert "can't write" in capsys.readouterr().err


def test_text_without_what_html_cannot_hold() -> None:
    """Control characters and lone surrogates are replaced, the rest stays."""
    assert clean("a\tb\n") == "a\tb\n"
    assert "\x07" not in clean("a\x07b")
    clean("\ud800").encode("utf-8")
