"""What a test leaves in the place of what was there before is no leak, and what it keeps is one."""

from __future__ import annotations

import pytest

from deathwatch.explain.walk import COUNTED

pytestmark = pytest.mark.usefixtures("judges")

REBINDING = """
import pytest
class Value: pass
class Cyclic:
    def __init__(self): self.me, self.found = self, [Value()]
class Registry: current = None
OLDER, CHAIN = [], None
@pytest.mark.parametrize("n", range(12))
def test_rebinds(n):
    Registry.current = Cyclic()
"""


@pytest.mark.skipif(not COUNTED, reason="references aren't counted on free-threaded builds")
def test_a_name_that_is_bound_anew_is_no_reason_to_rerun(judge) -> None:
    run = judge(REBINDING)
    assert run.leaks == [], run.text
    assert run.data["rerun"] <= 2, "the first one tells, and perhaps the second"
    assert not run.data["unjudged"], run.text


KEEPING = {
    "copies": """
def test_leaks():
    older = Registry.current
    Registry.current = [*(older if type(older) is list else []), Value()]
""",
    "a chain": """
class Link:
    def __init__(self, link): self.link = link
def test_leaks(): Registry.current = Link(Registry.current)
""",
    "what was there before": """
def test_leaks():
    OLDER.append(Registry.current)
    Registry.current = Cyclic()
""",
    "what hung on it": """
def test_leaks():
    OLDER.extend(Registry.current.found)
    Registry.current = Cyclic()
""",
    "the new": """
def test_leaks():
    Registry.current = Cyclic()
    OLDER.append(Registry.current)
""",
    "what hangs on the new": """
def test_leaks():
    Registry.current = Cyclic()
    OLDER.append(Registry.current.found[0])
""",
}


@pytest.mark.parametrize("leak", KEEPING.values(), ids=KEEPING)
def test_what_is_kept_beside_such_a_name_is_found(judge, leak) -> None:
    run = judge(REBINDING + leak)
    assert run.leaks, run.text
    assert {test for each in run.leaks for test in each["tests"]} == {"test_it.py::test_leaks"}


def test_tests_alike_are_told_by_what_they_leave(judge) -> None:
    """Those that leave nothing are passed at once, and those between that leak are all named."""
    run = judge(
        """
        import pytest, types
        KEPT = []
        @pytest.mark.parametrize("n", range(40))
        def test_quiet(n): pass
        @pytest.mark.parametrize("n", range(40))
        def test_leaks(n):
            made = types.SimpleNamespace(n=n)
            if n % 2: KEPT.append(made)
        @pytest.mark.parametrize("n", range(40))
        def test_quiet_too(n): pass
        """
    )
    (leak,) = run.leaks
    assert sorted(leak["tests"]) == sorted(f"test_it.py::test_leaks[{n}]" for n in range(1, 40, 2))
