"""`deathwatch report`: its options."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from deathwatch.bench import results
from deathwatch.gate.sources import checkout
from deathwatch.measure.unavailable import MissingExtra
from deathwatch.writing import write_text

HELP = "the results as one page: HTML to open, Markdown for a pull request"
DESCRIPTION = """Reads result files (of deathwatch bench and gate, and pytest-benchmark's JSON) and
writes one HTML file without scripts, pictures or fonts from elsewhere, and the same as Markdown.
Files that can't be read are left out and named in it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    add = parser.add_argument
    add("files", metavar="FILE", nargs="*", type=Path,
        help="result files (default: every .json in results/ of the checkout)")  # fmt: skip
    add("--output", metavar="FILE", type=Path, default=Path("report.html"),
        help="the page (default: %(default)s); the Markdown goes beside it")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Read, write, and say where. The exit status: 1 where it can't be written, 2 where there is
    nothing to show.
    """
    from . import gathering, html, markdown

    if arguments.output.suffix == ".md":
        print("deathwatch report: --output is the HTML page; its Markdown goes beside it, as .md",
              file=sys.stderr)  # fmt: skip
        return 2
    paths: list[Path] = arguments.files or _found()
    if not paths:
        print("deathwatch report: no result files: run deathwatch bench mmap", file=sys.stderr)
        return 2
    try:
        page = gathering.page(paths, checkout())
        texts = {
            arguments.output: html.render(page),
            arguments.output.with_suffix(".md"): markdown.render(page),
        }
    except MissingExtra as reason:
        print(f"deathwatch report: {reason}", file=sys.stderr)
        return 1
    for line in page.left_out:
        print(f"deathwatch report: {line}", file=sys.stderr)
    if not page.tiles and len(page.left_out) == len(paths):
        return 2
    for target, text in texts.items():
        try:
            write_text(target, text)
        except (OSError, ValueError) as error:
            print(f"deathwatch report: can't write {target}: {error}", file=sys.stderr)
            return 1
        print(f"Written: {target} ({len(text) / 1024:,.0f} KB)", file=sys.stderr)
    return 0


def _found() -> list[Path]:
    """The result files of the checkout, those of the newest interpreter first."""
    paths = sorted(results.default_path("").glob("*.json"))
    numbers = [[int(n) for n in re.findall(r"\d+", path.stem)] for path in paths]
    return [path for _, path in sorted(zip(numbers, paths, strict=True), reverse=True)]
