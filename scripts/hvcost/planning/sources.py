"""Which files of the project decide what a program makes: a rule that runs it depends on them.

The workflow makes a table or a figure again when the code behind it changes. What code that is follows from
the programs' own imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def sources_of(program: Path) -> list[str]:
    """Paths of a program, of the modules that it imports, directly or not, and of the data beside these.

    A package that loads its modules by their names takes all of them along. Imports for the type checker
    alone do not count. Each file is read once, however many programs there are.
    """
    modules = {program}
    queue = [program]
    while queue:
        behind = _behind(queue.pop(), program.parent) - modules
        queue += behind
        modules |= behind
    packages = {module.parent for module in modules} - {program.parent}
    data = {path for package in packages for path in _data(package)}
    return sorted(map(str, modules | data))


@cache
def _behind(file: Path, root: Path) -> frozenset[Path]:
    """Modules below `root` that a file imports or loads by their names."""
    names: set[str] = set()
    by_name: set[Path] = set()
    for node in _nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Attribute) and node.attr == "import_module":
            by_name.update(file.parent.glob("*.py"))
    # A module brings the packages around it along.
    parts = [name.split(".") for name in names]
    places = {root.joinpath(*each[:end]) for each in parts for end in range(1, len(each) + 1)}
    found = {path for base in places for path in (base.with_suffix(".py"), base / "__init__.py")}
    return frozenset(by_name.union(path for path in found if path.is_file()))


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """All parts of a module that are not for the type checker alone."""
    for block in tree.body:
        if not (isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"):
            yield from ast.walk(block)


def _data(package: Path) -> Iterator[Path]:
    return (path for path in package.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc"))
