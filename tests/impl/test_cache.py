"""The weak cache: what lives is found, what is missed is created once, what died is forgotten."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import deathwatch
from lastref import _evictions, _flight
from lastref.cache import WeakCache
from lastref.cleanup import add_cleanup, drain

REFCOUNTS = sys.implementation.name == "cpython"
PATIENCE = 60  # seconds after which a thread that should have gone on is said to hang


class Value:
    """What is cached: made for a key, and never equal to another."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.me: Value | None = None


def in_cycle(key: Any) -> Value:
    value = Value(key)
    value.me = value
    return value


class Key:
    """Equal by name, with a hash that collides with every other's, compared in Python."""

    def __init__(self, name: Any, digest: int = 1) -> None:
        self.name = name
        self.digest = digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.name == other.name

    def __hash__(self) -> int:
        return self.digest

    def __repr__(self) -> str:
        return f"Key({self.name})"


class Threads:
    """Threads that a test starts and joins; a hanging one fails the test, and so does an error."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    def start(self, work: Callable[..., object], *args: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread hangs"
        if self.errors:
            raise self.errors[0]


@pytest.fixture
def threads() -> Iterator[Threads]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    started = Threads()
    try:
        yield started
        started.join()
    finally:
        sys.setswitchinterval(interval)


@pytest.fixture(autouse=True)
def leaves_nothing_in_flight() -> Iterator[None]:
    yield
    assert not aloft()
    assert not _flight._waiting


def aloft() -> list[_flight.Flight]:
    return [flight for region in _flight._sky for flight in region]


def await_waiters(count: int) -> None:
    """Until `count` threads wait for a flight."""
    deadline = time.monotonic() + PATIENCE
    while len(_flight._waiting) < count:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.001)


def await_entries(cache: WeakCache[Any, Any], expected: int) -> None:
    """Collect, and run the evictions, until the cache has `expected` entries."""
    deadline = time.monotonic() + 10
    while True:
        drain()
        if len(cache._entries) == expected:
            return
        assert time.monotonic() < deadline, cache._entries
        deathwatch.collect()


@contextmanager
def evictions_held_up() -> Iterator[None]:
    """Keep the evicting thread busy for the length of the block."""
    entered, go_on = threading.Event(), threading.Event()

    def hold_up(_: object) -> None:
        entered.set()
        go_on.wait()

    add_cleanup(Value("victim"), hold_up, None, queue=_evictions.evictions)
    deathwatch.collect()
    entered.wait()
    try:
        yield
    finally:
        go_on.set()


class CacheContract:
    """What a weak cache promises. Binders make one: `get` of a cache that calls `create`."""

    def bind(self, create: Callable[[Any], Any]) -> Callable[[Any], Any]:
        raise NotImplementedError

    def test_a_living_value_is_found(self) -> None:
        created: list[Any] = []
        get = self.bind(lambda key: created.append(key) or Value(key))
        value = get("k")
        deathwatch.collect()
        assert get("".join(["", "k"])) is value
        assert created == ["k"]

    @pytest.mark.parametrize("create", [Value, in_cycle], ids=["plain", "cycle"])
    def test_a_value_is_not_kept_alive(self, create: Callable[[Any], Value]) -> None:
        get = self.bind(create)
        deathwatch.assert_dies(lambda: get("k"))

    def test_a_value_dies_by_refcount(self) -> None:
        get = self.bind(Value)
        deathwatch.assert_dies(lambda: get("k"), cause="refcount")

    def test_a_dead_value_is_created_again(self) -> None:
        created: list[Any] = []
        get = self.bind(lambda key: created.append(key) or Value(key))
        deathwatch.assert_dies(lambda: get("k"))
        again = get("k")
        assert get("k") is again
        assert created == ["k", "k"]

    def test_a_failure_is_not_cached(self) -> None:
        outcomes: list[Any] = [LookupError("first"), Value("second")]

        def create(key: Any) -> Any:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        get = self.bind(create)
        with pytest.raises(LookupError, match="first"):
            get("k")
        assert get("k").key == "second"

    def test_32_threads_that_miss_one_key_create_once(self, threads: Threads) -> None:
        """The post's exercise, solved."""
        created: list[Any] = []
        got: list[Any] = []
        gate = threading.Barrier(32)

        def create(key: Any) -> Value:
            created.append(key)
            time.sleep(0.05)
            return Value(key)

        get = self.bind(create)

        def work() -> None:
            gate.wait()
            got.append(get("k"))

        for _ in range(32):
            threads.start(work)
        threads.join()
        assert created == ["k"]
        assert len(got) == 32
        assert len(set(got)) == 1

    def test_different_keys_do_not_wait_for_each_other(self, threads: Threads) -> None:
        """Each `create` waits until the other one has been entered too."""
        both = threading.Barrier(2)

        def create(key: Any) -> Value:
            both.wait(PATIENCE)
            return Value(key)

        get = self.bind(create)
        threads.start(get, "a")
        threads.start(get, "b")
        threads.join()

    def test_values_without_weak_references_are_refused(self) -> None:
        """C13, None included: TypeError, and the next call creates again."""
        for value in (None, 1, "a", (), [], {}):
            with pytest.raises(TypeError, match=type(value).__name__):
                self.bind(lambda key, value=value: value)("k")

    def test_keys_are_compared_as_by_a_dict(self) -> None:
        get = self.bind(Value)
        value = get(1)
        assert get(1.0) is get(True) is value
        nan = float("nan")
        value = get(nan)
        assert get(nan) is value
        with pytest.raises(TypeError, match="unhashable"):
            get([])


class TestWeakCache(CacheContract):
    def bind(self, create: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return WeakCache(create).get


class TestLockedWeakValueDictionary(CacheContract):
    """The standard library's nearest thing, as most people write it, and where it falls short."""

    def bind(self, create: Callable[[Any], Any]) -> Callable[[Any], Any]:
        values: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()
        lock = threading.Lock()

        def get(key: Any) -> Any:
            with lock:
                value = values.get(key)
                if value is None:
                    value = values[key] = create(key)
                return value

        return get

    def test_different_keys_do_not_wait_for_each_other(self, threads: Threads) -> None:
        """Falls short: a `create` for one key waits for the other's."""
        entered, go_on = threading.Event(), threading.Event()
        seen: list[Any] = []

        def create(key: Any) -> Value:
            seen.append(key)
            entered.set()
            go_on.wait(PATIENCE)
            return Value(key)

        get = self.bind(create)
        threads.start(get, "a")
        entered.wait(PATIENCE)
        threads.start(get, "b")
        time.sleep(0.05)
        assert seen == ["a"]
        go_on.set()


class TestFailures:
    @pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_a_failure_fails_its_caller_and_each_waiter_tries_for_itself(
        self, threads: Threads, error: type[BaseException]
    ) -> None:
        """Of five threads, three fail one after the other, then one succeeds for the rest."""
        attempts: list[int] = []
        outcomes: list[Any] = []

        def create(key: Any) -> Value:
            attempts.append(threading.get_ident())
            if len(attempts) == 1:
                await_waiters(4)
            if len(attempts) <= 3:
                raise error("failed")
            return Value(key)

        cache = WeakCache(create)

        def work() -> None:
            try:
                outcomes.append(cache.get("k"))
            except error as failure:
                outcomes.append(type(failure))

        for _ in range(5):
            threads.start(work)
        threads.join()
        assert len(attempts) == 4
        assert len(set(attempts)) == 4
        assert outcomes.count(error) == 3
        (value,) = {outcome for outcome in outcomes if isinstance(outcome, Value)}
        assert cache.get("k") is value

    def test_a_failure_keeps_nothing_alive(self) -> None:
        """Neither the exception, nor its traceback's frames and their locals, nor the key."""

        class Failure(Exception):
            pass

        class Local:
            pass

        watches: list[deathwatch.Watch] = []

        def create(key: Any) -> Any:
            local = Local()
            watches.append(deathwatch.watch(local))
            failure = Failure()
            watches.append(deathwatch.watch(failure))
            try:
                raise failure
            finally:
                del failure

        cache = WeakCache(create)

        def fail() -> None:
            key = Key("failing")
            watches.append(deathwatch.watch(key))
            try:
                cache.get(key)
            except Failure:
                pass
            else:
                raise AssertionError("did not fail")

        fail()
        for watched in watches:
            watched.assert_dead()
        if REFCOUNTS:
            assert [watched.cause for watched in watches] == ["refcount"] * 3
        assert len(cache._entries) == 0

    def test_a_value_without_weak_references_says_what_to_do(self) -> None:
        """C13: naming the type and the remedy."""

        class Slotted:
            __slots__ = ()

        with pytest.raises(TypeError, match="NoneType.*wraps it"):
            WeakCache(lambda key: None).get("k")
        if REFCOUNTS:
            with pytest.raises(TypeError, match=r"add '__weakref__' to the __slots__ of .*Slotted"):
                WeakCache(lambda key: Slotted()).get("k")

    def test_create_must_be_callable(self) -> None:
        with pytest.raises(TypeError, match="not an instance of int"):
            WeakCache(1)  # type: ignore[arg-type]

    def test_an_unhashable_key_is_refused_before_anything_is_created(self) -> None:
        def create(key: Any) -> Value:
            raise AssertionError("created")

        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            WeakCache(create).get([])  # type: ignore[type-var]


class TestCircles:
    """A `create` that waits for itself raises; it never hangs."""

    @pytest.mark.parametrize("circle", ["A", "AB", "ABCD"])
    def test_in_one_thread(self, circle: str) -> None:
        """Asking for its own key, directly or by way of others."""
        created: list[str] = []

        def create(key: str) -> Value:
            created.append(key)
            return cache.get(circle[(circle.index(key) + 1) % len(circle)])

        cache = WeakCache(create)
        with pytest.raises(RuntimeError, match="'A' needs that value itself"):
            cache.get("A")
        assert created == list(circle)
        assert aloft() == []

    def test_through_two_caches(self) -> None:
        """A circle may lead through several caches."""
        one: WeakCache[str, Value] = WeakCache(lambda key: other.get(key))
        other: WeakCache[str, Value] = WeakCache(lambda key: one.get(key))
        with pytest.raises(RuntimeError, match="needs that value itself"):
            one.get("A")

    def test_a_create_may_use_other_keys(self) -> None:
        """Recursion that ends is no circle."""

        def create(number: int) -> Value:
            value = Value(number)
            value.me = cache.get(number - 1) if number else None
            return value

        cache = WeakCache(create)
        value: Value | None = cache.get(50)
        for number in range(50, -1, -1):
            assert value is not None
            assert value.key == number
            value = value.me

    @pytest.mark.parametrize("count", [2, 3, 5])
    def test_between_threads_one_raises(self, threads: Threads, count: int) -> None:
        """Thread i creates i and needs i+1: one gets RuntimeError, and with what it makes
        instead all the others go on."""
        gate = threading.Barrier(count)
        refused: list[int] = []

        def create(key: int) -> Value:
            value = Value(key)
            gate.wait(PATIENCE)
            try:
                value.me = cache.get((key + 1) % count)
            except RuntimeError:
                refused.append(key)
            return value

        cache = WeakCache(create)
        values: dict[int, Value] = {}
        for number in range(count):
            threads.start(lambda number=number: values.update({number: cache.get(number)}))
        threads.join()
        assert len(refused) == 1
        for number, value in values.items():
            expected = None if number == refused[0] else values[(number + 1) % count]
            assert value.me is expected

    def test_between_threads_without_a_way_out_all_fail(self, threads: Threads) -> None:
        """A circle in the values themselves can't be created by anybody."""
        gate = threading.Barrier(2)
        first = [True] * 2
        outcomes: list[type] = []

        def create(key: int) -> Value:
            if first[key]:
                first[key] = False
                gate.wait(PATIENCE)
            return cache.get(1 - key)

        cache = WeakCache(create)

        def work(key: int) -> None:
            try:
                cache.get(key)
            except RuntimeError:
                outcomes.append(RuntimeError)

        threads.start(work, 0)
        threads.start(work, 1)
        threads.join()
        assert outcomes == [RuntimeError] * 2

    def test_a_waiter_outside_the_circle_waits(self, threads: Threads) -> None:
        """Threads that wait for one of the circle, and lead nothing themselves, don't raise."""
        gate = threading.Barrier(2)
        refused: list[int] = []

        def create(key: int) -> Value:
            value = Value(key)
            gate.wait(PATIENCE)
            await_waiters(3)
            try:
                value.me = cache.get(1 - key)
            except RuntimeError:
                refused.append(key)
            return value

        cache = WeakCache(create)
        got: list[Value] = []
        for key in (0, 1):
            threads.start(lambda key=key: got.append(cache.get(key)))
        while len(aloft()) < 2:
            time.sleep(0.001)
        for _ in range(3):
            threads.start(lambda: got.append(cache.get(0)))
        threads.join()
        assert len(refused) == 1
        assert len(got) == 5
        assert len(set(got)) == 2

    def test_waiting_for_another_thread_from_within_create_is_no_circle(
        self, threads: Threads
    ) -> None:
        """A chain of threads that wait for each other, with an end, ends."""
        gates = [threading.Event() for _ in range(4)]

        def create(key: int) -> Value:
            gates[key].wait(PATIENCE)
            value = Value(key)
            value.me = cache.get(key + 1) if key < 3 else None
            return value

        cache = WeakCache(create)
        values: dict[int, Value] = {}
        for number in range(4):
            threads.start(lambda number=number: values.update({number: cache.get(number)}))
        while len(aloft()) < 4:
            time.sleep(0.001)
        for gate in gates[:3]:
            gate.set()
        await_waiters(3)
        gates[3].set()
        threads.join()
        assert [values[number].me for number in range(4)] == [values[1], values[2], values[3], None]


class TestEviction:
    def test_entry_and_key_leave_when_the_value_died(self) -> None:
        """Both ways to die."""
        for create in (Value, in_cycle):
            cache: WeakCache[Key, Value] = WeakCache(create)

            def victim(cache: WeakCache[Key, Value] = cache) -> deathwatch.Watch:
                key = Key("k")
                value = cache.get(key)
                assert len(cache._entries) == 1
                value.key = None
                return deathwatch.watch(key)

            watched = victim()
            await_entries(cache, 0)
            watched.assert_dead()

    def test_a_late_eviction_never_takes_a_fresh_entry(self) -> None:
        """Compare and delete: the value dies and is made again while the evicting thread sleeps."""
        cache = WeakCache(Value)
        with evictions_held_up():
            for _ in range(3):
                deathwatch.assert_dies(lambda: cache.get("k"))
            fresh = cache.get("k")
        drain()
        assert cache.get("k") is fresh
        assert len(cache._entries) == 1

    @pytest.mark.parametrize("created", [False, True])
    def test_a_dropped_cache_leaves_nothing(self, created: bool) -> None:
        """Its values live on, and hold neither the cache, nor `create`, nor the keys."""
        values: list[Value] = []
        watches: list[deathwatch.Watch] = []

        class Create:
            def __call__(self, key: Key) -> Value:
                return Value(key.name)

        def build() -> WeakCache[Key, Value]:
            create = Create()
            cache: WeakCache[Key, Value] = WeakCache(create)
            watches.append(deathwatch.watch(create))
            if created:
                key = Key("k")
                values.append(cache.get(key))
                watches.append(deathwatch.watch(key))
            return cache

        deathwatch.assert_dies(build, cause="refcount" if REFCOUNTS else None)
        for watched in watches:
            watched.assert_dead(cause="refcount" if REFCOUNTS else None)
        values.clear()
        deathwatch.collect()
        assert drain()

    def test_a_key_that_reaches_its_value_keeps_it_as_long_as_the_cache(self) -> None:
        """W11, stated: and not a moment longer."""
        watches: list[deathwatch.Watch] = []

        def build() -> WeakCache[Key, Value]:
            cache: WeakCache[Key, Value] = WeakCache(Value)
            key = Key("k")
            key.name = cache.get(key)
            watches.append(deathwatch.watch(key.name))
            return cache

        cache = build()
        deathwatch.collect()
        assert watches[0].alive
        del cache
        watches[0].assert_dead()

    def test_a_value_resurrected_by_its_finalizer_is_not_handed_out(self) -> None:
        """Where the collector found it dead, the cache has forgotten it, on every version."""
        risen: list[Any] = []

        class Phoenix(Value):
            def __del__(self) -> None:
                risen.append(self)

        def create(key: Any) -> Phoenix:
            phoenix = Phoenix(key)
            phoenix.me = phoenix
            return phoenix

        cache = WeakCache(create)

        def build() -> None:
            cache.get("k")

        build()
        deathwatch.collect()
        (phoenix,) = risen
        fresh = cache.get("k")
        assert fresh is not phoenix
        drain()
        assert cache.get("k") is fresh
        phoenix.me = fresh.me = None

    def test_keys_with_one_hash_are_told_apart(self) -> None:
        """The evicting thread compares keys too."""
        cache: WeakCache[Key, Value] = WeakCache(Value)
        values = [cache.get(Key(number)) for number in range(20)]
        assert [cache.get(Key(number)) for number in range(20)] == values
        del values[::2]
        await_entries(cache, 10)
        assert [cache.get(Key(number)) for number in range(1, 20, 2)] == values

    def test_the_value_is_held_for_those_who_wait(self, threads: Threads) -> None:
        """The creator drops it at once; the waiters still get that one, not another."""
        created: list[int] = []
        got: list[int] = []

        def create(key: Any) -> Value:
            value = Value(key)
            created.append(id(value))
            if len(created) == 1:
                await_waiters(8)
            return value

        cache = WeakCache(create)
        for _ in range(9):
            threads.start(lambda: got.append(id(cache.get("k"))))
        threads.join()
        assert len(created) == 1
        assert got == created * 9
        await_entries(cache, 0)


class TestThreads:
    @pytest.mark.parametrize("key", ["str", "colliding"])
    def test_consecutive_gets_are_identical(self, threads: Threads, key: str) -> None:
        """Go's TestConcurrentWeakCache, scaled: 16 threads over 50 keys, values come and go.

        What a thread holds is what everybody gets, and compare-and-delete never wins over it.
        """
        created: Counter[int] = Counter()
        make_key: Callable[[int], Any] = str if key == "str" else lambda n: Key(n, n % 3)
        rounds = 300 if key == "str" else 60

        def create(name: Any) -> Value:
            return Value(name)

        cache: WeakCache[Any, Value] = WeakCache(create)

        def work(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(rounds):
                number = rng.randrange(50)
                value = cache.get(make_key(number))
                assert value.key == make_key(number)
                for _ in range(3):
                    assert cache.get(make_key(number)) is value
                created[number] += 1

        for seed in range(16):
            threads.start(work, seed)
        threads.join()
        await_entries(cache, 0)

    @pytest.mark.parametrize("key", ["str", "colliding"])
    def test_one_living_value_per_key(self, threads: Threads, key: str) -> None:
        """At no time do two values for one key live that were handed out."""
        make_key: Callable[[int], Any] = str if key == "str" else lambda n: Key(n, 0)
        held: list[dict[int, Value]] = [{} for _ in range(6)]
        cache: WeakCache[Any, Value] = WeakCache(Value)

        def work(me: int) -> None:
            rng = random.Random(me)
            mine = held[me]
            for _ in range(150):
                number = rng.randrange(5)
                mine[number] = value = cache.get(make_key(number))
                for other in held:
                    other_value = other.get(number)
                    assert other_value is None or other_value is value
                if rng.random() < 0.5:
                    del value, other_value, mine[number]

        for me in range(6):
            threads.start(work, me)
        threads.join()

    @pytest.mark.parametrize("key", ["str", "colliding"])
    def test_overlapping_misses_create_once_each(self, threads: Threads, key: str) -> None:
        """8 threads over 30 keys, all values held: 30 calls, whatever the keys' hashes."""
        make_key: Callable[[int], Any] = str if key == "str" else lambda n: Key(n, 0)
        created: list[Any] = []

        def create(name: Any) -> Value:
            created.append(name)
            time.sleep(0.0005)
            return Value(name)

        cache: WeakCache[Any, Value] = WeakCache(create)
        held: list[list[Value]] = [[] for _ in range(8)]
        gate = threading.Barrier(8)

        def work(me: int) -> None:
            order = list(range(30))
            random.Random(me % 3).shuffle(order)
            gate.wait()
            for number in order:
                held[me].append(cache.get(make_key(number)))

        for me in range(8):
            threads.start(work, me)
        threads.join()
        assert len(created) == 30
        assert len({value for values in held for value in values}) == 30

    def test_a_key_that_asks_the_cache_while_it_is_compared(self) -> None:
        """`__eq__` may call `get`, on the same cache and an equal key: no lock is held."""
        cache: WeakCache[Any, Value] = WeakCache(Value)
        asked: list[Value] = []

        class Nosy(Key):
            busy = False

            def __eq__(self, other: object) -> bool:
                if not Nosy.busy:
                    Nosy.busy = True
                    try:
                        asked.append(cache.get(Nosy("third")))
                    finally:
                        Nosy.busy = False
                return super().__eq__(other)

            __hash__ = Key.__hash__

        first, second = cache.get(Nosy("first")), cache.get(Nosy("second"))
        assert cache.get(Nosy("first")) is first
        assert cache.get(Nosy("second")) is second
        assert len(set(asked)) == 1
        Nosy.busy = True  # from here on the evicting thread, which compares too, asks nothing
        drain()


def test_no_step_of_a_miss_holds_what_another_miss_needs(threads: Threads) -> None:
    """No lock is ever held while other code may run.

    A collection, a signal or a thread switch can come at any line of a miss, and run a finalizer
    that waits for another thread, which misses. Here it does, at every single line.
    """
    cache: WeakCache[str, Value] = WeakCache(Value)
    cache.get("before")  # starts the evicting thread
    asked = threading.Event()
    answered = threading.Semaphore(0)
    over = threading.Event()
    values: list[Value] = []

    def answer() -> None:
        while True:
            asked.wait(PATIENCE)
            asked.clear()
            if over.is_set():
                return
            values.append(cache.get(f"other {len(values)}"))
            answered.release()

    package = os.path.dirname(_evictions.__file__)
    lines: set[tuple[str, int]] = set()

    def at_each_line(frame: Any, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(package):
            return None
        if event == "line":
            lines.add((os.path.basename(frame.f_code.co_filename), frame.f_lineno))
            asked.set()
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            if not answered.acquire(timeout=10):
                raise AssertionError(f"another miss hangs while this one stands at {where}")
        return at_each_line

    threads.start(answer)
    old = sys.gettrace()
    sys.settrace(at_each_line)
    try:
        values.append(cache.get("this"))
        values.append(cache.get("this"))
    finally:
        sys.settrace(old)
        over.set()
        asked.set()
    assert {"cache.py", "_flight.py", "cleanup.py"} <= {name for name, _ in lines}


class TestInterrupts:
    def test_at_any_line_of_a_miss_the_cache_stays_usable(self, threads: Threads) -> None:
        """KeyboardInterrupt at every line of a miss in turn, with another thread waiting."""
        package = os.path.dirname(_flight.__file__)
        survived = 0
        for stop_at in range(1, 400):
            created: list[Any] = []
            cache: WeakCache[str, Value] = WeakCache(
                lambda key, created=created: created.append(key) or Value(key)
            )
            seen = 0

            def interrupt(frame: Any, event: str, arg: Any, stop_at: int = stop_at) -> Any:
                nonlocal seen
                name = frame.f_code.co_filename
                if not name.startswith(package) or not name.endswith(("cache.py", "_flight.py")):
                    return None
                if event == "line":
                    seen += 1
                    if seen == stop_at:
                        raise KeyboardInterrupt
                return interrupt

            old = sys.gettrace()
            sys.settrace(interrupt)
            try:
                value = cache.get("k")
            except KeyboardInterrupt:
                sys.settrace(old)
                got: list[Value] = []
                other = threads.start(lambda got=got, cache=cache: got.append(cache.get("k")))
                other.join(10)
                assert not other.is_alive(), f"interrupted at line {seen} of a miss: it hangs"
                assert cache.get("k").key == "k"
                survived += 1
            else:
                sys.settrace(old)
                assert value.key == "k"
                break
            finally:
                sys.settrace(old)
            assert aloft() == []
        assert 15 < survived < 399

    @pytest.mark.parametrize("where", ["create", "waiter"])
    def test_a_real_one_in_the_main_thread(self, threads: Threads, where: str) -> None:
        """In `create`: the waiters try for themselves. In a waiter: the others go on waiting."""
        if threading.current_thread() is not threading.main_thread():
            pytest.skip("signals arrive in the main thread")
        go_on = threading.Event()
        calls: list[str] = []
        got: list[Value] = []

        def create(key: Any) -> Value:
            calls.append(threading.current_thread().name)
            if where == "create" and len(calls) == 1:
                time.sleep(PATIENCE)
            go_on.wait(PATIENCE)
            return Value(key)

        cache = WeakCache(create)

        def interrupt() -> None:
            await_waiters(3)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        if not hasattr(signal, "pthread_kill"):
            pytest.skip("no signal to a thread on this system")
        others = 3 if where == "create" else 2
        if where == "waiter":
            threads.start(lambda: got.append(cache.get("k")))
            while not calls:
                time.sleep(0.001)

        def start_others() -> None:
            while not aloft():
                time.sleep(0.001)
            for _ in range(others):
                threads.start(lambda: got.append(cache.get("k")))

        starter = threading.Thread(target=start_others)
        # a process that a shell started in the background ignores it
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        starter.start()
        threads.start(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                cache.get("k")
        finally:
            signal.signal(signal.SIGINT, before)
        starter.join()
        go_on.set()
        threads.join()
        assert len(got) == 3
        assert len(set(got)) == 1
        assert len(calls) == (2 if where == "create" else 1)
        assert cache.get("k") is got[0]


FORK = """
import os, sys, threading, time
from lastref import _flight
from lastref.cache import WeakCache

class Value:
    def __init__(self, key): self.key = key

entered, go_on = threading.Event(), threading.Event()
calls = []
def create(key):
    calls.append(key)
    if len(calls) == 1:
        entered.set()
        go_on.wait()
    elif key == "mine":
        status.append(fork())
    return Value(key)
status = []
cache = WeakCache(create)
"""

LOST = """
got = []
owner = threading.Thread(target=lambda: got.append(cache.get("k")))
owner.start()
entered.wait()
waiter = threading.Thread(target=lambda: got.append(cache.get("k")))
waiter.start()
while not _flight._waiting:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    # New threads may get the identities of those that were lost.
    values = []
    workers = [threading.Thread(target=lambda: values.append(cache.get("k"))) for _ in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join(30)
    ok = len(values) == 3 and len(set(values)) == 1 and calls == ["k", "k"]
    os._exit(0 if ok and not any(_flight._sky) and not _flight._waiting else 1)
status = os.waitpid(child, 0)[1]
go_on.set()
owner.join(); waiter.join()
print(status, len(got), len(set(got)), calls)
"""

OWN = """
calls.append("none")
def fork():
    child = os.fork()
    if child == 0:
        try:
            cache.get("mine")
        except RuntimeError:
            return "child"
    return child
value = cache.get("mine")
if status == ["child"]:
    os._exit(0 if value is cache.get("mine") and not any(_flight._sky) else 1)
print(os.waitpid(status[0], 0)[1], value is cache.get("mine"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(
    ("code", "expected"),
    [(LOST, "0 2 1 ['k']"), (OWN, "0 True")],
    ids=["another thread's", "the forking thread's"],
)
def test_fork_while_a_create_is_in_flight(code: str, expected: str) -> None:
    """The child does not wait for a thread that it has not; a creation of its own goes on."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK + code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == expected, done.stderr


def test_evictions_are_not_delayed_by_the_users_cleanups() -> None:
    """A slow cleanup in the default queue holds up nothing here."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(_: object) -> None:
        entered.set()
        go_on.wait(PATIENCE)

    def drop() -> None:
        add_cleanup(Value("slow"), slow, None)

    cache = WeakCache(Value)
    drop()
    deathwatch.collect()
    assert entered.wait(PATIENCE)
    try:
        deathwatch.assert_dies(lambda: cache.get("k"))
        assert _evictions.evictions.drain(PATIENCE)
        assert len(cache._entries) == 0
    finally:
        go_on.set()


class CacheModel(RuleBasedStateMachine):
    """Values are got and dropped; what lives is found, what died is created anew."""

    keys = st.sampled_from("abcde")  # on PyPy a dict of ints can hold what was taken out of it

    def __init__(self) -> None:
        super().__init__()
        self.created: Counter[str] = Counter()
        self.expected: Counter[str] = Counter()
        self.failing: set[str] = set()
        self.held: dict[str, Value] = {}
        self.cache: WeakCache[Key, Value] = WeakCache(self.create)

    def create(self, key: Key) -> Value:
        if key.name in self.failing:
            raise LookupError(key.name)
        self.created[key.name] += 1
        return Value(key.name)

    @rule(name=keys, cycle=st.booleans())
    def get(self, name: str, cycle: bool) -> None:
        try:
            value = self.cache.get(Key(name))
        except LookupError:
            assert name in self.failing
            assert name not in self.held
            return
        if name in self.held:
            assert value is self.held[name]
        else:
            assert name not in self.failing
            self.expected[name] += 1
        assert value.key == name
        if cycle:
            value.me = value
        self.held[name] = value

    @rule(name=keys)
    def drop(self, name: str) -> None:
        if self.held.pop(name, None) is not None:
            gc.collect()
            gc.collect()

    @rule(name=keys)
    def toggle_failing(self, name: str) -> None:
        self.failing ^= {name}

    @rule()
    def settle(self) -> None:
        await_entries(self.cache, len(self.held))

    @invariant()
    def created_what_was_missed(self) -> None:
        assert self.created == self.expected


CacheModel.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestCacheModel = CacheModel.TestCase
