"""Leaks that aren't the user's to mend: which ones does the configuration name?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .findings import Finding

_FIELDS = ("type", "module", "path")


class KnownError(ValueError):
    """A line of `deathwatch_known` that can't be read."""


@dataclass(frozen=True)
class Matcher:
    """One line of configuration. Patterns are shell wildcards, case-sensitive."""

    field: str
    pattern: str
    reason: str

    def matches(self, finding: Finding) -> bool:
        """Tell whether a leak is meant.

        `type` is compared with the type's full name (`requests.Session`), `module` with the
        module that defines it and the packages above, `path` with the words of the path that
        holds it, anywhere in them: as the report has it, so that brackets mean themselves there.
        """
        if self.field == "path":
            return bool(_anywhere(self.pattern).search(finding.summary))
        if self.field == "type":
            return fnmatchcase(finding.type, self.pattern)
        module = finding.type.rpartition(".")[0]
        return any(fnmatchcase(name, self.pattern) for name in _packages(module))


def _anywhere(pattern: str) -> re.Pattern[str]:
    """Translate a pattern in which only `*` and `?` are wildcards."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))


def _packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def parse(rows: Iterable[str]) -> list[Matcher]:
    """Read the lines of the ini option.

    >>> parse(["type:requests.Session  # kept by design"])
    [Matcher(field='type', pattern='requests.Session', reason='kept by design')]
    """
    matchers = []
    for row in rows:
        rule, _, reason = row.partition("#")
        field, colon, pattern = (part.strip() for part in rule.partition(":"))
        if not colon or field not in _FIELDS or not pattern:
            raise KnownError(
                f"deathwatch_known: {row.strip()!r} is not 'type:PATTERN', 'module:PATTERN' or"
                " 'path:PATTERN'"
            )
        matchers.append(Matcher(field, pattern, reason.strip() or "known"))
    return matchers


def reason(finding: Finding, matchers: Iterable[Matcher]) -> str | None:
    return next((each.reason for each in matchers if each.matches(finding)), None)
