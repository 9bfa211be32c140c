"""What did a test leave behind? One window over what was made since it opened."""

from __future__ import annotations

import gc
import logging
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import compress, repeat
from operator import is_
from typing import Any
from weakref import ref

import pytest

from deathwatch.referents import referents
from deathwatch.watch.snapshot import INTERPRETERS_OWN, Snapshot

from .findings import printable

Key = tuple[str, ...]
"""What kind of object: equal for equal kinds in every run of a test, also of classes and
functions that the test defines anew."""

Node = Any
"""A node of pytest's tree; its base class has no public name."""

RUNNERS = frozenset(
    {
        "_pytest",
        "coverage",
        "deathwatch",
        "hypothesis",
        "pluggy",
        "pytest",
        "pytest_cov",
        "pytest_deathwatch",
        "xdist",
    }
)
"""Packages whose objects belong to the run, and not to the tests."""

NOT_FOREIGN = RUNNERS | sys.stdlib_module_names
"""Packages that no program's own classes and modules are in."""

# Automatic collection in a test would free cycles unseen. It is delayed, not forbidden: a test
# that makes this many containers is collected as ever. More would not fit into a processor's
# cache: with 100,000 the suite of attrs took 6 % longer.
THRESHOLD = 20_000

CONTAINERS: tuple[type, ...] = (list, dict, tuple, set, frozenset)
_CONTAINER_IDS = frozenset(map(id, CONTAINERS))
# What a metaclass can't answer in the place of `type`.
_NAME: Any = type.__dict__["__name__"]
_QUALNAME: Any = type.__dict__["__qualname__"]
_MODULE: Any = type.__dict__["__module__"]
_PASSING = frozenset(
    {
        "list_reverseiterator",
        "list_iterator",
        "tuple_iterator",
        "ReferenceType",
        "_abc_data",
        "generator_wrapper",
    }
)
_PASSES = 10


def module_of(cls: type) -> str:
    """Return the module of a class by its own account, "?" where it has none."""
    try:
        module = _MODULE.__get__(cls)
    except AttributeError:
        return "?"
    return module if isinstance(module, str) else "?"


def name_of(cls: type) -> str:
    name: str = _NAME.__get__(cls)
    return name


def package(cls: type) -> str:
    return module_of(cls).partition(".")[0]


def is_runners(obj: Any) -> bool:
    """Tell whether an object is the run's own: by its class, or a frame or module by its name.

    A kept exception keeps the frames of all callers, the runner's among them, and Hypothesis keeps
    a module for each signature that it made a test for.
    """
    cls = type(obj)
    if cls is not types.FrameType and cls is not types.ModuleType:
        return package(cls) in RUNNERS
    names = obj.f_globals if cls is types.FrameType else vars(obj)
    name = names.get("__name__")
    if type(name) is not str:
        return False
    if cls is types.ModuleType and sys.modules.get(name) is not obj:
        return name.startswith("hypothesis_temporary_module_")
    return name.partition(".")[0] in RUNNERS


def _may_be_runners(cls: type) -> bool:
    return cls is types.FrameType or cls is types.ModuleType or package(cls) in RUNNERS


def of_classes(objs: list[object], wanted: Callable[[type], bool]) -> list[object]:
    """Return the objects whose class is wanted. Each class is asked once, and the rest is in C."""
    chosen = list(filter(wanted, classes_of(objs)))
    return exactly(objs, *chosen) if chosen else []


def exactly(objs: list[object], *classes: type) -> list[object]:
    """Return the objects that are exactly of these classes. No metaclass is asked."""
    if len(classes) == 1:  # in half the time
        return list(compress(objs, map(is_, map(type, objs), repeat(classes[0]))))
    if all(map(_hashes_plainly, _metaclasses())):
        return list(compress(objs, map(frozenset(classes).__contains__, map(type, objs))))
    marks = frozenset(map(id, classes))
    return list(compress(objs, map(marks.__contains__, map(id, map(type, objs)))))


def classes_of(objs: list[object]) -> Collection[type]:
    """Return the different classes of these objects. No metaclass is asked."""
    if all(map(_hashes_plainly, _metaclasses())):
        return set(map(type, objs))
    classes = list(map(type, objs))
    return list(dict(zip(map(id, classes), classes, strict=True)).values())


def _metaclasses() -> list[Any]:
    """Return all there are: some dozen, where a test makes thousands of objects."""
    found: list[Any] = [type]
    for meta in found:
        found += type.__subclasses__(meta)
    return found


def _hashes_plainly(meta: Any) -> bool:
    """Tell whether classes of a metaclass are hashed and compared by address, in C."""
    its_own: Any = type(meta)
    return its_own is type and meta.__hash__ is object.__hash__ and meta.__eq__ is object.__eq__


def is_a(obj: object, *classes: type) -> bool:
    """Tell whether an object is an instance, by its real type: no proxy's `__class__` is asked."""
    return issubclass(type(obj), classes)


def is_container(obj: object) -> bool:
    """Tell whether an object is exactly a builtin container: no metaclass's `==` is asked."""
    return id(type(obj)) in _CONTAINER_IDS


def is_foreign(cls: type) -> bool:
    """Tell whether a class is neither the standard library's nor the runner's."""
    return package(cls) not in NOT_FOREIGN


def _of_code(word: str, code: types.CodeType) -> Key:
    return word, code.co_filename, code.co_qualname


def key(obj: Any) -> Key:
    """Return what kind of object this is."""
    cls = type(obj)
    if cls is types.FunctionType:
        return _of_code("function", obj.__code__)
    if cls is types.FrameType:
        return _of_code("frame", obj.f_code)
    if cls is types.TracebackType:
        return _of_code("traceback", obj.tb_frame.f_code)
    if cls is types.GeneratorType:
        return _of_code("generator", obj.gi_code)
    if cls is types.CoroutineType:
        return _of_code("coroutine", obj.cr_code)
    if issubclass(cls, type):
        return "class", module_of(obj), _QUALNAME.__get__(obj)
    return key_of_instances(cls)


def keys(objs: Iterable[object]) -> list[Key]:
    """Return what kind of object each of these is. Each class is asked once, where it tells."""
    known: dict[int, Key] = {}
    kinds = []
    for obj in objs:
        cls = type(obj)
        kind = known.get(id(cls))
        if kind is None:
            kind = key(obj)
            if len(kind) == 1:
                known[id(cls)] = kind
        kinds.append(kind)
    return kinds


def of_kinds(objs: Iterable[object], kinds: Collection[Key]) -> list[object]:
    """Return the objects of these kinds."""
    listed = list(objs)
    return list(compress(listed, map(kinds.__contains__, keys(listed))))


def key_of_instances(cls: type) -> Key:
    return (f"{module_of(cls)}.{_QUALNAME.__get__(cls)}",)


def is_builtin(kind: Key) -> bool:
    """Tell whether this is a kind of list, cell, method and the like, that anyone makes."""
    return kind[0].startswith("builtins.")


_PATTERNED = 2_000
"""Objects that have a pattern at most: so many that are like those of another test are rare."""


def pattern(objs: list[object], item: pytest.Item) -> int | None:
    """Return a number that is the same for objects of the same classes and functions, in the same
    order, that refer to the like, where a test has the like in its attributes and its stash; none
    for too many. It tells nothing of frames, generators and the like, which have a class for all
    code."""
    if len(objs) > _PATTERNED:
        return None
    function = types.FunctionType
    kinds = [id(obj.__code__ if type(obj) is function else type(obj)) for obj in objs]
    kept = referents(*objs, vars(item), *referents(item.stash))
    return hash((*kinds, *map(id, map(type, kept))))


def words(kind: Key) -> str:
    """Put a key into words, on one line whatever a class is called."""
    return printable(_words(kind))


def _words(kind: Key) -> str:
    if len(kind) == 1:
        return kind[0].removeprefix("builtins.")
    if kind[0] == "class":
        return f"class {kind[1]}.{kind[2]}"
    return f"{kind[0]} {kind[2].replace('.<locals>', '')}()"


class Window:
    """The heap as a test found it, and what is new since.

    Freezes the heap, so that collecting and looking cost as much as the test made. The heap is as
    the program had it after `close`, but for what the program itself has frozen: that is frozen
    again by `end`, with what is old by then. All else of the collector is its own after `close`.
    """

    def __init__(self, roots: Iterable[object] = (), frozen: bool = False) -> None:
        """`frozen` says that the program has frozen objects; if not, they are counted."""
        self.mine: list[object] = [self.__dict__]
        self.static = list(roots)
        self.frozen = frozen or gc.get_freeze_count() >= INTERPRETERS_OWN
        if self.frozen:
            gc.unfreeze()
        self._snapshot = Snapshot()
        self._thresholds = gc.get_threshold()
        if self._thresholds[0]:
            self._delayed = (max(THRESHOLD, self._thresholds[0]), *self._thresholds[1:])
            gc.set_threshold(*self._delayed)
        else:
            self._delayed = self._thresholds

    def restart(self) -> None:
        """Forget what is new so far."""
        self._snapshot.restart()

    def garbage(self) -> list[object]:
        """Collect, and return what only a collection could free; finalizers have run."""
        before = len(gc.garbage)
        with _debugging(gc.DEBUG_SAVEALL):
            gc.collect()
        found = gc.garbage[before:]
        del gc.garbage[before:]
        return found

    def settle(self) -> bool:
        """Collect until nothing more is found, and tell whether anything was."""
        with _debugging(0):
            found = gc.collect()
            if found:
                # No loop here: see `tests/harness/test_bytecode.py`.
                any(not gc.collect() for _ in range(_PASSES))
            return bool(found)

    def made(self) -> list[object]:
        """Return what is new, or all there is where the test unfroze the heap."""
        return gc.get_objects() if self._snapshot.freezes else self._snapshot.new()

    def survivors(self, item: pytest.Item, passing: Collection[object] = ()) -> list[object]:
        """Return what is new and neither the runner's own nor held by it alone.

        Raises `RuntimeError` where the test froze or unfroze the heap.
        """
        new = self._snapshot.new()
        roots = [*self.static, *self._of(item), passing, *passing, self, *self.mine]
        roots.extend(filter(is_runners, of_classes(new, _may_be_runners)))
        return [obj for obj in _not_owned(roots, new) if not _is_bookkeeping(obj)]

    @staticmethod
    def _of(item: pytest.Item) -> list[object]:
        # pytest adds its handlers for each test, and later patches of CPython 3.13 and 3.14 make
        # a new list for that.
        handlers = logging.getLogger().handlers
        kept = referents(item.stash)
        stack = item.session._setupstate.stack
        mine = [item, vars(item), item.stash, *kept, *_finalizers(item), stack, handlers]
        return mine + _tracers()

    def close(self) -> None:
        """Restore the collector as the program had it; what a test changed itself stays."""
        if gc.get_threshold() == self._delayed:
            gc.set_threshold(*self._thresholds)
        self._snapshot.release()
        self.mine.clear()

    def end(self) -> None:
        """Close, and freeze again where the program had frozen."""
        self.close()
        self.frozen = self.frozen and self._snapshot.tampered is None
        if self.frozen:
            gc.freeze()


def _finalizers(item: pytest.Item) -> list[object]:
    """Return what pytest is to call when the item's fixtures end.

    Those of a session's fixture get one more with every fixture that asks for it.
    """
    return [getattr(each, "_finalizers", None) for each in fixtures_of(item)]


def fixtures_of(item: pytest.Item) -> list[Any]:
    """Return the definitions of all fixtures that a test may get. No other kind of item has any."""
    info = getattr(item, "_fixtureinfo", None)
    given = getattr(info, "name2fixturedefs", {}).values()
    return [each for definitions in given for each in definitions]


def _tracers() -> list[object]:
    """Return what coverage's tracers hold, one for each thread: those in C the collector can't see
    into."""
    collector = getattr(sys.modules.get("coverage.collector"), "Collector", None)
    tracers = [
        tracer
        for each in getattr(collector, "_collectors", ())
        for tracer in getattr(each, "tracers", ())
    ]
    return [
        getattr(tracer, name, None)
        for tracer in tracers
        for name, member in vars(type(tracer)).items()
        if type(member) is types.MemberDescriptorType
    ]


def _is_bookkeeping(obj: object) -> bool:
    """Tell whether this says nothing: weak references and their callbacks in C, and sets of weak
    references to classes, of which the registries of abstract classes are full: a class of long ago
    gets one when it is asked for its subclasses; iterators of the runner's loops; empty containers;
    the dict in which a class has its subclasses, by their addresses, and which only C holds."""
    if type(obj) is set:
        return all(type(each) is ref and is_a(each(), type) for each in gc.get_referents(obj))
    if type(obj) is types.BuiltinFunctionType:
        return is_a(obj.__self__, ref)
    if type(obj) is dict and obj:
        address, first = next(iter(obj.items()), (None, None))
        return type(address) is int and type(first) is ref and address == id(first())
    return name_of(type(obj)) in _PASSING or (is_container(obj) and not obj)


def _not_owned(roots: list[object], new: list[object]) -> list[object]:
    """Return what is new but for the roots, and what they reach through new objects alone."""
    candidates = dict(zip(map(id, new), new, strict=True))
    left = candidates.keys() - set(map(id, roots))
    reached = roots
    while reached:
        marks = left.intersection(map(id, referents(*reached)))
        left -= marks
        reached = [candidates[mark] for mark in marks]
    return [obj for mark, obj in candidates.items() if mark in left]


@contextmanager
def _debugging(flags: int) -> Iterator[None]:
    before = gc.get_debug()
    gc.set_debug(flags)
    try:
        yield
    finally:
        gc.set_debug(before)


def static_roots(config: pytest.Config) -> list[object]:
    """Return the runner's long-lived objects that get something new with every test."""
    roots: list[object] = []
    for plugin in config.pluginmanager.get_plugins():
        if is_runners(plugin) and not isinstance(plugin, types.ModuleType):
            for obj in [plugin, *getattr(plugin, "__dict__", {}).values()]:
                if is_runners(obj):
                    roots += [obj, getattr(obj, "__dict__", None)]
    roots.append(getattr(config.hook.pytest_warning_recorded, "_call_history", None))
    roots.append(getattr(config.pluginmanager.get_plugin("terminalreporter"), "stats", None))
    return list({id(root): root for root in roots if root is not None}.values())
