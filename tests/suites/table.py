"""The results of the suites as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

_HEAD = """# Published suites with `--deathwatch`

    python3 noxfile.py -s suites{asked}

gives these tables again: {python} on {platform}, pytest {pytest}, {pairs} alternating pairs of runs
of each suite, without the plugin and with it. Times are processor time of the whole run, its
children included, medians of the runs; *more* is the middle ratio of the pairs, and *instructions*
that of one run each under cachegrind, where they were counted; *per test* is what the plugin adds
to the middle one of all tests. Asked: at most 15 % for a suite that takes more than
10 s, and at most 0.3 ms for a test that does nothing (the last row); what falls short is in bold.

"""


def as_markdown(result: dict[str, Any]) -> str:
    suites = result["suites"]
    tests = sum(row["tests"] for row in suites if row["version"])
    real = [row for row in suites if row["version"]]
    counted = result["instructions"]
    pairs = sorted({len(row["seconds"]) for row in suites})
    return (
        _HEAD.format(
            asked=f" -- --instructions {counted}" if counted else "",
            **{**result, "pairs": " or ".join(map(str, pairs))},
        )
        + "| suite | version | tests | outcomes | groups real | false | unclassified | cycles"
        " | not searched | not judged | without | with | more | instructions | per test |\n"
        + "|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        + "".join(map(_row, suites))
        + f"\n{tests} published tests in {len(real)} suites.\n"
        + "\n*Outcomes* are those of every phase of every test, compared with the first run without"
        " the plugin. *Not judged* are tests that fail when they are rerun in the same process,"
        " that look at the whole heap, or whose reruns don't fit in the budget, and of which"
        " something lived to the end: each is named in the plugin's report, with the reason. Cycles"
        " are garbage that only the collector frees: they are reported apart, and fail nothing;"
        " *not searched* are tests that were not searched for any, as a fifth of the budget was"
        " spent.\n"
        + "\n## Groups\n\n"
        + "| suite | fingerprint | class | what is left, and who holds it | tests | where | why |\n"
        + "|---|---|---|---|--:|---|---|\n"
        + "".join(_group(row["name"], group) for row in suites for group in row["groups"])
    )


def _row(row: dict[str, Any]) -> str:
    classes = [group["class"] for group in row["groups"]]
    without = statistics.median(row["seconds"])
    with_it = statistics.median(row["seconds_with"])
    ratio = statistics.median(
        on / off for off, on in zip(row["seconds"], row["seconds_with"], strict=True)
    )
    each = row["milliseconds_per_test"]
    same = not any(" the plugin" in line or "no report" in line for line in row["wrong"])
    cells = [
        row["name"],
        row["version"],
        str(row["tests"]),
        "the same" if same else "**differ**",
        *(str(classes.count(each)) for each in ("real", "false", "unclassified")),
        str(row["cycles"]),
        str(row["unsearched"]),
        str(row["unjudged"]),
        f"{without:.2f} s",
        f"{with_it:.2f} s",
        _marked(f"{100 * (ratio - 1):+.0f} %", without > 10 and ratio > 1.15),
        _counted(row.get("instructions")),
        _marked(f"{each:.2f} ms", not row["version"] and each > 0.3),
    ]
    return f"| {' | '.join(cells)} |\n"


def _counted(instructions: list[int] | None) -> str:
    if not instructions:
        return ""
    off, on = instructions
    return f"{100 * (on / off - 1):+.1f} %"


def _marked(text: str, falls_short: bool) -> str:
    return f"**{text}**" if falls_short else text


def _group(suite: str, group: dict[str, Any]) -> str:
    cells = [
        suite,
        f"`{group['fingerprint']}`",
        group["class"],
        group["summary"],
        str(group["tests"]),
        group["where"],
        group["why"],
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
