"""Which result files there are, and the page that they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from deathwatch.gate.sources import NoBase, git
from deathwatch.judge import BadFile
from deathwatch.judge.figures import Result, parse_result
from deathwatch.judge.reading import Json, load, mapping, parse, text

from . import benchmarks, equal, gated, mapped
from .page import Page, Section, Table

TITLE = "How objects die, and what it costs"

_COMMITS = 60
_OTHERS = {
    "deathwatch-conformance-matrix": "the conformance matrix, which has a page of its own",
    "deathwatch-suites": "published test suites under the plugin: suites.md",
}
_UNEXPECTED = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, IndexError)


def page(paths: Iterable[Path], root: Path | None) -> Page:
    """The report of the result files in `paths`, and of what git has of them below `root`.

    A file that is no result of ours, or is not what it should be, is left out and named.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    made = Page(TITLE, f"Made {now}.")
    sections: list[tuple[int, Section]] = []
    sources: list[list[str]] = []
    older: list[Result] = []
    for number, path in enumerate(paths):
        try:
            found = load(path)
            if found.get("format") in _OTHERS:
                sources.append([path.name, _OTHERS[found["format"]]])
                continue
            rank, section, tiles = _read(found, f"r{number}")
        except BadFile as reason:
            sources.append([path.name, f"left out: {reason}"])
            made.left_out.append(f"{path} is left out: {reason}")
            continue
        except _UNEXPECTED as error:
            said = f"not as expected ({type(error).__name__})"
            sources.append([path.name, f"left out: {said}"])
            made.left_out.append(f"{path} is left out: {said}")
            continue
        sources.append([path.name, section.title])
        sections.append((rank, section))
        if tiles and not made.tiles:
            made.tiles, made.lead = tiles, f"Made {now}. The headline is of: {section.title}."
        if rank == 1:
            now_here = parse_result(found)
            committed = _history(root, path)
            older += committed
            if now_here.began not in {one.began for one in committed}:
                older.append(now_here)
    made.sections = [section for _, section in sorted(sections, key=lambda pair: pair[0])]
    if older and (past := gated.history(older)) is not None:
        made.sections.append(past)
    head = ["file", "what it is"]
    made.sections.append(Section("files", "Result files", tables=[Table(head, sources)]))
    return made


def _read(found: Json, name: str) -> tuple[int, Section, list[tuple[str, str]]]:
    """Where it stands on the page, its section, its headline figures."""
    schema = found.get("schema")
    if schema == mapped.SCHEMA:
        version = mapping(mapping(found["machine"], "machine")["python"], "python")
        python = f"{text(version['implementation'], '')} {text(version['version'], '')}"
        return 0, mapped.section(found, name, python), list(mapped.tiles(found))
    if schema == gated.SCHEMA:
        return 1, gated.section(found, name), []
    if schema == equal.SCHEMA:
        return 2, equal.section(found, name), []
    if benchmarks.is_one(found):
        return 3, benchmarks.section(found, name), []
    raise BadFile("no result that this report knows")


def _history(root: Path | None, path: Path) -> list[Result]:
    """Every committed version of a gate's result that can be read; none outside a checkout."""
    try:
        if root is None:
            return []
        inside = path.resolve().relative_to(root.resolve()).as_posix()
        commits = git(root, "log", f"--max-count={_COMMITS}", "--format=%H", "--", inside)
    except (NoBase, ValueError):
        return []
    return list(_versions(root, inside, commits.decode("ascii", "replace").split()))


def _versions(root: Path, inside: str, commits: list[str]) -> Iterator[Result]:
    for commit in commits:
        try:
            yield parse_result(parse(git(root, "show", f"{commit}:{inside}")))
        except (NoBase, BadFile):  # deleted in that commit, or of another schema then
            continue
