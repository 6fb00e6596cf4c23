"""Two results compared, as one page that needs nothing else: the same text for the same results."""

from __future__ import annotations

import csv
import io

from hvcost.analysis import rows
from hvcost.analysis.rows import NEW, OLD, Change
from hvcost.report import changes, circumstances, numbers, templates
from hvcost.report.changes import Comparison


def render(found: Comparison) -> str:
    """The page as HTML."""
    columns, *fields = csv.reader(io.StringIO(rows.as_csv(Change, (cell.row for cell in found.cells))))
    return templates.template("changes.html.j2").render(
        style=templates.style(),
        numbers=numbers,
        found=found,
        old=OLD,
        new=NEW,
        answer=changes.answer(found),
        cautions=changes.cautions(found),
        left_out=changes.left_out(found.cells),
        unsaid=circumstances.unsaid(found.circumstances),
        mark=changes.mark,
        columns=columns,
        fields=fields,
        ids=[cell.id for cell in found.cells],
    )
