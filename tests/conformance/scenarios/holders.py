"""Who keeps an object alive though nobody wants it (H): exceptions, tracebacks, registries."""

from __future__ import annotations

import contextvars
import functools
import gc
import sys
import weakref
from contextlib import suppress
from typing import Any

from .catalogue import GO, LASTREF, STDLIB, Difference, scenario
from .dying import Victim, collect

NO_TRACEBACKS = "Go's panics hold no frames."


def _fail_with(victim: Any) -> None:
    raise ValueError


@scenario(
    "H1/exception",
    "A local of a function that raised, while the exception is kept",
    promise="An exception holds its traceback, and that the locals of all its frames.",
    expected="alive, dead with the exception",
    sources=("C14", "docs:reference/datamodel#traceback-objects"),
    absent={GO: NO_TRACEBACKS},
)
def exception(api: Any) -> str:
    kept, pointer = _kept_exception(api)
    collect()
    first = "alive" if api.value(pointer) is not None else "dead"
    kept.clear()
    collect()
    return f"{first}, {'alive' if api.value(pointer) is not None else 'dead'} with the exception"


def _kept_exception(api: Any) -> tuple[list[Any], Any]:
    kept: list[Any] = []
    box: list[Any] = [Victim()]
    pointer = api.pointer(box[0])
    try:
        _fail_with(box.pop())
    except ValueError as error:
        kept.append(error)
    return kept, pointer


@scenario(
    "H1/clear",
    "A local of a function that raised, after traceback.clear_frames",
    promise="Clearing the frames of a traceback lets go of their locals.",
    expected="dead",
    sources=("C14", "docs:library/traceback#traceback.clear_frames"),
    absent={GO: NO_TRACEBACKS},
)
def cleared(api: Any) -> str:
    kept, pointer = _kept_exception(api)
    import traceback

    traceback.clear_frames(kept[0].__traceback__)
    collect()
    return "alive" if api.value(pointer) is not None else "dead"


@scenario(
    "H1/except-as",
    "A local of a function that raised, after the except clause",
    promise="The name of an except clause is deleted at its end, so that no cycle is left.",
    expected="dead without the collector",
    sources=("docs:reference/compound_stmts#except",),
    absent={GO: NO_TRACEBACKS},
    differences=tuple(
        Difference(
            b,
            "dead by the collector",
            "PyPy counts no references.",
            "pypy:cpython_differences",
            ("pypy-*",),
        )
        for b in (STDLIB, LASTREF)
    ),
)
def except_as(api: Any) -> str:
    def fail() -> Any:
        box: list[Any] = [Victim()]
        pointer = api.pointer(box[0])
        try:
            _fail_with(box.pop())
        except ValueError as error:
            id(error)
        return pointer

    return _how_dead(api, fail)


@scenario(
    "H1/own-frame",
    "A function that keeps its own exception in a local",
    promise="Exception, traceback and frame are a cycle then, which only the collector frees.",
    expected="dead by the collector",
    sources=("docs:reference/compound_stmts#except", "docs:library/sys#sys.exc_info"),
    absent={GO: NO_TRACEBACKS},
)
def own_frame(api: Any) -> str:
    def fail() -> Any:
        victim = Victim()
        pointer = api.pointer(victim)
        try:
            _fail_with(victim)
        except ValueError as error:
            kept = error
        id(kept)
        return pointer

    return _how_dead(api, fail)


def _how_dead(api: Any, work: Any) -> str:
    gc.disable()
    pointer = work()
    if api.value(pointer) is None:
        return "dead without the collector"
    collect()
    return "dead by the collector" if api.value(pointer) is None else "alive"


@scenario(
    "H1/context",
    "A local of a function whose exception another one followed",
    promise="An exception that is raised while another is handled holds that as its context.",
    expected="alive, dead with the exception",
    sources=("docs:library/exceptions#BaseException.__context__",),
    absent={GO: NO_TRACEBACKS},
)
def context(api: Any) -> str:
    kept: list[Any] = []

    def fail() -> Any:
        box: list[Any] = [Victim()]
        pointer = api.pointer(box[0])
        try:
            try:
                _fail_with(box.pop())
            except ValueError:
                raise KeyError from None
        except KeyError as error:
            kept.append(error)
        return pointer

    pointer = fail()
    collect()
    first = "alive" if api.value(pointer) is not None else "dead"
    kept.clear()
    collect()
    return f"{first}, {'alive' if api.value(pointer) is not None else 'dead'} with the exception"


@scenario(
    "H2/lru-cache",
    "An object one of whose methods is cached by functools.lru_cache",
    promise="lru_cache holds the arguments of its calls, self among them.",
    expected="alive, dead once the cache is cleared",
    sources=("docs:faq/programming#faq-cache-method-calls",),
    absent={GO: "Go has no such cache."},
)
def lru_cache(api: Any) -> str:
    class Cached(Victim):
        @functools.cache  # noqa: B019 - the leak on purpose
        def compute(self) -> int:
            return 1

    box = [Cached()]
    box[0].compute()
    pointer = api.pointer(box[0])
    box.clear()
    collect()
    first = "alive" if api.value(pointer) is not None else "dead"
    Cached.compute.cache_clear()
    collect()
    last = "alive" if api.value(pointer) is not None else "dead"
    return f"{first}, {last} once the cache is cleared"


@scenario(
    "H2/context-variable",
    "A value of a context variable after its context",
    promise="What was set in a context dies with the context.",
    expected="dead",
    sources=("docs:library/contextvars",),
    absent={GO: "Go's contexts are values that are passed on; nothing is set in them."},
)
def context_variable(api: Any) -> str:
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    box: list[Any] = [Victim()]
    pointer = api.pointer(box[0])
    contextvars.Context().run(variable.set, box.pop())
    collect()
    return "alive" if api.value(pointer) is not None else "dead"


@scenario(
    "H2/last-exception",
    "A local of a function whose exception reached the prompt",
    promise="sys.last_exc, or sys.last_value, holds the last exception shown at the prompt.",
    expected="alive, dead once it is deleted",
    sources=("docs:library/sys#sys.last_exc",),
    absent={GO: NO_TRACEBACKS},
)
def last_exception(api: Any) -> str:
    import code

    holder: dict[str, Any] = {"Victim": Victim, "api": api}
    console = code.InteractiveInterpreter(holder)
    console.write = lambda data: None  # type: ignore[method-assign]
    console.runsource(
        "def fail():\n  v = Victim(); out.append(api.pointer(v)); raise ValueError\n", symbol="exec"
    )
    holder["out"] = out = []
    console.runsource("fail()", symbol="exec")
    collect()
    first = "alive" if api.value(out[0]) is not None else "dead"
    for name in ("last_exc", "last_value", "last_traceback", "last_type"):
        with suppress(AttributeError):
            delattr(sys, name)
    collect()
    return f"{first}, {'alive' if api.value(out[0]) is not None else 'dead'} once it is deleted"


@scenario(
    "H2/finalize",
    "An object that its own finalize holds by a bound method",
    promise="A registry of callbacks that hold their object keeps it alive for good.",
    expected="refused, or never dies",
    sources=("C6", "C8", "docs:library/weakref#weakref.finalize"),
    absent={GO: "Refused (C8/method)."},
)
def bound_method_callback(api: Any) -> str:
    class Closing(Victim):
        def close(self, _: object = None) -> None:
            pass

    box = [Closing()]
    wr = weakref.ref(box[0])
    with suppress(ValueError):
        api.add_cleanup(box[0], box[0].close, 1)
        box.clear()
        collect()
        return "refused, or never dies" if wr() is not None else "dies"
    return "refused, or never dies"
