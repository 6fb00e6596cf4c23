"""Compare NEW results with OLD ones: did anything get worse?

    python scripts/compare_results.py OLD NEW --csv changes.csv --html changes.html

OLD and NEW are folders of results, as reanalyse.py takes them: another computer, kernel, hypervisor version
or option, or the same again. Nothing is written into them. It says what differs beside the figures, then what
changed in each cell, and what cannot be compared and why (docs/comparing-results.md).

Exit code: 0 if nothing is shown to have got worse by more than the margin, 1 if something is, 2 if there is
nothing that can be compared, or a folder without results.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hvcost import files, program
from hvcost.analysis import measured, rows
from hvcost.errors import ConfigError
from hvcost.report import changes, changes_page, changes_text


def compare(old: Path, new: Path, csv: Path | None, html: Path | None) -> None:
    """Say and write what NEW is beside OLD; exits with 1 if something got worse."""
    found = changes.comparison(measured.read(old), measured.read(new))
    print(changes_text.as_text(found), end="")
    if csv:
        rows.write(rows.Change, (cell.row for cell in found.cells), csv)
    if html:
        files.write_text(html, changes_page.render(found))
    if not found.tested:
        raise ConfigError(
            f"{old} and {new}: there is no cell of which both have values enough to compare; see above why"
        )
    if found.beyond(rows.WORSE):
        sys.exit(1)


if __name__ == "__main__":
    program.main(
        compare,
        __doc__,
        program.argument("old", type=Path, metavar="OLD", help="folder of results"),
        program.argument(
            "new", type=Path, metavar="NEW", help="folder of results that are compared with them"
        ),
        program.argument(
            "--csv", type=Path, default=None, metavar="FILE", help="table of all cells to write"
        ),
        program.argument("--html", type=Path, default=None, metavar="FILE", help="page to write"),
        failure=2,
    )
