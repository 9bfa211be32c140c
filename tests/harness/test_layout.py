"""The import directions that keep the judge apart from what it judges."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ["lastref", "deathwatch", "pytest_deathwatch"]
CONTENDERS = "deathwatch.bench.contenders"


def sources(package: str) -> Iterator[tuple[str, Path]]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return
    root = Path(spec.submodule_search_locations[0])
    for path in sorted(root.rglob("*.py")):
        dotted = ".".join((package, *path.relative_to(root).with_suffix("").parts))
        yield dotted.removesuffix(".__init__"), path


def imports(path: Path, module: str) -> Iterator[tuple[str, bool]]:
    """Every imported module's absolute name, and whether a function holds the import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            name = "." * node.level + (node.module or "")
            target = importlib.util.resolve_name(name, package) if node.level else name
            yield from ((f"{target}.{alias.name}", id(node) in inside) for alias in node.names)


def violations(modules: Iterable[tuple[str, Path]]) -> Iterator[str]:
    for module, path in modules:
        package = module.partition(".")[0]
        for name, in_function in imports(path, module):
            top = name.partition(".")[0]
            if package == "lastref" and top != "lastref" and top not in sys.stdlib_module_names:
                yield f"{module} imports {name}: lastref knows the standard library and itself"
            if package != "lastref" and top == "lastref":
                if module != CONTENDERS:
                    yield f"{module} imports {name}: the harness doesn't know what it judges"
                elif not in_function:
                    yield f"{module} imports {name} outside a function"
            if package != "pytest_deathwatch" and top in ("pytest", "_pytest"):
                yield f"{module} imports {name}: only the plugin knows pytest"
            if module == "pytest_deathwatch" and top == "deathwatch" and not in_function:
                yield f"{module} imports {name} where a suite that doesn't use it pays for it"
            if (
                module.startswith("deathwatch.watch")
                and "explain." in name
                and name != "deathwatch.explain.why_alive"
            ):
                yield f"{module} imports {name}, an engine of explain"
            if module.startswith("deathwatch.explain") and "deathwatch.watch" in name:
                yield f"{module} imports {name}, an engine of watch"
            if top in ("impl", "harness"):
                yield f"{module} imports {name}: folders are not packages"


def test_imports_go_one_way() -> None:
    """No module of the distribution imports against the directions."""
    assert list(violations(m for package in PACKAGES for m in sources(package))) == []


def test_an_import_against_the_direction_is_seen(tmp_path: Path) -> None:
    """The check above can fail: an offender of each kind is named."""
    package = tmp_path / "lastref"
    package.mkdir()
    (package / "__init__.py").write_text("from . import cleanup\nimport deathwatch.watch\n")
    (package / "cleanup.py").write_text("def f():\n    import pytest, psutil\n")
    modules = [("lastref", package / "__init__.py"), ("lastref.cleanup", package / "cleanup.py")]
    found = "\n".join(violations(modules))
    assert "lastref imports deathwatch.watch" in found
    assert "lastref.cleanup imports psutil" in found
    assert "lastref.cleanup imports pytest: only the plugin" in found


def test_lastref_needs_the_standard_library_alone() -> None:
    """Importing lastref in a bare interpreter loads no package from elsewhere."""
    code = (
        "import sys; before = set(sys.modules); import lastref;"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'lastref'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_plugin_is_free_until_it_is_used() -> None:
    """pytest imports the plugin in every run: neither package comes with it."""
    code = (
        "import sys, pytest_deathwatch;"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'deathwatch', 'lastref'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
