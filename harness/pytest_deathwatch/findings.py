"""What was found: text and numbers, never the objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["leak", "cycle"]
Status = Literal["new", "baseline", "known", "expected", "cycle"]


@dataclass
class Finding:
    """One leak, or one kind of cycle: a group of objects with the same reason to be alive.

    `tests` maps the tests that show it to the reason of their `leaks` marker, or None. `objects`
    and `size` (bytes, by `sys.getsizeof`) are what one rerun of the first test adds, and `types`
    counts it by type. `judged` are the tests that were rerun for it; the others left objects of the
    same kind with the same holder.
    """

    kind: Kind
    fingerprint: str
    type: str
    summary: str
    text: str
    verdict: str
    objects: int
    size: int
    types: dict[str, int]
    tests: dict[str, str | None] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)
    known: str | None = None
    status: Status = "new"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Findings:
    """Everything that one process, or all of them together, found."""

    groups: dict[str, Finding] = field(default_factory=dict)
    unjudged: dict[str, str] = field(default_factory=dict)
    mended: dict[str, str] = field(default_factory=dict)
    tests: int = 0
    rerun: int = 0
    reruns: int = 0
    seconds: float = 0.0
    unsearched: int = 0
    """Tests whose cycles were not looked for."""
    outlived: int = 0
    """Tests that were judged without reruns, as all that they left died before the run ended."""

    def add(self, finding: Finding) -> Finding:
        """Add a finding, or its tests to the group that is there already."""
        there = self.groups.setdefault(finding.fingerprint, finding)
        if there is not finding:
            there.tests.update(finding.tests)
            there.judged.extend(test for test in finding.judged if test not in there.judged)
        return there

    def merge(self, data: dict[str, Any]) -> None:
        """Add what another process found, as it was sent by `to_dict`."""
        for group in data["groups"]:
            self.add(Finding(**group))
        self.unjudged.update(data["unjudged"])
        self.mended.update(data["mended"])
        self.tests += data["tests"]
        self.rerun += data["rerun"]
        self.reruns += data["reruns"]
        self.seconds += data["seconds"]
        self.unsearched += data["unsearched"]
        self.outlived += data["outlived"]

    def to_dict(self) -> dict[str, Any]:
        return {
            "tests": self.tests,
            "rerun": self.rerun,
            "reruns": self.reruns,
            "seconds": round(self.seconds, 3),
            "unsearched": self.unsearched,
            "outlived": self.outlived,
            "groups": [group.to_dict() for group in self.ordered()],
            "unjudged": dict(sorted(self.unjudged.items())),
            "mended": dict(sorted(self.mended.items())),
        }

    def ordered(self) -> list[Finding]:
        """Return the groups, leaks first, those that most tests show before others."""
        return sorted(
            self.groups.values(),
            key=lambda g: (g.kind == "cycle", -len(g.tests), g.summary, g.fingerprint),
        )

    def of(self, *statuses: Status) -> list[Finding]:
        return [group for group in self.ordered() if group.status in statuses]


def printable(text: str) -> str:
    r"""Escape what is not printable: a name may hold a line that a terminal or a CI obeys.

    >>> printable("A\n::error::B")
    'A\\n::error::B'
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def size_text(size: int) -> str:
    """Return a number of bytes as people read it.

    >>> size_text(532), size_text(5320)
    ('532 bytes', '5.2 KiB')
    """
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:.1f} KiB" if size < 1024**2 else f"{size / 1024**2:.1f} MiB"


def types_text(types: dict[str, int], limit: int = 4) -> str:
    """Return the most frequent types and their numbers, in words."""
    rows = sorted(types.items(), key=lambda row: (-row[1], row[0]))
    text = ", ".join(f"{count} {printable(name)}" for name, count in rows[:limit])
    return text + (f" and {len(rows) - limit} more types" if len(rows) > limit else "")
