"""What would mend C9 and W5, and what it would break: measured, so that it is not tried again."""

from __future__ import annotations

import copy
import gc
import pickle
import platform
import sys
import types
import weakref
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    platform.python_implementation() != "CPython", reason="CPython's order of death"
)

with_gil = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="code is tracked there, and lives for ever once a thread has started (3.13)",
)


class Finalized:
    """Dies by the collector alone, and is resurrected once where `kept` is given."""

    def __init__(self, kept: list[Any] | None = None) -> None:
        self.itself = self
        self.kept = kept

    def __del__(self) -> None:
        if self.kept is not None:
            self.kept.append(self)


def token() -> types.CodeType:
    """A new object that has weak references, and that no collector of a GIL build tracks."""
    return (lambda: 0).__code__.replace(co_name="token")


def hung_on_token(obj: Finalized, seen: list[str]) -> weakref.ref[Any]:
    """The callback fires when the object's `__dict__` goes, not when the collector clears."""
    vars(obj)["token"] = hung = token()
    return weakref.ref(hung, lambda _: seen.append("cleaned"))


@with_gil
def test_a_token_in_the_dict_would_mend_c9() -> None:
    """What `__del__` resurrects is cleaned up only when it is dead for good."""
    kept: list[Any] = []
    seen: list[str] = []
    box = [Finalized(kept)]
    wr = hung_on_token(box[0], seen)
    box.clear()
    gc.collect()
    assert (len(kept), seen) == (1, [])
    kept.clear()
    gc.collect()
    assert (seen, wr()) == (["cleaned"], None)


@with_gil
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_token_in_the_dict_is_shared_by_copies(copied: Any) -> None:
    """The cleanup of a dead object waits for its copies: the reason why C9 is left as it is."""
    seen: list[str] = []
    original = Finalized()
    original.itself = None  # type: ignore[assignment]
    wr = hung_on_token(original, seen)
    other = copied(original)
    del original
    gc.collect()
    assert (seen, wr() is None) == ([], False)
    del other
    gc.collect()
    assert seen == ["cleaned"]


def test_a_token_in_the_dict_shows_and_can_not_be_pickled() -> None:
    """Registering would change what the object's owner sees and stores of it."""
    obj = Finalized()
    pickle.dumps(obj)
    wr = hung_on_token(obj, [])
    assert wr() is not None
    assert "token" in vars(obj)
    with pytest.raises(TypeError, match="code"):
        pickle.dumps(obj)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="weak references are cleared before")
def test_a_second_reference_would_part_equal_pointers() -> None:
    """W5 mended by a reference with a callback: one identity, of which one shows nothing."""
    kept: list[Any] = []
    box = [Finalized(kept)]
    identity, looked_at = weakref.ref(box[0]), weakref.ref(box[0], bool)
    box.clear()
    gc.collect()
    assert looked_at() is None
    assert weakref.ref(kept[0]) is identity
    assert identity() is kept[0]
