"""`deathwatch bench mmap`: its options, its progress, its report."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deathwatch.measure.processes import Json
from deathwatch.measure.unavailable import MissingExtra, require

from . import results
from .contenders import CONTENDERS
from .errors import BadRequest
from .run import Announce, Options, default_name, measure

if TYPE_CHECKING:
    from rich.console import Console

HELP = "what de-duplicated mapping of files saves against the naive way"
DESCRIPTION = """Maps real files of this machine again and again, by several contenders at three
stated overlaps, and reports system calls, mappings, deaths, memory and time of each, and where
each breaks. Every figure comes from a process of its own. Takes a minute or two."""

WIDTH = 100
"""Columns of the report where it doesn't go to a terminal."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench mmap`."""
    default = Options()
    add = parser.add_argument
    add("--files", metavar="GLOB", action="append", default=[],
        help="map these files (** goes into folders; may be repeated) and not this machine's"
        " libraries, Python modules and fonts")  # fmt: skip
    add("--max-files", metavar="N", type=_positive, default=default.max_files,
        help="map at most so many different files (default: %(default)s)")  # fmt: skip
    add("--opens", metavar="N", type=_positive, default=default.opens,
        help="opens of each run, over all threads (default: %(default)s)")  # fmt: skip
    add("--threads", metavar="N", type=_threads, default=default.threads,
        help="threads, where several ask (default: %(default)s)")  # fmt: skip
    add("--contenders", metavar="A,B", type=_contenders, default=default.contenders,
        help=f"compare only these of {','.join(CONTENDERS)}")  # fmt: skip
    add("--quick", action="store_true",
        help="a tenth of the opens and 3 rounds: to see that it works")  # fmt: skip
    add("--no-strace", action="store_true",
        help="count requests with the audit hook, though strace may be there")  # fmt: skip
    add("--output", metavar="FILE", type=Path,
        help="where the JSON goes (default: results/ of the checkout, else here)")  # fmt: skip
    add("--json", action="store_true", help="print the JSON, not the table")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write. The exit status: 1 where a step failed, or something did not die."""
    # As an exception, a SIGTERM ends the measuring processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        console = _console()
        target: Path = arguments.output or results.default_path(default_name())
        results.check_target(target)
        with _progress() as announce:
            result = measure(_options(arguments), announce)
    except BadRequest as reason:
        return _fail(str(reason), 2)
    except MissingExtra as reason:
        return _fail(str(reason), 1)
    return _report(result, console, target, as_json=arguments.json)


def _report(result: Json, console: Console, target: Path, *, as_json: bool) -> int:
    from .headlines import survivors
    from .table import show

    failure = _write(result, target)
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        show(result, console)
    if failure:
        return _fail(failure, 1)
    print(f"Written: {target}", file=sys.stderr)
    return 1 if result["failed"] or any(survivors(result)) else 0


def _write(result: Json, target: Path) -> str | None:
    """Write the result, before it is printed; say what went wrong, if anything."""
    try:
        results.write(target, result)
    except OSError as error:
        return f"can't write {target}: {error.strerror or error}; it is as it was"
    return None


def _options(arguments: argparse.Namespace) -> Options:
    default = Options()
    return Options(
        files=tuple(arguments.files),
        max_files=arguments.max_files,
        opens=max(1, arguments.opens // 10) if arguments.quick else arguments.opens,
        threads=arguments.threads,
        contenders=tuple(arguments.contenders),
        rounds=3 if arguments.quick else default.rounds,
        strace=not arguments.no_strace,
    )


def _console() -> Console:
    """A console for the report; what the benchmark needs is asked for here, before it runs."""
    require("psutil")
    require("rich")
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH, soft_wrap=False)


@contextmanager
def _progress() -> Iterator[Announce]:
    """A progress bar on standard error, or a line per tenth where that is no terminal."""
    if not sys.stderr.isatty():
        yield _plain_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def announce(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield announce


def _plain_progress() -> Callable[[str, int, int], None]:
    shown = -1

    def announce(what: str, done: int, total: int) -> None:
        nonlocal shown
        if done * 10 // total > shown:
            shown = done * 10 // total
            print(f"[{done}/{total}] {what}", file=sys.stderr, flush=True)

    return announce


def _fail(sentence: str, status: int) -> int:
    print(f"deathwatch bench: {sentence}", file=sys.stderr)
    return status


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return number


def _threads(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 128:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 128")
    return number


def _contenders(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        known = ", ".join(CONTENDERS)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {known}")
    return tuple(dict.fromkeys(names))
