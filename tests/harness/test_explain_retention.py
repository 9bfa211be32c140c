"""A `Retention` is text: it can be printed, written as JSON, kept, compared and told apart."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import subprocess
import sys
import weakref
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from deathwatch.explain import Retention, Verdict, why_alive

registry: dict[str, Any] = {}

# A program with several leaks; the one to be explained is the argument.
LEAKY = """
import functools, sys, threading, contextvars, json
from deathwatch.explain import why_alive

class Session: pass
class Other: pass
registry, settings, listeners = {}, {}, set()
request = contextvars.ContextVar("request")

@functools.lru_cache(maxsize=None)
def load(key): return 1

def closure(session):
    def on_click(): return session
    registry["click"] = on_click

def exception(session):
    try:
        raise ValueError(f"at {id(session):x}")
    except ValueError as error:
        registry["error"] = error

def cycle(session):
    session.me = [session]

LEAKS = {
    "key": lambda s: registry.update({sys.argv[1]: [s]}),
    "other registry": lambda s: settings.update({sys.argv[1]: [s]}),
    "word": lambda s: registry.update(handlers=[s]),
    "other word": lambda s: registry.update(callbacks=[s]),
    "position": lambda s: registry.update(a=[0] * int(sys.argv[2]) + [s]),
    "set": listeners.add,
    "attribute": lambda s: setattr(Other, "held", s),
    "other attribute": lambda s: setattr(Other, "kept", s),
    "cache": load,
    "closure": closure,
    "exception": exception,
    "context": request.set,
    "cycle": cycle,
}

def main():
    found = {}
    for name, leak in LEAKS.items():
        session = Session()
        leak(session)
        retention = why_alive(session)
        found[name] = [retention.fingerprint, str(retention.paths[0])]
        registry.clear(); settings.clear(); listeners.clear(); load.cache_clear()
        Other.held = Other.kept = None
        request.set(None)
    print(json.dumps(found))

main()
"""


def run(folder: Path, seed: int, key: str, position: int, blank_lines: int = 0) -> dict[str, Any]:
    program = folder / "leaky.py"
    program.write_text("\n" * blank_lines + LEAKY)
    done = subprocess.run(
        [sys.executable, str(program), key, str(position)],
        input="",
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("leaky")
    return [
        run(folder, seed=0, key="user:42", position=1),
        run(folder, seed=1, key="user:43", position=7),
        run(folder, seed=2, key="0x7f3a", position=90, blank_lines=5),
    ]


def test_a_leak_keeps_its_fingerprint_from_process_to_process(runs: list[dict[str, Any]]) -> None:
    """Hash seed, addresses, volatile keys, positions and line numbers don't count."""
    first, *others = ({name: leak[0] for name, leak in run.items()} for run in runs)
    for other in others:
        assert other == first


def test_another_leak_has_another_fingerprint(runs: list[dict[str, Any]]) -> None:
    """Another name, attribute, kind of holder or word as a key makes another leak."""
    fingerprints = [leak[0] for leak in runs[0].values()]
    assert len(set(fingerprints)) == len(fingerprints)


def test_the_same_path_is_told_whatever_the_hash_seed(runs: list[dict[str, Any]]) -> None:
    """Among equal paths the choice does not depend on the order of a set or of addresses."""
    for name in ("word", "set", "attribute", "cache", "closure", "context"):
        assert len({run[name][1] for run in runs[:2]}) == 1


class Session:
    pass


def leaked() -> Retention:
    session = Session()
    session.me = session  # type: ignore[attr-defined]
    registry["user"] = [session, session]
    try:
        return why_alive(weakref.ref(session)())
    finally:
        registry.clear()


def test_a_retention_holds_text_only() -> None:
    """Strings and numbers, and tuples of them, are all that can be reached from it."""
    todo: list[Any] = [leaked()]
    while todo:
        value = todo.pop()
        if dataclasses.is_dataclass(value):
            todo += [getattr(value, field.name) for field in dataclasses.fields(value)]
        elif isinstance(value, tuple):
            todo += value
        else:
            assert value is None or type(value) in (str, int) or isinstance(value, Enum)


def test_a_retention_is_equal_to_another_of_the_same_leak() -> None:
    """Retentions compare by what they say, and can't be changed."""
    first, second = leaked(), leaked()
    assert first == second
    assert len({first, second}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.verdict = Verdict.CYCLE  # type: ignore[misc]


def test_a_retention_is_written_as_json() -> None:
    """`to_dict` holds what JSON can, with the fingerprint, and reads back the same."""
    retention = leaked()
    data = retention.to_dict()
    assert json.loads(json.dumps(data)) == json.loads(json.dumps(retention.to_dict()))
    assert data["fingerprint"] == retention.fingerprint
    assert data["verdict"] == "immortal"
    assert data["paths"][0]["text"].endswith("registry['user'][0]")
    assert data["paths"][0]["edges"][-1]["to"].endswith("Session")


def test_text_fits_a_terminal() -> None:
    """No line is longer than 80 columns, however long the names are."""
    session = type("Session" * 30, (), {})()
    registry["k" * 200] = {"x" * 200: [[[[{"y" * 100: session}]]]]}
    try:
        text = str(why_alive(session))
    finally:
        registry.clear()
    assert max(map(len, text.splitlines())) <= 80


def test_equal_leaks_are_told_once() -> None:
    """Of many holders of one kind one is told: the others would say the same."""
    session = Session()
    registry["all"] = [[session] for _ in range(100)]
    try:
        retention = why_alive(session)
    finally:
        registry.clear()
    (told,) = [path for path in retention.paths if path.kind == "user"]
    assert re.search(r"registry\['all'\]\[\d+\]\[0\]$", str(told))


def test_different_holders_are_told_before_the_same_one_twice() -> None:
    """Three holders are three paths, the shortest first."""
    session = Session()
    registry.update(a=[[[session]]], b={"x": session}, c={session})
    try:
        retention = why_alive(session)
    finally:
        registry.clear()
    ends = [str(path).rpartition("registry")[2] for path in retention.paths]
    assert ends == ["['b']['x']", "['c'] -> a member of the set", "['a'][0][0][0]"]


def test_a_hint_says_which_line_to_change() -> None:
    """A pattern that is certain comes with what mends it."""
    import functools

    class Model:
        @functools.lru_cache  # noqa: B019 - the leak
        def load(self) -> int:
            return 1

    globals()["Model"] = Model
    Model.__qualname__ = "Model"
    Model.load.__wrapped__.__qualname__ = "Model.load"
    model = Model()
    model.load()
    try:
        path = why_alive(model).paths[0]
    finally:
        del globals()["Model"]
        gc.collect()
    if sys.implementation.name == "cpython":
        assert "argument 1 of a cached call of Model.load()" in str(path)
        assert "cached_property" in path.hint
