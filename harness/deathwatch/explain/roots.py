"""Where do paths begin, beside modules? Threads, contexts, hooks and the calls in progress."""

from __future__ import annotations

import contextvars
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from .frames import FREE_THREADED, addresses_on_stack, generator_of, variables
from .modules import RUNNERS, Rank, Root
from .names import (
    call_text,
    callable_text,
    class_dict,
    instance_dict,
    is_a,
    module_dict,
    mro,
    place,
    plain,
)

_STARTERS = (*RUNNERS, "unittest", "runpy")


def stack(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_machinery(frame: types.FrameType) -> bool:
    module = plain(frame.f_globals.get("__name__"), "").partition(".")[0]
    return module in _STARTERS


def own_calls(frame: types.FrameType) -> Iterator[tuple[types.FrameType, Rank]]:
    """Yield this thread's calls.

    The first that is not machinery is the one that asks: what it holds is passing through.
    """
    rank = Rank.PASSING
    for each in stack(frame):
        if _is_machinery(each):
            yield each, Rank.MACHINERY
        else:
            yield each, rank
            rank = Rank.LOCAL


def own_locals(frame: types.FrameType) -> Iterator[Root]:
    """Yield the locals of this thread's calls."""
    for each, rank in own_calls(frame):
        yield from _locals(each, rank, "", still=True)


def hidden_temporaries(frame: types.FrameType) -> Iterator[tuple[set[int], Rank, str, str]]:
    """Yield the addresses on stacks of unknown depth, and what that call is called."""
    for each, rank in own_calls(frame):
        addresses = addresses_on_stack(each)
        if addresses:
            yield addresses, rank, *_call(each)


def own_generators(frame: types.FrameType) -> Iterator[object]:
    """Yield the generators and coroutines that this thread runs: their locals are those calls'."""
    for each in stack(frame):
        found = generator_of(each)
        if found is not None:
            yield found


def _locals(frame: types.FrameType, rank: Rank, where: str, *, still: bool) -> Iterator[Root]:
    call, module = _call(frame)
    at = call + where
    # Another thread's generator is met, and counted, as an object.
    seen = not still and generator_of(frame) is not None
    for name, value, counted in variables(frame, still=still):
        what = f"local variable {name!r}" if name is not None else temporary(value)
        # pytest's rewritten asserts keep what they compare in variables like `@py_assert1`.
        whose = Rank.MACHINERY if name is not None and name.startswith("@") else rank
        slots = int(counted and not seen)
        yield Root(whose, value, f"{what} of {at}", name or "…", f"{what} of {module}", None, slots)


def _call(frame: types.FrameType) -> tuple[str, str]:
    """Return what a call is called, with and without its line."""
    code = frame.f_code
    module = plain(frame.f_globals.get("__name__"))
    return f"{call_text(code)} at {place(code, frame.f_lineno)}", f"{module}.{call_text(code)}"


def temporary(value: object) -> str:
    """Say what a value on a frame's stack is there for."""
    if type(value) is types.MethodType:
        name = callable_text(value)
        if name.endswith(("__exit__()", "__aexit__()")):
            return "with statement"
    for cls in mro(type(value)):
        if "__exit__" in class_dict(cls) or "__aexit__" in class_dict(cls):
            return "with statement"
        if "__next__" in class_dict(cls):
            return "loop"
    return "temporary"


def threads() -> dict[int, str]:
    """Return the names of the running threads by their identifiers."""
    threading = sys.modules.get("threading")
    if threading is None:
        return {}
    active: dict[int, object] = dict(module_dict(threading)["_active"])
    return {ident: thread_name(thread) for ident, thread in active.items()}


def thread_name(thread: object) -> str:
    return plain((instance_dict(thread) or {}).get("_name"))


def other_threads() -> Iterator[Root]:
    """Yield the locals of the other threads, but not on free-threaded builds.

    There the frames of a running thread can't be read safely (cpython#152355).
    """
    if FREE_THREADED or not hasattr(sys, "_current_frames"):
        return
    import _thread

    frames, names = sys._current_frames(), threads()
    # This call's own frame, in a variable of its own, would be a cycle that pins its callers.
    frames.pop(_thread.get_ident(), None)
    for ident, frame in sorted(frames.items()):
        where = f" in thread {names.get(ident, 'unknown')!r}"
        for each in stack(frame):
            yield from _locals(each, Rank.NAMED, where, still=False)


def named(value: object, text: str, slots: int | None = None) -> Root:
    return Root(Rank.NAMED, value, text, text, text, None, slots)


def context() -> Iterator[Root]:
    """Yield the context of this thread: a copy, which shares its tree of values.

    It has no name of its own: the edge that leaves it is `ContextVar 'request'`.
    """
    yield named(contextvars.copy_context(), "")


def event_loop() -> Iterator[Root]:
    asyncio = sys.modules.get("_asyncio") or sys.modules.get("asyncio.events")
    if asyncio is not None:
        loop = module_dict(asyncio)["_get_running_loop"]()
        if loop is not None:
            yield named(loop, "the running event loop")


def hooks() -> Iterator[Root]:
    """Yield what the interpreter was told to call or keep, and which no module names."""
    for getter in ("getprofile", "gettrace"):
        hook: Callable[[], Any] = getattr(sys, getter)
        if hook() is not None:
            yield named(hook(), f"sys.set{getter[3:]}()", 1)
    for name, called in zip(("firstiter", "finalizer"), sys.get_asyncgen_hooks(), strict=True):
        if called is not None:
            yield named(called, f"sys.set_asyncgen_hooks({name}=…)", 1)
    signal = sys.modules.get("signal")
    if signal is not None:
        for number in signal.Signals:
            handler = signal.getsignal(number)
            if handler is not None and not is_a(handler, int):
                yield named(handler, f"handler of {number.name}", 1)


def kept_exceptions() -> Iterator[Root]:
    for name in ("last_exc", "last_value", "last_traceback"):
        if hasattr(sys, name):
            yield named(getattr(sys, name), f"sys.{name}")


def handled_exceptions() -> Iterator[Root]:
    """Yield the exceptions that `except` blocks are handling, in every thread."""
    import _thread

    if not hasattr(sys, "_current_exceptions"):
        return
    names = threads()
    for ident, handled in list(sys._current_exceptions().items()):
        exception: Any = handled
        if type(exception) is tuple:  # 3.11
            exception = exception[1]
        if exception is None:
            continue
        text = "the exception being handled"
        if ident == _thread.get_ident():
            yield Root(Rank.PASSING, exception, text, "…", text, None, 1)
        elif not FREE_THREADED:
            where = f"in thread {names.get(ident, 'unknown')!r}"
            yield Root(Rank.NAMED, exception, f"{text} {where}", "…", text, None, 1)
