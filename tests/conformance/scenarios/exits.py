"""The end of the program, its copies and its sub-interpreters (E)."""

from __future__ import annotations

import os
import sys
from typing import Any

from .catalogue import GO, LASTREF, STDLIB, Difference, Unavailable, scenario
from .deaths import NO_GO, OWN
from .dying import run_python

ATEXIT = "docs:library/weakref#weakref.finalize.atexit"


def _run(api: Any, code: str, timeout: float = 15.0) -> str:
    """What a program prints that has the binding as `api`, or "nothing"."""
    head = f"""
import gc, os, sys, threading, time, weakref
from scenarios.bindings import binding
from scenarios.dying import Finalized, Victim, collect, drop
api = binding({api.name!r})
def say(what):
    os.write(1, (str(what) + chr(10)).encode())
"""
    return run_python(head + code, timeout=timeout) or "nothing"


@scenario(
    "E1/alive",
    "The cleanup of an object that is alive at exit",
    promise="Cleanups are not guaranteed to run before the program exits.",
    expected="not run",
    sources=("C2", "go:runtime#AddCleanup"),
    differences=(Difference(STDLIB, "run", "weakref.finalize runs what is left at exit.", ATEXIT),),
)
def alive_at_exit(api: Any) -> str:
    said = _run(api, "held = Victim(); api.add_cleanup(held, say, 'run')")
    return "not run" if said == "nothing" else said


@scenario(
    "E1/order",
    "The order of what runs at exit",
    promise="What runs at exit runs last in, first out.",
    expected="3, 2, 1",
    sources=("C2", ATEXIT),
    absent={
        LASTREF: "Cleanups of living objects run at exit only where asked for, in no order.",
        GO: NO_GO,
    },
)
def order_at_exit(api: Any) -> str:
    return _run(api, "held = Victim()\nfor n in 1, 2, 3: api.add_cleanup(held, say, n)")


@scenario(
    "E1/queued",
    "A cleanup that is running when the program ends",
    promise="The end of the program does not wait for cleanups.",
    expected="started",
    sources=("C2", "go:runtime#AddCleanup"),
    differences=(
        Difference(
            STDLIB,
            "started, finished",
            "The cleanup runs in the thread that lets the object die, which goes on after it.",
            "docs:library/weakref#weakref.finalize",
        ),
        Difference(
            LASTREF,
            "started, finished",
            "A queue runs at exit what was queued, unless it is made with at_exit='nothing': by"
            " atexit, which the interpreter waits for.",
            "docs:library/atexit#atexit.register",
        ),
    ),
)
def queued_at_exit(api: Any) -> str:
    return _run(
        api,
        """
started = threading.Event()
def slow(_):
    say("started")
    started.set()
    time.sleep(0.3)
    say("finished")
box = [Victim()]
api.add_cleanup(box[0], slow, None)
drop(box, "collector")
started.wait(5)
""",
    )


@scenario(
    "E1/late",
    "A cleanup that is registered while the program ends",
    promise="Registering at exit neither fails nor hangs.",
    expected="registered",
    sources=("C2", "contract:add_cleanup"),
    absent={GO: "Go has no exit handlers."},
)
def registered_at_exit(api: Any) -> str:
    said = _run(
        api,
        """
import atexit
def late():
    box = [Victim()]
    api.add_cleanup(box[0], id, 1)
    box.clear()
    say("registered")
api.add_cleanup(Victim(), id, 1)
atexit.register(late)
""",
    )
    return said


@scenario(
    "E2/global",
    "The finalizer of an object that a module holds at exit",
    promise="Objects that are still alive when the interpreter exits may not be finalized.",
    expected="not called",
    sources=("docs:reference/datamodel#object.__del__",),
    absent={LASTREF: OWN},
    differences=(
        Difference(
            STDLIB,
            "called",
            "CPython clears the modules at exit, and what they held dies by its reference count.",
            "docs:c-api/init#c.Py_FinalizeEx",
            ("cpython-*",),
        ),
    ),
)
def global_at_exit(api: Any) -> str:
    said = _run(api, "held = Finalized(on_del=lambda _: say('called'))")
    return "not called" if said == "nothing" else said


@scenario(
    "E2/cycle",
    "The finalizer of a cycle that a module holds at exit",
    promise="Objects that are still alive when the interpreter exits may not be finalized.",
    expected="not called",
    sources=("docs:reference/datamodel#object.__del__",),
    absent={LASTREF: OWN, GO: "Go does not call finalizers in a cycle (D2/cycle)."},
    differences=(
        Difference(
            STDLIB,
            "called",
            "CPython clears the modules at exit, and collects once more.",
            "docs:c-api/init#c.Py_FinalizeEx",
            ("cpython-*",),
        ),
    ),
)
def cycle_at_exit(api: Any) -> str:
    said = _run(api, "held = Finalized(on_del=lambda _: say('called')); held.itself = held")
    return "not called" if said == "nothing" else said


@scenario(
    "E2/atexit",
    "Exit handlers and finalizers",
    promise="Exit handlers run before the modules are cleared: they see everything whole.",
    expected="handler, __del__",
    sources=("docs:library/atexit",),
    absent={LASTREF: OWN, GO: "Go has no exit handlers."},
    differences=(
        Difference(
            STDLIB,
            "handler",
            "PyPy finalizes nothing at exit (E2/global).",
            "pypy:cpython_differences",
            ("pypy-*",),
        ),
    ),
)
def handlers_first(api: Any) -> str:
    return _run(
        api,
        """
import atexit
held = Finalized(on_del=lambda _: say("__del__"))
atexit.register(say, "handler")
""",
    )


@scenario(
    "E2/daemon",
    "An object that a daemon thread holds at exit",
    promise="What a daemon thread holds is not finalized: the thread is cut off where it is.",
    expected="not called",
    sources=("docs:library/threading#thread-objects",),
    absent={LASTREF: OWN},
)
def daemon_at_exit(api: Any) -> str:
    said = _run(
        api,
        """
ready = threading.Event()
def hold():
    held = Finalized(on_del=lambda _, say=say: say("called"))
    ready.set()
    threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
ready.wait(5)
""",
    )
    return "not called" if said == "nothing" else said


@scenario(
    "E3/child",
    "A cleanup registered before a fork, of an object that dies in the child",
    promise="A forked child runs the cleanups that it inherited.",
    expected="run in the child",
    sources=("C2", "contract:CleanupQueue"),
    absent={GO: "A Go program can't fork without starting another program."},
)
def in_the_child(api: Any) -> str:
    _need_fork()
    return _run(
        api,
        """
api.add_cleanup(Victim(), id, 1)
api.settle()
box = [Victim()]
parent = os.getpid()
def where(_):
    say("run in the parent" if os.getpid() == parent else "run in the child")
api.add_cleanup(box[0], where, None)
import warnings
warnings.simplefilter("ignore")
child = os.fork()
if not child:
    drop(box, "collector")
    api.settle()
    os._exit(0)
os.waitpid(child, 0)
os._exit(0)
""",
    )


@scenario(
    "E3/twice",
    "The cleanup of an object that is alive at a fork, when both processes exit",
    promise="A cleanup that is registered once runs at most once.",
    expected="at most once",
    sources=("C1", "C2"),
    absent={GO: "A Go program can't fork without starting another program."},
    differences=(
        Difference(
            STDLIB,
            "twice",
            "Parent and child each run at exit what they have registered.",
            ATEXIT,
        ),
    ),
)
def at_most_once(api: Any) -> str:
    _need_fork()
    said = _run(
        api,
        """
held = Victim()
api.add_cleanup(held, say, "run")
import warnings
warnings.simplefilter("ignore")
child = os.fork()
if child:
    os.waitpid(child, 0)
""",
    )
    return "twice" if said == "run, run" else "at most once"


def _need_fork() -> None:
    if not hasattr(os, "fork"):
        raise Unavailable("This system can't fork.")


# What makes and runs a sub-interpreter was moved about between 3.12 and 3.14.
_SUBINTERPRETER = """
def run_sub(code):
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    try:
        ident = interpreters.create("legacy") if LEGACY else interpreters.create()
    except TypeError:
        ident = interpreters.create(isolated=not LEGACY)
    head = f"import sys; sys.path[:] = {sys.path!r}" + chr(10)
    failed = (getattr(interpreters, "run_string"))(ident, head + code)
    if failed is not None:
        say("failed: " + str(getattr(failed, "formatted", failed))[:200])
    interpreters.destroy(ident)
"""


def _in_subinterpreter(api: Any, code: str, *, legacy: bool) -> str:
    if sys.implementation.name != "cpython":
        raise Unavailable("PyPy has no sub-interpreters.")
    inner = f"""
import os, threading
from scenarios.bindings import binding
from scenarios.dying import Finalized, Victim, collect, drop
api = binding({api.name!r})
def say(what):
    os.write(1, (str(what) + chr(10)).encode())
{code}
"""
    return _run(api, f"LEGACY = {legacy}\n{_SUBINTERPRETER}\nrun_sub({inner!r})")


_CLEANUP = """
box = [Victim()]
api.add_cleanup(box[0], say, "run")
drop(box, "collector")
api.settle()
"""
_NO_SUB = {GO: "A Go program has one runtime."}


@scenario(
    "E4/cleanup",
    "A cleanup in a sub-interpreter",
    promise="Cleanups run in sub-interpreters.",
    expected="run",
    sources=("C1", "pep:734"),
    absent=_NO_SUB,
    differences=(
        Difference(
            LASTREF,
            "died by signal 6",
            "The worker is a thread, and 3.11 (_xxsubinterpreters) aborts the process when a"
            " sub-interpreter is destroyed that has one, before anything could end it.",
            "docs:c-api/init#c.Py_EndInterpreter",
            ("cpython-3.11",),
        ),
    ),
)
def in_subinterpreter(api: Any) -> str:
    return _in_subinterpreter(api, _CLEANUP, legacy=True)


@scenario(
    "E4/isolated",
    "A cleanup in an isolated sub-interpreter, where no daemon thread may be started",
    promise="Cleanups run in isolated sub-interpreters.",
    expected="run",
    sources=("C1", "pep:734"),
    absent=_NO_SUB,
)
def in_isolated(api: Any) -> str:
    return _in_subinterpreter(api, _CLEANUP, legacy=False)


@scenario(
    "E4/end",
    "An object that is alive when its sub-interpreter ends",
    promise="What a sub-interpreter holds is finalized at its end.",
    expected="called",
    sources=("pep:734", "docs:c-api/init#c.Py_EndInterpreter"),
    absent={**_NO_SUB, LASTREF: OWN},
)
def subinterpreter_ends(api: Any) -> str:
    return _in_subinterpreter(api, "held = Finalized(on_del=lambda _: say('called'))", legacy=False)
