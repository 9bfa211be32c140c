"""What does it look like? The paths and the cycle as Graphviz source, and as a picture in SVG.

A box is a reference and what it leads to. Paths stand side by side, and end in the object; below
it comes the cycle, and its way back up. Both formats are written by hand: neither Graphviz nor a
font is needed, and all text is escaped, since names come from the program that is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from .retention import fold

if TYPE_CHECKING:
    from .retention import Retention

Step = tuple[str, str]

# Pixels. A monospaced letter of 12 pixels is 7.22 wide in the fonts named below.
LETTER, LINE, PAD, GAP, MARGIN = 7.22, 17, 10, 30, 20
MEETING = 64  # the height in which several paths come together
LETTERS = 46
WIDTH = round(LETTERS * LETTER) + 2 * PAD
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = """
.page { fill: #ffffff } .box { fill: #f6f8fa; stroke: #d0d7de }
.goal { fill: #fff1e5; stroke: #bc4c00 } .loop { fill: #fbf5ff; stroke: #c297ff }
.edge { fill: none; stroke: #6e7781; stroke-width: 1.5 } .tip { fill: #6e7781 }
.back { stroke: #8250df; stroke-dasharray: 5 4 } .backtip { fill: #8250df }
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.what { fill: #1f2328 } .kind { fill: #656d76 } .head { fill: #1f2328; font-weight: bold }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } .box { fill: #161b22; stroke: #30363d }
.goal { fill: #3d1300; stroke: #f0883e } .loop { fill: #21123d; stroke: #8957e5 }
.edge { stroke: #8b949e } .tip { fill: #8b949e } .back { stroke: #a371f7 }
.backtip { fill: #a371f7 } .what, .head { fill: #e6edf3 } .kind { fill: #8b949e }
}
"""


def _loop(retention: Retention) -> list[Step]:
    """Return the steps of the cycle; that of other objects has the object it begins at first."""
    *steps, (text, _) = retention.cycle_steps() or [("", "")]
    loop = [*steps, (text, "")] if text else []
    return loop if retention.cycle_of != retention.target else loop[1:]


def to_dot(retention: Retention) -> str:
    """Return Graphviz source: `dot -Tsvg` lays it out."""
    lines = ["digraph retention {", '  node [shape=box, fontname="monospace"];']
    goal = _dot_node("object", retention.target, str(retention.verdict))
    lines.append(goal.replace("];", ", peripheries=2];"))
    for number, path in enumerate(retention.paths):
        names = [f"path{number}_{step}" for step in range(len(path.steps()))]
        steps = path.steps()
        steps[-1] = (steps[-1][0], "")
        lines += [_dot_node(name, *step) for name, step in zip(names, steps, strict=True)]
        lines += [f"  {a} -> {b};" for a, b in pairwise([*names, "object"])]
    loop = _loop(retention)
    names = [f"cycle_{step}" for step in range(len(loop))]
    lines += [_dot_node(name, *step) for name, step in zip(names, loop, strict=True)]
    ring = names if retention.cycle_of != retention.target else ["object", *names]
    if names:
        lines += [f"  {a} -> {b} [style=dashed];" for a, b in pairwise([*ring, ring[0]])]
    return "\n".join([*lines, "}", ""])


def _dot_node(name: str, text: str, kind: str) -> str:
    parts = [part for part in (text, kind) if part]
    quoted = [part.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for part in parts]
    label = "\\n".join(quoted)
    return f'  {name} [label="{label}"];'


class Box(NamedTuple):
    """A reference in one class of text, what it leads to in another, below each other."""

    what: list[str]
    kind: list[str]
    style: str = "box"

    @property
    def height(self) -> int:
        return LINE * (len(self.what) + len(self.kind)) + 2 * PAD

    def draw(self, x: int, y: int) -> Iterator[str]:
        yield (
            f'<rect class="{self.style}" x="{x}" y="{y}" width="{WIDTH}"'
            f' height="{self.height}" rx="6"/>'
        )
        what = "head" if self.style == "goal" else "what"
        rows = [*((line, what) for line in self.what), *((line, "kind") for line in self.kind)]
        for number, (line, style) in enumerate(rows, 1):
            at = y + PAD + LINE * number - 5
            yield _text(x + PAD, at, line, style)


def _text(x: int, y: int, line: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}" xml:space="preserve">{_xml(line)}</text>'


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("?", text))


def _box(step: Step, style: str = "box") -> Box:
    return Box(_rows(step[0]), _rows(step[1]), style)


def _rows(text: str) -> list[str]:
    return fold(text, LETTERS)


def to_svg(retention: Retention) -> str:
    """Return a picture that stands alone: no script, no font, light and dark."""
    columns = []
    for path in retention.paths:
        *steps, (text, _) = path.steps()
        columns.append([_box(step) for step in [*steps, (text, "")]])
    goal = Box(
        _rows(retention.target), [*_rows(f"{retention.verdict}"), *_notes(retention)], "goal"
    )
    loop = [_box(step, "loop") for step in _loop(retention)]
    width = max(1, len(columns)) * (WIDTH + GAP) - GAP + 2 * MARGIN + (2 * GAP if loop else 0)
    middle = (width - (2 * GAP if loop else 0) - WIDTH) // 2
    gap = MEETING if len(columns) > 1 else GAP
    top = MARGIN + max((_height(column) + gap for column in columns), default=0)
    body: list[str] = []
    for number, column in enumerate(columns):
        x, y = MARGIN + number * (WIDTH + GAP), top - gap - _height(column)
        body += _stack(column, x, y)
        body.append(_arrow(x + WIDTH // 2, top - gap, middle + WIDTH // 2, top))
    body += goal.draw(middle, top)
    bottom = top + goal.height
    if loop:
        separate = retention.cycle_of != retention.target
        body += _ring(loop, middle, top + goal.height // 2, bottom, separate=separate)
        bottom += GAP + _height(loop)
    height = bottom + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" role="img">',
            f"<title>{_xml(f'Why {retention.target} is alive: {retention.verdict}')}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{width}" height="{height}"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _notes(retention: Retention) -> Iterator[str]:
    for note in retention.notes:
        yield from _rows(note)


def _height(boxes: list[Box]) -> int:
    return sum(box.height + GAP for box in boxes) - GAP


def _stack(boxes: list[Box], x: int, y: int) -> Iterator[str]:
    for number, box in enumerate(boxes):
        yield from box.draw(x, y)
        y += box.height
        if number + 1 < len(boxes):
            yield _arrow(x + WIDTH // 2, y, x + WIDTH // 2, y + GAP)
        y += GAP


def _ring(boxes: list[Box], x: int, goal: int, bottom: int, *, separate: bool) -> Iterator[str]:
    """Draw the cycle below the object, and its last reference back up."""
    yield from _stack(boxes, x, bottom + GAP)
    if not separate:
        yield _arrow(x + WIDTH // 2, bottom, x + WIDTH // 2, bottom + GAP)
    first = bottom + GAP + boxes[0].height // 2 if separate else goal
    last = bottom + GAP + _height(boxes) - boxes[-1].height // 2
    right, bend = x + WIDTH, x + WIDTH + GAP
    yield (
        f'<path class="edge back" d="M {right} {last} C {bend + GAP} {last}, {bend + GAP} {first},'
        f' {right + 8} {first}"/>'
    )
    yield f'<path class="backtip" d="M {right} {first} l 9 -5 v 10 z"/>'


def _arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    end, middle = to_y - 8, (y + to_y) // 2
    return (
        f'<path class="edge" d="M {x} {y} C {x} {middle}, {to_x} {middle}, {to_x} {end}"/>'
        f'<path class="tip" d="M {to_x} {to_y} l -5 -9 h 10 z"/>'
    )
