"""Where is it promised? Short notations of sources, and what they link to.

"C6" is an id of the semantics catalogue; the others have a prefix: "go:runtime#AddCleanup",
"gotest:runtime/mcleanup_test.go TestCleanup", "gosrc:runtime/mcleanup.go", "goissue:76007",
"pep:442", "cpython:Objects/genobject.c", "docs:library/weakref#weakref.finalize",
"gh:136189", "pypy:cpython_differences",
"pypysrc:pypy/interpreter/typedef.py",
"contract:Cleanup.stop" (lastref's own documentation), "measured:..." (seen, promised nowhere).
"""

from __future__ import annotations


def resolve(source: str) -> dict[str, str]:
    """A source as text and, where there is one, a link."""
    kind, colon, rest = source.partition(":")
    if not colon:
        return {"text": f"semantics {source}"}
    text, url = _RULES[kind](rest)
    return {"text": text, "url": url} if url else {"text": text}


def _go(rest: str) -> tuple[str, str]:
    return f"Go, {rest.replace('#', '.')}", f"https://pkg.go.dev/{rest}"


def _gotest(rest: str) -> tuple[str, str]:
    path, _, name = rest.partition(" ")
    return f"Go's {name}", f"https://github.com/golang/go/blob/go1.27/src/{path}"


def _gosrc(rest: str) -> tuple[str, str]:
    return f"Go, {rest}", f"https://github.com/golang/go/blob/go1.27/src/{rest}"


_RULES = {
    "go": _go,
    "gotest": _gotest,
    "gosrc": _gosrc,
    "goblog": lambda rest: (f"Go blog, {rest}", f"https://go.dev/blog/{rest}"),
    "gogc": lambda rest: (
        "Go, a guide to the garbage collector",
        f"https://go.dev/doc/gc-guide#{rest}",
    ),
    "goissue": lambda rest: (f"go#{rest}", f"https://github.com/golang/go/issues/{rest}"),
    "pep": lambda rest: (f"PEP {rest}", f"https://peps.python.org/pep-{int(rest):04}/"),
    "docs": lambda rest: (f"Python, {rest.partition('#')[2] or rest}", _docs(rest)),
    "gh": lambda rest: (f"cpython#{rest}", f"https://github.com/python/cpython/issues/{rest}"),
    "pypysrc": lambda rest: (
        f"PyPy, {rest}",
        f"https://github.com/pypy/pypy/blob/py3.11/{rest}",
    ),
    "pypy": lambda rest: (f"PyPy, {rest}", f"https://doc.pypy.org/en/latest/{rest}.html"),
    "cpython": lambda rest: (
        f"CPython, {rest}",
        f"https://github.com/python/cpython/blob/v3.14.0/{rest}",
    ),
    "contract": lambda rest: (f"documentation of {rest}", ""),
    "measured": lambda rest: (f"measured: {rest}", ""),
}


def _docs(rest: str) -> str:
    page, _, anchor = rest.partition("#")
    return f"https://docs.python.org/3/{page}.html" + (f"#{anchor}" if anchor else "")
