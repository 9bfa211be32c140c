"""Pictures: DOT and SVG say what the text says, and survive any name."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from deathwatch.explain import Retention, why_alive

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    'a"b\\',
    "a\nb",
    "\x1b[31mred",
    "\x00",
    "é" * 300,
    "]]>&amp;",
]


class Node:
    parent: Node
    child: Node


registry: dict[str, Any] = {}


def a_cycle() -> weakref.ref[Node]:
    node = Node()
    node.child = Node()
    node.child.parent = node
    return weakref.ref(node)


def in_a_cycle(key: str) -> Retention:
    registry[key] = [a_cycle()()]
    try:
        return why_alive(registry[key][0])
    finally:
        registry.clear()


@pytest.mark.parametrize("key", HOSTILE)
def test_svg_is_well_formed_whatever_the_names(key: str) -> None:
    """A name of the program can't break out of the picture, nor bring in an element."""
    root = ElementTree.fromstring(in_a_cycle(key).to_svg())
    used = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert used == {"svg", "title", "style", "rect", "path", "text"}


def shown(retention: Retention) -> list[str]:
    root = ElementTree.fromstring(retention.to_svg())
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_svg_shows_path_object_and_verdict() -> None:
    """The path that the text tells is in the picture."""
    lines = shown(in_a_cycle("user"))
    assert "registry['user'][0]" in "".join(lines)
    assert any(line.endswith(".Node") for line in lines)
    assert "immortal" in lines


def test_svg_shows_the_cycle() -> None:
    """The cycle that the text tells is in the picture."""
    lines = shown(why_alive(a_cycle()()))
    assert "needs the collector" in lines
    assert "it.child.parent" in lines


def test_svg_keeps_every_line_within_its_box() -> None:
    """Long names are broken: no line is longer than a box has room for."""
    root = ElementTree.fromstring(in_a_cycle("x" * 500).to_svg())
    assert max(len(element.text or "") for element in root.iter(f"{SVG}text")) <= 46


def test_svg_is_light_and_dark_and_loads_nothing() -> None:
    """The picture follows the reader's colours, and has no address of anything else."""
    svg = in_a_cycle("a").to_svg()
    assert "prefers-color-scheme: dark" in svg
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in svg


@pytest.mark.parametrize("key", HOSTILE)
def test_dot_quotes_whatever_the_names(key: str) -> None:
    """Every line of the source is a whole statement, its strings closed."""
    lines = in_a_cycle(key).to_dot().splitlines()
    assert lines[0] == "digraph retention {"
    assert lines[-1] == "}"
    statement = re.compile(r'  (\w+( -> \w+)?)( \[(\w+=("(\\.|[^"\\])*"|\w+)(, )?)+\])?;')
    for line in lines[1:-1]:
        assert statement.fullmatch(line), line


def test_dot_joins_path_object_and_cycle() -> None:
    """The edges lead from the root to the object, and around its cycle."""
    assert "path0_0 -> object;" in in_a_cycle("a").to_dot()
    dot = why_alive(a_cycle()()).to_dot()
    for edge in ("object -> cycle_0 [style=dashed];", "cycle_0 -> object [style=dashed];"):
        assert edge in dot


Draw = Callable[[Retention], str]


@pytest.mark.parametrize("draw", [Retention.to_dot, Retention.to_svg])
def test_an_object_that_nobody_holds_has_a_picture_too(draw: Draw) -> None:
    """Neither format needs a path or a cycle."""
    assert "Node" in draw(why_alive(Node()))
