"""Write down the experiment's description, which the analysis and its repetition elsewhere need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvcost import files, program
from hvcost.model import description


def describe(experiment: Mapping[str, Any], output: Path) -> None:
    """Write the description to its file."""
    files.write_text(output, description.as_text(experiment))


if __name__ == "__main__":
    program.main(
        describe, __doc__, program.json_argument("--experiment", help="the description"), output="JSON"
    )
