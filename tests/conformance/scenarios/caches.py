"""Weak caches: the post's Cache[K, V] (K), which finds a value again for as long as it lives."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

from .catalogue import GO, STDLIB, Difference, scenario
from .dying import PYPY, Victim, collect, in_threads, until

POST = "goblog:cleanups-and-weak"
NO_FLIGHT = (
    "WeakValueDictionary has no way to create a value: the idiom looks, creates, and stores."
)


@scenario(
    "K1/hit",
    "Two gets of one key",
    promise="While a value lives, the cache returns it again.",
    expected="the same, created once",
    sources=(POST, "contract:WeakCache"),
)
def hit(api: Any) -> str:
    created: list[Any] = []

    def create(key: object) -> Victim:
        created.append(key)
        return Victim()

    cache = api.cache(create)
    first = cache.get("key")
    collect()
    same = cache.get("key") is first
    return (
        f"{'the same' if same else 'another'}, created {'once' if len(created) == 1 else 'twice'}"
    )


@scenario(
    "K1/weak",
    "A value that nobody holds",
    promise="The cache does not keep its values alive.",
    expected="dead, then created again",
    sources=(POST, "contract:WeakCache"),
)
def weak(api: Any) -> str:
    created: list[Any] = []

    def create(key: object) -> Victim:
        created.append(key)
        return Victim()

    cache = api.cache(create)
    wr = weakref.ref(cache.get("key"))
    api.settle()
    dead = wr() is None
    cache.get("key")
    again = len(created) == 2
    return f"{'dead' if dead else 'alive'}, then {'created again' if again else 'found'}"


def _concurrent_misses(api: Any) -> tuple[int, bool]:
    """How often two threads, missing one key at once, created; and whether they got the same."""
    created: list[Any] = []
    got: list[Any] = [None, None]

    def create(key: object) -> Victim:
        created.append(key)
        # If the other thread creates too, it is in here by then.
        until(lambda: len(created) > 1, timeout=0.5)
        return Victim()

    cache = api.cache(create)

    def work(index: int) -> None:
        got[index] = cache.get("key")

    in_threads(2, work)
    return len(created), got[0] is got[1]


@scenario(
    "K2/once",
    "Two threads miss one key at once",
    promise="Concurrent misses of one key create one value (the exercise at the end of the post).",
    expected="created once",
    sources=(POST, "contract:WeakCache"),
    differences=(
        Difference(
            STDLIB, "created twice", NO_FLIGHT, "docs:library/weakref#weakref.WeakValueDictionary"
        ),
        Difference(
            GO,
            "created twice",
            "The post's own cache lets both create, and leaves it to the reader to mend that.",
            POST,
        ),
    ),
)
def created_once(api: Any) -> str:
    count, _ = _concurrent_misses(api)
    return "created once" if count == 1 else "created twice"


@scenario(
    "K2/same",
    "What two threads get that miss one key at once",
    promise="Concurrent misses of one key get one value.",
    expected="the same",
    sources=(POST, "contract:WeakCache"),
)
def same_value(api: Any) -> str:
    return "the same" if _concurrent_misses(api)[1] else "two values"


@scenario(
    "K3/fresh",
    "A value that is made while the old one's eviction is due",
    promise="A late eviction never takes a fresh value with it.",
    expected="the fresh one stays, 200 times",
    sources=(POST, "gotest:internal/sync/hashtriemap_test.go TestConcurrentCache"),
)
def fresh(api: Any) -> str:
    cache = api.cache(lambda key: Victim())
    stays = 0
    for number in range(200):
        cache.get("key")  # dies at once
        value = cache.get("key")
        if number % 50 == 0:
            api.settle()
        stays += cache.get("key") is value
        del value
    return f"the fresh one stays, {stays} times"


class _Key(Victim):
    """Compared and hashed by its number, and can be watched."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


@scenario(
    "K4/leaves",
    "The entry of a value that died",
    promise="Entries leave the cache: a key is released some time after its value died.",
    expected="released, 100 times",
    sources=(POST, "contract:WeakCache"),
)
def leaves(api: Any) -> str:
    cache = api.cache(lambda key: Victim())
    keys = []
    for number in range(100):
        key = _Key(number=number)
        keys.append(weakref.ref(key))
        cache.get(key)
        del key
    api.settle()
    collect()
    return f"released, {sum(wr() is None for wr in keys)} times"


@scenario(
    "K5/failure",
    "A creation that fails",
    promise="A failure is its caller's, and is not cached: the next get creates again.",
    expected="an error, then a value",
    sources=(POST, "contract:WeakCache"),
)
def failure(api: Any) -> str:
    tries: list[Any] = []

    def create(key: object) -> Victim:
        tries.append(key)
        if len(tries) == 1:
            raise ValueError
        return Victim()

    cache = api.cache(create)
    seen = []
    for _ in range(2):
        try:
            cache.get("key")
            seen.append("a value")
        except ValueError:
            seen.append("an error")
    return ", then ".join(seen)


@scenario(
    "K6/itself",
    "A creation that asks for its own key",
    promise="A creation that needs its own value is told so, and nothing hangs.",
    expected="told at once",
    sources=("contract:WeakCache",),
    differences=(
        Difference(
            STDLIB, "recursed until refused", NO_FLIGHT, "docs:library/exceptions#RecursionError"
        ),
        Difference(
            GO,
            "recursed until the program ended",
            "The post's cache holds nothing while it creates: it recurses, and a Go stack that"
            " overflows ends the program.",
            POST,
        ),
    ),
)
def itself(api: Any) -> str:
    depth = 0

    def create(key: object) -> Any:
        nonlocal depth
        depth += 1
        return cache.get(key)

    cache = api.cache(create)
    sys.setrecursionlimit(200)
    with suppress(RecursionError):
        try:
            cache.get("key")
        except RuntimeError as error:
            if isinstance(error, RecursionError):
                raise
            return "told at once" if depth == 1 else f"told after {depth}"
    return "recursed until refused"


@scenario(
    "K7/different",
    "Misses of two keys at once",
    promise="Misses of different keys don't wait for each other.",
    expected="both were in creation",
    sources=(POST, "contract:WeakCache"),
)
def different_keys(api: Any) -> str:
    meeting = threading.Barrier(2)
    met: list[bool] = []

    def create(key: object) -> Victim:
        with suppress(threading.BrokenBarrierError):
            meeting.wait(timeout=2.0)
            met.append(True)
        return Victim()

    cache = api.cache(create)
    in_threads(2, cache.get)
    return "both were in creation" if len(met) == 2 else "one waited"


@scenario(
    "K8/unwatchable",
    "A creation that returns what can't be held weakly",
    promise="A value without weak references is refused, with TypeError.",
    expected="TypeError",
    sources=("C13", "contract:WeakCache"),
    absent={GO: "A weak pointer points to anything that has an address."},
)
def unwatchable(api: Any) -> str:
    try:
        api.cache(lambda key: 7).get("key")
    except TypeError:
        return "TypeError"
    return "accepted"


@scenario(
    "K9/load",
    "Twenty threads, fifty keys with a hash in Python, five thousand gets",
    promise="Under load, two gets in a row return the same value, which is right.",
    expected="right and the same, 5000 times",
    sources=("gotest:internal/sync/hashtriemap_test.go TestConcurrentCache", POST),
    differences=(
        Difference(
            STDLIB,
            "not always the same",
            "WeakValueDictionary.setdefault looks and stores in two steps: two threads that come"
            " to be between them each get a value of their own, and one of these is found later.",
            "docs:library/weakref#weakref.WeakValueDictionary",
        ),
    ),
)
def load(api: Any) -> str:
    class Key(int):
        def __hash__(self) -> int:
            time.sleep(0.0001)  # lets the others go on, between any two looks into a table
            return int.__hash__(self)

    cache = api.cache(lambda key: Victim(key=key))
    good: list[bool] = []

    def work(index: int) -> None:
        for step in range(250):
            key = Key(step % 50)
            first = cache.get(key)
            good.append(first.key == key and cache.get(key) is first)

    in_threads(20, work)
    if PYPY:
        collect()
    always = len(good) == 5000 and all(good)
    return "right and the same, 5000 times" if always else "not always the same"
