"""`why_alive`: its verdicts, its counts, and that explaining changes nothing."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import ctypes
import functools
import gc
import sys
import sysconfig
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from deathwatch.explain import Retention, Verdict, why_alive
from deathwatch.explain.walk import Walk

CPYTHON = sys.implementation.name == "cpython"
refcounted = pytest.mark.skipif(
    not CPYTHON or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="counts references, which is exact on CPython with the GIL only",
)
on_cpython = pytest.mark.skipif(
    not CPYTHON, reason="what C code holds is found among what the collector knows to be alive"
)


class Session:
    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Node:
    def __init__(self, parent: Node | None = None) -> None:
        self.parent = parent
        self.children: list[Node] = []
        if parent is not None:
            parent.children.append(self)


registry: dict[str, Any] = {}
request: contextvars.ContextVar[object] = contextvars.ContextVar("request")


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture(autouse=True)
def _empty_registry() -> Iterator[None]:
    registry.clear()
    yield
    registry.clear()


def leak_a_count(obj: object) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(obj))


def give_back(obj: object) -> None:
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(obj))


def registered() -> weakref.ref[Session]:
    session = Session()
    registry["user:42"] = [session]
    return weakref.ref(session)


# verdicts


def test_a_registry_is_named_as_one_writes_it() -> None:
    """The path of an object in a module's dict is an expression."""
    wr = registered()
    retention = why_alive(wr())
    assert retention.verdict is Verdict.IMMORTAL
    assert str(retention.paths[0]).endswith("test_explain.registry['user:42'][0]")


@on_cpython
def test_a_parent_cycle_is_printed() -> None:
    """An object that its own child keeps alive needs the collector, and the cycle says why."""
    parent = Node()
    Node(parent)
    retention = why_alive(parent)
    assert retention.verdict is Verdict.CYCLE
    assert "children[0].parent" in str(retention)


def in_garbage() -> weakref.ref[Session]:
    session, first, second = Session(), Node(), Node()
    first.parent, second.parent = second, first
    vars(second)["session"] = session
    return weakref.ref(session)


@on_cpython
def test_garbage_that_holds_an_object_is_named_with_its_cycle() -> None:
    """An object that is in no cycle, but held by one, needs the collector just so."""
    with no_collector():
        wr = in_garbage()
        retention = why_alive(wr())
    assert retention.verdict is Verdict.CYCLE
    assert retention.paths[0].kind == "garbage"
    assert str(retention.paths[0]).endswith(".session")
    assert retention.cycle_of.endswith("Node")
    assert ".parent" in "".join(edge.text for edge in retention.cycle)


@refcounted
def test_a_variable_that_holds_another_part_of_a_cycle_hides_no_cycle() -> None:
    """References from what variables lead to are seen: nobody in C is blamed for them."""
    parent = Node()
    Node(parent)
    beside = [parent.children[0]]
    retention = why_alive(parent)
    del beside
    assert retention.verdict is Verdict.CYCLE
    assert [path.kind for path in retention.paths] == ["passing"]


@refcounted
def test_an_object_that_holds_itself_and_was_leaked_is_unseen() -> None:
    """Its own reference to itself does not account for the one that C code keeps."""
    node = Node()
    node.parent = node
    leak_a_count(node)
    retention = why_alive(node)
    give_back(node)
    node.parent = None
    assert (retention.verdict, retention.unseen) == (Verdict.UNSEEN, 1)


def test_a_module_is_held_by_its_entry_in_sys_modules() -> None:
    """The snapshot of modules that the search makes is no holder."""
    module = types.ModuleType("imported")
    sys.modules["imported"] = module
    try:
        retention = why_alive(module)
    finally:
        del sys.modules["imported"]
    assert str(retention.paths[0]) == "imported"
    assert "deathwatch" not in str(retention)
    assert not retention.unseen


def test_a_local_variable_of_the_call_that_asks_is_passing() -> None:
    """What only the asking call holds is said to be passing, with the variable's name."""
    box = [Session()]
    retention = why_alive(box[0])
    assert retention.verdict is Verdict.PASSING
    assert "local variable 'box' of test_a_local_variable_of_the" in str(retention.paths[0])


def test_a_root_comes_before_a_variable_that_is_about_to_end() -> None:
    """A longer path from a module is told before a shorter one from a call in progress."""
    session = Session()
    registry["deep"] = {"a": [[[{"b": session}]]]}
    retention = why_alive(session)
    assert [path.kind for path in retention.paths] == ["user", "passing"]


@pytest.mark.parametrize("cls", [threading.local, type("Own", (threading.local,), {})])
def test_a_thread_local_leads_to_no_value_of_running_code(cls: type) -> None:
    """On PyPy it leads to its thread, and that, once a loop is compiled, to what the loop holds."""
    local = cls()
    local.kept = ["kept"]
    few = _reached_from(local)
    assert few < 100
    assert all(_reached_from(local) == few for _ in range(3_000))


def _reached_from(local: object) -> int:
    walk = Walk({"a": local})
    walk.shut([type(local)])
    walk.stage([local], lambda: False)
    return len(walk.order)


class Slotted(threading.local):
    __slots__ = ("kept",)


class WithArguments(threading.local):
    def __init__(self, *_: object) -> None:
        pass


def test_what_a_thread_local_has_of_its_own_is_found() -> None:
    """A slot, which all threads share, and the arguments for the threads to come."""
    session = Session()
    registry["slotted"] = Slotted()
    registry["slotted"].kept = session
    assert why_alive(session).verdict is Verdict.IMMORTAL
    session = Session()
    registry["arguments"] = WithArguments(session)
    assert why_alive(session).verdict is Verdict.IMMORTAL


def test_a_module_of_the_user_comes_before_a_library() -> None:
    """A longer path through the user's module is told before a shorter one through a library."""
    session = Session()
    vars(hypothesis)["_kept"] = session
    registry["deep"] = {"a": [[[{"b": session}]]]}
    try:
        retention = why_alive(session)
    finally:
        del vars(hypothesis)["_kept"]
    kinds = [path.kind for path in retention.paths]
    assert kinds[0] == "user"
    if CPYTHON:
        assert kinds[1] == "library"


def test_a_test_runners_modules_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path through pytest's own modules tells nothing, and one through a library's does."""
    session = Session()
    monkeypatch.setattr(pytest, "_kept", session, raising=False)
    monkeypatch.setattr(sys, "_kept", [[session]], raising=False)
    path = why_alive(session).paths[0]
    assert (path.kind, str(path)) == ("stdlib", "sys._kept[0][0]")


def test_pytest_and_its_rewritten_asserts_are_not_blamed() -> None:
    """What an assert keeps of its operands is no reason to live on, nor are pytest's own calls."""
    session = Session()
    assert why_alive(session).verdict is Verdict.PASSING
    assert [path.kind for path in why_alive(session).paths] == ["passing"]


@refcounted
def test_a_leaked_reference_count_is_counted_and_said() -> None:
    """What C code holds is counted, and said in the text."""
    session = Session()
    leak_a_count(session)
    retention = why_alive(session)
    give_back(session)
    assert retention.verdict is Verdict.UNSEEN
    assert retention.unseen == 1
    assert "1 of 2 references is held outside the collector's view" in str(retention)


@refcounted
def test_a_leaked_count_of_a_container_is_found_through_what_it_holds() -> None:
    """An object in a list that C code holds is outside the collector's view as well."""
    session = Session()
    box = [session]
    leak_a_count(box)
    retention = why_alive(weakref.ref(session)())
    give_back(box)
    assert retention.verdict is Verdict.UNSEEN
    assert "list of 1, held outside the collector's view" in str(retention)


def test_a_variable_that_a_closure_shares_is_no_holder_in_c() -> None:
    """The cell of a variable of a call in progress belongs to that call, however it is read."""
    box = [Session()]

    def shared() -> object:
        return box

    retention = why_alive(box[0])
    assert retention.verdict is Verdict.PASSING
    assert "outside" not in str(retention)
    assert shared()


@on_cpython
def test_an_object_in_a_cycle_outlives_the_variable_that_leads_to_it() -> None:
    """It does not die when the call returns: the collector has to come."""
    parent = Node()
    Node(parent)
    beside = [parent]
    del parent
    retention = why_alive(beside[0])
    assert retention.verdict is Verdict.CYCLE
    assert "beside" in str(retention.paths[0])


def test_without_counts_nothing_is_claimed_of_an_object_without_a_holder() -> None:
    """Where nothing can be ruled out, an object of which no holder is found is not passing."""
    retention = why_alive(Session())
    if retention.references is not None:
        assert retention.verdict is Verdict.PASSING
    elif not retention.paths:
        assert retention.verdict is Verdict.UNKNOWN
        assert "no holder was found" in " ".join(str(retention).split())


@pytest.mark.skipif(not CPYTHON or sys.version_info < (3, 12), reason="PEP 683: since CPython 3.12")
@pytest.mark.parametrize("value", [None, 1, (), int])
def test_no_reference_is_missed_to_what_the_interpreter_never_frees(value: object) -> None:
    """The count of such an object is a mark, and no number of references."""
    retention = why_alive(value)
    assert (retention.verdict, retention.references) == (Verdict.IMMORTAL, None)
    assert "held outside the collector's view" not in " ".join(retention.notes)
    assert "the interpreter never frees this object" in " ".join(retention.notes)


# counts: each asks in another way


def ask_plainly(wr: weakref.ref[Session]) -> Retention:
    return why_alive(wr())


def ask_with_a_local(wr: weakref.ref[Session]) -> Retention:
    session = again = wr()
    return why_alive(session) if again else why_alive(None)


def ask_beside_itself(wr: weakref.ref[Session]) -> Retention:
    def second(_: object, retention: Retention) -> Retention:
        return retention

    return second(wr(), why_alive(wr()))


def ask_deep_down(wr: weakref.ref[Session]) -> Retention:
    def down(session: object, depth: int) -> Retention:
        return down(session, depth - 1) if depth else why_alive(session)

    return down(wr(), 20)


def ask_by_star(wr: weakref.ref[Session]) -> Retention:
    arguments = [wr()]
    return why_alive(*arguments)


def ask_by_partial(wr: weakref.ref[Session]) -> Retention:
    return functools.partial(ask_plainly, wr)()


def ask_in_a_loop(wr: weakref.ref[Session]) -> Retention:
    for session in [wr(), wr()]:
        return why_alive(session)
    raise AssertionError


def ask_in_a_with_block(wr: weakref.ref[Session]) -> Retention:
    with wr():  # type: ignore[union-attr]
        return why_alive(wr())


def ask_in_a_closure(wr: weakref.ref[Session]) -> Retention:
    session = wr()

    def ask() -> Retention:
        return why_alive(session)

    return ask()


def ask_in_a_generator(wr: weakref.ref[Session]) -> Retention:
    def asking(session: object) -> Iterator[Retention]:
        yield why_alive(session)

    return next(asking(wr()))


def ask_in_a_coroutine(wr: weakref.ref[Session]) -> Retention:
    async def ask(session: object) -> Retention:
        return why_alive(session)

    async def main() -> Retention:
        return await ask(wr())

    return asyncio.run(main())


def ask_while_handling(wr: weakref.ref[Session]) -> Retention:
    try:
        raise ValueError(wr())
    except ValueError as error:
        return why_alive(error.args[0])


def ask_in_a_comprehension(wr: weakref.ref[Session]) -> Retention:
    (retention,) = [why_alive(session) for session in [wr()]]
    return retention


def ask_in_a_method(wr: weakref.ref[Session]) -> Retention:
    class Asking:
        def __init__(self) -> None:
            self.session = wr()

        def ask(self) -> Retention:
            return why_alive(self.session)

    return Asking().ask()


ASKING = [value for name, value in list(globals().items()) if name.startswith("ask_")]


@refcounted
@pytest.mark.parametrize("leaked", [0, 2])
@pytest.mark.parametrize("ask", ASKING)
def test_unseen_references_are_counted_exactly(
    ask: Callable[[weakref.ref[Session]], Retention], leaked: int
) -> None:
    """However one asks, no reference of Python's is said to be unseen, and every other is."""
    wr = registered()
    for _ in range(leaked):
        leak_a_count(wr())
    retention = ask(wr)
    for _ in range(leaked):
        give_back(wr())
    assert retention.unseen == leaked
    assert retention.verdict is Verdict.IMMORTAL
    assert str(retention.paths[0]).endswith("registry['user:42'][0]")


@refcounted
def test_unseen_references_are_counted_among_many() -> None:
    """One leaked count is found beside a thousand references of every kind."""
    session = Session()
    vars(session)["me"] = session
    registry["many"] = [{"x": session, session: 1} for _ in range(500)]
    leak_a_count(session)
    retention = why_alive(session)
    give_back(session)
    vars(session).clear()
    assert retention.unseen == 1


def leaked_method(name: str) -> Retention:
    session = Session()
    method = getattr(session, name)
    leak_a_count(method)
    wr = weakref.ref(session)
    del session, method
    retention = why_alive(wr())
    give_back(gc.get_referrers(wr())[0])
    return retention


@refcounted
def test_leaked_methods_are_told_apart_by_name() -> None:
    """Two methods of one class that C code holds are two leaks; the same one twice is one."""
    names = ("__enter__", "__exit__", "__enter__")
    first, second, again = (leaked_method(name).fingerprint for name in names)
    assert first == again != second


# explaining changes nothing


def hold_by_registry(session: object) -> None:
    registry["a"] = session


def hold_by_context(session: object) -> None:
    request.set(session)


def hold_by_exception(session: object) -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        registry["e"] = error


def hold_by_generator(session: object) -> None:
    def suspended(job: object) -> Iterator[int]:
        yield 1

    registry["g"] = suspended(session)
    next(registry["g"])


def hold_by_closure(session: object) -> None:
    registry["c"] = lambda: session


def hold_not(session: object) -> None:
    pass


HOLDING = [hold_by_registry, hold_by_context, hold_by_exception, hold_by_generator, hold_by_closure]


def explained(hold: Callable[[object], None]) -> weakref.ref[Session]:
    session = Session()
    hold(session)
    str(why_alive(session))
    return weakref.ref(session)


@refcounted
@pytest.mark.parametrize("hold", [*HOLDING, hold_not])
def test_an_explained_object_dies_by_its_reference_count(hold: Callable[[object], None]) -> None:
    """Once its holder lets go the object dies at once, as it would have."""
    with no_collector():
        wr = explained(hold)
        registry.clear()
        request.set(None)
        assert wr() is None


def in_a_cycle(ask: Callable[[object], object]) -> weakref.ref[Node]:
    parent = Node()
    Node(parent)
    ask(parent)
    return weakref.ref(parent)


@refcounted
def test_an_explained_cycle_dies_by_the_collector_as_it_would_have() -> None:
    """Explaining neither frees a cycle nor keeps it from being freed."""
    with no_collector():
        wr = in_a_cycle(why_alive)
        assert wr() is not None
        gc.collect()
        assert wr() is None


@refcounted
def test_an_explained_leak_dies_when_its_count_is_given_back() -> None:
    """The search for what C code holds keeps nothing either."""
    with no_collector():
        session = Session()
        leak_a_count(session)
        str(why_alive(session))
        wr = weakref.ref(session)
        give_back(session)
        del session
        assert wr() is None


@refcounted
def test_explaining_another_threads_local_keeps_nothing() -> None:
    """A variable that another thread rebinds is free, although its frame was read."""
    ready, go, done, end = (threading.Event() for _ in range(4))
    found: list[weakref.ref[Session]] = []

    def work() -> None:
        job: Session | None = Session()
        found.append(weakref.ref(job))
        ready.set()
        go.wait(30)
        job = None
        done.set()
        end.wait(30)

    thread = threading.Thread(target=work)
    with no_collector():
        thread.start()
        ready.wait(30)
        retention = why_alive(found[0]())
        go.set()
        done.wait(30)
        dead = found[0]() is None
        end.set()
        thread.join(30)
    assert "local variable 'job' of" in str(retention.paths[0])
    assert dead


@refcounted
def test_explaining_leaves_no_garbage() -> None:
    """The engine holds itself up nowhere: after it, the collector has nothing to do."""
    wr = registered()
    session = Session()
    leak_a_count(session)
    str(why_alive(session))  # what is made once
    with no_collector():
        str(why_alive(wr()))
        str(why_alive(session))
        assert gc.collect() == 0
    give_back(session)


@on_cpython
def test_explaining_does_not_collect() -> None:
    """Finding a cycle takes no collection, and leaves the collector's settings as they were."""
    phases: list[str] = []
    before = gc.isenabled(), gc.get_threshold()

    def notice(phase: str, info: object) -> None:
        phases.append(phase)

    with no_collector():
        gc.callbacks.append(notice)
        in_a_cycle(why_alive)
        gc.callbacks.remove(notice)
    assert phases == []
    assert (gc.isenabled(), gc.get_threshold()) == before


@on_cpython
def test_asking_atexit_leaves_its_callbacks_in_their_order() -> None:
    """`atexit.unregister` is how its callbacks are read: it unregisters none of them."""
    from deathwatch.explain.interpreter import atexit_callbacks

    def first() -> None:
        pass

    def second() -> None:
        pass

    for callback in (first, second, first):
        atexit.register(callback)
    try:
        found = [each for each in atexit_callbacks() if each in (first, second)]
        assert found in ([first, second, first], [first, second, first][::-1])
        assert [each for each in atexit_callbacks() if each in (first, second)] == found
    finally:
        atexit.unregister(first)
        atexit.unregister(second)


@refcounted
def test_asking_twice_says_the_same() -> None:
    """Explaining is no holder itself: neither the count nor the paths grow."""
    wr = registered()
    first, second = why_alive(wr()), why_alive(wr())
    assert first == second
    assert first.references == 1


@on_cpython
def test_an_atexit_callback_that_is_the_object_is_told() -> None:
    """Up to 3.13 the callbacks are in a C array, which the collector doesn't see."""
    callback = Session().__enter__
    wr = weakref.ref(callback)
    atexit.register(callback)
    del callback
    try:
        retention = why_alive(wr())
        assert retention.verdict is Verdict.IMMORTAL
        assert str(retention.paths[0]) == "atexit callback Session.__enter__()"
        assert not retention.unseen
    finally:
        atexit.unregister(wr())


SUSPECTED = """
import atexit, ctypes, weakref
from deathwatch import why_alive

class Session:
    def __enter__(self): pass

class Callback:
    def __call__(self): pass

def is_suspected(callback, hold):
    session = Session()
    held = hold(session)
    wr = weakref.ref(session)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
    del session, held
    atexit.register(callback)
    try:
        return "most likely of atexit callback" in str(why_alive(wr()))
    finally:
        atexit.unregister(callback)

for callback in (
    lambda: None,
    Session().__enter__,
    lambda other, /, *, more=0: None,
    lambda key, /: None,
    lambda key: None,
    lambda one, two, three=0: None,
    lambda *args: None,
    lambda **named: None,
    Callback(),
):
    positional = is_suspected(callback, lambda session: (1, session))
    print(positional, is_suspected(callback, lambda session: {"key": session}))
"""


@refcounted
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="a list has the arguments of each callback")
def test_only_a_callback_that_can_take_it_is_suspected(run_python: Callable[..., str]) -> None:
    """What C code holds is no argument of an `atexit` callback that doesn't take such a one.

    In a process of its own, where no other callback could take it.
    """
    assert run_python(SUSPECTED).splitlines() == [
        "False False",
        "False False",
        "False False",
        "False False",
        "False True",
        "True False",
        "True False",
        "False True",
        "True True",
    ]


def test_a_module_is_called_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """`multiprocessing` enters the main program as `__mp_main__`, too."""
    made = types.ModuleType("made")
    for name in ("made", "__mp_made__"):
        monkeypatch.setitem(sys.modules, name, made)
    made.session = Session()  # type: ignore[attr-defined]
    wr = weakref.ref(made.session)
    assert str(why_alive(wr()).paths[0]) == "made.session"


@on_cpython
def test_a_class_is_held_by_its_own_order_and_no_base_of_itself() -> None:
    """Every class is in a cycle: it comes first in its own `__mro__`."""
    with no_collector():
        wr = weakref.ref(type("Made", (), {}))
        retention = why_alive(wr())
    # free-threaded 3.13 frees no class any more once a thread has started, and it is marked so
    never_freed = bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and retention.references is None
    assert retention.verdict in (Verdict.CYCLE, *([Verdict.IMMORTAL] if never_freed else []))
    assert "it.__mro__[0]" in str(retention)
    assert "__base__" not in str(retention)


@refcounted
def test_leaks_of_which_no_path_is_known_are_told_apart_by_name() -> None:
    """Two functions that C code holds are two leaks."""

    def first() -> None: ...

    def second() -> None: ...

    leak_a_count(first)
    leak_a_count(second)
    found = [why_alive(function).fingerprint for function in (first, second, first)]
    assert found[0] == found[2] != found[1]


# fingerprints

IMPORTING = """
import sys
sys.path.insert(0, FOLDER)
for name in NAMES.split():
    __import__(name)
import logging, made
from deathwatch.explain import why_alive

class Session:
    pass

class Keeping(logging.NullHandler):
    def __init__(self):
        super().__init__()
        self.session = Session()

logging.getLogger("app").addHandler(Keeping())
logging.getLogger().addHandler(Keeping())
made.REGISTRY["k"] = Session()
for ask in (
    lambda: logging.getLogger("app").handlers[0].session,
    lambda: logging.getLogger().handlers[0].session,
    lambda: made.REGISTRY["k"],
    lambda: made.ONE,
):
    retention = why_alive(ask())
    print(retention.paths[0], retention.fingerprint)
"""
MODULES = {
    "made": "class One: pass\nREGISTRY: dict = {}\nONE = One()\n",
    "a_user": "from made import REGISTRY, ONE\nimport logging\nlog = logging.getLogger('a')\n",
    "z_user": "from made import (\n  REGISTRY,\n  ONE)\n",
}


def test_what_else_was_imported_changes_no_fingerprint(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    """A logger goes by its name, and a value by the module that made it, not that imports it."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    code = IMPORTING.replace("FOLDER", repr(str(tmp_path)))
    orders = ("made", "a_user z_user", "z_user a_user", "asyncio made z_user a_user")
    first, *others = (run_python(code.replace("NAMES", repr(names))) for names in orders)
    assert [line.rpartition(" ")[0] for line in first.splitlines()] == [
        "logger 'app' -> logger.handlers[0].session",
        "logging.root.handlers[0].session",
        "made.REGISTRY['k']",
        "made.ONE",
    ]
    assert set(others) == {first}


def test_of_modules_without_a_source_one_is_blamed_for_certain() -> None:
    """Where it can't be told which made a value, the first by name is, whatever the order."""
    names, shared = ("made_b", "made_a", "made_c"), {"k": Session()}
    for name in names:
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name])["shared"] = shared
    try:
        retention = why_alive(shared["k"])
    finally:
        for name in names:
            del sys.modules[name]
    assert str(retention.paths[0]) == "made_a.shared['k']"


@pytest.mark.parametrize("where", ["_Search.run", "_Search.clear"])
@pytest.mark.parametrize("enabled", [True, False])
def test_automatic_collection_is_off_meanwhile_and_then_as_it_was(
    enabled: bool, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the search fails."""
    was, meanwhile = gc.isenabled(), []

    def fail(*_: object) -> None:
        meanwhile.append(gc.isenabled())
        raise Interrupted

    class Interrupted(BaseException):
        pass

    try:
        (gc.enable if enabled else gc.disable)()
        why_alive(object())
        assert gc.isenabled() is enabled
        monkeypatch.setattr(f"deathwatch.explain.why.{where}", fail)
        with pytest.raises(Interrupted):
            why_alive(object())
        assert gc.isenabled() is enabled
        assert meanwhile == [False]
    finally:
        (gc.enable if was else gc.disable)()


def test_a_huge_container_is_named_only_where_no_other_holds_the_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To ask it takes as long as all the others: it is asked last, and found all the same."""
    service = types.ModuleType("service")
    monkeypatch.setitem(sys.modules, "service", service)
    session = Session()
    everything: list[Any] = [Node() for _ in range(20_000)]
    everything[7_000] = node = Node()
    node.children.append(session)  # type: ignore[arg-type]
    recent = [node]
    vars(service).update(everything=everything, recent=recent)
    del everything, node
    assert str(why_alive(session).paths[0]) == "service.recent[0].children[0]"
    recent.clear()
    assert str(why_alive(session).paths[0]) == "service.everything[7000].children[0]"
