"""What a result comes to, one sentence each.

Reads the result as it is written to JSON, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from deathwatch.measure.processes import Json

from .contenders import CONTENDERS
from .figures import errors, find, get, grown, made, per_open, title_of

MEGABYTE = 1024 * 1024


def headlines(result: Json) -> Iterator[str]:
    """What it comes to, one sentence each."""
    options = result["options"]
    yield f"{options['opens']:,} opens over {result['files']['described']}."
    yield from _calls_headline(result)
    yield from _mappings_headline(result)
    yield from _deaths_headline(result)
    yield from _memory_headline(result)
    yield from _breaks(result)


def survivors(result: Json) -> Iterator[str]:
    """A sentence for each contender that kept more mapped files alive than it may."""
    files = len(result["files"]["chosen"])
    for figures in result["runs"]:
        contender = CONTENDERS[figures["contender"]]
        allowed = contender.keeps(files)
        for what, left in (
            ("mapped files", get(figures, "deaths", "left")),
            ("mappings", get(figures, "memory", "after", "mappings")),
            ("mappings", get(figures, "calls", "left")),
        ):
            if left is not None and left > allowed:
                yield (
                    f"NOT DEAD: {contender.title} at {title_of(result, figures['overlap'])} left"
                    f" {left} {what} after release and a collection, and may keep {allowed}"
                )
                break


def _calls_headline(result: Json) -> Iterator[str]:
    counted = (result["instrument"] or {}).get("counts", "calls")
    for figures in result["runs"]:
        if figures["contender"] != "ours":
            continue
        ours, naive = per_open(figures), per_open(find(result, "naive", figures["overlap"]))
        if ours is not None and naive is not None:
            yield (
                f"{title_of(result, figures['overlap']).capitalize()}: {short(ours)} {counted} per"
                f" open, naive {short(naive)}: {naive / ours:,.0f} times fewer."
            )


def _mappings_headline(result: Json) -> Iterator[str]:
    ours, naive = (find(result, name, "held") for name in ("ours", "naive"))
    own, others = made(ours), made(naive)
    if own is not None and others is not None:
        yield f"Everything held, {own:,} mappings were made; naive made {others:,}."
    for figures in result["runs"]:
        if names := errors(figures):
            where = f"{CONTENDERS[figures['contender']].title} at"
            where += f" {title_of(result, figures['overlap'])}"
            yield (
                f"{where} stopped at {'/'.join(names)}, after"
                f" {get(figures, 'memory', 'opened') or 0:,} of {result['options']['opens']:,}"
                f" opens: this machine allows {_allowed(result)} descriptors."
            )


def _deaths_headline(result: Json) -> Iterator[str]:
    alive = list(survivors(result))
    yield from alive
    watched = [f for f in result["runs"] if get(f, "deaths", "handed_out") is not None]
    if watched and not alive:
        handed = sum(f["deaths"]["handed_out"] for f in watched)
        left = sum(f["deaths"]["left"] for f in watched)
        keepers = {CONTENDERS[f["contender"]].title for f in watched if f["deaths"]["left"]}
        kept = f"; {left:,} are kept by {' and '.join(sorted(keepers))}" if keepers else ""
        yield f"Of {handed:,} mapped files under watch {handed - left:,} died after release{kept}."


def _memory_headline(result: Json) -> Iterator[str]:
    ours, naive = (find(result, name, "held") for name in ("ours", "naive"))
    pss, rss = ([grown(f, key) for f in (naive, ours)] for key in ("pss", "rss"))
    if None not in (*pss, *rss):
        shown = [f"{value / MEGABYTE:,.0f}" for value in (*pss, *rss) if value is not None]
        yield (
            "It saves system calls, mappings and page tables, but almost no physical memory:"
            f" everything held, PSS is {shown[0]} MB naive and {shown[1]} MB ours"
            f" (RSS says {shown[2]} and {shown[3]})."
        )


def _breaks(result: Json) -> Iterator[str]:
    """Where each contender breaks, everything held, under a lowered descriptor limit."""
    limits: list[Json] = result["limits"]
    for figures in limits:
        title = CONTENDERS[figures["contender"]].title
        if figures["errors"]:
            yield (
                f"With {figures['descriptor_limit']} descriptors allowed, {title} fails with"
                f" {'/'.join(figures['errors'])} after {figures['opened']:,} opens."
            )
    unbroken = [CONTENDERS[f["contender"]].title for f in limits if not f["errors"]]
    if unbroken:
        yield f"Not at all, in {result['options']['opens']:,} opens: {', '.join(unbroken)}."
    exhaustion = result["exhaustion"]
    if exhaustion and exhaustion["error"]:
        limit = exhaustion["max_map_count"]
        yield (
            "Without a descriptor per mapping (trackfd=False) and without a cache, the kernel ends"
            f" it: {exhaustion['error']} after {exhaustion['opened']:,} mappings"
            f"{'' if limit is None else f' (vm.max_map_count {limit:,})'}."
        )


def _allowed(result: Json) -> str:
    limits: list[int] | None = result["machine"]["descriptor_limit"]
    return f"{limits[1]:,}" if limits else "few"


def short(number: float) -> str:
    """Three digits that matter."""
    return f"{number:.3g}" if number < 1 else f"{number:.2f}"
