"""The gate on planted regressions: each is caught by the tier that should, and named.

A regression is planted in a copy of the package, in a folder of its own; what is judged is that
copy, beside the package as it is. The test of each says which figure must not pass.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deathwatch.gate import sources
from deathwatch.gate.counting import misses
from deathwatch.judge import Verdict
from deathwatch.measure import Strace, Unavailable, ptrace
from deathwatch.measure.instructions import Callgrind

Gate = Callable[..., tuple[int, dict[str, Any]]]
Plant = Callable[..., Path]

cpython_only = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="the exact figures are those of CPython"
)
linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs strace, callgrind or /proc"
)


@pytest.fixture(scope="module")
def package() -> Path:
    """A source of the package as it is, however it was installed."""
    return sources._installed().parent


@pytest.fixture
def plant(package: Path, tmp_path: Path) -> Plant:
    """`plant(module, code)`: a folder with a copy of the package, in which `code` ends `module`.

    `plant(module, code, into="Class.function")` begins that function with it, and where the code
    ends in `with ...: pass` puts the function's body there.
    """

    def planted(module: str, code: str, into: str | None = None) -> Path:
        folder = tmp_path / "planted"
        if not folder.exists():
            shutil.copytree(package / "lastref", folder / "lastref")
        path = folder / "lastref" / module
        tree = ast.parse(path.read_text(encoding="utf-8"))
        added = ast.parse(code).body
        if into is None:
            tree.body += added
        else:
            function = definition(tree, into)
            if isinstance(added[-1], ast.With):
                added[-1].body, function.body = function.body, []
            function.body[:0] = added
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
        return folder

    return planted


def definition(tree: ast.Module, name: str) -> Any:
    """The class or function of that dotted name; the last one, where overloads precede it."""
    found: Any = tree
    for part in name.split("."):
        found = [node for node in found.body if getattr(node, "name", None) == part][-1]
    return found


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the baselines of the package as it is are kept while this module runs."""
    return tmp_path_factory.mktemp("accepted")


@pytest.fixture
def gate(package: Path, accepted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gate:
    """`gate("1", head=folder)`: the exit status, and the result it wrote, of the gate's tier 1.

    The baseline is what the package as it is measures, accepted at the first use of each tier.
    """
    from deathwatch.cli import main

    baselines, output = tmp_path / "baselines", tmp_path / "result.json"

    def run(tiers: str, *options: str, head: Path | None = None) -> tuple[int, dict[str, Any]]:
        common = ["gate", "--tiers", tiers, "--baselines", str(baselines), "--base", str(package)]
        common += ["--output", str(output)]
        if not baselines.exists():
            if not (accepted / tiers).exists():
                main([*common, "--head", str(package), "--accept"])
                shutil.copytree(baselines, accepted / tiers)
            else:
                shutil.copytree(accepted / tiers, baselines)
        capsys.readouterr()
        status = main([*common, "--head", str(head or package), *options])
        found = json.loads(output.read_text(encoding="utf-8"))
        found["said"] = "".join(capsys.readouterr())
        return status, found

    return run


def verdict(result: dict[str, Any], name: str) -> str:
    (found,) = [entry["verdict"] for entry in result["verdicts"] if entry["name"] == name]
    return str(found)


def failed(result: dict[str, Any]) -> set[str]:
    return {entry["name"] for entry in result["verdicts"] if entry["fails"]}


@pytest.fixture
def strace() -> None:
    try:
        Strace.find()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def callgrind() -> None:
    try:
        Callgrind.find()
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_unchanged_code_passes_wherever_counting_works(gate: Gate) -> None:
    """Tier 0, on any system: beside itself nothing differs, and the status is 0."""
    status, result = gate("0")
    assert (status, failed(result)) == (0, set())
    assert verdict(result, "creates.contended") == Verdict.PASS


@linux_only
@cpython_only
def test_one_more_fstat_per_mapping_is_caught_by_the_system_calls(
    gate: Gate, plant: Plant, strace: None
) -> None:
    """Tier 1: the life of a mapping has one call more than the formula says."""
    code = """
_mmap = mmap
def mmap(fd, *args, **kwargs):
    os.fstat(fd)
    return _mmap(fd, *args, **kwargs)
"""
    head = plant("mapped.py", code)
    status, result = gate("1", head=head)
    assert status == 1
    assert failed(result) == {"calls.life", "calls.ring", "calls.held"}
    expected = 5 if sys.version_info >= (3, 13) else 7
    assert f"from {expected} by the formula to {expected + 1} calls, by strace" in result["said"]


@linux_only
@cpython_only
def test_a_mapping_kept_by_the_cache_is_caught_by_what_is_left(gate: Gate, plant: Plant) -> None:
    """Tier 4: live mappings after release and a collection."""
    code = """
_kept, _get = [], MappedFileCache.get
def _keeping(self, path):
    _kept.append(_get(self, path))
    return _kept[-1]
MappedFileCache.get = _keeping
"""
    head = plant("mapped.py", code)
    status, result = gate("4", head=head)
    assert status == 1
    assert "mappings.left" in failed(result)
    assert "from 0 by the formula to 20 mappings, by /proc" in result["said"]


def test_a_duplicate_create_under_contention_is_caught_by_the_creations(
    gate: Gate, plant: Plant
) -> None:
    """Tier 0: without single flight, threads that miss one key create its value each."""
    code = """
import weakref
class WeakCache:
    def __init__(self, create):
        self._create, self._values = create, weakref.WeakValueDictionary()
    def get(self, key):
        value = self._values.get(key)
        if value is None:
            value = self._values[key] = self._create(key)
        return value
"""
    head = plant("cache.py", code)
    status, result = gate("0", head=head)
    assert status == 1
    assert "creates.contended" in failed(result)


@cpython_only
def test_a_larger_cleanup_is_caught_by_its_bytes(gate: Gate, plant: Plant) -> None:
    """Tier 2: two more slots are some 10 % of a registered cleanup."""
    head = plant("cleanup.py", "")
    path = head / "lastref" / "cleanup.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    slots = [
        node
        for node in definition(tree, "Cleanup").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__"
    ]
    assert len(slots) == 1, "a Cleanup has no slots any more: plant this regression anew"
    assert isinstance(slots[0].value, ast.Tuple)
    slots[0].value.elts += [ast.Constant("_larger"), ast.Constant("_still_larger")]
    path.write_text(ast.unparse(tree), encoding="utf-8")
    status, result = gate("2", head=head)
    assert status == 1
    assert "cleanup.bytes" in failed(result)
    assert "by tracemalloc" in result["said"]
    assert "deathwatch gate --accept --tiers 2" in result["said"]


@linux_only
@cpython_only
def test_three_percent_more_instructions_on_a_hit_are_caught_by_callgrind(
    gate: Gate, plant: Plant, callgrind: None
) -> None:
    """Tier 3: three locals stored are some 3 % of a hit; what was not touched passes."""
    head = plant("mapped.py", "one = two = three = self", into="MappedFileCache.get")
    status, result = gate("3", head=head)
    assert (status, failed(result)) == (1, {"mapped.hit.ir"})
    samples = next(f["samples"] for f in result["figures"] if f["name"] == "mapped.hit.ir")
    grown = samples["head"][0] / samples["base"][0] - 1
    assert 0.02 < grown < 0.06, f"planted were some 3 %, counted {grown:.1%}"


@linux_only
@cpython_only
def test_a_lock_on_the_hit_path_is_caught_by_callgrind(
    gate: Gate, plant: Plant, callgrind: None
) -> None:
    """Tier 3, on every machine alike: a lock nobody else holds costs instructions too."""
    plant("cache.py", "with _lock: pass", into="WeakCache.get")
    head = plant("cache.py", "import threading; _lock = threading.Lock()")
    status, result = gate("3", head=head)
    assert status == 1
    assert failed(result) >= {"cache.hit.ir", "mapped.hit.ir"}


@cpython_only
def test_a_slower_registration_is_seen_by_the_clock(gate: Gate, plant: Plant) -> None:
    """Tier 7 advises: 20 % slower is regressed, and blocks nothing: the status stays 0.

    A run in which the base differs from itself is inconclusive, and tells nothing: the first that
    tells something has to say regressed.
    """
    plant("cleanup.py", "for _ in _planted: pass", into="add_cleanup")
    head = plant("cleanup.py", "_planted = (None,) * 6")
    for _ in range(5):
        status, result = gate("7", head=head)
        assert status == 0
        said = verdict(result, "cleanup.register.cpu")
        if said != Verdict.INCONCLUSIVE:
            break
    else:
        pytest.skip("the machine is too noisy: five times the base differed from itself")
    cpu = next(f for f in result["figures"] if f["name"] == "cleanup.register.cpu")
    assert said == Verdict.REGRESSED, cpu["samples"]


def test_a_removed_benchmark_fails(gate: Gate, tmp_path: Path) -> None:
    """A figure of the baseline that is measured no more is missing, and named."""
    from deathwatch.bench import results
    from deathwatch.judge import Accepted, read_baseline

    gate("0")
    (path,) = (tmp_path / "baselines").iterdir()
    baseline = read_baseline(path)
    baseline.figures["removed.figure"] = Accepted(0, 7, "objects")
    results.write(path, baseline.to_dict())
    status, result = gate("0")
    assert (status, failed(result)) == (1, {"removed.figure"})
    assert "removed.figure: was 7 in the baseline, and is measured no more" in result["said"]
    gate("0", "--accept")
    status, _ = gate("0")
    assert status == 0


def test_an_edited_baseline_fails(gate: Gate, tmp_path: Path) -> None:
    """A figure raised by hand hides nothing: no figure has a baseline any more."""
    gate("0")
    (path,) = (tmp_path / "baselines").iterdir()
    text = path.read_text(encoding="utf-8")
    assert '"value": 1000' in text
    path.write_text(text.replace('"value": 1000', '"value": 1001'), encoding="utf-8")
    status, result = gate("0")
    assert status == 1
    assert len(failed(result)) == len(result["figures"])
    assert "the baseline was edited" in result["said"]


def test_a_mangled_baseline_fails(gate: Gate, tmp_path: Path) -> None:
    """What can't be read vouches for nothing, and is said in a sentence."""
    gate("0")
    (path,) = (tmp_path / "baselines").iterdir()
    path.write_text("<<<<<<< HEAD", encoding="utf-8")
    status, result = gate("0")
    assert status == 1
    assert "The baseline can't be used" in result["said"]
    assert "is not JSON" in result["said"]


def test_without_a_baseline_the_gate_fails(gate: Gate, tmp_path: Path) -> None:
    """Everything is new then, and the command that accepts it is named."""
    (tmp_path / "baselines").mkdir()
    status, result = gate("0")
    assert status == 1
    assert "there is no baseline for" in result["said"]
    assert "deathwatch gate --accept --tiers 0" in result["said"]


@linux_only
@cpython_only
def test_without_an_instrument_the_gate_fails(
    gate: Gate, strace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No strace and no ptrace is no pass: the figures are missing, and it says because of what."""
    gate("1")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(ptrace, "_NUMBERS", {})
    status, result = gate("1")
    assert status == 1
    assert failed(result) == {"calls.life", "calls.ring", "calls.held"}
    assert "strace unavailable, because it is not installed" in result["said"]


@linux_only
@cpython_only
def test_without_strace_ptrace_counts_the_same(
    gate: Gate, strace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same figures, and they say by which instrument."""
    try:
        ptrace.check()
    except Unavailable as reason:
        pytest.skip(str(reason))
    gate("1")
    monkeypatch.setenv("PATH", "/nonexistent")
    status, result = gate("1")
    assert (status, failed(result)) == (0, set())
    assert {figure["instrument"] for figure in result["figures"]} == {"ptrace"}


def test_what_has_improved_asks_for_a_new_baseline(gate: Gate, tmp_path: Path) -> None:
    """It passes, and the command that holds it is named."""
    from deathwatch.bench import results
    from deathwatch.judge import Accepted, read_baseline

    if sys.implementation.name != "cpython":
        pytest.skip("allocations are counted on CPython alone")
    gate("2")
    (path,) = (tmp_path / "baselines").iterdir()
    baseline = read_baseline(path)
    before = baseline.figures["cleanup.bytes"]
    baseline.figures["cleanup.bytes"] = Accepted(2, 2 * before.value, before.unit)
    results.write(path, baseline.to_dict())
    status, result = gate("2")
    assert status == 0
    assert "To hold what has improved: deathwatch gate --accept --tiers 2" in result["said"]


def test_a_part_of_the_tiers_does_not_replace_the_whole_result(
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without --output nothing is written to results/, and that is said."""
    from deathwatch.cli import main

    (tmp_path / "harness" / "deathwatch").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    main(["gate", "--tiers", "0", "--base", str(package), "--head", str(package)])
    assert "Not written: some tiers only" in capsys.readouterr().err
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--accept"]], ids=["judging", "accepting"])
def test_baselines_that_are_no_folder_are_said_in_a_sentence(
    options: list[str], package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback: nothing there to judge by, or status 2 before anything is measured."""
    from deathwatch.cli import main

    (tmp_path / "file").write_text("")
    asked = ["gate", "--tiers", "0", "--baselines", str(tmp_path / "file"), "--head", str(package)]
    status = main([*asked, "--base", str(package), *options])
    said = capsys.readouterr().err
    assert status == (2 if options else 1)
    assert ("can't write" in said) == bool(options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--head", "/nonexistent"], "there is no lastref in"),
        (["--output", os.devnull], "is no regular file"),
    ],
)
def test_what_was_asked_wrongly_is_said_in_a_sentence(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Status 2, and nothing is written."""
    from deathwatch.cli import main

    baselines = tmp_path / "baselines"
    output = ["--output", str(tmp_path / "r.json")]
    asked = ["gate", "--tiers", "8", "--baselines", str(baselines), *output, *options]
    assert main(asked) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("revision", ["--output=x", "a b", "", "no-such-revision-there-is"])
def test_a_hostile_revision_is_no_option_of_git(
    revision: str, package: Path, tmp_path: Path
) -> None:
    """Refused before git sees it, or by git; in either case there is no base, and a reason."""
    current = sources.head(package, tmp_path)
    with pytest.raises(sources.NoBase):
        sources.base(revision, current, tmp_path)


def test_a_ring_misses_what_it_does_not_hold() -> None:
    """The formula by hand: of a b a c b with a ring of 2, all but the second a are missed."""
    assert misses(["a", "b", "a", "c", "b"], 2) == 4
    assert misses(["a", "b", "a", "c", "b"], 3) == 3
    assert misses(["a"] * 5, 1) == 1
