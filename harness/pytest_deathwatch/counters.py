"""Counters beside the times of pytest-benchmark: what its JSON then carries in `extra_info`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

Work = Callable[[], object]
Figures = dict[str, Any]


class Counters:
    """Counts what work allocates, keeps alive and asks the system for, outside of what is timed.

    Each method calls the work itself, once or a few times, and adds its figures to
    `extra_info["deathwatch"]`, which `--benchmark-json` saves and pytest-benchmark's own commands
    leave alone. Where an instrument can't be trusted, the figure is None, and `unavailable` says
    why, by the instrument: nothing fails for it. In this process, other threads count too;
    `traced` and `instructions` start one for a job of `deathwatch.measure.run_job`.
    """

    def __init__(self, extra_info: dict[str, Any]) -> None:
        self._figures: Figures = extra_info.setdefault("deathwatch", {})

    def allocation(self, work: Work) -> None:
        """Blocks and bytes held with the result of `work`, and the peak of bytes in it."""
        from deathwatch.measure.objects import allocation

        def measure() -> Figures:
            found = allocation(work)
            return {"blocks": found.blocks, "bytes": found.bytes, "peak": found.peak}

        self._add(("blocks", "bytes", "peak"), measure)

    def live(self, *types: type) -> None:
        """How many instances of `types` the collector tracks now."""
        from deathwatch.measure.objects import live

        self._figures["live"] = live(*types)

    def requests(self, work: Work, files: Collection[str]) -> None:
        """Requests to open and map `files`, by the audit hook, which stays in this process."""
        from deathwatch.measure import listening

        def measure() -> Figures:
            with listening(files) as heard:
                work()
            return {f"{name} requests": count for name, count in heard.counts.items()}

        self._add(("open requests", "mmap requests"), measure)

    def calls(self, work: Work, *names: str) -> None:
        """System calls of those names, by perf's tracepoints: root and tracefs are needed.

        Everywhere else, `traced` counts them in a process of its own.
        """
        from deathwatch.measure import perf

        def measure() -> Figures:
            with perf.counting(names) as counts:
                work()
            return {f"{name} calls": count for name, count in counts.items()}

        self._add([f"{name} calls" for name in names], measure)

    def traced(self, module: str, job: dict[str, Any], files: Collection[str]) -> None:
        """System calls on `files` (real paths) in each span that a job marks, by the kernel.

        By strace, or where that can't be trusted by ptrace; the figures say which.
        """
        from deathwatch.measure import trace_calls

        def measure() -> Figures:
            by, _, spans = trace_calls(module, job, files)
            return {f"calls in {name}, by {by}": found.counts for name, found in spans.items()}

        self._add((), measure)

    def instructions(self, module: str, job: dict[str, Any]) -> None:
        """Instructions in each span that a job marks, by callgrind."""
        from deathwatch.measure import Callgrind

        def measure() -> Figures:
            _, counted = Callgrind.find().count(module, job)
            return {f"instructions in {name}": count for name, count in counted.items()}

        self._add((), measure)

    def memory(self, files: Collection[str] = ()) -> None:
        """Mappings of `files`, descriptors, RSS, PSS, page tables and faults of this process."""
        from deathwatch.measure import MissingExtra, snapshot

        try:
            self._figures.update(snapshot(files).to_dict())
        except MissingExtra as reason:
            self._lacks("memory", str(reason))

    def _add(self, names: Collection[str], measure: Callable[[], Figures]) -> None:
        from deathwatch.measure import Unavailable

        try:
            self._figures.update(measure())
        except Unavailable as reason:
            self._figures.update(dict.fromkeys(names))
            self._lacks(reason.instrument, str(reason))

    def _lacks(self, instrument: str, reason: str) -> None:
        self._figures.setdefault("unavailable", {})[instrument] = reason
