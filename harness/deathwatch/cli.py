"""The command `deathwatch`, and `python -m deathwatch`, which is the same."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata

UNREAD, MISUSED, INTERRUPTED = 1, 2, 130

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 (failed), 2 (bad options) or 130 (Ctrl-C)."""
    try:
        parser = _parser()
        arguments = parser.parse_args(argv)
        command: Command | None = getattr(arguments, "command", None)
        if command is None:
            parser.print_help(sys.stderr)
            return MISUSED
        return command(arguments)
    except KeyboardInterrupt:
        print("deathwatch: interrupted; no result was left half-written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone; nor can it be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deathwatch",
        description="Did it die, what killed it, who keeps it alive, and what did it cost?",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_bench(commands)
    _add_gate(commands)
    _add_matrix(commands)
    _add_report(commands)
    _add_doctor(commands)
    return parser


def _add_bench(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from .bench import command

    bench = commands.add_parser("bench", help="measure what objects that die cost, and save")
    benchmarks = bench.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    mmap = benchmarks.add_parser("mmap", help=command.HELP, description=command.DESCRIPTION)
    command.add_options(mmap)
    mmap.set_defaults(command=command.run)


def _add_gate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from .gate import command

    gate = commands.add_parser("gate", help=command.HELP, description=command.DESCRIPTION)
    command.add_options(gate)
    gate.set_defaults(command=command.run)


def _add_matrix(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from .matrix import command

    command.add_command(commands)


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from .report import command

    report = commands.add_parser("report", help=command.HELP, description=command.DESCRIPTION)
    command.add_options(report)
    report.set_defaults(command=command.run)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from .measure import doctor

    help_ = "which instruments can be trusted here, and what would make the others work"
    added = commands.add_parser("doctor", help=help_, description=doctor.__doc__)
    added.set_defaults(command=doctor.run)


def _version() -> str:
    try:
        return metadata.version("deathwatch")
    except metadata.PackageNotFoundError:
        return "(not installed)"
