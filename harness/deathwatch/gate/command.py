"""`deathwatch gate`: measure, judge, say it, and leave with the status."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from deathwatch.bench import results
from deathwatch.bench.errors import BadRequest
from deathwatch.judge import (
    BadFile,
    Baseline,
    Judged,
    Result,
    Verdict,
    accept,
    failing,
    judge,
    parse_result,
    read_baseline,
)
from deathwatch.judge.baselines import file_name
from deathwatch.judge.figures import TIERS
from deathwatch.measure import machine
from deathwatch.measure.processes import Json

from .measuring import measure

HELP = "is it worse than before: counts, memory, instructions and, as advice, time"
DESCRIPTION = """Measures lastref by the tiers of the gate and judges each figure: by its formula,
beside the baseline of this interpreter minor and platform, or beside a base in this very run.
Tiers: 0 objects and requests, 1 system calls, 2 allocations, 3 instructions, 4 mappings, 5 memory,
6 sharing, 7 time (advice only), 8 speed-up over naive. Exit status: 0 where every blocking figure
passes, 1 where one regressed or is missing (new without a baseline and removed are), 2 where it
was asked wrongly. An inconclusive figure fails only with --strict."""

MARKS = {
    Verdict.PASS: "pass",
    Verdict.REGRESSED: "REGRESSED",
    Verdict.IMPROVED: "improved",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.MISSING: "MISSING",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `gate`."""
    add = parser.add_argument
    add("--tiers", metavar="N,N", type=_tiers, default=frozenset(TIERS),
        help="only these tiers (default: all)")  # fmt: skip
    add("--base", metavar="REV|DIR",
        help="what instructions and time are compared with: a git revision, or a folder with the"
        " package (default: the last commit in which the package was other than now)")  # fmt: skip
    add("--head", metavar="DIR", type=Path,
        help="the folder with the package to judge (default: what is installed)")  # fmt: skip
    add("--baselines", metavar="DIR", type=Path,
        help="where baselines are (default: results/baselines of the checkout)")  # fmt: skip
    add("--accept", action="store_true",
        help="make what was measured the baseline, and say what that changes")  # fmt: skip
    add("--strict", action="store_true", help="let inconclusive blocking figures fail too")
    add("--output", metavar="FILE", type=Path,
        help="where the JSON goes (default: results/ of the checkout, else here; nowhere by default"
        " with --tiers)")  # fmt: skip
    add("--json", action="store_true", help="print the JSON, not the verdicts")


def run(arguments: argparse.Namespace) -> int:
    """Measure, judge, print, write; the exit status as in `DESCRIPTION`."""
    # As an exception, a SIGTERM ends the measuring processes too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        folder: Path = arguments.baselines or results.default_path("baselines")
        target = _target(arguments)
        path = folder / file_name(machine.short(), machine.python_short())
        _check_targets(path if arguments.accept else None, target)
        before, unreadable = _before(path)
        measured = measure(arguments.tiers, arguments.head, arguments.base, _announce)
        result = parse_result(measured)
        if arguments.accept:
            before = _accept(path, result, before)
        verdicts = judge(result, before)
    except (BadRequest, BadFile, FileNotFoundError) as reason:
        print(f"deathwatch gate: {reason}", file=sys.stderr)
        return 2
    failed = _failed(verdicts, strict=arguments.strict)
    _report(measured, result, verdicts, as_json=arguments.json)
    if unreadable and not arguments.accept:
        print(f"The baseline can't be used: {unreadable}", file=sys.stderr)
    for line in _advice(failed, verdicts, arguments):
        print(line, file=sys.stderr)
    return 1 if _write(target, {**measured, "verdicts": to_json(verdicts)}) or failed else 0


def _target(arguments: argparse.Namespace) -> Path | None:
    """Where the result goes; nowhere by default where it is but a part of the figures."""
    given: Path | None = arguments.output
    if given is not None or arguments.tiers != frozenset(TIERS):
        return given
    name = file_name(machine.short(), machine.python_short())
    return results.default_path(f"gate-{name}")


def _check_targets(*targets: Path | None) -> None:
    """Raise `BadRequest` now, and not after minutes of measuring, where one can't be written."""
    for target in filter(None, targets):
        if target.parent.exists():
            results.check_target(target)
        elif not os.access(_existing(target), os.W_OK | os.X_OK):
            raise BadRequest(f"can't write {target}: no permission to write to {_existing(target)}")


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that is there."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def to_json(verdicts: list[Judged]) -> list[Json]:
    """The verdicts as the result file carries them."""
    return [
        {
            "name": judged.name,
            "tier": judged.tier,
            "verdict": str(judged.verdict),
            "message": judged.message,
            "before": judged.before,
            "fails": judged.fails,
            "warns": judged.warns,
        }
        for judged in verdicts
    ]


def _before(path: Path) -> tuple[Baseline | None, str | None]:
    """The baseline in `path`; None and why, where there is none that can be read."""
    try:
        path.stat()
        return read_baseline(path), None
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    except BadFile as reason:
        return None, str(reason)


def _accept(path: Path, result: Result, before: Baseline | None) -> Baseline:
    """Write what was measured as the baseline, and say from what to what."""
    after = accept(result, before, result.tiers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        results.check_target(path)
        results.write(path, after.to_dict())
    except OSError as error:
        raise BadRequest(f"can't write {path}: {error.strerror}") from None
    known = before.figures if before is not None else {}
    for name in sorted({*known, *after.figures}):
        old, new = known.get(name), after.figures.get(name)
        if old != new:
            shown = ["nothing" if entry is None else f"{entry.value:g}" for entry in (old, new)]
            print(f"accepted {name}: from {shown[0]} to {shown[1]}", file=sys.stderr)
    print(f"Written: {path}", file=sys.stderr)
    return after


def _failed(verdicts: list[Judged], *, strict: bool) -> list[Judged]:
    failed = failing(verdicts)
    if strict:
        failed += [
            judged
            for judged in verdicts
            if judged.verdict == Verdict.INCONCLUSIVE and judged.tier != 7
        ]
    return failed


def _report(measured: Json, result: Result, verdicts: list[Judged], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**measured, "verdicts": to_json(verdicts)}, indent=1))
        return
    for tier in sorted({judged.tier for judged in verdicts}):
        of_tier = [judged for judged in verdicts if judged.tier == tier]
        passed = sum(judged.verdict == Verdict.PASS for judged in of_tier)
        print(f"tier {tier}{' (advice)' if tier == 7 else ''}: {passed} of {len(of_tier)} pass")
        for judged in of_tier:
            if judged.verdict != Verdict.PASS or judged.warns:
                mark = "warning" if judged.warns else MARKS[judged.verdict]
                print(f"  {mark}: {judged.message}")
    for line in result.missing:
        print(f"not on this system: {line}")


def _advice(
    failed: list[Judged], verdicts: list[Judged], arguments: argparse.Namespace
) -> Iterator[str]:
    """What to do about what failed or got better: the command that accepts it, where one does."""
    if failed:
        names = ", ".join(judged.name for judged in failed)
        yield f"gate: FAILED by {len(failed)} figures: {names}"
        if settled := _settled(failed):
            yield f"If this is meant: {_accepting(settled, arguments)}"
    else:
        yield "gate: passed"
    improved = [judged for judged in verdicts if judged.verdict == Verdict.IMPROVED]
    if settled := _settled(improved):
        yield f"To hold what has improved: {_accepting(settled, arguments)}"
    if any(not judged.accept for judged in failed):
        yield "No command accepts what a formula says, or what could not be measured."


def _settled(judged: list[Judged]) -> list[int]:
    return sorted({one.tier for one in judged if one.accept})


def _accepting(tiers: list[int], arguments: argparse.Namespace) -> str:
    command = ["deathwatch", "gate", "--accept", "--tiers", ",".join(map(str, tiers))]
    for option in ("base", "head", "baselines"):
        if (given := getattr(arguments, option)) is not None:
            command += [f"--{option}", str(given)]
    return shlex.join(command)


def _write(target: Path | None, result: Json) -> bool:
    """Write the result; True where that failed, which is said."""
    if target is None:
        print("Not written: some tiers only (--output FILE writes it all the same)",
              file=sys.stderr)  # fmt: skip
        return False
    try:
        results.write(target, result)
    except OSError as error:
        print(f"deathwatch gate: can't write {target}: {error}", file=sys.stderr)
        return True
    print(f"Written: {target}", file=sys.stderr)
    return False


def _announce(what: str, done: int, total: int) -> None:
    now = datetime.now(UTC).strftime("%H:%M:%S")
    print(f"[{now} {done}/{total}] {what}", file=sys.stderr, flush=True)


def _tiers(text: str) -> frozenset[int]:
    known = {str(tier): tier for tier in TIERS}
    wanted = text.split(",")
    if unknown := [word for word in wanted if word not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no tier of 0 to 8")
    return frozenset(known[word] for word in wanted)
