"""The table of faults in docs/faults.md: each of its lines is a fault of its own that a test tries."""

from __future__ import annotations

import ast
import re

from workspace import ROOT

LINE = re.compile(r"^\| (.+?) \| `(test_\w+\.py)::(test_\w+)` \| .+ \|$", re.MULTILINE)
LEAST = 30


def test_every_fault_of_the_table_is_tried_by_a_test_that_is_there() -> None:
    page = (ROOT / "docs/faults.md").read_text()
    lines = LINE.findall(page)
    # A header and a rule for each table; all other lines of tables are faults.
    tables = len(re.findall(r"^\| ---", page, re.MULTILINE))
    assert len(lines) == len(re.findall(r"^\|", page, re.MULTILINE)) - 2 * tables
    assert len({fault for fault, _, _ in lines}) == len(lines) >= LEAST
    for file in {file for _, file, _ in lines}:
        tests = {
            node.name
            for node in ast.walk(ast.parse((ROOT / "tests" / file).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        assert {test for _, other, test in lines if other == file} <= tests
