"""The report in a real headless Chromium: no console errors, nothing missing, nothing overflows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PROBE = """
const frame = document.querySelector('iframe');
frame.onload = () => {
  const page = frame.contentDocument, wide = page.documentElement.clientWidth;
  const outside = [...page.querySelectorAll('body *')].filter(one => {
    if (one.closest('.scroll') && !one.matches('.scroll')) return false;
    const box = one.getBoundingClientRect();
    return box.width > 0 && box.right > wide + 1;
  }).map(one => one.tagName + ': ' + one.textContent.slice(0, 40));
  const cut = [...page.querySelectorAll('svg text')].filter(one => {
    const box = one.getBBox(), view = one.ownerSVGElement.viewBox.baseVal;
    return box.width > 0 && (box.x < -1 || box.x + box.width > view.width + 1);
  }).map(one => one.textContent.slice(0, 60));
  const missing = [...page.images].filter(one => !one.naturalWidth).length;
  const small = [...page.querySelectorAll('svg text')].filter(one =>
    one.getBoundingClientRect().height > 0 && one.getBoundingClientRect().height < 8).length;
  const result = {outside, cut, missing, small, pictures: page.querySelectorAll('svg').length,
    scrolls: page.documentElement.scrollWidth > wide + 1,
    background: getComputedStyle(page.body).backgroundColor};
  document.body.setAttribute('data-found', JSON.stringify(result));
};
"""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip("no Chromium is installed")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of everything: a real benchmark of mapped files, a gate, benchmarks, long names."""
    pytest.importorskip("matplotlib", reason="plots need matplotlib, which has no wheels for PyPy")
    from deathwatch.bench.run import Options, measure
    from deathwatch.cli import main

    folder = tmp_path_factory.mktemp("report")
    options = Options(opens=60, max_files=4, threads=2, contenders=("naive", "ours"), rounds=4)
    write(folder / "mmap.json", measure(options, lambda what, done, total: None))
    baselines = ["--baselines", str(folder / "baselines")]
    main(["gate", "--tiers", "0,8", *baselines, "--output", str(folder / "gate.json")])
    write(folder / "bench.json", benchmarks())
    files = [str(folder / name) for name in ("mmap.json", "gate.json", "bench.json")]
    assert main(["report", *files, "--output", str(folder / "page.html")]) == 0
    return folder / "page.html"


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def benchmarks() -> dict[str, Any]:
    entries = [
        {
            "name": f"test_a_benchmark_with_a_rather_long_name_that_has_to_be_wrapped[{size}]",
            "stats": {"median": size * 1e-7, "data": [size * 1e-7 * n for n in range(1, 200)]},
            "extra_info": {"rivals": {"a rival": [size * 300.0, size * 310.0]}},
        }
        for size in (10, 1_000, 100_000)
    ]
    info = {"python_implementation": "CPython", "python_version": "3.13.0"}
    return {"machine_info": info, "benchmarks": entries}


def look(browser: str, page: Path, width: int, *, dark: bool) -> tuple[dict[str, Any], str]:
    """What a frame so wide shows of the page, and what the browser logged.

    A frame, as a window of Chromium is never narrower than 500.
    """
    around = page.with_name(f"around-{width}-{dark}.html")
    inside = escape(page.read_text(encoding="utf-8"), quote=True)
    around.write_text(
        f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body>'
        f'<iframe width="{width}" height="800" srcdoc="{inside}"></iframe>'
        f"<script>{PROBE}</script>",
        encoding="utf-8",
    )
    profile = page.with_name(f"profile-{width}-{dark}")
    command = [
        browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0",
        "--virtual-time-budget=5000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom",
        around.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'data-found="([^"]*)"', done.stdout)
    assert found is not None, done.stderr[-2000:]
    return json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&")), done.stderr


@pytest.mark.parametrize("width", [320, 390, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_finds_nothing_wrong(browser: str, report: Path, width: int, dark: bool) -> None:
    """On a small telephone, a larger one and a desk: nothing logged, cut, missing or too wide."""
    found, logged = look(browser, report, width, dark=dark)
    assert [line for line in logged.splitlines() if "CONSOLE" in line] == []
    assert found["pictures"] >= 4
    assert (found["outside"], found["cut"], found["missing"]) == ([], [], 0)
    assert (found["scrolls"], found["small"]) == (False, 0)
    channels = [int(channel) for channel in re.findall(r"\d+", found["background"])[:3]]
    assert (sum(channels) < 3 * 128) == dark


def test_the_browser_test_sees_what_is_wrong(browser: str, tmp_path: Path) -> None:
    """The offender: text that is too wide, a picture that is missing, a script that fails."""
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><body style='margin:0'><p style='width:900px'>wide</p>"
        "<img src='data:image/png;base64,AAAA' width=5><svg viewBox='0 0 100 20'>"
        "<text x=90 y=10>cut off at the right</text></svg>"
        "<script>console.error('broken')</script>",
        encoding="utf-8",
    )
    found, logged = look(browser, page, 320, dark=False)
    assert any("wide" in text for text in found["outside"])
    assert found["scrolls"]
    assert found["missing"] == 1
    assert found["cut"] == ["cut off at the right"]
    assert "broken" in "".join(line for line in logged.splitlines() if "CONSOLE" in line)


def test_the_page_is_small(report: Path) -> None:
    """Under 2 MB, with everything in it."""
    assert os.path.getsize(report) < 2_000_000
