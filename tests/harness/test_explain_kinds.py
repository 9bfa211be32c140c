"""Every kind of holder is named: who holds, and by which edge.

Each offender takes an object, holds it in one way, and returns how to let go again.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import codecs
import collections
import contextlib
import contextvars
import functools
import gc
import itertools
import logging
import os
import queue
import signal
import sqlite3
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from deathwatch.explain import Retention, Verdict, why_alive

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
CPYTHON = sys.implementation.name == "cpython"
Release = Callable[[], object]
Offender = Callable[["Session"], Release]


class Session:
    def close(self) -> None:
        pass


class Holder:
    shared: Any = None

    def __init__(self, session: object = None) -> None:
        self.session = session

    def notice(self, *_: object) -> None:
        pass


class Slotted:
    __slots__ = ("session",)


class Pair(NamedTuple):
    left: object
    right: object


registry: dict[object, Any] = {}
current: Any = None
request: contextvars.ContextVar[object] = contextvars.ContextVar("request")
local = threading.local()


def keep(value: object) -> Release:
    """Hold a value in the registry, under one name."""
    registry["k"] = value
    return registry.clear


def nothing(*_: object, **__: object) -> None:
    pass


# Each row: its name, the offender, and what the first path must say. More rows below.
OFFENDERS: list[tuple[str, Offender, str]] = []


def offender(*said: str, name: str = "") -> Callable[[Offender], Offender]:
    def add(hold: Offender) -> Offender:
        OFFENDERS.append((name or hold.__name__, hold, *said))
        return hold

    return add


K = "test_explain_kinds.registry['k']"


@offender("test_explain_kinds.current")
def module_global(session: Session) -> Release:
    globals()["current"] = session
    return lambda: globals().update(current=None)


@offender(".Holder.shared")
def class_attribute(session: Session) -> Release:
    Holder.shared = session
    return lambda: setattr(Holder, "shared", None)


@offender(f"{K}.session")
def instance_attribute(session: Session) -> Release:
    return keep(Holder(session))


@offender(f"{K}.session")
def slot(session: Session) -> Release:
    slotted = Slotted()
    slotted.session = session
    return keep(slotted)


@offender(f"{K}[('a', 1)]")
def dict_value(session: Session) -> Release:
    return keep({"x": 1, ("a", 1): session})


@offender(f"{K} -> a key of the dict")
def dict_key(session: Session) -> Release:
    return keep({session: 1})


@offender(f"{K}[1]")
def list_item(session: Session) -> Release:
    return keep([None, session])


@offender(f"{K}[1]")
def tuple_item(session: Session) -> Release:
    return keep((None, session))


@offender(f"{K}.right")
def named_tuple_field(session: Session) -> Release:
    return keep(Pair(1, session))


@offender(f"{K} -> a member of the set")
def set_member(session: Session) -> Release:
    return keep({session})


@offender(f"{K} -> a member of the set")
def frozenset_member(session: Session) -> Release:
    return keep(frozenset([session]))


@offender(f"{K}[0]")
def deque_item(session: Session) -> Release:
    return keep(collections.deque([session]))


@offender(f"{K}['x']")
def ordered_dict_value(session: Session) -> Release:
    return keep(collections.OrderedDict(x=session))


@offender(f"{K}.session")
def simple_namespace(session: Session) -> Release:
    return keep(types.SimpleNamespace(session=session))


@offender(f"{K} -> closure variable 'session' of closure.on_click()")
def closure(session: Session) -> Release:
    def on_click() -> object:
        return session

    return keep(on_click)


@offender(f"{K} -> closure variable 'state' of nested_closure.on_click() -> state['now'][0]")
def nested_closure(session: Session) -> Release:
    state = {"now": [session]}

    def on_click() -> object:
        return state

    return keep(on_click)


@offender(f"{K} -> default argument 'who' of default_argument.on_click()")
def default_argument(session: Session) -> Release:
    def on_click(event: object = None, who: object = session) -> None:
        pass

    return keep(on_click)


@offender(f"{K} -> default argument 'who' of keyword_default.on_click()")
def keyword_default(session: Session) -> Release:
    def on_click(*, who: object = session) -> None:
        pass

    return keep(on_click)


@offender(f"{K}.session")
def function_attribute(session: Session) -> Release:
    def on_click() -> None:
        pass

    vars(on_click)["session"] = session
    return keep(on_click)


@offender(f"{K}.__self__")
def bound_method(session: Session) -> Release:
    return keep(session.close)


@offender(f"{K} -> argument 2 of functools.partial(nothing())")
def partial_argument(session: Session) -> Release:
    return keep(functools.partial(nothing, 1, session))


@offender(f"{K} -> argument 'who' of functools.partial(nothing())")
def partial_keyword(session: Session) -> Release:
    return keep(functools.partial(nothing, who=session))


@offender("argument 1 of a cached call of lru_cache_argument.load()")
def lru_cache_argument(session: Session) -> Release:
    @functools.lru_cache(maxsize=8)
    def load(key: object) -> int:
        return 1

    load(session)
    return keep(load)


@offender("argument 'who' of a cached call of unbounded_cache_keyword.load()")
def unbounded_cache_keyword(session: Session) -> Release:
    @functools.cache
    def load(key: object, *, who: object) -> int:
        return 1

    load(1, who=session)
    return keep(load)


@offender("cached result of lru_cache_result.load()")
def lru_cache_result(session: Session) -> Release:
    @functools.lru_cache
    def load(key: int) -> object:
        return wr()

    wr = weakref.ref(session)
    load(1)
    return keep(load)


@offender("closure variable 'session' of property_getter.getter()")
def property_getter(session: Session) -> Release:
    def getter(self: object) -> object:
        return session

    return keep(property(getter))


@offender(f"{K} -> the mapping of the proxy -> …['x']")
def mapping_proxy(session: Session) -> Release:
    return keep(types.MappingProxyType({"x": session}))


@offender(f"{K}.args[0]")
def exception_argument(session: Session) -> Release:
    return keep(ValueError(session))


@offender(f"{K}.__cause__.__context__.args[0]")
def exception_chain(session: Session) -> Release:
    inner, outer, last = ValueError(session), KeyError(), TypeError()
    outer.__context__, last.__cause__ = inner, outer
    return keep(last)


@offender(f"{K}.obj")
def attribute_error(session: Session) -> Release:
    try:
        session.missing  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        return keep(error.with_traceback(None))
    raise AssertionError("no error")


@offender(
    "local variable 'job' of local_of_a_traceback.work() at",
    "kept by the traceback of ValueError('boom')",
)
def local_of_a_traceback(session: Session) -> Release:
    def work(job: object) -> None:
        raise ValueError("boom")

    try:
        work(session)
    except ValueError as error:
        registry["k"] = error
    return registry.clear


@offender("local variable 'job' of generator generator_local.work() at tests/harness/test_explain")
def generator_local(session: Session) -> Release:
    def work(job: object) -> Iterator[int]:
        yield 1

    working = work(session)
    next(working)
    return keep(working)


@offender("generator generator_temporary.work() at", "…[1]")
def generator_temporary(session: Session) -> Release:
    def work(jobs: list[object]) -> Iterator[int]:
        for _ in iter(jobs):
            del jobs
            yield 1

    working = work([1, session])
    next(working)
    return keep(working)


@offender(
    "local variable 'kept' of local_of_a_class_body.Body() at",
    "kept by the traceback of ValueError",
)
def local_of_a_class_body(session: Session) -> Release:
    box = [session]
    del session
    try:

        class Body:
            kept = box.pop()
            raise ValueError

    except ValueError as error:
        registry["k"] = error
    return registry.clear


@offender("local variable 'kept' of <module>() at", "kept by the traceback of ValueError")
def local_of_an_executed_text(session: Session) -> Release:
    try:
        exec("raise ValueError", {"kept": session})
    except ValueError as error:
        registry["k"] = error.with_traceback(error.__traceback__.tb_next)  # type: ignore[union-attr]
    return registry.clear


class Suspend:
    def __await__(self) -> Iterator[None]:
        yield


@offender("local variable 'job' of coroutine coroutine_local.work() at")
def coroutine_local(session: Session) -> Release:
    async def work(job: object) -> None:
        await Suspend()

    working = work(session)
    working.send(None)
    release = keep(working)
    return lambda: (working.close(), release())


@offender("local variable 'job' of async generator async_generator_local.work() at")
def async_generator_local(session: Session) -> Release:
    async def work(job: object) -> Any:
        yield 1

    working = work(session)
    with contextlib.suppress(StopIteration):
        working.asend(None).send(None)
    release = keep(working)

    def close() -> None:
        with contextlib.suppress(StopIteration):
            working.aclose().send(None)
        release()

    return close


def in_thread(target: Callable[..., object], *args: object) -> Release:
    """Run a thread up to where it waits; return how to end it."""
    ready, end = threading.Event(), threading.Event()

    def wait() -> None:
        ready.set()
        end.wait(30)

    thread = threading.Thread(target=target, args=(wait, *args), name="w-1")
    thread.start()
    del args
    ready.wait(30)
    return lambda: (end.set(), thread.join(30))


@offender("local variable 'job' of thread_local_variable.work() at", "in thread 'w-1'")
def thread_local_variable(session: Session) -> Release:
    def work(wait: Callable[[], None], box: list[object]) -> None:
        job = box.pop()
        wait()
        del job

    return in_thread(work, [session])


@offender("test_explain_kinds.local -> thread-local 'session' of this thread")
def this_threads_local(session: Session) -> Release:
    local.session = session
    return lambda: vars(local).clear()


@offender("test_explain_kinds.local -> thread-local 'session' of ")
def other_threads_local(session: Session) -> Release:
    def work(wait: Callable[[], None], box: list[object]) -> None:
        local.session = box.pop()
        wait()

    return in_thread(work, [session])


@offender("ContextVar 'request' -> …['session']")
def context_variable(session: Session) -> Release:
    token = request.set({"session": session})
    return lambda: request.reset(token)


@offender("ContextVar 'request'", name="context_variable_of_a_thread")
def context_of_thread(session: Session) -> Release:
    def work(wait: Callable[[], None], box: list[object]) -> None:
        request.set(box.pop())
        wait()

    return in_thread(work, [session])


@offender(f"{K} -> ContextVar 'request'")
def context_object(session: Session) -> Release:
    context = contextvars.Context()
    context.run(request.set, session)
    return keep(context)


@offender("old value of ContextVar 'request', kept by its Token")
def context_token(session: Session) -> Release:
    outer = request.set(session)
    release = keep(request.set(None))
    return lambda: (release(), request.reset(outer))


@offender("callback of a weak reference", "argument 1 of functools.partial(nothing())")
def weakref_callback(session: Session) -> Release:
    other = Holder()
    wr = weakref.ref(other, functools.partial(nothing, session))
    return keep((wr, other))


@offender("weakref.finalize", ".args[0]")
def finalizer_argument(session: Session) -> Release:
    other = Holder()
    finalizer = weakref.finalize(other, nothing, session)
    keep(other)
    return lambda: (finalizer.detach(), registry.clear())


@offender(f"{K} -> value of the weak key <", "Session> -> …[0]")
def weak_key_dictionary(session: Session) -> Release:
    return keep(weakref.WeakKeyDictionary({session: [session]}))


@offender("handler of SIGUSR1.__self__.session")
def signal_handler(session: Session) -> Release:
    before = signal.signal(signal.SIGUSR1, Holder(session).notice)
    return lambda: signal.signal(signal.SIGUSR1, before)


@offender("atexit callback Session.close()", ".__self__")
def atexit_callback(session: Session) -> Release:
    atexit.register(session.close)
    wr = weakref.ref(session)
    return lambda: atexit.unregister(wr().close)  # type: ignore[union-attr]


@offender("argument 2 of", "atexit callback", "at_exit()")
def atexit_argument(session: Session) -> Release:
    def at_exit(*args: object) -> None:
        pass

    atexit.register(at_exit, 1, session)
    return lambda: atexit.unregister(at_exit)


@offender("os.register_at_fork(", "=Holder.notice", "__self__.session")
def fork_callback(session: Session) -> Release:
    holder = Holder(session)
    os.register_at_fork(after_in_child=holder.notice)
    return lambda: vars(holder).clear()


@offender("codecs.register", "closure variable 'session'")
def codec_search(session: Session) -> Release:
    def search(name: str) -> None:
        assert session

    codecs.register(search)
    return lambda: codecs.unregister(search)


@offender("codecs.register_error('deathwatch')", "[0]")
def codec_error_handler(session: Session) -> Release:
    box = [session]

    def handle(error: UnicodeError, box: list[Session] = box) -> Any:
        raise error

    codecs.register_error("deathwatch", handle)
    return lambda: (box.clear(), codecs.register_error("deathwatch", nothing))  # type: ignore[arg-type]


@offender("gc.callbacks[", "].__self__.session")
def collector_callback(session: Session) -> Release:
    notice = Holder(session).notice
    gc.callbacks.append(notice)
    return lambda: gc.callbacks.remove(notice)


@offender("sys.meta_path[", "].session")
def import_hook(session: Session) -> Release:
    class Finder(Holder):
        def find_spec(self, *_: object) -> None:
            return None

    finder = Finder(session)
    sys.meta_path.append(finder)
    return lambda: sys.meta_path.remove(finder)


@offender("sys.setprofile().__self__.session")
def profile_function(session: Session) -> Release:
    before = sys.getprofile()
    sys.setprofile(Holder(session).notice)
    return lambda: sys.setprofile(before)


@offender("sys.set_asyncgen_hooks(firstiter=…).__self__.session")
def async_generator_hook(session: Session) -> Release:
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=Holder(session).notice)
    return lambda: sys.set_asyncgen_hooks(*before)


@offender("sys.excepthook.__self__.session")
def except_hook(session: Session) -> Release:
    before, sys.excepthook = sys.excepthook, Holder(session).notice
    return lambda: setattr(sys, "excepthook", before)


@offender("sys.last_value", "args[0]")
def last_exception(session: Session) -> Release:
    sys.last_value = ValueError(session)

    def release() -> None:
        del sys.last_value

    return release


@offender("logging.root.handlers[", "].session")
def logging_handler(session: Session) -> Release:
    handler = logging.NullHandler()
    vars(handler)["session"] = session
    logging.getLogger().addHandler(handler)
    return lambda: logging.getLogger().removeHandler(handler)


@offender(f"{K}._exit_callbacks[0][1]", "closure variable 'args'", "args[0]")
def exit_stack(session: Session) -> Release:
    stack = contextlib.ExitStack()
    stack.callback(nothing, session)
    release = keep(stack)
    return lambda: (stack.pop_all(), release())


@offender(f"{K}.queue[0]")
def waiting_in_queue(session: Session) -> Release:
    waiting: queue.Queue[object] = queue.Queue()
    waiting.put(session)
    return keep(waiting)


@offender(f"{K} -> an item waiting in the SimpleQueue")
def waiting_in_simple_queue(session: Session) -> Release:
    waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
    waiting.put(session)
    return keep(waiting)


@offender(f"{K} -> held inside list_iterator -> …[1]")
def iterator(session: Session) -> Release:
    return keep(iter([1, session]))


@offender(f"{K} -> held inside itertools.repeat")
def repeated(session: Session) -> Release:
    return keep(itertools.repeat(session))


@offender(f"{K}.__self__")
def super_object(session: Session) -> Release:
    return keep(super(Session, session))


@offender("global 'session' of module 'gone', which is not in sys.modules")
def global_of_a_removed_module(session: Session) -> Release:
    module = types.ModuleType("gone")
    vars(module)["session"] = session
    exec("def run(): return session", vars(module))
    keep(vars(module)["run"])
    return lambda: (registry.clear(), vars(module).clear())


@offender(f"{K}.session")
def removed_module(session: Session) -> Release:
    module = types.ModuleType("gone")
    vars(module)["session"] = session
    return keep(module)


@offender(f"{K}._result")
def future_result(session: Session) -> Release:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.set_result(session)
    release = keep(future)
    return lambda: (release(), loop.close())


@offender(f"{K}.row_factory.__self__.session")
def row_factory(session: Session) -> Release:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = Holder(session).notice
    release = keep(connection)
    return lambda: (connection.close(), release())


class Task(asyncio.Task):  # type: ignore[type-arg]
    pass


class OwnTask(Task):
    pass


@offender(f"{K}._coro -> local variable 'job' of coroutine task_of_a_subclass.work() at")
def task_of_a_subclass(session: Session) -> Release:
    async def work(job: object) -> None:
        await asyncio.sleep(30)

    loop = asyncio.new_event_loop()
    task = OwnTask(work(session), loop=loop)
    release = keep(task)

    async def wait() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return lambda: (task.cancel(), loop.run_until_complete(wait()), loop.close(), release())


@offender("ContextVar 'request' of the task")
def context_of_a_task(session: Session) -> Release:
    async def work() -> None:
        await asyncio.sleep(30)

    loop = asyncio.new_event_loop()
    token = request.set(session)
    task = loop.create_task(work())
    request.reset(token)
    del token
    release = keep(task)

    async def wait() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await task

    return lambda: (task.cancel(), loop.run_until_complete(wait()), loop.close(), release())


@offender(f"{K} -> annotation of 'who' of function_annotation.on_click()")
def function_annotation(session: Session) -> Release:
    def on_click(who: object) -> None:
        pass

    on_click.__annotations__ = {"who": session}
    return keep(on_click)


@offender(f"{K}[<nothing()>]")
def value_of_a_function(session: Session) -> Release:
    return keep({nothing: session})


@offender(f"{K} -> a done callback of the future -> ….__self__.session")
def future_callback(session: Session) -> Release:
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.add_done_callback(Holder(session).notice)
    release = keep(future)
    return lambda: (release(), loop.close())


@offender("an item waiting in the SimpleQueue", "[0]")
def work_item(session: Session) -> Release:
    pool, ready, end = ThreadPoolExecutor(1), threading.Event(), threading.Event()
    pool.submit(lambda: (ready.set(), end.wait(30)))
    ready.wait(30)
    pool.submit(nothing, session).cancel()
    return lambda: (end.set(), pool.shutdown())


def raw_thread(session: Session) -> Release:
    ready, end, done = (_thread.allocate_lock() for _ in range(3))
    for lock in (ready, end, done):
        lock.acquire()

    def work(job: object) -> None:
        del job
        ready.release()
        end.acquire(timeout=30)
        done.release()

    _thread.start_new_thread(work, (session,))
    ready.acquire(timeout=30)
    return lambda: (end.release(), done.acquire(timeout=30))


def held(hold: Offender) -> tuple[weakref.ref[Session], Release]:
    session = Session()
    return weakref.ref(session), hold(session)


def explained(hold: Offender) -> tuple[Retention, weakref.ref[Session], Release]:
    wr, release = held(hold)
    return why_alive(wr()), wr, release


# What another interpreter can't see, with the reason, or names otherwise.
UNSEEN = "what C code holds is found by reference counts, which this interpreter has not"
BY_NAME = {
    "PyPy": {
        "lru_cache_argument": ("closure variable 'cache' of lru_cache_argument.load()", "[0]"),
        "unbounded_cache_keyword": ("closure variable 'cache' of", "a key of the dict"),
        "lru_cache_result": ("closure variable 'cache' of lru_cache_result.load()", "cache[1]"),
        "attribute_error": ("held inside AttributeError",),
        "this_threads_local": ("thread-local 'session' of a thread",),
        "context_of_a_task": ("registry['k']._context -> ContextVar 'request'",),
        "future_callback": ("registry['k']._callbacks[0][0].__self__.session",),
        "atexit_callback": ("['atexit_callbacks'][", ".__self__"),
        "atexit_argument": ("['atexit_callbacks'][",),
        "waiting_in_simple_queue": ("registry['k']._queue[0]",),
        "iterator": ("held inside sequenceiterator -> …[1]",),
        "super_object": ("held inside super",),
        "work_item": ("work_queue._queue[0].args[0]",),
        "context_variable_of_a_thread": "a thread's context is in C, and can't be listed",
        "fork_callback": UNSEEN,
        "codec_search": UNSEEN,
        "codec_error_handler": UNSEEN,
        "collector_callback": "there is no gc.callbacks",
    },
    "free-threaded": {
        "thread_local_variable": "frames of running threads are unsafe to read (cpython#152355)",
    },
    "": {},
}[(sys.implementation.name == "pypy" and "PyPy") or (not GIL and "free-threaded") or ""]


@pytest.mark.parametrize(
    ("name", "hold", "said"), [pytest.param(*row[:2], row[2:], id=row[0]) for row in OFFENDERS]
)
def test_the_holder_and_the_edge_are_named(
    name: str, hold: Offender, said: tuple[str, ...]
) -> None:
    """The first path of an object that is held in one way says by whom, and how."""
    otherwise = BY_NAME.get(name, said)
    if isinstance(otherwise, str):
        pytest.skip(otherwise)
    registry.clear()
    retention, wr, release = explained(hold)
    try:
        first = str(retention.paths[0])
        for part in otherwise:
            assert part in first
        assert retention.verdict is Verdict.IMMORTAL
        if retention.unseen is not None:
            assert retention.unseen == 0
    finally:
        release()
        registry.clear()
        del release
    if CPYTHON and GIL:
        assert wr() is None


WHOSE = """
import threading
from deathwatch.explain import why_alive

class Session:
    pass

local = threading.local()
ready, end = threading.Event(), threading.Event()

def work():
    local.session = Session()
    found.append(local.session)
    ready.set()
    end.wait(60)

found = []
names = ["w-1", "w-2"]
threads = [threading.Thread(target=work, name=name) for name in names]
said = []
for thread in threads:
    thread.start()
    ready.wait(60)
    ready.clear()
    said.append(str(why_alive(found.pop()).paths[0]))
end.set()
print("\\n".join(said))
"""


def test_a_thread_local_says_whose_it_is_where_that_can_be_told(
    run_python: Callable[..., str],
) -> None:
    """By elimination: it names the only other thread, and none of two others."""
    whose = ["thread 'w-1'", "another thread"] if CPYTHON else ["a thread", "a thread"]
    assert run_python(WHOSE).splitlines() == [
        f"__main__.local -> thread-local 'session' of {each}" for each in whose
    ]


def test_a_raw_threads_arguments_are_found() -> None:
    """`_thread.start_new_thread` keeps arguments in C; how they are held is said with its doubt."""
    if not CPYTHON:
        pytest.skip(UNSEEN)
    retention, _, release = explained(raw_thread)
    release()
    assert retention.verdict in (Verdict.UNSEEN, Verdict.IMMORTAL)
    assert "tuple of 1, held outside" in str(retention) or "argument 1 of" in str(retention)
