"""What did one interpreter do? Reads a result file, and believes nothing that it says unchecked.

A result file may come from another machine: sizes, types, texts and links are checked, and what is
wrong is said in one sentence that names the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")

FORMAT, VERSION = "deathwatch-conformance", 1

MAX_BYTES = 16_000_000
MAX_TEXT = 2_000
MAX_ITEMS = 2_000
_KEY = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")
_ID = re.compile(r"[A-Z][A-Za-z0-9]{0,9}(/[a-z0-9-]{1,60})?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 .,+-]{0,39}")
_WHERE = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}(:[0-9]{1,6})?")
_URL = re.compile(r"https://[!#-;=?-\[\]_a-z~]{1,500}")


class BadResults(ValueError):
    """A result file that can't be used. Its text is one sentence that names the file."""


@dataclass(frozen=True)
class Source:
    """Where something is promised or explained."""

    text: str
    url: str | None = None


@dataclass(frozen=True)
class Difference:
    """Why cells of `binding` in columns like `columns` show `outcome` and not what is expected."""

    binding: str
    columns: tuple[str, ...]
    outcome: str
    why: str
    source: Source

    def explains(self, key: str, binding: str, outcome: str) -> bool:
        return (
            self.binding == binding
            and self.outcome == outcome
            and any(fnmatchcase(key, pattern) for pattern in self.columns)
        )


@dataclass(frozen=True)
class Scenario:
    """A promise, and the outcome that keeps it."""

    id: str
    group: str
    title: str
    promise: str
    expected: str
    where: str
    sources: tuple[Source, ...]
    differences: tuple[Difference, ...] = field(repr=False)


@dataclass(frozen=True)
class Column:
    """An interpreter or toolchain, with its exact version, build and platform."""

    key: str
    name: str
    version: str
    build: str
    platform: str


@dataclass(frozen=True)
class Run:
    """One try of one scenario: what was observed, or the reason why it can't be tried here."""

    kind: Literal["outcome", "reason"]
    text: str


@dataclass(frozen=True)
class Results:
    """What is in one result file. `cells` is by scenario id and binding."""

    file: str
    column: Column
    scenarios: tuple[Scenario, ...]
    cells: dict[str, dict[str, tuple[Run, ...]]]


def read(path: Path) -> Results:
    """Read one result file. Raises `BadResults`."""
    return Reader(str(path)).results(load(path))


def load(path: Path) -> Any:
    """The JSON in a file that may be anything. Raises `BadResults`."""
    shown = printable(str(path))
    try:
        if not path.is_file():
            raise BadResults(f"{shown} is not a file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, BadResults):
            raise
        why = getattr(error, "strerror", None) or error
        raise BadResults(f"{shown} can't be read: {why}.") from None
    if len(content) > MAX_BYTES:
        raise BadResults(f"{shown} has more than {MAX_BYTES} bytes, which no result file has.")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadResults(f"{shown} is not JSON.") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


class Reader:
    """Checks the parts of one file; every complaint names the file and the place in it."""

    def __init__(self, file: str) -> None:
        self.file = printable(file)

    def fail(self, place: str, needs: str) -> BadResults:
        return BadResults(f"{self.file}: {place} must be {needs}.")

    def results(self, data: Any) -> Results:
        top = self.object(data, "the file")
        if top.get("format") != FORMAT or top.get("version") != VERSION:
            raise BadResults(f"{self.file} is no conformance result of version {VERSION}.")
        if top.get("scenarios") == []:
            raise BadResults(f"{self.file} has no scenario.")
        column = self.column(top.get("column"))
        scenarios, cells = [], {}
        for index, item in enumerate(self.list(top.get("scenarios"), "scenarios")):
            entry = self.object(item, f"scenario {index}")
            scenario = self.scenario(entry, f"scenario {index}")
            if scenario.id in cells:
                raise BadResults(f"{self.file} has scenario {scenario.id} twice.")
            scenarios.append(scenario)
            cells[scenario.id] = self.cells(entry.get("cells"), f"cells of {scenario.id}")
        return Results(self.file, column, tuple(scenarios), cells)

    def column(self, data: Any) -> Column:
        entry = self.object(data, "column")
        return Column(
            key=self.match(entry.get("key"), "key of the column", _KEY),
            name=self.match(entry.get("name"), "name of the column", _NAME),
            version=self.text(entry.get("version"), "version of the column"),
            build=self.text(entry.get("build"), "build of the column"),
            platform=self.text(entry.get("platform"), "platform of the column"),
        )

    def scenario(self, entry: dict[str, Any], place: str) -> Scenario:
        name = self.match(entry.get("id"), f"id of {place}", _ID)
        return Scenario(
            id=name,
            group=self.match(entry.get("group"), f"group of {name}", _NAME),
            title=self.text(entry.get("title"), f"title of {name}"),
            promise=self.text(entry.get("promise"), f"promise of {name}"),
            expected=self.text(entry.get("expected"), f"expected outcome of {name}"),
            where=self.match(entry.get("where"), f"where of {name}", _WHERE),
            sources=self.many(entry.get("sources"), f"sources of {name}", self.source),
            differences=self.many(
                entry.get("differences"), f"differences of {name}", self.difference
            ),
        )

    def source(self, data: Any, place: str) -> Source:
        entry = self.object(data, place)
        url = entry.get("url")
        return Source(
            self.text(entry.get("text"), f"text of {place}"),
            None if url is None else self.match(url, f"link of {place}", _URL),
        )

    def difference(self, data: Any, place: str) -> Difference:
        entry = self.object(data, place)
        return Difference(
            binding=self.match(entry.get("binding"), f"binding of {place}", _NAME),
            columns=self.many(entry.get("columns"), f"columns of {place}", self.text),
            outcome=self.text(entry.get("outcome"), f"outcome of {place}"),
            why=self.text(entry.get("why"), f"why of {place}"),
            source=self.source(entry.get("source"), f"source of {place}"),
        )

    def cells(self, data: Any, place: str) -> dict[str, tuple[Run, ...]]:
        entry = self.object(data, place)
        return {
            self.match(binding, f"binding in {place}", _NAME): self.many(runs, place, self.run)
            for binding, runs in entry.items()
        }

    def run(self, data: Any, place: str) -> Run:
        entry = self.object(data, place)
        kinds: tuple[Literal["outcome", "reason"], ...] = ("outcome", "reason")
        for kind in kinds:
            if entry.keys() == {kind}:
                return Run(kind, self.text(entry[kind], f"{kind} in {place}"))
        raise self.fail(place, "runs with an outcome or a reason")

    # The smallest parts

    def object(self, data: Any, place: str) -> dict[str, Any]:
        if not isinstance(data, dict) or len(data) > MAX_ITEMS:
            raise self.fail(place, "an object")
        return data

    def list(self, data: Any, place: str) -> list[Any]:
        if not isinstance(data, list) or len(data) > MAX_ITEMS:
            raise self.fail(place, f"a list of at most {MAX_ITEMS}")
        return data

    def many(self, data: Any, place: str, one: Callable[[Any, str], T]) -> tuple[T, ...]:
        return tuple(one(item, place) for item in self.list(data, place))

    def text(self, data: Any, place: str) -> str:
        if not isinstance(data, str) or not data or len(data) > MAX_TEXT or not data.isprintable():
            raise self.fail(place, f"a text of 1 to {MAX_TEXT} printable characters")
        return data

    def match(self, data: Any, place: str, pattern: re.Pattern[str]) -> str:
        if not isinstance(data, str) or not pattern.fullmatch(data):
            raise self.fail(printable(place), f"like {pattern.pattern}")
        return data


def printable(text: str) -> str:
    """The text with what a terminal could take for a command made visible."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:300])
