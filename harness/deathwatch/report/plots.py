"""Plots: bars, boxes with their spread, and lines, drawn by matplotlib as inline SVG.

Colours are names in the drawing and get their values from the page's style, for light and dark
alike; every plot has a title that is read aloud, and its figures are in a table beside it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from deathwatch.measure.unavailable import require
from deathwatch.pages import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 360
"""Units. A plot is drawn at most so wide, and never smaller than its text can be read."""

_ROW = 36
_SVG = "http://www.w3.org/2000/svg"

# What the style of the page knows as variables. Matplotlib knows colours only.
_NAMES = ("ink", "soft", "rule", "ours", "other", "c0", "c1", "c2", "c3", "c4", "c5")
_COLOURS = {name: f"#0102{number:02x}" for number, name in enumerate(_NAMES)}
_SERIES = [name for name in _NAMES if name[0] == "c"]
_SETTINGS = {
    "axes.edgecolor": _COLOURS["soft"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 12,
    "svg.fonttype": "none",
    "svg.hashsalt": "deathwatch",
    "text.color": _COLOURS["ink"],
    "text.parse_math": False,
    "xtick.color": _COLOURS["soft"],
    "ytick.color": _COLOURS["soft"],
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
}

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG element as text, safe to put into a page, and what is said below it."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of bars or boxes: its name, the figures it is drawn of, what stands at its end."""

    name: str
    values: tuple[float, ...]
    shown: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name and its points."""

    name: str
    points: Points
    ours: bool = False


def bars(title: str, rows: Sequence[Row]) -> Drawing:
    """A bar for each row, from 0."""
    most = max((row.values[0] for row in rows), default=1.0) or 1.0

    def draw(axes: Axes) -> None:
        _rows(axes, [row.name for row in rows])
        for number, row in enumerate(rows):
            axes.barh(number, row.values[0], height=0.34, color=_fill(row))
            axes.annotate(row.shown, (row.values[0], number), (5, 0), textcoords="offset points",
                          va="center")  # fmt: skip
        axes.set_xlim(0, most * 1.25)

    return _drawing(title, draw, len(rows) * _ROW, None, logarithmic=False)


def boxes(title: str, rows: Sequence[Row], shown: Callable[[float], str] | None = None) -> Drawing:
    """A box for each row: quartiles and median, with a line from the least to the most."""
    every = [value for row in rows for value in row.values if value > 0]
    low, high = min(every, default=0.1), max(every, default=1.0)
    logarithmic = high / low > 50

    def draw(axes: Axes) -> None:
        _rows(axes, [f"{row.name}: {row.shown}" for row in rows])
        for number, row in enumerate(rows):
            if len(row.values) < 4:
                axes.plot(row.values, [number] * len(row.values), "o", ms=5, color=_fill(row))
                continue
            axes.boxplot(
                [row.values], positions=[number], orientation="horizontal", whis=(0, 100),
                widths=0.3, patch_artist=True, manage_ticks=False,
                boxprops={"facecolor": _fill(row), "linewidth": 0},
                medianprops={"color": _COLOURS["ink"], "linewidth": 2},
                whiskerprops={"color": _COLOURS["soft"]}, capprops={"color": _COLOURS["soft"]},
            )  # fmt: skip
        axes.set_xlim(*((low / 1.2, high * 1.2) if logarithmic else (0, high * 1.04)))

    note = "by powers of ten" if logarithmic else None
    ticks = shown or short
    return _drawing(title, draw, len(rows) * _ROW + 24, note, logarithmic=logarithmic, ticks=ticks)


def lines(
    title: str,
    found: Sequence[Line],
    x: str,
    y: str,
    *,
    logarithmic: bool,
    shown: Callable[[float], str] | None = None,
) -> Drawing:
    """A line for each, with its points; `x` and `y` name what the axes show."""

    def draw(axes: Axes) -> None:
        for number, line in enumerate(sorted(found, key=lambda one: one.ours, reverse=True)):
            # a name with a leading underscore would be left out of the legend
            name = clean(line.name)
            (drawn,) = axes.plot(
                *zip(*line.points, strict=True), "o-", ms=4,
                color=_COLOURS[_SERIES[_series(number, found)]], zorder=3 if line.ours else 2,
            )  # fmt: skip
            drawn.set_label("\N{ZERO WIDTH SPACE}" + name if name.startswith("_") else name)
        axes.set_xlabel(clean(x), color=_COLOURS["soft"])
        axes.set_title(clean(y), loc="left", fontsize=11, color=_COLOURS["soft"])
        axes.grid(axis="y", color=_COLOURS["rule"], linewidth=0.8)
        xs = sorted({point[0] for line in found for point in line.points})
        if logarithmic:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xticks(xs[:: math.ceil(len(xs) / 6)], minor=False)
        axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.yaxis.set_major_formatter(lambda value, _: (shown or short)(value))
        if logarithmic:
            _enough_ticks(axes, [y for line in found for _, y in line.points])
        axes.minorticks_off()
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(-0.18, -0.22),
                    borderaxespad=0, handlelength=1.2)  # fmt: skip

    note = "both axes by powers of ten" if logarithmic else None
    return _drawing(title, draw, 236, note, logarithmic=logarithmic, below=18 * len(found) + 8)


def _series(number: int, found: Sequence[Line]) -> int:
    """The first colour is ours, and is nobody's where ours is not among the lines."""
    others = len(_SERIES) - 1
    if any(line.ours for line in found):
        return 0 if number == 0 else 1 + (number - 1) % others
    return 1 + number % others


def duration(nanoseconds: float) -> str:
    """A time in few characters, in the unit that suits it."""
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def short(value: float) -> str:
    """A figure in few characters."""
    if value == 0:
        return "0"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def _enough_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Name values in between where there are few powers of ten."""
    low, high = min(values), max(values)
    if high / low < 100:
        steps = (1, 2, 5) if high / low > 5 else (1, 1.5, 2, 3, 4, 5, 7)
        axes.yaxis.set_major_locator(require("matplotlib.ticker").LogLocator(subs=steps))


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """A place for each row, from above, under its name."""
    axes.set_ylim(len(names) - 0.6, -0.6)
    axes.yaxis.set_visible(False)
    for name in ("left", "bottom"):
        axes.spines[name].set_visible(False)
    for number, name in enumerate(names):
        axes.text(0, number - 0.3, clean(name), transform=axes.get_yaxis_transform())


def _drawing(
    title: str,
    draw: Callable[[Axes], None],
    height: float,
    note: str | None,
    *,
    logarithmic: bool,
    ticks: Callable[[float], str] | None = None,
    below: float = 0,
) -> Drawing:
    """One plot, `height` units high and a legend `below`. Raises `MissingExtra`."""
    matplotlib = require("matplotlib")
    figure_type = require("matplotlib.figure").Figure
    is_plane = below > 0
    with matplotlib.rc_context(_SETTINGS):
        whole = height + below
        figure = figure_type(figsize=(WIDTH / 72, whole / 72))
        left, right, top, foot = (56, 12, 24, 42) if is_plane else (12, 12, 0, 22 if ticks else 0)
        axes = figure.add_axes((
            left / WIDTH, (below + foot) / whole, 1 - (left + right) / WIDTH,
            (height - foot - top) / whole,
        ))  # fmt: skip
        if logarithmic:
            axes.set_xscale("log")
        if not is_plane:
            axes.xaxis.set_visible(ticks is not None)
        draw(axes)
        if ticks is not None:
            axes.tick_params(axis="x", length=3)
            axes.locator_params(axis="x", **({"numticks": 5} if logarithmic else {"nbins": 5}))
            axes.xaxis.set_major_formatter(lambda value, _: ticks(value))
            axes.minorticks_off()
        written = io.BytesIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    caption = "; ".join(filter(None, (title, note)))
    return Drawing(_inline(written.getvalue(), title), clean(caption))


def _inline(written: bytes, title: str) -> str:
    """What matplotlib wrote, as an element of a page: named, and as wide as there is room."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(written)
    for named in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(named)
    for size in ("width", "height"):
        del root.attrib[size]
    for one in root.iter():
        if one.tag == f"{{{_SVG}}}g":
            one.attrib.pop("id", None)  # counted anew in each drawing
    root.set("role", "img")
    name = ElementTree.Element(f"{{{_SVG}}}title")
    name.text = clean(title)
    root.insert(0, name)
    text = ElementTree.tostring(root, encoding="unicode")
    for variable, colour in _COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
    return text


def _fill(row: Row) -> Any:
    return _COLOURS["ours" if row.ours else "other"]
