"""Baselines and results as files: what was accepted is read back, and hostile ones are refused."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from deathwatch.judge import Accepted, BadFile, Baseline, read_baseline, read_result

RESULT: dict[str, Any] = {
    "schema": "deathwatch.gate/1",
    "platform": "linux-x86_64",
    "interpreter": "cpython-3.13",
    "began": "2026-01-01T00:00:00+00:00",
    "source": "0123abcd",
    "tiers": [2],
    "figures": [
        {
            "name": "some.figure",
            "tier": 2,
            "title": "bytes of a thing",
            "unit": "bytes",
            "instrument": "tracemalloc",
            "how": "traced",
            "rule": {"kind": "baseline", "tolerance": 0.02},
            "value": 100,
        }
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


def baseline() -> Baseline:
    figures = {"some.figure": Accepted(2, 100.5, "bytes"), "b": Accepted(3, 7, "Ir", "0123abcd")}
    return Baseline("cpython-3.13", "linux-x86_64", figures)


def test_a_baseline_is_read_back_as_it_was_written(path: Path) -> None:
    """Whole and sealed."""
    path.write_text(json.dumps(baseline().to_dict(), indent=1))
    assert read_baseline(path) == baseline()


@pytest.mark.parametrize(
    ("old", "new"), [("100.5", "180.5"), ("some.figure", "some.other"), ('"tier": 2', '"tier": 7')]
)
def test_an_edited_baseline_is_seen(path: Path, old: str, new: str) -> None:
    """A raised figure, a renamed one, and one moved to a tier that doesn't block."""
    text = json.dumps(baseline().to_dict())
    assert old in text
    path.write_text(text.replace(old, new))
    assert not read_baseline(path).sealed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "holds a list"),
        (b"\xff", "not UTF-8"),
        (b'{"schema": "else"}', "is not a deathwatch"),
        (b'{"a": NaN}', "NaN, which is no figure"),
        (b'{"a": -Infinity}', "which is no figure"),
        (b'{"a": 1, "a": 2}', "one key twice"),
        (b'{"a":' * 100_000, "nested too deeply|not JSON"),
        (b"9" * 10_000, "not"),
    ],
)
def test_a_file_that_is_no_result_is_refused_in_a_sentence(
    path: Path, content: bytes, said: str
) -> None:
    """No traceback, no figure made up: `BadFile` names the file and what is wrong."""
    path.write_bytes(content)
    for read in (read_baseline, read_result):
        with pytest.raises(BadFile, match=said) as caught:
            read(path)
        assert "file.json" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"platform": "../../etc"},
        {"interpreter": "x" * 100},
        {"source": None},
        {"figures": "none"},
        {"figures": [{}]},
        {"figures": RESULT["figures"] * 2},
        {"tiers": [9]},
        {"tiers": ["2"]},
        {"began": 5},
        {"missing": [5]},
    ],
)
def test_a_result_with_a_bad_field_is_refused(path: Path, change: dict[str, Any]) -> None:
    """Every field is checked, those that become a file's name most of all."""
    path.write_text(json.dumps({**RESULT, **change}))
    with pytest.raises(BadFile):
        read_result(path)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "<script>"},
        {"name": ""},
        {"tier": True},
        {"tier": 12},
        {"value": "100"},
        {"value": True},
        {"value": 10**400},
        {"value": None},
        {"title": "x" * 10_000},
        {"rule": {"kind": "always"}},
        {"rule": {"kind": "equal"}},
        {"rule": {"kind": ["equal"]}},
        {"samples": {"base": ["1"]}},
        {"samples": []},
    ],
)
def test_a_figure_with_a_bad_field_is_refused(path: Path, change: dict[str, Any]) -> None:
    """A figure that nobody measured is not judged."""
    found = copy.deepcopy(RESULT)
    found["figures"][0].update(change)
    path.write_text(json.dumps(found))
    with pytest.raises(BadFile):
        read_result(path)


def test_a_good_result_is_read(path: Path) -> None:
    """The offenders above are refused for what was changed in them."""
    path.write_text(json.dumps(RESULT))
    assert read_result(path).figures[0].value == 100


@pytest.mark.parametrize("change", [{"seal": "x"}, {"figures": {"a": 5}}, {"platform": "a/b"}])
def test_a_baseline_with_a_bad_field_is_refused(path: Path, change: dict[str, Any]) -> None:
    """As for results."""
    path.write_text(json.dumps({**baseline().to_dict(), **change}))
    with pytest.raises(BadFile):
        read_baseline(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """Missing, a folder, a FIFO, a device: a sentence each, and never a hang."""
    places = [tmp_path / "missing", tmp_path]
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "fifo")
        places += [tmp_path / "fifo", Path("/dev/zero")]
    for place in places:
        with pytest.raises(BadFile):
            read_baseline(place)


def test_a_huge_file_is_refused(path: Path) -> None:
    """Before it is parsed."""
    path.write_bytes(b" " * (16 * 1024 * 1024 + 1))
    with pytest.raises(BadFile, match="larger than"):
        read_baseline(path)
