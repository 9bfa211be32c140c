"""What the compiler makes of the source, where a promise hangs on it.

A signal is handled at a loop's jump back, and CPython leaves some of these jumps out of the
exception table of the `try` or `with` around the loop: since 3.12 that of an `if` that ends the
loop's body, comprehensions included (PEP 709), in 3.12 and 3.13 that of `while condition`
(cpython#130279), since 3.14 that of `while True` (measured on 3.11.7, 3.12.1, 3.13.15, 3.14.8 and
3.15.0). A Ctrl-C handled there passes the `finally` by, and a lock stays held. A loop that must not
lose it stands in a function of its own: a call is always in the table.

Not mended by that: in 3.14 a signal that is handled just when `__enter__` has returned passes the
`with` itself by (cpython#148874, mended in 3.15).
"""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

import deathwatch
import lastref
import pytest_deathwatch

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="other interpreters have no exception table"
)


LOOPS: tuple[type[ast.AST], ...] = (ast.While, ast.For, ast.AsyncFor)
if sys.version_info >= (3, 12):  # before, a comprehension is a function
    LOOPS += (ast.ListComp, ast.SetComp, ast.DictComp)
HARMLESS = {"suppress", "open"}
"""What has nothing to undo, and what closes with its frame."""


def guarded_loops(node: ast.AST, guarded: bool = False) -> Iterator[range]:
    """The lines of every loop of whose function a `finally` or the end of a `with` comes after."""
    for child in ast.iter_child_nodes(node):
        inside = guarded
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            inside = False
        elif isinstance(node, ast.Try) and child not in node.finalbody:
            inside = inside or bool(node.finalbody)
        elif isinstance(node, ast.With | ast.AsyncWith) and child in node.body:
            inside = inside or not {manager(item) for item in node.items} <= HARMLESS
        if inside and isinstance(child, LOOPS):
            yield range(child.lineno, (child.end_lineno or child.lineno) + 1)  # type: ignore[attr-defined]
        yield from guarded_loops(child, inside)


def manager(item: ast.withitem) -> str:
    """The last name of what is called: `open` of `path.open("rb")`."""
    called = item.context_expr
    return ast.unparse(called.func).rpartition(".")[2] if isinstance(called, ast.Call) else ""


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def unguarded_jumps(source: str) -> list[int]:
    """Lines from which a guarded loop jumps back where no handler is."""
    loops = list(guarded_loops(ast.parse(source)))
    lines = []
    for code in codes(compile(source, "source", "exec")):
        bytecode: Any = dis.Bytecode(code)
        handled = [range(entry.start, entry.end) for entry in bytecode.exception_entries]
        for instruction in bytecode:
            line = instruction.positions and instruction.positions.lineno
            if (
                instruction.opname == "JUMP_BACKWARD"
                and any(line in loop for loop in loops)
                and not any(instruction.offset in entry for entry in handled)
            ):
                lines.append(line)
    return lines


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 has every jump in its table")
def test_the_search_finds_a_jump_that_no_finally_guards() -> None:
    assert unguarded_jumps("with lock:\n for x in y:\n  a()\n  if b():\n   c()") == [4]
    assert unguarded_jumps("with lock, suppress(E):\n x = [a for a in y if b(a)]") == [2]
    assert unguarded_jumps("try:\n a()\nexcept E:\n [b for b in c if d]\nfinally:\n e()") == [4]
    assert unguarded_jumps("with lock:\n for x in y:\n  a()") == []
    assert unguarded_jumps("with suppress(E):\n for x in y:\n  if b():\n   c()") == []


@pytest.mark.parametrize(
    "package", [lastref, deathwatch, pytest_deathwatch], ids=lambda p: p.__name__
)
def test_no_loop_jumps_past_the_finally_around_it(package: ModuleType) -> None:
    """A lock, the collector's state, a folder of ours: Ctrl-C leaves none behind."""
    sources = sorted(Path(package.__path__[0]).rglob("*.py"))
    assert len(sources) > 10
    found = {str(path): unguarded_jumps(path.read_text("utf-8")) for path in sources}
    assert {name: lines for name, lines in found.items() if lines} == {}
