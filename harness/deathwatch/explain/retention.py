"""The answer: why an object is alive, in words. It holds text only, and never the objects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from textwrap import TextWrapper
from typing import Any

WIDTH = 80
# Where the second column begins, if the first leaves room for it.
COLUMN = 48


class Verdict(StrEnum):
    """What it would take for the object to die.

    `IMMORTAL`: a root holds it, and will for as long as the root lives. `CYCLE`: it holds
    itself up, and dies when the collector runs. `UNSEEN`: C code holds it, or an object that
    does. `PASSING`: only the variables of calls in progress in this thread hold it. `UNKNOWN`:
    nothing was found, where references can't be counted and so nothing can be ruled out.
    """

    IMMORTAL = "immortal"
    CYCLE = "needs the collector"
    UNSEEN = "outside the collector's view"
    PASSING = "passing"
    UNKNOWN = "unknown"


_MEANING = {
    Verdict.IMMORTAL: "held from a root: while that lives, nothing frees the object",
    Verdict.CYCLE: "held by a cycle alone: it dies when the collector runs",
    Verdict.UNSEEN: "held by C code, or by a reference count that was never given back",
    Verdict.PASSING: "held by calls in progress alone: it dies when they return",
    Verdict.UNKNOWN: "no holder was found: C code, another thread's variable or a temporary",
}


@dataclass(frozen=True, slots=True)
class Edge:
    """One reference: how a person writes it (`text`), and what it leads to (`to`).

    A text that begins with `.` or `[` is written after what comes before it, or after `base` of
    an edge that is in words. `mark` is what of it all holds in every process.
    """

    kind: str
    text: str
    base: str
    to: str
    mark: str


@dataclass(frozen=True, slots=True)
class RetentionPath:
    """Strong references from a root to the object.

    `kind` says what root it is: `user`, `library` or `stdlib` module, `named` (a thread, a
    context, a handler, …), `interpreter`, `unseen` (C code), or a call in progress: `local`,
    `passing` (the one that asks), `machinery`. `hint` says how such a leak is mended, where
    that is known.
    """

    kind: str
    root: str
    base: str
    mark: str
    edges: tuple[Edge, ...]
    hint: str = ""

    def steps(self) -> list[tuple[str, str]]:
        """Return the path line by line: an expression or a phrase, and what it leads to."""
        steps = [(self.root, "")]
        joined, base = self.root == self.base, self.base
        for edge in self.edges:
            if edge.text[0] not in ".[":
                steps.append((edge.text, edge.to))
                joined, base = False, edge.base
            elif joined:
                steps[-1] = (steps[-1][0] + edge.text, edge.to)
            else:
                steps.append((base + edge.text, edge.to))
                joined = True
        return steps

    def __str__(self) -> str:
        return " -> ".join(text for text, _ in self.steps())


@dataclass(frozen=True, slots=True)
class Retention:
    """Why an object is alive: made by `why_alive`, and text throughout.

    `references` counts those to the object, but for the ones that asking takes; `unseen` are
    those of them that the collector can't see. Both are None where they can't be counted: on
    free-threaded builds, on PyPy, and of what the interpreter never frees (PEP 683). `cycle`
    begins and ends at `cycle_of`: the object, or, if that is held by garbage, an object of this.
    """

    target: str
    type: str
    verdict: Verdict
    paths: tuple[RetentionPath, ...]
    cycle: tuple[Edge, ...]
    cycle_of: str
    references: int | None
    unseen: int | None
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that name the leak: its type, verdict and best path.

        Free of addresses, numbers, positions, line numbers and of keys that aren't plain words;
        so the same leak has it in another process, and on another version of Python unless the
        standard library's own attributes on the way were renamed.
        """
        lasting = [path for path in self.paths if path.kind not in ("passing", "machinery")]
        marks = [self.type, str(self.verdict)]
        if not lasting and not self.cycle:  # a function's name tells leaks apart, not its line
            marks.append(re.sub(r"\d+", "", self.target.partition(" at ")[0]))
        if lasting:
            marks += [lasting[0].mark, *(edge.mark for edge in lasting[0].edges)]
        else:
            marks += [edge.mark for edge in self.cycle]
        return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as what JSON can hold."""
        result = asdict(self)
        result["verdict"] = str(self.verdict)
        result["fingerprint"] = self.fingerprint
        for path, entry in zip(self.paths, result["paths"], strict=True):
            entry["text"] = str(path)
        return result

    def cycle_steps(self) -> list[tuple[str, str]]:
        """Return the cycle line by line: what it begins at, and references as in a path."""
        return RetentionPath("", self.cycle_of, "it", "", self.cycle).steps() if self.cycle else []

    def to_dot(self) -> str:
        """Return the paths and the cycle as Graphviz source."""
        from .draw import to_dot

        return to_dot(self)

    def to_svg(self) -> str:
        """Return the paths and the cycle as a picture: SVG that stands alone, light and dark."""
        from .draw import to_svg

        return to_svg(self)

    def __str__(self) -> str:
        lines = fold(f"{self.target} is alive: {self.verdict} ({_MEANING[self.verdict]})")
        for number, path in enumerate(self.paths, 1):
            lines += ["", *_columns(f"{number}. ", path.steps(), "this object")]
            if path.hint:
                lines += fold(f"Hint: {path.hint}", WIDTH, "   ", "   ")
        if self.cycle:
            lines += ["", "Cycle:", *_columns("   ", self.cycle_steps(), "the first again")]
        if self.notes:
            lines.append("")
        for note in self.notes:
            lines += fold(note)
        return "\n".join(lines)


def _columns(prefix: str, steps: list[tuple[str, str]], end: str) -> Iterable[str]:
    """Lay out the steps in two columns; a text or a type that is too long has its own line."""
    indent = " " * len(prefix)
    for number, (text, to) in enumerate(steps):
        first = prefix if number == 0 else indent
        last = number == len(steps) - 1
        right = end if last else to
        if right and len(first) + len(text) < COLUMN and COLUMN + len(right) <= WIDTH:
            yield (first + text).ljust(COLUMN) + right
            continue
        yield from fold(text, WIDTH, first, indent + "    ")
        if right and not last:
            yield from fold(right, WIDTH, indent + "  = ", indent + "    ")


class _Folder(TextWrapper):
    """Breaks at blanks, and an expression that is too long for a line before a dot or bracket."""

    def _split(self, text: str) -> list[str]:
        pieces = re.findall(r"\s+|\S+", text)
        return [part for piece in pieces for part in self._parts(piece)]

    def _parts(self, piece: str) -> list[str]:
        short = len(piece) <= self.width // 2
        return [piece] if short else re.findall(r"[.\[]?[^.\[]+|[.\[]", piece)


def fold(text: str, width: int = WIDTH, first: str = "", rest: str = "") -> list[str]:
    """Break a text into lines."""
    return _Folder(width, initial_indent=first, subsequent_indent=rest).wrap(text)
