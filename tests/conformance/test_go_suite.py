"""Go's own tests of cleanups, weak pointers, unique handles and the concurrent cache, ported.

Each is named after its original. Most are scenarios of the matrix, run here with lastref; where
lastref can't do what Go does, the outcome must be the one that is explained beside the scenario.
"""

from __future__ import annotations

import gc
import platform
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from lastref import unique
from lastref.cache import WeakCache
from lastref.cleanup import add_cleanup, drain

PORTS = {
    "TestCleanup": "C1/argument",
    "TestCleanup, nil argument": "C1/nil-argument",
    "TestCleanup, argument kept": "C12/alive",
    "TestCleanupMultiple": "C3/many",
    "TestCleanupZeroSizedStruct": "C13/types",
    "TestCleanupAfterFinalizer, reference count": "C9/refcount",
    "TestCleanupAfterFinalizer, collector": "C9/collector",
    "TestCleanupStop": "C10/stop",
    "TestCleanupStopMultiple": "C10/thrice",
    "TestCleanupStopinterleavedMultiple": "C10/interleaved",
    "TestCleanupStopAfterCleanupRuns": "C10/late",
    "TestCleanupPointerEqualsArg": "C7/itself",
    "TestCleanupLost": "C16/none-lost",
    "TestCleanupUnreachableClosure": "C8/closure",
    "TestDetectFinalizerAndCleanupLeaks": "C17/exact",
    "TestReadMetricsCleanups": "C16/ten",
    "TestReadMetricsConsistency": "C16/order",
    "TestPointer": "W2/value",
    "TestPointer, zero and nil": "W8/null",
    "TestPointerEquality, before": "W3/alive",
    "TestPointerEquality, after": "W3/dead",
    "TestPointerFinalizer, reference count": "W5/refcount",
    "TestPointerFinalizer, collector": "W5/collector",
    "TestPointerCleanup": "W7/cleanup",
    "TestIssue69210": "W10/race",
    "TestIssue70739": "W10/threads",
    "TestImmortalPointer": "W9/immortal",
    "TestPointerTiny": "W/small",
    "TestHandle": "U1/kinds",
    "TestHandle, the table is empty after": "U5/vanishes",
    "TestMakeClonesStrings": "U4/subclass",
    "TestHandleUnsafeString": "U4/buffer",
    "TestNestedHandle": "U6/chain",
    "TestMakeAllocs": "U/allocations",
    "TestCanonMapBadHash": "U1/colliding",
}

PORTED_HERE = {
    "TestConcurrentCache",
    "TestCanonMap",
    "TestCanonMapBadHash",
    "TestCanonMapTruncHash",
    "TestHashTrieMap",  # compare-and-delete; a weak cache has no other of its operations
}

_SAME = "the same test with another hash function; see test_go_under_load for colliding keys"
NOT_PORTED = {
    "TestHashTrieMapBadHash": _SAME,
    "TestHashTrieMapTruncHash": _SAME,
    "TestWeakToStrongMarkTermination": "holds Go's collector in a phase that no Python's has",
    "TestReadMetricsFinalizers": "counts runtime.SetFinalizer's, which lastref leaves to __del__",
    "TestCleanupInteriorPointer": "Python has no pointers into an object.",
    "TestCleanupUnreachablePointer": "Python has no pointers into an object.",
    "TestPointerSize": "asks for the size of a struct; a Python object has no such size",
    "TestMakeCloneSeq": "asks where a type has strings inside; Python's strings own their memory",
}


ORIGINALS = {
    "runtime/mcleanup_test.go": "",
    "weak/pointer_test.go": "",
    "unique/handle_test.go": "",
    "unique/canonmap_test.go": "",
    "internal/sync/hashtriemap_test.go": "",
    # The rest of these is about Go's own collector, scheduler and memory accounts.
    "runtime/gc_test.go": "Cleanup|Finalizer|Weak",
    "runtime/metrics_test.go": "Cleanup|Finalizer|Consistency",
}
"""Files of Go's tests, and which of the tests there are about what this package promises."""


def column() -> str:
    """The key of this interpreter's column."""
    minor = "{}.{}".format(*sys.version_info)
    threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"{platform.python_implementation().lower()}-{minor}{threads}"


@pytest.mark.parametrize("original", PORTS)
def test_go(original: str, observe: Callable[[str, str], dict[str, str]]) -> None:
    """What Go's test of this name demands holds, or differs as explained beside the scenario."""
    from scenarios.catalogue import LASTREF, catalogue

    scenario = catalogue()[PORTS[original]]
    found = observe(LASTREF, scenario.id)
    if "reason" in found:
        pytest.skip(found["reason"])
    explained = {
        d.outcome
        for d in scenario.differences
        if d.binding == LASTREF and any(fnmatch(column(), pattern) for pattern in d.columns)
    }
    assert found["outcome"] in {scenario.expected, *explained}


def test_every_test_of_go_is_ported_or_has_a_reason() -> None:
    """The originals, read from Go's sources where they are here."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go here to read the names from")
    said = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True)
    root = Path(said.stdout.strip())
    files = {file: root / "src" / file for file in ORIGINALS}
    if not any(path.is_file() for path in files.values()):
        pytest.skip("this Go came without its tests")
    ported = {name.partition(",")[0] for name in PORTS} | PORTED_HERE
    missing = {
        f"{file} {name}"
        for file, path in files.items()
        for name in (_tests_in(path) if path.is_file() else ())
        if re.search(ORIGINALS[file], name) and name not in ported and name not in NOT_PORTED
    }
    assert missing == set()


def _tests_in(path: Path) -> list[str]:
    return re.findall(r"^func (Test\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)


class Value:
    def __init__(self, key: int) -> None:
        self.key = key


def test_go_TestConcurrentCache() -> None:
    """100,000 gets of 5,000 keys by 8 threads: two in a row are one and right; none is left."""
    cache: WeakCache[int, Value] = WeakCache(Value)
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12_500):
            key = rng.randrange(5_000)
            first = cache.get(key)
            second = cache.get(key)
            if first is not second or first.key != key:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for _ in range(3):
        gc.collect()
    assert drain(30)


class DeletesByKey(WeakCache[int, Value]):
    """The deliberate offender: an eviction deletes without a look at what it deletes."""

    def _file(self, key: int, value: Value) -> None:
        super()._file(key, value)
        add_cleanup(value, _delete, (weakref.ref(self), key))


def _delete(weak: tuple[weakref.ref[DeletesByKey], int]) -> None:
    cache = weak[0]()
    if cache is not None:
        cache._entries.pop(weak[1], None)


TURNS = 20 if platform.python_implementation() == "PyPy" else 500  # each collects, slow there


def lost(cache: WeakCache[int, Value]) -> list[int]:
    """Keys of living values that four threads lost to late evictions of their predecessors."""
    found: list[int] = []

    def work(me: int) -> None:
        for turn in range(TURNS):
            key = me * 10 + turn % 10
            cache.get(key)  # dies, at once or with the collection, and its eviction is due
            gc.collect(0)
            successor = cache.get(key)
            time.sleep(0.0001)  # the worker's turn
            if cache.get(key) is not successor:
                found.append(key)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_go_TestHashTrieMap_compare_and_delete() -> None:
    """Store and delete of one key never both win: a late eviction takes no successor with it.

    With `DeletesByKey` more than half of the successors are lost.
    """
    assert lost(WeakCache(Value)) == []


def test_deleting_without_comparing_is_found() -> None:
    """The same looks find the deliberate offender."""
    assert lost(DeletesByKey(Value))


class Key:
    """A value whose hash is cut to a few bits, so that many collide."""

    def __init__(self, number: int, bits: int) -> None:
        self.number, self.bits = number, bits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number

    def __hash__(self) -> int:
        return self.number & ((1 << self.bits) - 1)


@pytest.mark.parametrize(
    "bits", [62, 0, 4], ids=["TestCanonMap", "TestCanonMapBadHash", "TestCanonMapTruncHash"]
)
@pytest.mark.parametrize("shared", [True, False], ids=["shared keys", "unshared keys"])
def test_go_under_load(bits: int, shared: bool) -> None:
    """Four threads make handles of the same or of their own keys, drop them and make them anew."""
    size = 60
    wrong: list[int] = []
    results: list[dict[int, object]] = [{} for _ in range(4)]

    def work(me: int) -> None:
        base = 0 if shared else me * size
        for _ in range(3):
            for n in range(size):
                unique.make(Key(base + n, bits))  # dies at once
            held = {n: unique.make(Key(base + n, bits)) for n in range(size)}
            for n, handle in held.items():
                if (
                    unique.make(Key(base + n, bits)) is not handle
                    or handle.value().number != base + n
                ):
                    wrong.append(n)
        results[me].update(held)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    distinct = {id(handle) for held in results for handle in held.values()}
    assert len(distinct) == (size if shared else 4 * size)
