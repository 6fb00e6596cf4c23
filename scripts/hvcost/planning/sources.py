"""Which files of the project decide what a program makes: a rule that runs it depends on them.

The workflow makes a table or a figure again when the code behind it changes. What code that is follows from
the programs' own imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def sources_of(program: Path) -> list[str]:
    """Paths of a program, of the modules that it imports, directly or not, and of the data beside these.

    A package that loads its modules by their names takes all of them along. Imports for the type checker
    alone do not count.
    """
    modules = {program}
    queue = [program]
    while queue:
        file = queue.pop()
        tree = ast.parse(file.read_text(encoding="utf-8"))
        behind = {path for name in _imported(tree) for path in _files(program.parent, name)}
        if any(isinstance(node, ast.Attribute) and node.attr == "import_module" for node in ast.walk(tree)):
            behind |= set(file.parent.glob("*.py"))
        queue += behind - modules
        modules |= behind
    data = {path for module in modules for path in _data(module.parent) if module.parent != program.parent}
    return sorted(map(str, modules | data))


def _data(package: Path) -> Iterator[Path]:
    return (path for path in package.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc"))


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules of ours, with the packages around them."""
    for_types = {
        id(node)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _files(root: Path, name: str) -> Iterator[Path]:
    base = root.joinpath(*name.split("."))
    return (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())
