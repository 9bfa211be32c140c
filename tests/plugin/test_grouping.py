"""Who holds what survived, over a few objects made here."""

from __future__ import annotations

import sys

import pytest

from deathwatch.explain.walk import COUNTED
from pytest_deathwatch import grouping


class Widget:
    pass


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or not COUNTED,
    reason="gc.get_referrers finds too little (cpython#118522)",
)
def test_of_several_objects_each_is_told_whether_another_holds_it() -> None:
    """Held by what is known alone; held elsewhere; led to by one that is held elsewhere."""
    owner, owned, alone = Widget(), Widget(), Widget()
    owner.widget = owned  # type: ignore[attr-defined]
    elsewhere = [owner]
    asked: list[object] = [owned, alone]
    everything = [owner, owned, alone]
    heap = grouping.Heap(everything)
    known = [everything, heap.objects]
    alone_id = id(alone)
    del owner, owned, alone
    assert grouping.only_held_by(heap, asked, known) == {alone_id}
    elsewhere.clear()
    assert grouping.only_held_by(heap, asked, known) == set(map(id, asked))
    assert grouping.only_held_by(heap, [], known) == set()


@pytest.mark.skipif(not COUNTED, reason="references are not counted")
def test_one_reference_more_is_held_elsewhere() -> None:
    """However often a holder is named, among the survivors or not."""
    one, other = Widget(), Widget()
    one.other = [other]  # type: ignore[attr-defined]
    everything = [one, one.other, other]  # type: ignore[attr-defined]
    heap = grouping.Heap(everything)
    ids = set(heap.objects)
    known = [everything, heap.objects, everything, one.other]  # type: ignore[attr-defined]
    known.append(known)
    local = id(other)
    del one
    assert [id(obj) for obj in heap.held_elsewhere(ids, known)] == [local]
    del other
    assert heap.held_elsewhere(ids, known) == ()
