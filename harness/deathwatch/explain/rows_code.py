"""Edges of functions, calls and exceptions."""

from __future__ import annotations

import types
from typing import Any

from .frames import OPTIMIZED, variables
from .names import call_text, callable_text, describe, place, plain
from .roots import temporary
from .steps import (
    Path,
    Row,
    Step,
    after,
    attribute,
    name_in,
    position,
    through_namespace,
    upto,
    words,
)


def of_function(path: Path, at: int) -> Step | None:
    owner, child, then = path[at], path[at + 1], after(path, at)
    step = _of_closure(owner, path, at) or _of_defaults(owner, path, at)
    if step is not None:
        return step
    if child is owner.__globals__:
        module = f"of module {plain(child.get('__name__'))!r}, which is not in sys.modules"
        found = name_in(child, then) if then is not None else None
        if found is None:
            return words("globals", f"globals {module}", 1)
        return words("global", f"global {found!r} {module}", 2, base=found)
    name = name_in(child, then) if _is_annotations(owner, child) else None
    if name is not None:
        return words("annotation", f"annotation of {name!r} of {callable_text(owner)}", 2)
    return through_namespace(owner.__dict__, path, at)


def _is_annotations(owner: types.FunctionType, child: object) -> bool:
    """Tell by elimination: reading `__annotations__` may compute them, and keep them."""
    known = (owner.__dict__, owner.__kwdefaults__, owner.__globals__)
    return type(child) is dict and not any(child is other for other in known)


def _of_closure(owner: types.FunctionType, path: Path, at: int) -> Step | None:
    """Through the tuple of cells; PyPy goes to the cells at once."""
    here = at + 1 if path[at + 1] is owner.__closure__ else at
    index = position(owner.__closure__ or (), path[here + 1]) if here + 1 < len(path) else None
    if index is None:
        return None
    free = owner.__code__.co_freevars[index]
    length = here - at + upto(path, here, 2)
    return words(
        "closure variable",
        f"closure variable {free!r} of {callable_text(owner)}",
        length,
        base=free,
    )


def _of_defaults(owner: types.FunctionType, path: Path, at: int) -> Step | None:
    defaults, keywords = owner.__defaults__ or (), owner.__kwdefaults__ or {}
    direct = path[at + 1] is not defaults and path[at + 1] is not keywords
    child = path[at + 1] if direct else after(path, at)
    index = position(defaults, child)
    if index is not None:
        code = owner.__code__
        name = code.co_varnames[: code.co_argcount][index - len(defaults)]
    else:
        name = name_in(keywords, child) or ""
    text = f"default argument {name!r} of {callable_text(owner)}"
    return words("default argument", text, 1 if direct else 2) if name else None


def of_cell(path: Path, at: int) -> Step | None:
    return attribute("cell_contents", 1)


def of_method(path: Path, at: int) -> Step | None:
    owner, child = path[at], path[at + 1]
    for name in ("__self__", "__func__"):
        if getattr(owner, name, None) is child:
            return attribute(name, 1)
    return None


def _in_body(frame: types.FrameType, child: object, then: object) -> str | None:
    """Return the name of a variable of a class's or module's body, whose locals are a real dict."""
    if frame.f_code.co_flags & OPTIMIZED or child is not frame.f_locals or then is None:
        return None
    return name_in(frame.f_locals, then)


def _local(frame: types.FrameType, where: str, path: Path, at: int) -> Step | None:
    child, then, mark = path[at + 1], after(path, at), call_text(frame.f_code)
    body = _in_body(frame, child, then)
    if body is not None:
        what = f"local variable {body!r}"
        return words("local variable", f"{what} of {where}", 2, f"{what} of {mark}", body)
    for name, value, _ in variables(frame, still=True):
        if value is child:
            length = 2 if type(child) is types.CellType and then is not None else 1
        elif type(child) is types.CellType and value is then:
            length = 2  # read by name, without its cell
        else:
            continue
        what = f"local variable {name!r}" if name is not None else temporary(value)
        return words(
            "local variable", f"{what} of {where}", length, f"{what} of {mark}", name or "…"
        )
    return None


def of_frame(path: Path, at: int) -> Step | None:
    """A finished frame keeps its locals, and the frames that called it."""
    here = at
    while here + 2 < len(path) and path[here + 1] is path[here].f_back:
        here += 1
    frame = path[here]
    where = f"{call_text(frame.f_code)} at {place(frame.f_code, frame.f_lineno)}"
    found = _local(frame, where, path, here)
    if found is not None:
        return found._replace(length=here - at + found.length)
    if path[at + 1] is path[at].f_back:
        return attribute("f_back", 1)
    return None


def _where(word: str, frame: types.FrameType) -> str:
    return f"{word} {call_text(frame.f_code)} at {place(frame.f_code, frame.f_lineno)}"


def of_suspended(word: str, prefix: str) -> Row:
    def row(path: Path, at: int) -> Step | None:
        owner, child = path[at], path[at + 1]
        frame: Any = getattr(owner, f"{prefix}_frame")
        if frame is None:
            return None
        if child is frame and at + 2 < len(path):  # PyPy
            found = _local(frame, _where(word, frame), path, at + 1)
            return found and found._replace(length=found.length + 1)
        awaited = getattr(owner, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await")
        if child is awaited:
            return words("awaited", f"what {call_text(frame.f_code)} waits for", 1)
        return _local(frame, _where(word, frame), path, at)

    return row


def of_traceback(path: Path, at: int) -> Step | None:
    """Follow the chain to its frame, and to a local of that."""
    here = at
    while here + 1 < len(path) and type(path[here + 1]) is types.TracebackType:
        here += 1
    frame = path[here].tb_frame
    call = call_text(frame.f_code)
    where = f"{call} at {place(frame.f_code, path[here].tb_lineno)}"
    if here + 1 == len(path) or path[here + 1] is not frame:
        return words(
            "traceback", f"traceback of {where}", max(1, here - at), f"traceback of {call}"
        )
    found = of_frame(path, here + 1) if here + 2 < len(path) else None
    if found is None:
        found = words("frame", f"frame of {where}", 0, f"frame of {call}")
    return found._replace(length=here - at + 1 + found.length)


def of_exception(path: Path, at: int) -> Step | None:
    owner, child = path[at], path[at + 1]
    if child is vars(BaseException)["__traceback__"].__get__(owner):
        found = of_traceback(path, at + 1) if at + 2 < len(path) else None
        if found is None or found.kind == "traceback":
            return attribute("__traceback__", 1)
        kind = "local of a traceback" if found.kind == "local variable" else found.kind
        text = f"{found.text}, kept by the traceback of {describe(owner)}"
        mark = f"{found.mark} in traceback"
        return found._replace(kind=kind, text=text, mark=mark, length=found.length + 1)
    for name in ("__context__", "__cause__", "args"):
        if vars(BaseException)[name].__get__(owner) is child:
            return attribute(name, 1)
    index = position(vars(BaseException)["args"].__get__(owner), child)  # PyPy
    return None if index is None else attribute(f"args[{index}]", 1)._replace(mark=".args[]")
