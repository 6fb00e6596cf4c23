"""Which files decide what a program makes: followed from its imports, and seen when it is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hvcost.planning.sources import sources_of
from workspace import ROOT

PROGRAMS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_loads_is_among_its_sources(program: str) -> None:
    """Seen in the interpreter itself: `--help` imports what stands at the top of all modules."""
    code = (
        "import runpy, sys; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'hvcost'), sep='\\n')"
    )
    file = ROOT / f"scripts/{program}.py"
    run = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "scripts"), "PATH": "/usr/bin:/bin"},
    )
    loaded = {line for line in run.stdout.splitlines() if line.startswith(str(ROOT))}
    assert loaded
    assert loaded <= set(sources_of(file))


@pytest.mark.parametrize("library", ["matplotlib", "numpy", "scipy"])
def test_what_only_reads_does_not_load_what_others_compute_and_draw_with(library: str) -> None:
    """Loading it takes longer than what is read."""
    code = f"import sys, parse_repetitions; sys.exit('{library}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts").returncode == 0


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program, and a package in which it imports some modules and others not."""
    for path, text in {
        "program.py": "from hvcost.near import thing",
        "hvcost/__init__.py": "",
        "hvcost/near.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hvcost import types_only\n"
            "def thing():\n    from hvcost.page import words\n"
        ),
        "hvcost/types_only.py": "",
        "hvcost/other.py": "",
        "hvcost/page/__init__.py": "",
        "hvcost/page/words.py": "from hvcost import loaded",
        "hvcost/page/unused.py": "",
        "hvcost/page/style.css": "",
        "hvcost/loaded/__init__.py": "import importlib\nimportlib.import_module('x')",
        "hvcost/loaded/by_name.py": "",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "program.py"


def test_imports_are_followed_and_data_and_modules_loaded_by_name_belong_to_them(program: Path) -> None:
    assert sources_of(program) == [
        str(program.parent / path)
        for path in (
            "hvcost/__init__.py",
            "hvcost/loaded/__init__.py",
            "hvcost/loaded/by_name.py",
            "hvcost/near.py",
            "hvcost/page/__init__.py",
            "hvcost/page/style.css",
            "hvcost/page/words.py",
            "program.py",
        )
    ]
