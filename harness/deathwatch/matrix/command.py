"""`deathwatch matrix`: merge conformance results, and write them as JSON, Markdown and HTML."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deathwatch.measure.unavailable import MissingExtra
from deathwatch.writing import write_text

from .document import to_json, to_markdown
from .figures import Figures, is_figures, read_figures
from .merging import Matrix, matrix_of, problems
from .page import to_html
from .results import BadResults, printable

HELP = "merge conformance results of any number of interpreters and machines into one page"
DESCRIPTION = (
    "Merge the result files that `nox -s conformance` wrote, one per interpreter, into"
    " conformance.json, conformance.md and conformance.html. The exit status is 1 where a cell"
    " changed between two runs, is empty without a reason, or differs without an explanation,"
    " and 2 where a file can't be used."
)
FAILED, MISUSED = 1, 2


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `matrix` to the commands of `deathwatch`."""
    parser = commands.add_parser("matrix", help=HELP, description=DESCRIPTION)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a result file")
    parser.add_argument(
        "--output", type=Path, default=Path("results"), help="the folder to write to (results)"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Merge, write, and say what is wrong."""
    try:
        figures, paths = _figures(arguments.files)
        matrix = matrix_of(paths)
        _write(matrix, figures, arguments.output)
    except (BadResults, MissingExtra, OSError) as error:
        print(f"deathwatch matrix: {_sentence(error)}", file=sys.stderr)
        return MISUSED
    wrong = problems(matrix)
    for line in wrong:
        print(line, file=sys.stderr)
    for scenario, difference in matrix.unused():
        print(f"note: {scenario.id}: nothing here needs the explanation of {difference.outcome!r}")
    cells = sum(1 for _ in matrix.cells())
    print(
        f"{len(matrix.scenarios)} scenarios, {len(matrix.columns)} columns, {cells} cells,"
        f" {len(wrong)} problems -> {printable(str(arguments.output))}/conformance.html"
    )
    return FAILED if wrong else 0


def _figures(files: list[Path]) -> tuple[Figures | None, list[Path]]:
    """The figures among the files, and the other files. Of several figures the last are shown."""
    figures = None
    others = []
    for path in files:
        if is_figures(path):
            figures = read_figures(path)
        else:
            others.append(path)
    return figures, others


def _write(matrix: Matrix, figures: Figures | None, output: Path) -> None:
    # All are made before any is written.
    texts = {
        "conformance.json": to_json(matrix, figures),
        "conformance.md": to_markdown(matrix, figures),
        "conformance.html": to_html(matrix, figures),
    }
    output.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(output / name, text)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{printable(str(error.filename))} can't be written: {error.strerror}."
    return str(error)
