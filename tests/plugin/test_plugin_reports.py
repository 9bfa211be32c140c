"""Where findings go: known-leak matchers, cycles, JSON, HTML, JUnit, annotations, --help."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from pytest_deathwatch import known
from pytest_deathwatch.files import page
from pytest_deathwatch.findings import Finding, Findings
from pytest_deathwatch.reporting import annotation

LEAKS = """
    class Widget: pass
    KEPT = []
    def test_leaks(): KEPT.append(Widget())
"""
CYCLE = """
    class Parent: pass
    def test_cycle():
        parent, child = Parent(), Parent()
        parent.child, child.parent = child, parent
    def test_error():
        try: raise ValueError
        except ValueError as error: kept = error
"""


def finding(**changes: object) -> Finding:
    values: dict[str, object] = {
        "kind": "leak",
        "fingerprint": "0" * 16,
        "type": "app.db.Session",
        "summary": "x held by y",
        "text": "words",
        "verdict": "immortal",
        "objects": 1,
        "size": 64,
        "types": {"x": 1},
        "tests": {"tests/test_a.py::test_it": None},
    }
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.usefixtures("judges")
def test_known_leaks_are_listed_apart(judge, pytester) -> None:
    """By type, module or path, with the reason; they don't fail the run."""
    pytester.makeini("[pytest]\ndeathwatch_known =\n    type:test_it.Wid*  # not ours\n")
    run = judge(LEAKS)
    assert run.ret == 0
    assert run.leaks[0]["status"] == "known"
    assert run.leaks[0]["known"] == "not ours"
    assert "known leaks of others: 1" in run.text


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ("type:app.db.Session", True),
        ("type:app.*", True),
        ("type:db.Session", False),
        ("module:app", True),
        ("module:app.db", True),
        ("module:ap", False),
        ("path:held by y", True),
        ("path:held by z", False),
    ],
)
def test_a_matcher_means_what_it_says(rule: str, matches: bool) -> None:
    """Whole names for types and modules, anywhere for paths."""
    (matcher,) = known.parse([rule])
    assert matcher.matches(finding()) is matches


def test_a_path_is_taken_as_the_report_has_it() -> None:
    """Its brackets are no class of characters, and its numbers may be left open."""
    held = finding(summary="app.Session held by app.held['a'][2].x")
    for pattern in ("app.held['a'][2].x", "app.held['a'][*].x", "held[?a?]"):
        (matcher,) = known.parse([f"path:{pattern}"])
        assert matcher.matches(held), pattern
    (other,) = known.parse(["path:app.held['a'][3]"])
    assert not other.matches(held)


def test_a_matcher_that_cannot_be_read_is_a_usage_error(plugin, pytester) -> None:
    """One sentence with the line."""
    pytester.makeini("[pytest]\ndeathwatch_known =\n    Session\n")
    result = plugin(LEAKS, "--deathwatch")
    assert result.ret == 4
    assert "'Session' is not 'type:PATTERN'" in result.stderr.str()


@pytest.mark.usefixtures("judges")
def test_cycles_are_a_class_of_their_own(judge) -> None:
    """Reported, failing, or ignored; those of exception, traceback and frame too."""
    run = judge(CYCLE)
    assert run.ret == 0
    assert run.leaks == []
    assert len(run.cycles) == 2
    texts = " ".join(group["summary"] for group in run.cycles)
    assert "test_it.Parent" in texts
    assert "ValueError" in texts
    assert all(group["verdict"] == "needs the collector" for group in run.cycles)
    assert "cycles: 2" in run.line
    assert judge(CYCLE, "--deathwatch-cycles=fail").ret == 1
    assert judge(CYCLE, "--deathwatch-cycles=ignore").cycles == []


@pytest.mark.usefixtures("judges")
@pytest.mark.parametrize("known", ["", "def test_alone(): cycle(Key)"], ids=["news", "known"])
def test_a_cycle_is_found_where_the_same_died_with_another_before(judge, known: str) -> None:
    """What a weak dictionary lets go of when its key is collected was in no cycle."""
    run = judge(
        f"""
        import weakref
        class Key: pass
        class Value: pass
        registry = weakref.WeakKeyDictionary()
        def cycle(cls):
            one = cls()
            one.me = one
            return one
        {known}
        def test_key(): registry[cycle(Key)] = Value()
        def test_both():
            cycle(Key)
            cycle(Value)
        def test_key_again(): registry[cycle(Key)] = Value()
        def test_both_again():
            cycle(Key)
            cycle(Value)
        """
    )
    shown = {group["summary"]: len(group["tests"]) for group in run.cycles}
    assert shown == {"cycle of test_it.Key": 4 + bool(known), "cycle of test_it.Value": 2}


@pytest.mark.usefixtures("judges")
def test_a_cycle_is_found_beside_very_many_living_objects(judge) -> None:
    run = judge(
        """
        class Node: pass
        class Parser: pass
        table = {}
        def cycle(cls):
            one = cls()
            one.me = one
        def test_first(): cycle(Node)
        def test_fills_a_table():
            if not table:
                table.update((i, [{"n": [i]}]) for i in range(12_000))
            cycle(Parser)
        """
    )
    shown = {group["summary"] for group in run.cycles}
    assert shown == {"cycle of test_it.Node", "cycle of test_it.Parser"}


@pytest.mark.usefixtures("judges")
def test_cycles_of_the_same_objects_otherwise_wired_are_others(judge) -> None:
    """In whatever order a run drops them."""
    run = judge(
        """
        import itertools
        class Parent: pass
        class Child: pass
        class Leaf: pass
        count = itertools.count()
        def tree():
            parent, child, leaf = Parent(), Child(), Leaf()
            parent.child, child.parent, child.leaf, leaf.parent = child, parent, leaf, child
        def ring():
            parent, child, leaf = Parent(), Child(), Leaf()
            parent.child, child.leaf, leaf.owner = child, leaf, parent
        def test_it():
            for drop in (tree, ring) if next(count) % 2 else (ring, tree): drop()
        """
    )
    shown = {group["summary"].count("test_it.") for group in run.cycles}
    assert shown == {2, 3}


@pytest.mark.usefixtures("judges")
def test_a_known_cycle_that_lives_on_is_not_dropped(judge) -> None:
    run = judge(
        """
        class Node: pass
        class Other: pass
        kept = []
        def cycle():
            one = Node()
            one.me = one
            return one
        def test_drop(): cycle()
        def test_keep():
            garbage = []
            garbage.append(garbage)
            if not kept: kept.extend([cycle(), Other()])
        def test_drop_beside_what_is_kept():
            cycle()
            if len(kept) == 2: kept.append(type("Third", (Other,), {})())
        """
    )
    (cycle,) = run.cycles
    assert sorted(cycle["tests"]) == [
        "test_it.py::test_drop",
        "test_it.py::test_drop_beside_what_is_kept",
    ]


@pytest.mark.usefixtures("judges")
def test_a_cycle_is_found_among_what_another_test_made_without_it(judge) -> None:
    """Tests that make the same kinds of objects may drop others of them in cycles."""
    run = judge(
        """
        class Node: pass
        class Other: pass
        latest = {}
        def drop(cls):
            one = cls()
            one.me = one
        def test_node():
            drop(Node)
            latest["x"] = Other()
        def test_other():
            drop(Other)
            latest["x"] = Node()
        def test_node_again():
            drop(Node)
            latest["x"] = Other()
        """
    )
    shown = {group["summary"]: sorted(group["tests"]) for group in run.cycles}
    assert shown == {
        "cycle of test_it.Node": ["test_it.py::test_node", "test_it.py::test_node_again"],
        "cycle of test_it.Other": ["test_it.py::test_other"],
    }
    assert run.ret == 0


@pytest.mark.usefixtures("judges")
def test_a_cycle_is_found_beside_one_of_its_kind_that_is_kept(judge) -> None:
    """And none is, where all of the kind is kept."""
    run = judge(
        """
        class Node: pass
        latest = {}
        def drop():
            one = Node()
            one.me = one
        def test_drop(): drop()
        def test_drop_and_keep():
            drop()
            latest["x"] = Node()
        def test_keep(): latest["x"] = Node()
        """
    )
    (cycle,) = run.cycles
    assert sorted(cycle["tests"]) == ["test_it.py::test_drop", "test_it.py::test_drop_and_keep"]
    assert run.ret == 0


@pytest.mark.usefixtures("judges")
def test_json_html_and_junit(judge, pytester) -> None:
    """Every group everywhere, escaped; JUnit has it as properties of the suite."""
    run = judge(LEAKS, "--junitxml=junit.xml")
    assert run.data["schema"] == 1
    assert run.data["tests"] == 1
    properties = {
        each.get("name"): each.get("value")
        for each in ElementTree.parse(pytester.path / "junit.xml").iter("property")
    }
    assert properties["deathwatch.new"] == "1"
    name = f"deathwatch.leak.{run.leaks[0]['fingerprint']}"
    assert "test_it.py::test_leaks" in properties[name]

    bad = judge(LEAKS, "--deathwatch-report=report.txt")
    assert bad.ret == 4


def test_the_page_runs_nothing_that_a_test_is_called() -> None:
    """Names are hostile input; the page needs no file beside it."""
    evil = finding(
        summary="<script>alert(1)</script>", text="</pre><img src=x>", tests={"<b>": None}
    )
    findings = Findings()
    findings.add(evil)
    data = {**findings.to_dict(), "stale": {}, "python": "3", "implementation": "<i>"}
    html = page(data, findings.ordered())
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert not re.search(r"(src|href)=\"(?!#)", html)


def test_the_page_shows_what_is_stale_and_mended() -> None:
    """What can be struck out, and markers that can go."""
    findings = Findings(mended={"test_a.py::test_it": "<why>"})
    data = {**findings.to_dict(), "stale": {"0" * 16: "app.Old held by <x>"}}
    html = page({**data, "python": "3", "implementation": "cpython"}, [])
    assert f"<code>{'0' * 16}</code> app.Old held by &lt;x&gt;" in html
    assert "<code>test_a.py::test_it</code> (&lt;why&gt;)" in html


@pytest.mark.usefixtures("judges")
@pytest.mark.parametrize(("options", "listed"), [(["-ra"], 1), (["-rA"], 1), (["-rf"], 0), ([], 0)])
def test_leaked_tests_are_listed_where_all_is(judge, options: list[str], listed: int) -> None:
    """-ra and -rA mean them too."""
    assert judge(LEAKS, *options).text.count("LEAKED test_it.py::test_leaks - ") == listed


@pytest.mark.usefixtures("judges")
def test_the_numbers_of_types_are_a_runs(judge) -> None:
    """As the number of objects is."""
    run = judge(
        """
        class Widget: pass
        KEPT = []
        def test_it(): KEPT.extend([Widget(), Widget(), Widget()])
        """
    )
    assert run.leaks[0]["objects"] == run.leaks[0]["types"]["test_it.Widget"] == 3


def test_a_report_without_its_folder_is_a_usage_error(plugin) -> None:
    """Said before any test has run, not after all of them."""
    for name in ("report=nowhere/x.json", "baseline=nowhere/x.txt"):
        result = plugin("def test_it(): pass", f"--deathwatch-{name}")
        assert result.ret == 4
        assert "there is no such folder" in result.stderr.str()


def test_an_annotation_is_one_line() -> None:
    """Newlines, percent signs, colons and commas are GitHub's own, and escaped."""
    text = annotation(finding(text="one\ntwo: 50 %", tests={"a,b:c.py::test": None}))
    assert text.startswith("::error file=a%2Cb%3Ac.py,title=deathwatch: leak::")
    assert "\n" not in text
    assert text.endswith("one%0Atwo: 50 %25")


@pytest.mark.usefixtures("judges")
def test_github_gets_annotations(judge, monkeypatch) -> None:
    """Where GITHUB_ACTIONS is set, and only there."""
    assert "::error" not in judge(LEAKS).text
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert "::error file=test_it.py" in judge(LEAKS).text


@pytest.mark.usefixtures("judges")
def test_a_class_cannot_speak_to_github(judge, monkeypatch) -> None:
    """A line break in a name is escaped, also in what says why a test can't be judged."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    run = judge(
        r"""
        L, once = {}, []
        E = type("A\n::error file=x::pwned", (Exception,), {})
        def test_leaks(): L.setdefault(1, []).append(E())
        def test_differs():
            once.append(E())
            if len(once) > 1: raise E
        """
    )
    assert len(run.leaks) == 1, run.text
    assert "a rerun A\\n::error" in run.text
    assert [row for row in run.text.splitlines() if "pwned" in row and row.startswith("::")] == [
        row for row in run.text.splitlines() if row.startswith("::error file=test_it.py,")
    ]
    assert not [row for row in run.text.splitlines() if row.strip().startswith("::error file=x")]


def test_findings_of_processes_come_together() -> None:
    """The same leak of two workers is one group with the tests of both."""
    one, other, both = Findings(), Findings(), Findings()
    one.add(finding(judged=["a"]))
    other.add(finding(tests={"tests/test_b.py::test": "why"}, judged=["b"]))
    one.tests, other.tests = 3, 4
    for each in (one, other):
        both.merge(json.loads(json.dumps(each.to_dict())))
    (group,) = both.groups.values()
    assert group.tests == {"tests/test_a.py::test_it": None, "tests/test_b.py::test": "why"}
    assert group.judged == ["a", "b"]
    assert both.tests == 7


def test_pytest_documents_everything(plugin) -> None:
    """--help with the default of the reruns, --markers, --fixtures."""
    text = " ".join(plugin("", "--help").stdout.str().split())
    for option in ("", "-reruns", "-cycles", "-baseline", "-update", "-report"):
        assert f"--deathwatch{option}" in text
    assert "(default: 3, at least 2)" in text
    for setting in ("deathwatch_reruns", "deathwatch_known", "deathwatch_baseline"):
        assert setting in text
    assert "again in the same process" in text
    assert "Not seen: values that the collector doesn't track" in text
    markers = plugin("", "--markers").stdout.str()
    for name in ("no_leaks(*types)", "no_cycles:", "leaks(reason)"):
        assert f"@pytest.mark.{name}" in markers
    assert (
        "The functions of deathwatch, bound to this test." in plugin("", "--fixtures").stdout.str()
    )
